"""Tissues as sets of tokens with a label: which rows of the tables are whose."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients import PatientCells
from virtues_core.cohort.patients.cells import CellTables
from virtues_core.cohort.patients.clinical_checks import told_by
from virtues_core.cohort.patients.token_file import Rows
from virtues_core.cohort.patients.wording import counted, some
from virtues_core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_EACH = "each is told by itself, all of a patient on one side of a split"
LEAST_PATIENTS = 3
"""Of a class: one each to train on, to stop by and to test on."""


@dataclass(frozen=True, eq=False)
class Tissues:
    """B tissues that have a label, of which the tokens are on disk."""

    names: tuple[str, ...]
    """``tissue_id``, sorted."""
    patients: tuple[str, ...]
    """Whose each is."""
    labels: NDArray[np.int64]
    """(B,) number of each one's class."""
    classes: tuple[str, ...]
    """K values of the outcome, sorted."""
    rows: tuple[NDArray[np.int64], ...]
    """Of the tables."""
    cells: CellTables
    features: Rows = "tokens"
    notes: tuple[str, ...] = ()
    """Who was left out, and why."""

    def __len__(self) -> int:
        return len(self.names)

    def instances(self, tissue: int) -> NDArray[np.float32]:
        """Read all instances of a tissue: (n, D)."""
        return self.cells.take(self.rows[tissue], self.features)

    def drawn(self, most: int, *, seed: int) -> list[NDArray[np.float32]]:
        """Read some instances of each tissue, drawn without replacement, into a file that goes.

        Parameters
        ----------
        most
            Instances of a tissue.
        seed
            Draws them; equal for all features.
        """
        rng = np.random.default_rng((seed, 7))
        chosen = [np.sort(rng.permutation(rows)[:most]) for rows in self.rows]
        width = self.cells.dim if self.features == "tokens" else len(self.cells.marker_keys)
        ends = np.cumsum([0, *map(len, chosen)])
        with tempfile.TemporaryFile() as file:  # there for as long as it is mapped
            held = np.memmap(file, np.float32, "w+", shape=(int(ends[-1]), width))
        for rows, start, end in zip(chosen, ends[:-1], ends[1:], strict=True):
            held[start:end] = self.cells.take(rows, self.features)
        return [held[start:end] for start, end in pairwise(ends)]


def labelled_tissues(joined: PatientCells, outcome: str, features: Rows = "tokens") -> Tissues:
    """Find the tissues of patients whose outcome is known, and of classes that can be learnt.

    Parameters
    ----------
    joined
        Cells and clinical table.
    outcome
        Column of the clinical table: two classes or more.
    features
        What an instance is described by.

    Raises
    ------
    InputError
        No such column, or fewer than two classes have three patients.
    """
    table = joined.clinical.table
    if outcome not in table:
        message = (
            f"expected a column {outcome!r} in the clinical table, found "
            f"{some(map(str, table.columns))}. Name one that is there (--outcome)."
        )
        raise InputError(message)
    told = table[outcome].dropna().map(as_class)
    counts = told.value_counts()
    few = sorted(counts.index[counts < LEAST_PATIENTS])
    classes = tuple(sorted(set(counts.index) - set(few)))
    if len(classes) < 2:
        found = ", ".join(f"{name} ({n})" for name, n in sorted(counts.items())) or "none"
        message = (
            f"expected two values of {outcome!r} or more with {LEAST_PATIENTS} patients each, to "
            f"train on, to stop by and to test on; found (patients): {found}. Name a column of "
            "classes, or give more of the cohort."
        )
        raise InputError(message)
    notes = []
    if few:
        notes.append(f"left out, fewer than {LEAST_PATIENTS} patients: {', '.join(few)}")
    told = told[told.isin(classes)]
    lone = [name for name in joined.patients if name not in told.index]
    if lone:
        notes.append(f"left out: {counted(len(lone), 'patient')} without a class ({some(lone)})")
    names, rows, owners = rows_by_tissue(joined)
    used = [i for i, owner in enumerate(owners) if owner in told.index]
    return Tissues(
        names=tuple(names[i] for i in used),
        patients=tuple(owners[i] for i in used),
        labels=np.array([classes.index(told[owners[i]]) for i in used], np.int64),
        classes=classes,
        rows=tuple(rows[i] for i in used),
        cells=joined.cells,
        features=features,
        notes=(*notes, *joined.several_tissues(_EACH), *told_by(table, told)),
    )


def rows_by_tissue(
    joined: PatientCells,
) -> tuple[list[str], list[NDArray[np.int64]], list[str]]:
    """Give the tissues of the patients, the rows of each, and whose it is; sorted by name."""
    own = np.flatnonzero(joined.codes >= 0)
    names, rows = tissue_rows(joined.cells.cells.iloc[own])
    rows = [own[part] for part in rows]
    return names, rows, [joined.patients[int(joined.codes[part[0]])] for part in rows]


def tissue_rows(cells: "pd.DataFrame") -> tuple[list[str], list[NDArray[np.int64]]]:
    """Give the tissues of a table of cells and the positions of each one's rows."""
    kind = cells["tissue_id"].astype("category")
    codes = kind.cat.codes.to_numpy()
    order = np.argsort(codes, kind="stable")
    found, first = np.unique(codes[order], return_index=True)
    parts = np.split(order, first[1:])
    names = [str(kind.cat.categories[code]) for code in found]
    by_name = sorted(range(len(names)), key=names.__getitem__)
    return [names[i] for i in by_name], [parts[i] for i in by_name]


def as_class(value: object) -> str:
    """Write a value of a table as the name of a class; 1.0, of a column with gaps, as 1."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def aligned(other: Tissues, to: Tissues, name: str) -> Tissues:
    """Bring other tables' tissues into the order of these.

    Raises
    ------
    InputError
        A tissue is missing there.
    """
    lacking = sorted(set(to.names) - set(other.names))
    if lacking:
        message = (
            f"expected the same tissues in {name!r} to compare with, found none of "
            f"{counted(len(lacking), 'tissue')} there ({some(lacking)}). Embed them as well."
        )
        raise InputError(message)
    place = [other.names.index(tissue) for tissue in to.names]
    rows: Sequence[NDArray[np.int64]] = [other.rows[i] for i in place]
    return Tissues(
        to.names, to.patients, to.labels, to.classes, tuple(rows), other.cells, other.features
    )
