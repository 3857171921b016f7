"""Which cells of another cohort belong to signatures, and whether that cohort is another one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.forest import SignatureForest
from virtues_core.cohort.biomarkers.walk import Progress
from virtues_core.cohort.patients import CellTables, PatientCells, Seen
from virtues_core.cohort.patients.wording import counted, some
from virtues_core.errors import InputError


def member_probability(
    cells: CellTables, forests: Sequence[SignatureForest], *, progress: Progress | None = None
) -> NDArray[np.float32]:
    """Ask S forests of N cells, some at a time: (S, N) share of the trees that say member.

    Raises
    ------
    InputError
        No forest, or one that was fitted on tokens of another checkpoint.
    """
    check_tokens(cells, forests)
    found = np.empty((len(forests), len(cells)), np.float32)
    for rows, tokens in cells.batches():
        for s, forest in enumerate(forests):
            found[s, rows] = forest.probability(tokens)
        if progress is not None:
            progress(rows.stop, len(cells), "cell")
    return found


def check_tokens(cells: CellTables, forests: Sequence[SignatureForest]) -> None:
    """See that there are forests, of tokens by the same checkpoint."""
    if not forests:
        message = "expected one signature at the least, found none."
        raise InputError(message)
    for forest in forests:
        made = forest.classifier
        if (made.signature, made.width) != (cells.signature, cells.dim):
            other = cells.files[0].made_with.checkpoint
            message = (
                f"expected tokens of the checkpoint that signature {forest.name!r} was found with "
                f"({made.checkpoint}, {made.width} values, {made.signature!r}), found tokens of "
                f"{other} ({cells.dim} values, {cells.signature!r}). Embed these images with that "
                "one, or discover signatures with this."
            )
            raise InputError(message)


def others_alike(joined: PatientCells, forests: Sequence[SignatureForest]) -> list[str]:
    """Refuse patients whom the signatures were chosen by; tell of names that are alike."""
    owners = joined.owners
    seen = Seen.together(forest.seen for forest in forests)
    tissues, alike = seen.known(joined.cells, owners)
    known = {owners[tissue] for tissue in tissues}
    if known:
        message = (
            "expected patients whom the signatures were not chosen by, found tissues that the "
            f"discovery saw, of {counted(len(known), 'patient')} out of {len(joined.patients)} "
            f"({some(known)}). What is found in them is no test: leave them out of the clinical "
            "table, or carry the signatures to another cohort."
        )
        raise InputError(message)
    if not alike:
        return []
    return [
        f"{counted(len(alike), 'patient')} of {len(joined.patients)} "
        f"{'is' if len(alike) == 1 else 'are'} called as patients of the discovery ({some(alike)}),"
        " with other tissues: if they are the same people, this is no test of the signatures"
    ]


def prevalence_notes(forests: Sequence[SignatureForest], members: NDArray[np.bool_]) -> list[str]:
    """Say where a signature is much rarer or more common than where it was found."""
    notes = []
    for forest, own in zip(forests, members, strict=True):
        share = float(own.mean()) if own.size else 0.0
        if not own.any():
            notes.append(f"{forest.name} is in no cell of this cohort: its ranks are 0")
        elif not 1 / 5 <= share / forest.share <= 5:
            notes.append(
                f"{forest.name} is {share:.2%} of the cells here and {forest.share:.2%} where it "
                "was found: forests are fitted on as many cells of either kind and call many "
                "others members too, the more so where tokens differ between the cohorts"
            )
    return notes
