"""``virtues pretrain``: train a model on images or spora folders."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.errors import InputError

if TYPE_CHECKING:
    from virtues_core.markers import MarkerEmbeddings
    from virtues_core.model import Checkpoint
    from virtues_core.train import TrainConfig
    from virtues_core.train.sources import Source

CALIBRATION_IMAGES = 32
"""How many images the intervals are calibrated on after a training."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pretrain")(pretrain_command)


def pretrain_command(
    *,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Folder of the run; checkpoint/ in it.")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option("--images", help="Image files; a pattern in quotes, or several times."),
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="spora folders; several times.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Train for so long.")] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            "--embeddings", help="Marker embeddings: safetensors, or a folder of ACCESSION.pt."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Checkpoint to start from: folder, hub name, or demo."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Say what a run would do, take and lack; then stop."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --run-dir.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the end.")] = False,
) -> None:
    """Train VirTues on your images; Ctrl-C saves first, --resume goes on."""
    from virtues_core.cli._options import expand, open_checkpoint
    from virtues_core.infer import calibrate_folder
    from virtues_core.markers import MarkerEmbeddings
    from virtues_core.model.device import device_named
    from virtues_core.run_dir import first_process
    from virtues_core.train import TrainConfig
    from virtues_core.train.loop import pretrain
    from virtues_core.train.sources import sources_of_images, sources_of_spora

    if bool(images) == bool(data):
        message = "expected either --images or --data, " + ("found both" if data else "found none")
        raise InputError(message)
    if run_dir is None and not check:
        message = "expected --run-dir, a folder for the run, or --check, found neither"
        raise InputError(message)
    origin = None if start is None else open_checkpoint(start, "cpu")
    sizes = None if origin is None else origin.config
    recipe = (
        TrainConfig.from_dict({}, model=sizes)
        if config is None
        else TrainConfig.from_yaml(config, model=sizes)
    )
    if minutes is not None:
        recipe = dataclasses.replace(recipe, max_minutes=minutes, max_steps=None)
    sources = sources_of_images(expand(images)) if images else sources_of_spora(data or [])
    known = None if embeddings is None else MarkerEmbeddings.load(embeddings)
    if run_dir is None or check:
        _check(recipe, sources, known, origin)
        return
    result = pretrain(
        recipe, sources, run_dir, embeddings=known, start=origin, resume=resume, quiet=quiet
    )
    if result.stand_ins:
        typer.echo(
            f"Without a protein embedding, trained by name only: {', '.join(result.stand_ins)}. "
            "For ESM-2 embeddings: virtues markers embed, then --embeddings.",
            err=True,
        )
    if not result.finished:
        typer.echo(f"Stopped and saved after {result.steps} steps; --resume goes on.", err=True)
        raise typer.Exit(130)
    if not first_process():  # one of several: the first one does what follows
        return
    images_to_calibrate = result.held_out or tuple(source.image for source in sources)
    calibrate_folder(
        result.checkpoint,
        images_to_calibrate[:CALIBRATION_IMAGES],
        held_out=bool(result.held_out),
        device=device_named("auto"),
    )
    best = f"; lowest validation loss in {result.best}" if result.best else ""
    typer.echo(f"{result.steps} steps; checkpoint in {result.checkpoint}{best}")


def _check(
    recipe: "TrainConfig",
    sources: "list[Source]",
    embeddings: "MarkerEmbeddings | None",
    start: "Checkpoint | None",
) -> None:
    """Print the plan and a measured step; exit status 1 where the run would end at once."""
    from virtues_core.train.memory import measure_step
    from virtues_core.train.plan import plan_training

    plan = plan_training(recipe, sources, embeddings=embeddings, start=start)
    for found in plan.datasets:
        typer.echo(
            f"{found.name}: {found.images} images of {found.patients} patients, "
            f"{len(found.markers)} markers, {100 * found.tissue:.0f} % tissue, "
            f"{found.windows} windows an epoch"
        )
        if found.left_out:
            typer.echo(f"  no markers, left out: {', '.join(found.left_out)}")
    if len(plan.datasets) > 1:
        typer.echo(f"in all: {', '.join(plan.shared) or 'none'}")
        typer.echo(f"in some: {', '.join(plan.differing) or 'none'}")
    if not plan.stops:
        cost = measure_step(recipe, plan.widest_panel)
        minutes = plan.minutes(cost.seconds)
        whole = recipe.max_minutes if minutes is None else minutes
        typer.echo(
            f"{plan.steps or 'as many as fit'} steps of {recipe.batch_size} crops, "
            f"{cost.seconds:.2f} s each on {cost.device}: {whole:.0f} minutes; "
            f"{cost.peak_bytes / 2**30:.1f} GiB with {cost.micro_batch_size} crops at once"
        )
    for text in plan.warnings:
        typer.echo(f"note: {text}", err=True)
    for text in plan.stops:
        typer.echo(f"would not start: {text}", err=True)
    if plan.stops:
        raise typer.Exit(1)
