"""``virtues biomarkers``: signatures that foretell an outcome, found here or carried over."""

import typer

from virtues_core.cli._discover import discover
from virtues_core.cli._transfer import transfer


def register(app: typer.Typer) -> None:
    """Add ``biomarkers`` to the command line."""
    group = typer.Typer(help="Signatures of cells that foretell an outcome.")
    group.callback()(_biomarkers)
    group.command("discover")(discover)
    group.command("transfer")(transfer)
    app.add_typer(group, name="biomarkers")


def _biomarkers() -> None:
    """Find signatures of cells that foretell an outcome, and carry them over."""
