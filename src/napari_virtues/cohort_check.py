"""Clinical table and tables of cells, read before an analysis runs. Knows no Qt; for any thread."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from virtues_core.cohort.patients import Columns, join, open_cells, read_clinical
from virtues_core.cohort.patients.clinical_file import read_text
from virtues_core.cohort.patients.token_file import NUMBER, several
from virtues_core.errors import InputError

if TYPE_CHECKING:
    from virtues_core.cohort.patients import CellTables

MOST_VALUES = 40
"""Different values of a column that are listed."""


@dataclass(frozen=True, eq=False)
class ClinicalFile:
    """What a clinical table has, before it is said which column is what."""

    path: Path
    rows: int
    values: dict[str, tuple[str, ...]]
    """Column → its values, each once, `MOST_VALUES` at the most."""


@dataclass(frozen=True, eq=False)
class OpenedCells:
    """Tables of tokens that were opened."""

    paths: tuple[Path, ...]
    tables: "CellTables"

    @property
    def summary(self) -> str:
        """How many cells of how many tissues."""
        tissues = self.tables.cells["tissue_id"].nunique()
        return f"{len(self.tables):,} {several(self.tables.level)} of {tissues:,} tissues"


def read_columns(path: Path) -> ClinicalFile:
    """Read what columns a clinical table has.

    Raises
    ------
    ReadError, InputError
        As `read_text`.
    """
    table = read_text(path)
    values = {
        str(name): tuple(map(str, table[name].dropna().unique()[:MOST_VALUES])) for name in table
    }
    return ClinicalFile(path, len(table), values)


def open_tables(paths: Sequence[Path]) -> OpenedCells:
    """Open tables of tokens, of cells or of another level. Takes long where there are many.

    Raises
    ------
    VirtuesError
        As `open_cells`.
    """
    refused: list[InputError] = []
    for level in NUMBER:
        try:
            return OpenedCells(tuple(paths), open_cells(list(paths), level=level))
        except InputError as error:
            refused.append(error)
    raise refused[0]


def count(
    clinical: Path, columns: Columns, cells: OpenedCells | None, *, classes: bool = False
) -> tuple[str, ...]:
    """Count what a clinical table says, and which patients have cells.

    Parameters
    ----------
    clinical, columns
        As `read_clinical` takes them.
    cells
        None where there are none yet.
    classes
        Whether the outcome may be of any number of classes.

    Returns
    -------
    tuple of str
        Numbers of patients first, and who is without cells or without a row; then missing values.

    Raises
    ------
    InputError
        All that is wrong with the clinical table, in one message; or nobody is in both.
    """
    if classes and columns.outcome:
        named = dict.fromkeys((*columns.covariates, columns.outcome))
        columns = replace(columns, outcome="", covariates=tuple(named))
    read = read_clinical(clinical, columns)
    if cells is None:
        return f"{len(read.table):,} patients in the clinical table", *read.notes
    joined = join(cells.tables, read)
    told = len(cells.tables.notes) + len(read.notes)
    return *joined.notes[told:], *joined.notes[:told]
