"""``virtues calibrate``: measure how wide a checkpoint's 80 % intervals must be."""

from pathlib import Path
from typing import Annotated

import typer

from virtues_core.cli._options import DeviceName, show_progress


def register(app: typer.Typer) -> None:
    """Add ``calibrate`` to the command line."""
    app.command("calibrate")(calibrate)


def calibrate(
    folder: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Folder of the checkpoint; rewritten.")
    ],
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...", help="Images that it was not trained on; spora folders; patterns."
        ),
    ],
    trained_on: Annotated[
        bool,
        typer.Option("--trained-on", help="It was trained on them: the card says so."),
    ] = False,
    tiles: Annotated[int, typer.Option("--tiles", help="Tiles of each image.")] = 1,
    device: DeviceName = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Draws tiles and what is hidden.")] = 0,
) -> None:
    """Fit the 80 % intervals of a checkpoint on images, best on many, and keep them in it."""
    from virtues_core.cli._options import expand
    from virtues_core.infer import calibrate_folder
    from virtues_core.model.device import device_named
    from virtues_core.read import image_names, read_image

    images = [read_image(path, name) for path in expand(paths) for name in image_names(path)]
    found = calibrate_folder(
        folder,
        images,
        held_out=not trained_on,
        tiles_per_image=tiles,
        device=device_named(device),
        seed=seed,
        on_image=_progress,
    )
    own = ", ".join(f"{len(told['keys'])} ({name})" for name, told in found["strategies"].items())
    typer.echo(f"{folder}: intervals from {len(images)} images; markers with their own: {own}")


def _progress(done: int, total: int) -> None:
    show_progress(done, total, "image")
