"""``virtues download``: fetch a published checkpoint, its licence shown first."""

import sys
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("download")(download_command)


def download_command(
    name: Annotated[
        str, typer.Argument(help="sp31, sp32 or imc14; or OWNER/REPOSITORY on the hub.")
    ],
    *,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence without being asked.")
    ] = False,
) -> None:
    """Download a published checkpoint once; it is kept, and opened without a network after."""
    from virtues_core.model.hub import fetch

    def accept(terms: str) -> bool:
        typer.echo(terms)
        if accept_licence:
            return True
        return sys.stdin.isatty() and typer.confirm("Download it under this licence?")

    folder = fetch(name, accept=accept)
    typer.echo(f"{name} is in {folder}; use it by --checkpoint {name}")
