"""Tables of cells (or niches) of a cohort, as one: what is known of each row, tokens on disk."""

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients.token_file import (
    NUMBER,
    UNKNOWN,
    RowLevel,
    Rows,
    TokenFile,
    check_level,
    open_token_file,
    several,
)
from virtues_core.cohort.patients.wording import counted, report, some
from virtues_core.errors import InputError, ReadError

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".h5ad", ".zarr")
BATCH_ROWS = 65536
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class CellTables:
    """N cells (or niches) of several tables, in the order of the files."""

    cells: "pd.DataFrame"
    """N rows, numbered from 0. tissue_id (category), cell_id or niche_id (int64), patient_id
    (category, "" where none is known), x_um, y_um (float32, NaN where none); cell_type (category,
    "" where unknown) where all tables have it; further columns that were asked for."""
    files: tuple[TokenFile, ...]
    level: RowLevel
    dim: int
    """D, the width of tokens."""
    signature: str
    """Tells the weights that made the tokens from those of any other."""
    markers: tuple[str, ...]
    """Names, in the first table, of the M markers that all tables show and the model saw."""
    marker_keys: tuple[str, ...]
    """Their keys: accession or ``stain:dna``."""
    images: Mapping[str, str]
    """``tissue_id`` → the image file, where a table says so."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""
    pixel_um: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """``tissue_id`` → (y, x) size of a pixel of its image, where a table says so."""

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(file.path for file in self.files)

    def batches(
        self, rows: int = BATCH_ROWS, features: Rows = "tokens"
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Read all rows, some at a time.

        Parameters
        ----------
        rows
            How many at a time; the last batch may have fewer. That many are in memory, twice
            while they are put together.
        features
            ``tokens``, or ``intensities``: the logarithm of mean intensities of `markers`
            (`signed_log`), channels of one marker averaged.

        Yields
        ------
        slice
            Which rows of `cells`.
        numpy.ndarray
            (n, D) or (n, M) float32, finite.

        Raises
        ------
        InputError
            Values are not finite, or there are no intensities that all tables share.
        ReadError
            A file has gone or broken since.
        """
        self._check(features)
        if rows < 1:
            message = f"expected batches of 1 row or more, found {rows}."
            raise InputError(message)
        held: list[NDArray[np.float32]] = []
        first = count = 0
        for file in self.files:
            for start, stop in _pieces(file.rows, rows, held=count):
                held.append(file.read(slice(start, stop), features, self.marker_keys))
                count += stop - start
                if count == rows:
                    yield slice(first, first + count), _joined(held)
                    first, count, held = first + count, 0, []
        if count:
            yield slice(first, first + count), _joined(held)

    def take(self, rows: NDArray[np.integer], features: Rows = "tokens") -> NDArray[np.float32]:
        """Read some rows, in the order given; a row may be given twice.

        Parameters
        ----------
        rows
            (k,) numbers of rows of `cells`.
        features
            As in `batches`.

        Returns
        -------
        numpy.ndarray
            (k, D) or (k, M) float32, finite.

        Raises
        ------
        InputError
            A number is no row; else as `batches`.
        """
        self._check(features)
        wanted, place = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        if wanted.size and (wanted[0] < 0 or wanted[-1] >= len(self)):
            message = f"expected rows from 0 to {len(self) - 1}, found {wanted[0]} to {wanted[-1]}."
            raise InputError(message)
        ends = np.cumsum([0, *(file.rows for file in self.files)])
        cuts = np.searchsorted(wanted, ends)
        width = self.dim if features == "tokens" else len(self.marker_keys)
        found = np.empty((len(wanted), width), np.float32)
        for file, begin, a, b in zip(self.files, ends[:-1], cuts[:-1], cuts[1:], strict=True):
            if b > a:
                found[a:b] = file.read(wanted[a:b] - begin, features, self.marker_keys)
        return found[place]

    def _check(self, features: str) -> None:
        if features not in {"tokens", "intensities"}:
            message = f"expected features out of tokens, intensities; found {features!r}."
            raise InputError(message)
        if features == "intensities" and not self.marker_keys:
            message = (
                "expected mean intensities of a marker that all tables show, found none. Make the "
                "tables with `virtues embed`, from images that share a marker."
            )
            raise InputError(message)


def open_cells(
    paths: Sequence[Path | str],
    columns: Sequence[str] = (),
    *,
    level: str = "cell",
    progress: Progress | None = None,
) -> CellTables:
    """Open tables of tokens without reading the tokens.

    Parameters
    ----------
    paths
        ``.h5ad`` and ``.zarr`` by `virtues embed`, folders of them, or patterns.
    columns
        Further columns of ``obs``, which all tables must have.
    level
        ``cell``, ``niche`` or ``patch``: of what the rows must be.
    progress
        Told how many tables are open, of how many, of what.

    Returns
    -------
    CellTables

    Raises
    ------
    ReadError
        Nothing is there, or no AnnData.
    InputError
        Tables of another level or of several checkpoints, without tokens or a column; a tissue in
        two tables, a cell twice, rows without a tissue: all that is wrong, by count and name.
    """
    kind = check_level(level)
    files, rows = _opened(paths, kind, columns, progress)
    typed = ["cell_type" in own for own in rows]
    left_out = [] if all(typed) else ["cell_type"]
    cells = _one_below_the_other([own.drop(columns=left_out, errors="ignore") for own in rows])
    keys, names = _shared_markers(files)
    notes = _notes(typed, level, files, cells)
    of_tissue = {
        str(tissue): file
        for file, own in zip(files, rows, strict=True)
        for tissue in own["tissue_id"].cat.categories
    }
    images = {tissue: file.image for tissue, file in of_tissue.items() if file.image}
    pixel_um = {tissue: f.pixel_um for tissue, f in of_tissue.items() if f.pixel_um is not None}
    made = files[0].made_with.signature
    return CellTables(
        cells, tuple(files), kind, files[0].dim, made, names, keys, images, notes, pixel_um
    )


def _opened(
    paths: Sequence[Path | str],
    level: RowLevel,
    columns: Sequence[str],
    progress: Progress | None,
) -> tuple[list[TokenFile], "list[pd.DataFrame]"]:
    """Open all tables that have rows; tell all that is wrong with any."""
    files: list[TokenFile] = []
    rows: list[pd.DataFrame] = []
    unreadable: list[str] = []
    problems: list[str] = []
    found = table_paths(paths)
    for done, path in enumerate(found, start=1):
        try:
            file, own = open_token_file(path, level, columns)
        except ReadError as error:
            unreadable.append(str(error))
        except InputError as error:
            problems.append(str(error))
        else:
            problems += _wrong_rows(file, own)
            if file.rows:
                files.append(file)
                rows.append(own)
        if progress is not None:
            progress(done, len(found), "opened table")
    problems += [*_of_files(files), *_in_two(files, rows)]
    if not files and not problems and not unreadable:
        problems.append(
            f"expected {several(level)}, found none in {some(paths)}. Embed images with cells."
        )
    if problems or unreadable:
        kind = InputError if problems else ReadError
        raise kind(report("tables of tokens", [*unreadable, *problems]))
    return files, rows


def table_paths(paths: Sequence[Path | str]) -> list[Path]:
    """List the tables that files, folders and patterns name, each once.

    Raises
    ------
    ReadError
        A folder without tables, or a pattern that matches nothing.
    """
    found: list[Path] = []
    for name in paths:
        path = Path(name).expanduser()
        if path.is_dir() and path.suffix != ".zarr":
            inside = sorted(p for p in path.iterdir() if _is_table(p))
        elif path.exists() or (path.suffix in ENDINGS and not glob.has_magic(str(path))):
            inside = [path]
        else:
            inside = [Path(p) for p in sorted(glob.glob(str(path)))]  # noqa: PTH207
        if not inside:
            message = (
                f"expected tables ({' or '.join(ENDINGS)}) at {str(name)!r}, found none. Check the "
                "path, put a pattern in quotes, or make tables with `virtues embed`."
            )
            raise ReadError(message)
        found += inside
    return list(dict.fromkeys(found))


def _is_table(path: Path) -> bool:
    return path.suffix in ENDINGS and not path.name.startswith(".")


def _pieces(count: int, rows: int, *, held: int) -> Iterator[tuple[int, int]]:
    """Part a file's rows into pieces, the first of which fills up what is held."""
    start, stop = 0, rows - held
    while start < count:
        yield start, min(stop, count)
        start, stop = stop, stop + rows


def _joined(held: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return held[0] if len(held) == 1 else np.concatenate(held)


def _of_files(files: Sequence[TokenFile]) -> list[str]:
    """Tell tables of different checkpoints or widths."""
    by: dict[tuple[str, int], list[TokenFile]] = {}
    for file in files:
        by.setdefault((file.made_with.signature, file.dim), []).append(file)
    if len(by) < 2:
        return []
    told = [
        f"{own[0].made_with.checkpoint!r} ({dim} values) in {some(file.path.name for file in own)}"
        for (_, dim), own in by.items()
    ]
    return [
        f"expected tokens of one checkpoint, found {len(by)}: {'; '.join(told)}. Embed all images "
        "with the same one."
    ]


def _wrong_rows(file: TokenFile, rows: "pd.DataFrame") -> list[str]:
    """Tell rows without a tissue, and rows of one tissue that have one number."""
    number = NUMBER[file.made_with.level]
    problems = []
    nameless = int((rows["tissue_id"] == "").sum())
    if nameless:
        problems.append(
            f"{counted(nameless, 'row')} of {file.path.name!r} without a tissue. "
            "Embed the image again with --tissue."
        )
    again = rows.duplicated(["tissue_id", number])
    if again.any():
        told = some(rows.loc[again, "tissue_id"].unique())
        problems.append(
            f"{counted(int(again.sum()), 'row')} of {file.path.name!r} with a {number} that is "
            f"there before, in {told}. Number the cells of each tissue, or embed it again."
        )
    return problems


def _in_two(files: Sequence[TokenFile], rows: Sequence["pd.DataFrame"]) -> list[str]:
    """Tell tissues that are in two tables."""
    where: dict[str, list[str]] = {}
    for file, own in zip(files, rows, strict=True):
        for tissue in own["tissue_id"].cat.categories:
            where.setdefault(str(tissue), []).append(file.path.name)
    twice = {tissue: names for tissue, names in where.items() if len(names) > 1 and tissue}
    if not twice:
        return []
    told = some(f"{tissue} ({' and '.join(names[:2])})" for tissue, names in twice.items())
    return [
        f"{counted(len(twice), 'tissue')} in two tables: {told}. Leave one of them out, or embed "
        "with another --tissue."
    ]


def _one_below_the_other(rows: Sequence["pd.DataFrame"]) -> "pd.DataFrame":
    import pandas as pd

    found: dict[str, Any] = {}
    for name in rows[0].columns:
        parts = [own[name] for own in rows]
        if all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
            found[name] = pd.api.types.union_categoricals(parts, sort_categories=True)
        else:
            found[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(found)


def _shared_markers(files: Sequence[TokenFile]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give keys and names of markers that all tables show and the model saw."""
    keys = [
        file.var.loc[file.var["in_model"].astype(bool), "key"].astype(str)
        if len(file.var)
        else file.var.index[:0].to_series()
        for file in files
    ]
    named = {key: str(name) for name, key in reversed(list(keys[0].items())) if key}
    shared = set(named).intersection(*(set(own) for own in keys[1:]))
    order = [key for key in dict.fromkeys(keys[0]) if key in shared]
    return tuple(order), tuple(named[key] for key in order)


def _notes(
    typed: Sequence[bool], level: str, files: Sequence[TokenFile], cells: "pd.DataFrame"
) -> tuple[str, ...]:
    notes = []
    if any(typed) and not all(typed):
        notes.append(
            f"{sum(typed)} of {len(typed)} tables have types of {several(level)}: they are not "
            "used. Type the others with `virtues annotate predict`."
        )
    if files[0].made_with.checkpoint == UNKNOWN:
        notes.append(
            "the tables do not say which model made their tokens: that it is one and the same "
            "is taken on trust"
        )
    number = NUMBER[files[0].made_with.level]
    unnumbered = int((cells[number] < 0).sum())
    if unnumbered:
        notes.append(
            f"{counted(unnumbered, 'row')} without {number}: they are not shown in their images"
        )
    return tuple(notes)
