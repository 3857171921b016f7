"""``virtues train-camae``: train the channel-agnostic autoencoder, to compare VirTues with."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train-camae")(train_camae_command)


def train_camae_command(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder of the model.")],
    images: Annotated[
        list[str] | None,
        typer.Option("--images", help="Image files of one panel; a pattern, or several times."),
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="A spora folder of one panel.")
    ] = None,
    size: Annotated[
        str, typer.Option("--size", help="Width, heads and blocks of this preset of VirTues.")
    ] = "small",
    steps: Annotated[int, typer.Option("--steps", min=2, help="Steps of training.")] = 1000,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Crops a step.")] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Decides weights, crops and masks.")] = 0,
) -> None:
    """Train CA-MAE (Kraus et al. 2024) on one panel, for `virtues evaluate cells --camae`."""
    from virtues_core.cli._options import expand
    from virtues_core.errors import ConfigError, InputError
    from virtues_core.evaluate import CAMAEConfig, camae_crops, save_camae, train_camae
    from virtues_core.model import PRESETS
    from virtues_core.train.sources import sources_of_images, sources_of_spora

    if bool(images) == bool(data):
        message = "expected either --images or --data, " + ("found both" if data else "found none")
        raise InputError(message)
    if size not in PRESETS:
        message = f"--size: expected one of {', '.join(PRESETS)}, got {size!r}"
        raise ConfigError(message)
    shape = PRESETS[size]
    sources = sources_of_images(expand(images)) if images else sources_of_spora(data or [])
    with tempfile.TemporaryDirectory() as cache:
        crops, channels = camae_crops(sources, Path(cache), seed=seed)
        config = CAMAEConfig(
            channels,
            model_dim=shape.model_dim,
            num_heads=shape.num_heads,
            encoder_blocks=len(shape.encoder_pattern),
            decoder_dim=shape.model_dim,
        )
        model = train_camae(crops, config, steps=steps, batch_size=batch_size, seed=seed)
    save_camae(model, out)
    typer.echo(f"{steps} steps of {batch_size} crops, {len(channels)} markers; model in {out}")
