"""``virtues db evaluate``: what matches have in common with their queries, against chance."""

from pathlib import Path
from typing import Annotated

import typer

from virtues_core.cli._clinical import OutFolder, Seed

DatabaseFile = Annotated[
    Path, typer.Argument(metavar="DB", help="A database by `virtues db build`.")
]


def evaluate(
    context: typer.Context,
    path: DatabaseFile,
    labels: Annotated[
        str, typer.Option("--labels", help="Clinical columns that matches should share, A,B.")
    ],
    out: OutFolder,
    top: Annotated[int, typer.Option("--top", help="Matches of each query.")] = 3,
    pixels: Annotated[
        int,
        typer.Option(
            "--pixels",
            help="Pixels drawn of each image to compare tissues by; 0 leaves that out.",
        ),
    ] = 1000,
    seed: Seed = 0,
) -> None:
    """Query with each tissue: labels shared with matches of other patients, against chance."""
    from virtues_core.cli._clinical import names_in, tell_notes, this_command
    from virtues_core.cli._options import show_progress
    from virtues_core.cohort.patients.results import check_out, write_results
    from virtues_core.cohort.retrieval import (
        RetrievalConfig,
        TissueDatabase,
        evaluate_retrieval,
        results_of,
    )
    from virtues_core.report import write_report

    config = RetrievalConfig(names_in(labels), top=top, pixels=pixels, seed=seed)
    check_out(out)
    database = TissueDatabase.open(path)
    found = evaluate_retrieval(database, config, progress=show_progress)
    tell_notes(found.notes)
    write_results(results_of(found, database, config, this_command(context)), out)
    write_report(out)
    for name, score in found.labels.items():
        p = score.test.p
        typer.echo(
            f"{name}: precision at {top} {score.precision.retrieved:.3f}, at random "
            f"{score.precision.random:.3f}; McNemar p {'–' if p is None else f'{p:.3g}'}"
        )
    typer.echo(f"{out}: {len(found.cases)} queries, report.html")
