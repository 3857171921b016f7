"""``virtues simulate``: tissues that look like tissue, of which everything is known."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.cli._options import tell_job

if TYPE_CHECKING:
    from virtues_core.simulate import Cohort
    from virtues_core.simulate.spora import OnTissue


class Format(StrEnum):
    """What is written."""

    SPORA = "spora"
    OME_TIFF = "ome-tiff"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    out: Annotated[Path, typer.Option("--out", help="Folder to write; new or empty.")],
    patients: Annotated[int, typer.Option(help="Number of patients, over all datasets.")] = 20,
    tissues: Annotated[int, typer.Option(help="Images of a patient at a time point.")] = 2,
    size: Annotated[int, typer.Option(help="Side of an image in px of 1 µm.")] = 512,
    datasets: Annotated[
        str,
        typer.Option(help="Panels, with commas between: imc-tumour, imc-immune, codex, mibi."),
    ] = "imc-tumour",
    effect: Annotated[
        float,
        typer.Option(
            help="Log odds ratio of response (and negative log hazard ratio) for one standard "
            "deviation of the planted neighbourhood; 0 for none."
        ),
    ] = 1.0,
    timepoints: Annotated[int, typer.Option(help="1: baseline; 2: also on treatment.")] = 1,
    batch: Annotated[float, typer.Option(help="Batch effects; 0 for none.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same cohort.")] = 0,
    format_: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.SPORA,
) -> None:
    """Simulate a cohort: images, masks, cell types, niches, patients and outcomes."""
    from virtues_core.simulate import CohortConfig, simulate_cohort

    names = tuple(name.strip() for name in datasets.split(",") if name.strip())
    config = CohortConfig(
        datasets=names,
        patients=patients,
        tissues_per_patient=tissues,
        size_px=size,
        effect=effect,
        timepoints=timepoints,
        batch_strength=batch,
        seed=seed,
    )
    cohort = simulate_cohort(config)
    _write(cohort, out, format_)
    responders = int(cohort.patients["response"].sum())
    typer.echo(
        f"{len(cohort)} tissues of {patients} patients ({responders} respond, "
        f"{int(cohort.patients['event'].sum())} die) in {out}"
    )


def _write(cohort: "Cohort", out: Path, format_: Format) -> None:
    """Write the cohort, with a bar on the terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from virtues_core.simulate import write_ome_tiffs, write_spora

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("simulating", total=len(cohort))

        def on_tissue(number: int, total: int, name: str) -> None:
            progress.update(task, completed=number, description=name)
            tell_job(number, total, f"tissue {number} of {total}")

        report: OnTissue = on_tissue
        if format_ is Format.SPORA:
            write_spora(cohort, out, on_tissue=report)
        else:
            write_ome_tiffs(cohort, out, on_tissue=report)
