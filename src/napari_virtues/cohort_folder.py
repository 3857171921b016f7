"""An analysis folder as the *Cohort* dock shows it. Knows no Qt; reading is for any thread."""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtues.artifacts import MOST_ROWS, Table
from napari_virtues.linked_drawing import Drawing, drawing_of, text_of
from virtues_core.cohort.patients.results import Results, read_results
from virtues_core.errors import ReadError

if TYPE_CHECKING:
    import pandas as pd

    from virtues_core.cohort.patients.results import LinkedPlot

PATIENTS = "patients"
REPORT = "report.html"


@dataclass(frozen=True, eq=False)
class ShownPlot:
    """A plot, laid out."""

    plot: "LinkedPlot"
    drawing: Drawing


@dataclass(frozen=True, eq=False)
class ShownResults:
    """What a folder holds, ready to be shown."""

    folder: Path
    results: Results
    headline: tuple[str, ...]
    """The figure that can be trusted most first."""
    plots: tuple[ShownPlot, ...]
    tables: dict[str, Table] = field(default_factory=dict)
    """Name → its first rows as text; that of the patients first."""

    @property
    def report(self) -> Path | None:
        """The page that any browser opens, where it was written."""
        path = self.folder / REPORT
        return path if path.is_file() else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know."""
        return tuple(self.results.notes)

    @property
    def command(self) -> str:
        """What repeats the analysis."""
        return str(self.results.summary.get("command", ""))

    @property
    def images(self) -> dict[str, str]:
        """Tissue → path of its image, as its table of cells says."""
        found = self.results.summary.get("images")
        where = Path(str(self.results.summary.get("folder", ".")))
        return {str(k): str(where / str(v)) for k, v in found.items()} if found else {}

    def link_of(self, table: str, row: dict[str, str]) -> tuple[str, str] | None:
        """Return the column and value that a row of a table leads to; None where to nothing."""
        links = [shown.plot.link for shown in self.plots if shown.plot.table == table]
        for column in (*links, "patient_id"):
            if row.get(column):
                return column, row[column]
        return None


def read_folder(folder: Path) -> ShownResults:
    """Read an analysis folder.

    Raises
    ------
    ReadError
        It is none, half-written, edited, or of a newer version.
    """
    results = read_results(folder)
    tables = {PATIENTS: results.patients, **results.tables}
    plots = tuple(ShownPlot(x, drawing_of(x, tables[x.table])) for x in results.plots)
    shown = {name: _as_text(name, table) for name, table in tables.items()}
    return ShownResults(folder, results, headline_of(results), plots, shown)


def headline_of(results: Results) -> tuple[str, ...]:
    """Say the main figures as the report does."""
    from virtues_core.report.page import CONTENTS

    module = CONTENTS.get(results.analysis)
    if module is None:
        return (f"{results.analysis}: this version has no report of it",)
    try:
        headline: tuple[str, ...] = importlib.import_module(module).content(results).headline
    except (KeyError, TypeError, ValueError, IndexError) as error:
        message = (
            f"the tables of {results.analysis!r} are not those that it writes "
            f"({type(error).__name__} {error}). They were edited: run the analysis again."
        )
        raise ReadError(message) from error
    return headline


def _as_text(name: str, table: "pd.DataFrame") -> Table:
    first = table.iloc[:MOST_ROWS]
    rows = zip(*([_short(value) for value in first[column]] for column in first), strict=True)
    return Table(name, tuple(map(str, table)), tuple(rows), len(table) > MOST_ROWS)


def _short(value: object) -> str:
    if isinstance(value, float) and not value.is_integer():
        return "" if value != value else f"{value:.4g}"  # noqa: PLR0124 - NaN
    return text_of(value)
