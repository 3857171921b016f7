"""``virtues pretrain``: train a model on images or spora folders."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from virtues_core.errors import InputError

CALIBRATION_IMAGES = 32
"""How many images the intervals are calibrated on after a training."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pretrain")(pretrain_command)


def pretrain_command(
    *,
    run_dir: Annotated[
        Path, typer.Option("--run-dir", help="Folder of the run; checkpoint/ in it.")
    ],
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
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --run-dir.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the end.")] = False,
) -> None:
    """Train VirTues on your images; Ctrl-C saves first, --resume goes on."""
    from virtues_core.cli._options import expand
    from virtues_core.infer import calibrate_folder
    from virtues_core.markers import MarkerEmbeddings
    from virtues_core.model.device import device_named
    from virtues_core.train import TrainConfig
    from virtues_core.train.loop import pretrain
    from virtues_core.train.sources import sources_of_images, sources_of_spora

    if bool(images) == bool(data):
        message = "expected either --images or --data, " + ("found both" if data else "found none")
        raise InputError(message)
    recipe = TrainConfig() if config is None else TrainConfig.from_yaml(config)
    if minutes is not None:
        recipe = dataclasses.replace(recipe, max_minutes=minutes, max_steps=None)
    sources = sources_of_images(expand(images)) if images else sources_of_spora(data or [])
    known = None if embeddings is None else MarkerEmbeddings.load(embeddings)
    result = pretrain(recipe, sources, run_dir, embeddings=known, resume=resume, quiet=quiet)
    if result.stand_ins:
        typer.echo(
            f"Without a protein embedding, trained by name only: {', '.join(result.stand_ins)}. "
            "For ESM-2 embeddings: virtues markers embed, then --embeddings.",
            err=True,
        )
    if not result.finished:
        typer.echo(f"Stopped and saved after {result.steps} steps; --resume goes on.", err=True)
        raise typer.Exit(130)
    images_to_calibrate = result.held_out or tuple(source.image for source in sources)
    calibrate_folder(
        result.checkpoint,
        images_to_calibrate[:CALIBRATION_IMAGES],
        held_out=bool(result.held_out),
        device=device_named("auto"),
    )
    typer.echo(f"{result.steps} steps; checkpoint in {result.checkpoint}")
