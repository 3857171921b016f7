"""The folder that an analysis of a cohort leaves, and that the window and the report read.

::

    summary.json          {"format", "analysis", headline numbers, "notes", "settings", "versions",
                          "command", "folder" (where it was run), "clinical", "cells", "images",
                          "files" (all that belong to it), "rows" (how many each table has)}
    patients.csv          a row a patient: patient_id, tissues (joined by ";"), what was found
    cells.parquet         tissue_id, cell_id, patient_id and what was found, in row groups
    tables/NAME.csv
    plots.json            what is to be drawn from the tables (`LinkedPlot`)
    report.html, figures  by `virtues report`
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from virtues_core.cohort.patients.joined import PatientCells
from virtues_core.cohort.patients.results_files import (
    count_rows,
    read_csv,
    read_json,
    unreadable,
    write_cells,
    write_json,
)
from virtues_core.cohort.patients.token_file import NUMBER
from virtues_core.cohort.patients.wording import some
from virtues_core.errors import InputError, ReadError
from virtues_core.files import check_writable, replacing
from virtues_core.run_dir import versions

if TYPE_CHECKING:
    import pandas as pd

SUMMARY, PATIENTS, CELLS, PLOTS = "summary.json", "patients.csv", "cells.parquet", "plots.json"
TABLES = "tables"
FORMAT = 1
"""Of the folder; a newer one is refused."""
_OWN = {SUMMARY, PATIENTS, CELLS, PLOTS, TABLES, "report.html", "figures", "forests", "model"}
_OWN |= {".DS_Store", "Thumbs.db"}  # of desktops
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

Kind = Literal["steps", "points", "bars", "heat"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class LinkedPlot:
    """A plot that the window draws from a table, whose points lead back to tissues."""

    name: str
    title: str
    kind: Kind
    """steps (curves), points, bars, or heat (a value at each x and y)."""
    table: str
    """Its name in `Results.tables`; ``patients`` means `Results.patients`."""
    x: str
    y: str
    """Of steps and bars the table's columns ``lower`` and ``upper``, where it has them, are the
    interval of y."""
    by: str = ""
    """Column that parts series, or colours; of a heat map the value. Empty for none."""
    link: str = ""
    """Column whose value at a point names a patient (``patient_id``) or a value of the column of
    the same name in patients.csv or cells.parquet; empty where points lead nowhere."""
    x_title: str = ""
    y_title: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            message = f"kind: expected one of {', '.join(KINDS)}, found {self.kind!r}."
            raise InputError(message)


@dataclass(frozen=True, eq=False)
class Results:
    """What an analysis found."""

    analysis: str
    """Its name: stratify, response, biomarkers, transfer, tissue-level, retrieval."""
    summary: Mapping[str, Any]
    """Headline numbers (None where an honest one cannot be given) and what `origin` says."""
    patients: "pd.DataFrame"
    """A row a patient: ``patient_id``, ``tissues``, what was found."""
    cells: "pd.DataFrame | Path | None" = None
    """Rows of cells: ``tissue_id``, ``cell_id``, ``patient_id`` and what was found; of a folder
    that was read, and where they are many, a Parquet file."""
    tables: "Mapping[str, pd.DataFrame]" = field(default_factory=dict)
    plots: tuple[LinkedPlot, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know, first what could not be said."""

    def read_cells(self, columns: Sequence[str] | None = None, **equal: Any) -> "pd.DataFrame":
        """Read rows of cells into memory.

        Parameters
        ----------
        columns
            Which; all by default.
        equal
            Column → value that the rows must have.

        Raises
        ------
        InputError
            There are no cells, or no such column.
        """
        import pandas as pd

        if self.cells is None:
            message = f"expected cells in the results of {self.analysis}, found none."
            raise InputError(message)
        if isinstance(self.cells, pd.DataFrame):
            there: Sequence[str] = [str(name) for name in self.cells.columns]
        else:
            import pyarrow.parquet as pq

            there = pq.read_schema(self.cells).names
        lacking = [name for name in (*(columns or ()), *equal) if name not in there]
        if lacking:
            message = f"expected columns out of {', '.join(there)}; found {', '.join(lacking)}."
            raise InputError(message)
        wanted = list(there if columns is None else columns)
        if isinstance(self.cells, pd.DataFrame):
            kept = np.ones(len(self.cells), bool)
            for name, value in equal.items():
                kept &= (self.cells[name] == value).to_numpy()
            return self.cells.loc[kept, wanted].reset_index(drop=True)
        filters = [(name, "==", value) for name, value in equal.items()]
        return pd.read_parquet(self.cells, columns=wanted, filters=filters or None)


def origin(joined: PatientCells, config: Any, command: str = "") -> dict[str, Any]:
    """Say what a summary says of where results come from.

    Parameters
    ----------
    joined
        What was analysed.
    config
        The analysis' frozen configuration.
    command
        What a person types to have it again.

    Returns
    -------
    dict
        ``settings``, ``columns``, ``command``, ``folder``, ``clinical``, ``cells``, ``images``.
    """
    own = joined.cells.cells.loc[joined.codes >= 0, "tissue_id"].unique()
    images = joined.cells.images
    return {
        "settings": dataclasses.asdict(config),
        "columns": dataclasses.asdict(joined.clinical.columns),
        "command": command,
        "folder": str(Path.cwd()),
        "clinical": joined.clinical.path,
        "cells": [str(path) for path in joined.cells.paths],
        "images": {str(name): images[str(name)] for name in own if str(name) in images},
    }


def cells_of(joined: PatientCells, **found: Any) -> "pd.DataFrame":
    """Give rows of cells of the patients analysed, with what was found of each.

    Parameters
    ----------
    joined
        What was analysed.
    found
        Column → (N,) values, one for each row of ``joined.cells``.
    """
    import pandas as pd

    table = joined.cells.cells
    number = NUMBER[joined.cells.level]
    names = pd.Categorical.from_codes(joined.codes, pd.Index(joined.patients, dtype=object))
    rows = table[["tissue_id", number]].assign(patient_id=names, **found)
    return rows[joined.codes >= 0].reset_index(drop=True)


def write_results(results: Results, out: Path | str) -> Path:
    """Write the folder of an analysis; an older one is replaced when the new one is whole.

    Parameters
    ----------
    results
        What was found.
    out
        The folder: new, empty, or one of an analysis.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    InputError
        The folder holds something else, a table's name is no name, or a plot asks for a table or
        a column that is not there.
    VirtuesError
        The disk is full or the folder cannot be written; the older one is untouched.
    """
    out = check_out(out)
    _check_plots(results)
    with replacing(out) as new:
        (new / TABLES).mkdir(parents=True)
        results.patients.to_csv(new / PATIENTS, index=False)
        for name, table in results.tables.items():
            table.to_csv(new / TABLES / f"{name}.csv", index=False)
        write_cells(results.cells, new / CELLS)
        write_json(new / PLOTS, [dataclasses.asdict(plot) for plot in results.plots])
        files = sorted(str(p.relative_to(new).as_posix()) for p in new.rglob("*") if p.is_file())
        write_json(
            new / SUMMARY,
            {"format": FORMAT, "analysis": results.analysis}
            | dict(results.summary)
            | {"notes": list(results.notes), "versions": _versions(), "files": files}
            | {"rows": _row_counts(results)},
        )
    return out


def check_out(out: Path | str) -> Path:
    """Return a folder that `write_results` may write; called before a long analysis.

    Raises
    ------
    InputError
        It is a file, or holds what no analysis wrote, which would be lost.
    VirtuesError
        It cannot be written.
    """
    out = Path(out)
    check_writable(out)
    inside = {path.name for path in out.iterdir()} if out.is_dir() else set()
    strange = inside - _OWN if is_results(out) else inside
    if out.is_file() or strange:
        message = (
            f"expected a new or empty folder, or one of an earlier analysis, found {str(out)!r} "
            f"with something else in it ({some(strange) or 'a file'}). Choose another --out."
        )
        raise InputError(message)
    return out


def is_results(folder: Path) -> bool:
    """Tell whether a folder is one of an analysis."""
    return (folder / SUMMARY).is_file() and (folder / PATIENTS).is_file()


def read_results(out: Path | str) -> Results:
    """Read the folder of an analysis.

    Parameters
    ----------
    out
        By `write_results`.

    Returns
    -------
    Results
        Its ``cells`` are a file, where there are any; see `Results.read_cells`.

    Raises
    ------
    ReadError
        It is no such folder, half-written, edited so that it no longer fits (a table that lost
        rows), or of a newer version.
    """
    out = Path(out)
    summary = read_json(out / SUMMARY, dict)
    if not isinstance(summary.get("format"), int) or not isinstance(summary.get("analysis"), str):
        raise unreadable(out / SUMMARY, "no format and analysis in it")
    if summary["format"] > FORMAT:
        message = (
            f"expected an analysis of format {FORMAT} in {str(out)!r}, found {summary['format']}, "
            "of a newer version. Update napari-virtues, or run the analysis again."
        )
        raise ReadError(message)
    files, notes = summary.pop("files", []), summary.pop("notes", [])
    rows = summary.pop("rows", {})
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise unreadable(out / SUMMARY, f"files {files!r}")
    lacking = [name for name in files if not (out / name).is_file()]
    if lacking:
        raise unreadable(out, f"{', '.join(lacking)} is missing")
    tables = {
        Path(name).stem: read_csv(out / name) for name in files if Path(name).parent == Path(TABLES)
    }
    try:
        plots = tuple(LinkedPlot(**plot) for plot in read_json(out / PLOTS, list))
        found = Results(
            str(summary["analysis"]), summary, read_csv(out / PATIENTS),
            out / CELLS if (out / CELLS).is_file() else None, tables, plots,
            tuple(str(note) for note in notes),
        )  # fmt: skip
        _check_plots(found)
        _check_rows(out, found, rows)
    except (TypeError, InputError) as error:
        raise unreadable(out / PLOTS, str(error)) from error
    return found


def _row_counts(results: Results) -> dict[str, int]:
    """Count the rows of each table, by its file."""
    tables = {f"{TABLES}/{name}.csv": table for name, table in results.tables.items()}
    tables[PATIENTS] = results.patients
    counts = {name: len(table) if len(table.columns) else 0 for name, table in tables.items()}
    if isinstance(results.cells, Path):
        counts[CELLS] = count_rows(results.cells)
    elif results.cells is not None:
        counts[CELLS] = len(results.cells)
    return counts


def _check_rows(out: Path, results: Results, written: Any) -> None:
    """Refuse a folder one of whose tables has other rows than were written."""
    if not isinstance(written, dict):
        raise unreadable(out / SUMMARY, f"rows {written!r}")
    for name, found in _row_counts(results).items():
        if written.get(name, found) != found:
            message = (
                f"expected the {written[name]} rows that the analysis wrote in {str(out / name)!r},"
                f" found {found}: it was edited, or is not whole. Restore it, or run the analysis "
                "again."
            )
            raise ReadError(message)


def _check_plots(results: Results) -> None:
    """Refuse names of tables that are no names, and plots of what is not there."""
    odd = [name for name in results.tables if not _NAME.fullmatch(name) or name == "patients"]
    if odd:
        message = f"expected tables named by letters, digits, _ and -, found {', '.join(odd)}."
        raise InputError(message)
    tables = {"patients": results.patients, **results.tables}
    for plot in results.plots:
        if plot.table not in tables:
            message = (
                f"{plot.name}: expected a table out of {', '.join(tables)}; found {plot.table!r}."
            )
            raise InputError(message)
        wanted = {plot.x, plot.y, plot.by, plot.link} - {""}
        lacking = wanted - set(tables[plot.table].columns)
        if lacking:
            message = (
                f"{plot.name}: expected a column {' and '.join(sorted(lacking))} in table "
                f"{plot.table!r}, found none."
            )
            raise InputError(message)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    libraries = ("numpy", "scipy", "pandas", "scikit-learn", "lifelines", "pot", "statsmodels")
    return versions() | {name: version(name) for name in libraries}
