"""``virtues report``: the page of an analysis, made again from its folder."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add ``report`` to the command line."""
    app.command("report")(report)


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that an analysis of a cohort wrote.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The .html to write instead of DIR/report.html; it can be sent alone."
        ),
    ] = None,
) -> None:
    """Write the results of an analysis as one HTML page: figures, tables, methods, settings."""
    from virtues_core.errors import InputError
    from virtues_core.report import write_report

    if out is not None and out.suffix.lower() not in {".html", ".htm"}:
        message = f"expected --out to end with .html, found {str(out)!r}."
        raise InputError(message)
    typer.echo(str(write_report(folder, out)))
