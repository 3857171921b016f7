"""The page of a report: headline, notes, figures, tables, methods, settings, the command.

One file: styles and figures lie in it, it loads nothing and runs no script, and its
*content security policy* has the browser hold it to that. All text of the results is escaped.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from virtues_core.cohort.patients.results import Results, read_results
from virtues_core.errors import InputError, ReadError
from virtues_core.files import replacing
from virtues_core.report.figure import Figure, printable, svg
from virtues_core.report.numbers import number

PAGE = "report.html"
FIGURES = "figures"
CONTENTS: Mapping[str, str] = {
    "biomarkers": "virtues_core.report.biomarkers",
    "response": "virtues_core.report.response",
    "retrieval": "virtues_core.report.retrieval",
    "stratify": "virtues_core.report.stratify",
    "transfer": "virtues_core.report.transfer",
    "tissue-level": "virtues_core.report.tissue_level",
}
"""Analyses by name, and the module whose ``content(results) -> Content`` says what is told."""
SETTINGS = {"settings": "Settings", "columns": "Columns", "versions": "Versions"}
"""Parts of a summary that are shown as they are, and their titles."""
MOST_ROWS = 25
"""Of a table that are shown; its CSV has all."""
MOST_COLUMNS = 12
MOST_TITLE = 60
"""Letters of the title of a table."""


@dataclass(frozen=True)
class Table:
    """How one table of a report is called, and what its columns mean."""

    title: str
    """A few words, as a heading has."""
    caption: str = ""
    """Whole sentences, shown beneath it."""

    def __post_init__(self) -> None:
        if len(self.title) > MOST_TITLE:
            message = (
                f"a table's title has up to {MOST_TITLE} letters, found {len(self.title)}: "
                f"{self.title!r}. The caption takes the rest."
            )
            raise InputError(message)


@dataclass(frozen=True)
class Content:
    """What a report of one analysis tells."""

    title: str
    headline: tuple[str, ...]
    """Sentences with the main figures; the one that can be trusted most comes first."""
    figures: tuple[Figure, ...]
    tables: Mapping[str, Table] = field(default_factory=dict)
    """Names of the results' tables in the order shown, and what is told of them; ``patients`` is
    that of ``patients.csv``."""
    methods: str = ""
    """Methods text with the numbers of the settings; paragraphs parted by an empty line."""

    def __post_init__(self) -> None:
        names = [figure.name for figure in self.figures]
        if len(set(names)) < len(names):
            message = f"figures of one report have names of their own, found {', '.join(names)}."
            raise InputError(message)


@dataclass(frozen=True)
class _Shown:
    """A table as the page shows it: text, and which columns hold numbers."""

    title: str
    caption: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str


def write_report(out: Path | str, page: Path | str | None = None) -> Path:
    """Make the report of an analysis folder (anew): its page, and each figure as SVG.

    Parameters
    ----------
    out
        Folder that an analysis of a cohort has written; ``report.html`` and ``figures/`` in it
        are replaced.
    page
        Where the page shall stand instead; the figures are in it, so that it can be sent.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    ReadError
        The folder is no analysis folder, incomplete, or of an analysis without a report.
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    out = Path(out)
    results = read_results(out)
    if results.analysis not in CONTENTS:
        message = (
            f"expected results of {', '.join(CONTENTS)} in {str(out)!r}, found "
            f"{results.analysis!r}. This version has no report of it."
        )
        raise ReadError(message)
    module = importlib.import_module(CONTENTS[results.analysis])
    try:
        return write_page(out, results, module.content(results), page)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        message = (
            f"the tables in {str(out)!r} are not those that {results.analysis!r} writes: "
            f"{type(error).__name__} {error}. Run the analysis again: its folder was changed, or "
            "is of another version."
        )
        raise ReadError(message) from error


def write_page(
    out: Path, results: Results, content: Content, page: Path | str | None = None
) -> Path:
    """Write what is told of results: ``report.html`` and ``figures/*.svg`` into their folder.

    Parameters
    ----------
    out
        The analysis folder.
    results
        What it holds.
    content
        What is told of it.
    page
        Where the page shall stand instead of ``out/report.html``.

    Returns
    -------
    pathlib.Path
        The page.
    """
    drawn = {figure.name: svg(figure) for figure in content.figures}
    text = html(results, content, drawn)
    with replacing(out / FIGURES) as folder:
        folder.mkdir()
        for name, element in drawn.items():
            (folder / f"{name}.svg").write_text(f"{element}\n", "utf-8")
    path = out / PAGE if page is None else Path(page)
    with replacing(path) as new:
        new.write_text(text, "utf-8")
    return path


def html(results: Results, content: Content, drawn: Mapping[str, str]) -> str:
    """Compose the page.

    Parameters
    ----------
    results
        Tables, notes, settings, versions and command.
    content
        What is told.
    drawn
        Figures of `content` by name, as ``<svg>`` elements.

    Returns
    -------
    str
        An HTML document.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = resources.files("virtues_core.report").joinpath("page.html").read_text("utf-8")
    summary = results.summary
    text = environment.from_string(template).render(
        content=content,
        analysis=results.analysis,
        notes=results.notes,
        figures=[(figure, Markup(drawn[figure.name])) for figure in content.figures],
        tables=[_shown(results, name, told) for name, told in content.tables.items()],
        methods=[p.strip() for p in content.methods.split("\n\n") if p.strip()],
        settings={
            title: list(flattened(summary.get(key) or {})) for key, title in SETTINGS.items()
        },
        command=summary.get("command") or "",
        folder=summary.get("folder") or "",
    )
    return printable(text)


def flattened(settings: Mapping[str, object], within: str = "") -> Iterator[tuple[str, str]]:
    """Give settings as names and text, those of a group behind its name.

    Examples
    --------
    >>> list(flattened({"states": 120, "cox": {"adjust": ["age", "stage"]}, "only": []}))
    [('states', '120'), ('cox.adjust', 'age, stage'), ('only', '–')]
    """
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", _setting(value)


def _setting(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = ", ".join(_setting(v) for v in value)
    return number(None) if value is None or value == "" else str(value)


def _shown(results: Results, name: str, told: Table) -> _Shown:
    """Choose what is shown of a table, and say what is not."""
    patients = name == "patients"
    table = results.patients if patients else results.tables[name]
    shown = table.iloc[:MOST_ROWS, :MOST_COLUMNS]
    file = "patients.csv" if patients else f"tables/{name}.csv"
    more = f"All of it: {file}."
    if shown.shape != table.shape:
        more = (
            f"{len(shown):,} of {len(table):,} rows and {shown.shape[1]} of {table.shape[1]} "
            f"columns are shown; all are in {file}."
        )
    numeric = tuple(
        pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
        for kind in shown.dtypes
    )
    columns = [_fields(values) for _, values in shown.items()]
    rows = tuple(zip(*columns, strict=True))
    names = tuple(str(column) for column in shown.columns)
    return _Shown(told.title, told.caption, names, numeric, rows, more)


def _fields(values: "pd.Series[Any]") -> list[str]:
    """Print a column; whole numbers whole, also where one that is missing made them fractions."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        return [number(None if pd.isna(value) else int(value)) for value in values]
    return [_field(value) for value in values]


def _field(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return number(value) if value is None or isinstance(value, Real) else str(value)
