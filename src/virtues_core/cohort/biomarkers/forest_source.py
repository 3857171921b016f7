"""Forests from the folder of a discovery: those it keeps, or fitted on the cells it names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.forest import SignatureForest, train_forest
from virtues_core.cohort.biomarkers.forest_file import FOLDER, LIST, load_forests
from virtues_core.cohort.biomarkers.strata import DIRECTIONS, Direction
from virtues_core.cohort.biomarkers.walk import Progress
from virtues_core.cohort.patients import CellTables, Seen, open_cells
from virtues_core.cohort.patients.results import Results, read_results
from virtues_core.errors import InputError, ReadError

ANALYSIS = "biomarkers"


def forests_of(
    folder: Path | str, *, seed: int = 0, progress: Progress | None = None
) -> tuple[SignatureForest, ...]:
    """Give the forests of the signatures that a discovery found.

    Parameters
    ----------
    folder
        Of `virtues biomarkers discover`, which may keep forests; or of forests alone.
    seed
        Draws cells, patients and trees, where forests are fitted here.
    progress
        Called with forests done, of how many, and what.

    Raises
    ------
    ReadError
        No such folder, or its tables of tokens are gone.
    InputError
        It is of another analysis, found no signature, or its tables have changed since.
    """
    folder = Path(folder)
    for place in (folder / FOLDER, folder):
        if (place / LIST).is_file():
            return load_forests(place)
    results = read_results(folder)
    directions = _directions(results, folder)
    cells = _tables(results, folder)
    members, patients, owners = _aligned(results, list(directions), cells, folder)
    seen = Seen.of(cells, owners)
    return train_forests(
        cells, members, patients, directions, seen=seen, seed=seed, progress=progress
    )


def train_forests(
    cells: CellTables,
    members: Mapping[str, NDArray[np.bool_]],
    patients: NDArray[np.integer],
    directions: Mapping[str, Direction],
    *,
    seen: Seen,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[SignatureForest, ...]:
    """Fit one forest a signature; see `train_forest`.

    Parameters
    ----------
    cells
        Tables of N cells.
    members
        Of each signature, (N,) whether a cell belongs to it.
    patients
        (N,) number of each cell's patient; below 0 of those that were not looked at.
    directions
        Of each signature.
    seen
        Whom they were chosen by.
    seed
        Draws cells, patients and trees.
    progress
        Called with forests done, of how many, and what.

    Raises
    ------
    InputError
        As `train_forest`.
    """
    found = []
    for name, direction in directions.items():
        own = members[name]
        found.append(train_forest(cells, own, patients, name, direction, seen=seen, seed=seed))
        if progress is not None:
            progress(len(found), len(directions), "forest")
    return tuple(found)


def _directions(results: Results, folder: Path) -> dict[str, Direction]:
    """Read names and directions of the signatures."""
    if results.analysis != ANALYSIS:
        message = (
            f"expected the folder of `virtues biomarkers discover`, found one of "
            f"{results.analysis!r} at {str(folder)!r}. Name the other one."
        )
        raise InputError(message)
    told = results.summary.get("signatures")
    listed = told if isinstance(told, Sequence) else ()
    found: dict[str, Direction] = {}
    for entry in listed:
        name = entry.get("name") if isinstance(entry, Mapping) else None
        known = [way for way in DIRECTIONS if isinstance(entry, Mapping) and
                 entry.get("direction") == way]  # fmt: skip
        if not isinstance(name, str) or not known:
            message = (
                f"expected a name and a direction of each signature in {str(folder)!r}, found "
                f"{entry!r}. The folder was changed: run the discovery again."
            )
            raise ReadError(message)
        found[name] = known[0]
    if not found:
        message = (
            f"expected signatures in {str(folder)!r}, found that the discovery chose none. There "
            "is nothing to carry over."
        )
        raise InputError(message)
    return found


def _tables(results: Results, folder: Path) -> CellTables:
    """Open the tables that a discovery was made of."""
    base = Path(str(results.summary.get("folder") or "."))
    told = results.summary.get("cells")
    paths = [base / str(path) for path in told] if isinstance(told, list) else []
    gone = [str(path) for path in paths if not path.exists()]
    if gone or not paths:
        message = (
            f"expected the tables of tokens that {str(folder)!r} was made of, found no "
            f"{', '.join(gone[:3]) or 'list of them'}. Put them back, or run `virtues biomarkers "
            "discover --forests`, whose folder needs no cells."
        )
        raise ReadError(message)
    return open_cells(paths)


def _aligned(
    results: Results, names: list[str], cells: CellTables, folder: Path
) -> tuple[dict[str, NDArray[np.bool_]], NDArray[np.int32], dict[str, str]]:
    """Put members and numbers of patients, (N,) each, in the order of the tables' rows.

    Also tell whose each tissue is.
    """
    import pandas as pd

    try:
        rows = results.read_cells(["tissue_id", "cell_id", "patient_id", *names])
    except (OSError, ValueError) as error:
        message = (
            f"expected the cells that {str(folder)!r} lists, could not read them ({error}). Run "
            "the discovery again."
        )
        raise ReadError(message) from error
    patients = rows["patient_id"].astype("category").cat.codes.to_numpy()
    tissues = cells.cells["tissue_id"].cat
    own = rows["tissue_id"].astype("category").cat
    place = tissues.categories.get_indexer(own.categories)[own.codes.to_numpy()]
    keys = pd.DataFrame({"tissue": tissues.codes, "cell": cells.cells["cell_id"]})
    found = pd.DataFrame({"tissue": place, "cell": rows["cell_id"], "row": np.arange(len(rows))})
    both = keys.astype("int64").merge(found.astype("int64"), how="left", on=["tissue", "cell"])
    matched = both["row"].notna().to_numpy()
    if len(both) != len(keys) or matched.sum() != len(rows):
        message = (
            f"expected the {len(rows):,} cells of {str(folder)!r} in its tables of tokens, found "
            f"{int(matched.sum()):,}. The tables have changed since: run the discovery again."
        )
        raise InputError(message)
    order = both["row"].to_numpy()[matched].astype(np.int64)
    numbers = np.full(len(keys), -1, np.int32)
    numbers[matched] = patients[order]
    members = {name: np.zeros(len(keys), bool) for name in names}
    for name, row in members.items():
        row[matched] = rows[name].to_numpy(bool)[order]
    pairs = rows[["tissue_id", "patient_id"]].drop_duplicates().astype(str)
    return members, numbers, dict(zip(pairs["tissue_id"], pairs["patient_id"], strict=True))
