"""Panels as CSV: steinbock's columns, then ours.

``channel`` (the metal, or the name where there is none), ``name``, ``keep``, ``ilastik``,
``deepcell`` | ``accession``, ``symbol``, ``status``, ``source``, ``form``, ``note``.
"""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from virtues_core.errors import MarkerError
from virtues_core.files import replacing
from virtues_core.markers.entry import PanelEntry, Status, check_entry
from virtues_core.markers.registry import FORMS

STEINBOCK_COLUMNS = ("channel", "name", "keep", "ilastik", "deepcell")
OUR_COLUMNS = ("accession", "symbol", "status", "source", "form", "note")


def write_panel(entries: tuple[PanelEntry, ...], path: Path) -> None:
    """Write entries, one a row."""
    with replacing(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*STEINBOCK_COLUMNS, *OUR_COLUMNS))
        for e in entries:
            groups = ("" if n is None else n for n in (e.ilastik, e.deepcell))
            ours = (e.accession or "", e.symbol, e.status, e.source, e.form, e.note)
            writer.writerow((e.metal or e.name, e.name, int(e.keep), *groups, *ours))


def read_panel(path: Path, look_up: Callable[[str], PanelEntry]) -> tuple[PanelEntry, ...]:
    """Read entries; ``look_up`` finds what a name measures where the table does not say.

    Raises
    ------
    MarkerError
        The file is missing, not a CSV table with ``name`` and ``channel``, or has a bad cell.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"could not read the panel {str(path)!r}: {error}. Expected a CSV table in UTF-8."
        raise MarkerError(message) from error
    if "name" not in columns:
        message = (
            f"{path.name!r} is no panel: expected the columns {', '.join(STEINBOCK_COLUMNS)}, "
            f"found {', '.join(columns) or 'none'}."
        )
        raise MarkerError(message)
    return tuple(_entry(row, number, path, look_up) for number, row in enumerate(rows, start=2))


def _entry(
    row: dict[str, str], line: int, path: Path, look_up: Callable[[str], PanelEntry]
) -> PanelEntry:
    def cell(column: str) -> str:
        return (row.get(column) or "").strip()

    name = row.get("name") or ""
    found = look_up(name or cell("channel"))
    channel = cell("channel")
    entry = replace(
        found,
        name=name or channel,
        metal=found.metal or (channel if channel != name else ""),
        ilastik=_number(cell("ilastik"), "ilastik", line, path),
        deepcell=_number(cell("deepcell"), "deepcell", line, path),
    )
    if cell("keep"):
        entry = replace(entry, keep=bool(_number(cell("keep"), "keep", line, path)))
    if not cell("status"):
        return entry
    status, form = cell("status"), cell("form")
    try:
        check_entry(entry.name, cell("accession") or None, status)
    except MarkerError as error:
        message = f"line {line} of {path.name!r}: {error}"
        raise MarkerError(message) from error
    if form not in FORMS:
        message = f"line {line} of {path.name!r}: form {form!r} is none of {', '.join(FORMS[1:])}."
        raise MarkerError(message)
    return replace(
        entry,
        accession=cell("accession") or None,
        symbol=cell("symbol"),
        status=cast("Status", status),
        source=cell("source"),
        form=form,
        note=cell("note"),
        suggestions=found.suggestions if status == "review" else (),
    )


def _number(text: str, column: str, line: int, path: Path) -> int | None:
    try:
        return int(float(text)) if text else None
    except ValueError:
        message = (
            f"line {line} of {path.name!r}: {column} must be a whole number or empty, "
            f"found {text!r}."
        )
        raise MarkerError(message) from None
