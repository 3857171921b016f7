"""What was clicked in the results of a cohort → its tissues, and which of their cells are lit.

Knows no Qt. Reading is for a background thread; of ``cells.parquet`` a batch of rows is in memory
at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtues.linked_drawing import text_of, texts_of
from virtues_core.cohort.patients.token_file import several
from virtues_core.errors import InputError, ReadError

if TYPE_CHECKING:
    import pandas as pd

    from virtues_core.cohort.patients.results import Results

PATIENT, TISSUE = "patient_id", "tissue_id"
CELL = "cell_id"
SQUARES = ("niche_id", "patch_id")
"""Columns that number squares of tissue, from 0."""
TISSUES = "tissues"
"""Column of ``patients.csv``: the patient's tissues, with ``;`` between them."""
PLACES = ("x_um", "y_um")
TRUE = "true"
"""How `text_of` writes a flag that is set."""
MOST_KINDS = 250
"""More different values are not told apart by colours."""
SHADES = 32
"""Colours of a scale."""
BATCH_ROWS = 2**18


@dataclass(frozen=True)
class Kinds:
    """How lit cells are coloured: by a column of values, by a scale, or by the first flag set."""

    columns: tuple[str, ...] = ()
    """Of ``cells.parquet``; none for one colour. Several are flags."""
    names: tuple[str, ...] = ()
    """What each colour means."""
    scale: tuple[float, float] | None = None
    """Values of the first and the last colour, where the column is a number."""

    def numbers(self, cells: "pd.DataFrame") -> NDArray[np.uint8]:
        """Give the number of each cell's colour (N,), from 1; 0 for those of none."""
        if not self.columns:
            return np.ones(len(cells), np.uint8)
        if len(self.columns) > 1:
            flags = cells[list(self.columns)].to_numpy(bool)
            return np.where(flags.any(axis=1), 1 + flags.argmax(axis=1), 0).astype(np.uint8)
        column = cells[self.columns[0]]
        if self.scale is not None:
            low, high = self.scale
            share = (column.to_numpy(np.float64) - low) / (high - low)
            shade = 1 + (share * SHADES).clip(0, SHADES - 1)
            return np.nan_to_num(shade, nan=0).astype(np.uint8)
        place = {name: at for at, name in enumerate(self.names, start=1)}
        codes, found = column.factorize()
        return np.array([*(place.get(text_of(x), 0) for x in found), 0], np.uint8)[codes]


@dataclass(frozen=True)
class LitTissue:
    """A tissue with cells of what was clicked."""

    tissue_id: str
    patient_id: str
    lit: int
    """Cells that are lit."""
    cells: int
    """Cells that took part in the analysis; 0 where it was not of cells."""


@dataclass(frozen=True, eq=False)
class Lit:
    """What was clicked."""

    title: str
    tissues: tuple[LitTissue, ...]
    """Those with most lit cells first."""
    path: Path | None = None
    """``cells.parquet``; None where the analysis tells nothing of cells."""
    column: str = ""
    """Of ``cells.parquet``: cells are lit whose value is one of `values`."""
    values: frozenset[str] = frozenset()
    kinds: Kinds = Kinds()
    """How they are coloured."""
    number: str = CELL
    """Column of ``cells.parquet`` that numbers the rows: cells, niches or patches."""

    @property
    def cells(self) -> int:
        """Cells that are lit in all tissues."""
        return sum(tissue.lit for tissue in self.tissues)

    @property
    def unit(self) -> str:
        """What is lit: cells, niches or patches."""
        return several(self.number.removesuffix("_id"))

    @property
    def patients(self) -> int:
        """Patients that have one of the tissues."""
        return len({tissue.patient_id for tissue in self.tissues if tissue.patient_id})


def lit_by(results: "Results", column: str, value: str) -> Lit:
    """Find the tissues and cells of what was clicked. Slow for many cells.

    Parameters
    ----------
    results
        What `read_results` gave.
    column, value
        A patient (``patient_id``), a tissue (``tissue_id``), a value of a column of
        ``cells.parquet`` or ``patients.csv``, or the name of a column of flags in the former.

    Raises
    ------
    InputError
        Nothing is known by that name.
    ReadError
        The cells cannot be read.
    """
    title = f"{column.removesuffix('_id').replace('_', ' ')} {value}"
    path = results.cells
    known = _columns(path) if isinstance(path, Path) else {}
    patients = _patients(results, column, value)
    if column != PATIENT and known.get(value) == "bool":
        column, value, patients = value, TRUE, None
    if isinstance(path, Path) and column in known and column != PATIENT:
        of_all = known if column == TISSUE else {}
        return _of_cells(path, title, column, frozenset({value}), of_all)
    if patients is None:
        message = (
            f"expected a patient, or a value of a column that the results keep of patients or "
            f"cells, found {column} {value!r}. Run the analysis again."
        )
        raise InputError(message)
    if isinstance(path, Path):
        return _of_cells(path, title, PATIENT, frozenset(patients), known)
    table = results.patients
    pairs = zip(texts_of(table[PATIENT]), texts_of(table[TISSUES]), strict=True)
    listed = (
        LitTissue(name, patient, 0, 0)
        for patient, names in pairs
        if patient in patients
        for name in filter(None, names.split(";"))
    )
    return Lit(title, tuple(listed))


def read_lit(lit: Lit, tissue_id: str) -> "pd.DataFrame":
    """Read the cells of a tissue, by ascending number.

    Returns
    -------
    pandas.DataFrame
        What numbers them (``cell_id`` or the like), ``patient_id``, the columns that colour them,
        ``x_um`` and ``y_um`` where they are known, and ``color``, from 1; 0 for those not lit.

    Raises
    ------
    ReadError
        The cells cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if lit.path is None:
        message = "expected cells in the results, found none; run the analysis again"
        raise ReadError(message)
    places = [name for name in PLACES if name in _columns(lit.path)]
    columns = dict.fromkeys((lit.number, PATIENT, lit.column, *lit.kinds.columns, *places))
    try:
        found = pq.read_table(lit.path, columns=list(columns), filters=[(TISSUE, "==", tissue_id)])
        table: pd.DataFrame = found.to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise ReadError(_damaged(lit.path, error)) from error
    table = table.sort_values(lit.number, ignore_index=True)
    chosen = _among(table[lit.column], lit.values)
    table["color"] = np.where(chosen, lit.kinds.numbers(table), 0).astype(np.uint8)
    return table


def _columns(path: Path) -> dict[str, str]:
    """Return the columns of a table of cells: bool, text, int, float or other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise ReadError(_damaged(path, error)) from error
    found = {}
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        is_kind = {
            "text": pa.types.is_string(kind) or pa.types.is_large_string(kind),
            "int": pa.types.is_integer(kind),
            "float": pa.types.is_floating(kind),
        }
        found[column.name] = next((name for name, yes in is_kind.items() if yes), str(kind))
    if not {TISSUE, PATIENT} <= set(found) or not {CELL, *SQUARES} & set(found):
        message = (
            f"{path.name}: expected columns {TISSUE}, {PATIENT} and {CELL} or the like, found "
            f"{', '.join(found)}. The results were edited: run the analysis again."
        )
        raise ReadError(message)
    return found


def _damaged(path: Path, error: Exception) -> str:
    found = f"found a damaged file ({error}); run the analysis again"
    return f"expected cells in {str(path)!r}, {found}"


def _kind_columns(known: Mapping[str, str]) -> tuple[str, ...]:
    """Return the column that says of what kind a cell is, else all flags, else a number."""
    own = [name for name in known if name not in {TISSUE, CELL, PATIENT, *SQUARES, *PLACES}]
    of_kind = [name for name in own if known[name] in {"text", "int"}]
    measured = [name for name in own if known[name] == "float"]
    flags = [name for name in own if known[name] == "bool"]
    return tuple(of_kind[:1] or (flags if len(flags) <= MOST_KINDS else []) or measured[:1])


def _patients(results: "Results", column: str, value: str) -> set[str] | None:
    """Return the patients that have this value; None where there is no such column."""
    table = results.patients
    if column not in table:
        return None
    texts = zip(texts_of(table[PATIENT]), texts_of(table[column]), strict=True)
    found = {patient for patient, text in texts if text == value}
    return found or None


def _of_cells(
    path: Path, title: str, column: str, values: frozenset[str], known: Mapping[str, str]
) -> Lit:
    """Count the lit cells of each tissue, batch by batch.

    Parameters
    ----------
    path, title, column, values
        As in `Lit`.
    known
        Columns of which one colours the cells; none for one colour.
    """
    counts: dict[str, list[Any]] = {}
    by = _kind_columns(known)
    seen: list[pd.Series[Any]] = []
    for batch in _batches(path, [TISSUE, PATIENT, column, *by]):
        lit = _among(batch[column], values)
        if len(by) > 1:
            lit &= batch[list(by)].to_numpy(bool).any(axis=1)
        tissues, names = batch[TISSUE].factorize()
        everyone = np.bincount(tissues, minlength=len(names))
        ours = np.bincount(tissues[lit], minlength=len(names))
        firsts = batch[PATIENT].to_numpy(object)[np.unique(tissues, return_index=True)[1]]
        for number, name in enumerate(names):
            entry = counts.setdefault(str(name), [text_of(firsts[number]), 0, 0])
            entry[1] += int(ours[number])
            entry[2] += int(everyone[number])
        if len(by) == 1:
            shown = batch[by[0]][lit].dropna()
            seen.append(shown if known[by[0]] == "float" else shown.drop_duplicates())
    found = [LitTissue(name, *entry) for name, entry in counts.items() if entry[1]]
    found.sort(key=lambda tissue: (-tissue.lit, tissue.tissue_id))
    there = _columns(path)
    number = next(name for name in (CELL, *SQUARES) if name in there)
    kinds = Kinds(by, by) if len(by) > 1 else _kinds_of(by, seen)
    return Lit(title, tuple(found), path, column, values, kinds, number)


def _kinds_of(by: tuple[str, ...], seen: "list[pd.Series[Any]]") -> Kinds:
    """Give colours to the values of a column."""
    import pandas as pd

    if not seen or not sum(map(len, seen)):
        return Kinds()
    values = pd.concat(
        [
            column.astype(column.dtype.categories.dtype)
            if isinstance(column.dtype, pd.CategoricalDtype)
            else column
            for column in seen
        ]
    )
    if values.dtype.kind == "f":
        low, high = (float(end) for end in np.percentile(values, (1, 99)))
        if not low < high:
            return Kinds()
        names = tuple(f"{value:.3g}" for value in np.linspace(low, high, SHADES))
        return Kinds(by, names, (low, high))
    names = tuple(text_of(value) for value in sorted(values.unique()))
    return Kinds(by, names) if 1 < len(names) <= MOST_KINDS else Kinds()


def _batches(path: Path, columns: Iterable[str]) -> "Iterable[pd.DataFrame]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(columns))):
                yield batch.to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise ReadError(_damaged(path, error)) from error


def _among(column: "pd.Series[Any]", values: frozenset[str]) -> NDArray[np.bool_]:
    """Tell which of N values are among those."""
    codes, found = column.factorize()
    hits = np.array([*(text_of(value) in values for value in found), False])
    return hits[codes]
