"""What a long analysis would find out late: values in the tables that are no numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients.cells import BATCH_ROWS, CellTables, Progress
from virtues_core.cohort.patients.token_file import Rows, several
from virtues_core.cohort.patients.wording import counted, some
from virtues_core.errors import InputError

_TITLES = {"tokens": "tokens", "intensities": "mean intensities"}


def check_values(
    cells: CellTables, features: Rows, progress: Progress | None = None
) -> tuple[str, ...]:
    """Look through all tokens, or mean intensities, once, some at a time.

    Parameters
    ----------
    cells
        N rows. Mean intensities are those of the markers that all tables show; none is well.
    features
        ``tokens`` or ``intensities``.
    progress
        Told how many tables are done, of how many, of what.

    Returns
    -------
    tuple
        A note of mean intensities below 0, as they are after background subtraction.

    Raises
    ------
    InputError
        NaN or infinity: in how many rows, of which markers, in which tables.
    """
    if features == "intensities" and not cells.marker_keys:
        return ()
    width = cells.dim if features == "tokens" else len(cells.marker_keys)
    odd, below = _Found(np.zeros(width, bool)), _Found(np.zeros(width, bool))
    for name, values in _pieces(cells, features, progress):
        odd.add(name, ~np.isfinite(values))
        below.add(name, values < 0)
    if odd.rows:
        message = (
            f"expected finite {_TITLES[features]}, found NaN or infinity "
            f"{odd.told(cells, features)}. Leave those {several(cells.level)} out, or compute them "
            "again with `virtues embed`."
        )
        raise InputError(message)
    if features == "tokens" or not below.rows:
        return ()
    return (
        f"mean intensities below 0 {below.told(cells, features)}, as after background "
        "subtraction: -log(1 - x) is taken of them, log(1 + x) of the others.",
    )


@dataclass
class _Found:
    """Where values of some kind are."""

    columns: NDArray[np.bool_]
    """(F,)."""
    rows: int = 0
    files: list[str] = field(default_factory=list)

    def add(self, file: str, where: NDArray[np.bool_]) -> None:
        """Count those of (n, F) rows of a table."""
        rows = int(where.any(axis=1).sum())
        if rows:
            self.rows += rows
            self.columns |= where.any(axis=0)
            self.files += [] if file in self.files[-1:] else [file]

    def told(self, cells: CellTables, features: Rows) -> str:
        """Say how many rows, which markers, which tables."""
        kind = several(cells.level)
        markers = ""
        if features == "intensities":
            markers = f" ({some(np.array(cells.markers)[self.columns])})"
        return (
            f"in {self.rows:,} of {len(cells):,} {kind}{markers}, in "
            f"{counted(len(self.files), 'table')}: {some(self.files)}"
        )


def _pieces(
    cells: CellTables, features: Rows, progress: Progress | None
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Give the name of each table and its values, some rows at a time."""
    for done, file in enumerate(cells.files, start=1):
        for start in range(0, file.rows, BATCH_ROWS):
            rows = slice(start, min(start + BATCH_ROWS, file.rows))
            yield file.path.name, file.values(rows, features, cells.marker_keys)
        if progress is not None:
            progress(done, len(cells.files), "checked table")
