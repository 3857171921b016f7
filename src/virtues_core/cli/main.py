"""Entry point of the ``virtues`` command; each subcommand lives in a file of its own.

A subcommand module has a function ``register(app)`` and imports nothing heavy at its top, so that
``virtues --help`` answers at once.
"""

import importlib
import sys

import typer

from virtues_core import __version__
from virtues_core.cli.jobs import asked_of, start
from virtues_core.errors import VirtuesError

COMMANDS = (
    "info",
    "markers",
    "inpaint",
    "embed",
    "attention",
    "segment",
    "train_head",
    "train_label",
    "annotate",
    "cluster",
    "db",
    "evaluate",
    "pretrain",
    "calibrate",
    "train_camae",
    "simulate",
    "jobs",
    "download",
    "stratify",
    "response",
    "classify",
    "biomarkers",
    "report",
    "demo",
    "doctor",
)

app = typer.Typer(
    name="virtues",
    help="VirTues for multiplexed tissue images: markers, cells, niches, tissues.",
    epilog="Any long command takes --executor local (or slurm) and goes on as a job: virtues jobs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-virtues {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Multiplexed tissue images, VirTues, and what to do with them."""


for _command in COMMANDS:
    importlib.import_module(f"virtues_core.cli.{_command}").register(app)


def main() -> None:
    """Run the command line; a user's mistake is one message on stderr and exit status 1."""
    try:
        asked = asked_of(sys.argv[1:])
        if asked.executor == "here":
            app(args=list(asked.argv))
        else:
            start(app, asked)
    except VirtuesError as error:
        typer.echo(f"virtues: {error}", err=True)
        sys.exit(1)
