"""``virtues train-head``: train a segmentation head on masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from virtues_core.cli._options import CheckpointName, DeviceName, show_progress, spread
from virtues_core.errors import InputError, ReadError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

NONE, CELL = "None", "Cell"
"""What is no cell, and what is one where no types are given."""
STEPS, BATCH_SIZE, TILE_PX, LEARNING_RATE = 2000, 4, 128, 5e-4
"""Defaults of `HeadConfig`, which takes PyTorch to import; a test holds them to it."""


class HeadCommand(TyperCommand):
    """A command whose ``--masks`` and ``--types`` take all the values up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, each value with its option before it."""
        return super().parse_args(ctx, spread("--types", spread("--masks", args)))


def register(app: typer.Typer) -> None:
    """Add ``train-head`` to the command line."""
    app.command("train-head", cls=HeadCommand)(train_head)


def train_head(
    paths: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Images to train on.")],
    masks: Annotated[
        list[str], typer.Option("--masks", help="Their cell masks, in the same order.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The head to write, .safetensors.")],
    types: Annotated[
        list[str] | None,
        typer.Option("--types", help="Their cell types, in that order: CSV cell_id, cell_type."),
    ] = None,
    checkpoint: CheckpointName = "demo",
    panel: Annotated[
        Path | None,
        typer.Option("--panel", help="Panel CSV: what channels are; else from their names."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Steps of the training.")] = STEPS,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=2, help="Crops a step.")
    ] = BATCH_SIZE,
    tile: Annotated[int, typer.Option("--tile", help="Side of a crop, px.")] = TILE_PX,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="Highest learning rate.")
    ] = LEARNING_RATE,
    device: DeviceName = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Draws weights and crops.")] = 0,
) -> None:
    """Train a segmentation head for a checkpoint; without types every cell is a "Cell".

    Ctrl-C ends it with the head so far.
    """
    from virtues_core.cli._options import expand, open_checkpoint
    from virtues_core.files import check_writable
    from virtues_core.infer import checkpoint_signature, prepare_image
    from virtues_core.markers import Panel
    from virtues_core.model import Head, save_head
    from virtues_core.read import read_image, read_labels
    from virtues_core.train.head import HeadConfig, LabelledImage
    from virtues_core.train.head import train_head as train
    from virtues_core.train.signals import noted_signals

    config = HeadConfig(
        steps=steps, batch_size=batch_size, tile_px=tile, learning_rate=learning_rate, seed=seed
    )
    images, mask_files, type_files = expand(paths), expand(masks), expand(types or [])
    _check_numbers(len(images), len(mask_files), len(type_files), typed=bool(types))
    named = [read_types(file) for file in type_files]
    classes = class_names(named)
    model = open_checkpoint(checkpoint, device)
    given = None if panel is None else Panel.from_csv(panel)
    data: list[LabelledImage] = []
    for i, file in enumerate(images):
        image = read_image(file)
        labels = read_labels(mask_files[i], shape=image.shape[1:])
        prepared = prepare_image(image, given, model, in_memory=True)
        numbers = class_map(labels, named[i] if named else None, classes)
        pixels = prepared.pixels[:, :, :]
        data.append(LabelledImage(pixels, prepared.embeddings, labels, numbers, file.name))
    check_writable(out)
    losses: list[float] = []

    def told(done: int, loss: float) -> None:
        losses.append(loss)
        show_progress(done, steps, "step", f", loss {loss:.3f}")
        if stopped():
            raise KeyboardInterrupt

    with noted_signals() as stopped:  # the head is saved in it: a cancel may be heard twice
        network = train(config, model.model, data, len(classes), on_step=told)
        save_head(Head(network, classes, signature=checkpoint_signature(model)), out)
        if len(losses) < steps:
            said = f"stopped after {len(losses)} of {steps} steps; the head is in {out}"
            typer.echo(said, err=True)
            raise typer.Exit(130)
    tenth = max(1, steps // 10)
    first, last = (sum(part) / len(part) for part in (losses[:tenth], losses[-tenth:]))
    typer.echo(f"loss {first:.3f} in the first tenth of the steps, {last:.3f} in the last")
    typer.echo(f"{out}: {', '.join(classes)}")


def read_types(path: Path) -> "pd.Series[Any]":
    """Read a CSV of cell types: cell_id → cell_type.

    Raises
    ------
    ReadError
        It is no CSV with the columns cell_id and cell_type, or names a cell twice.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, usecols=["cell_id", "cell_type"], dtype={"cell_type": str})
        found = table.dropna().set_index("cell_id")["cell_type"]
        found.index = found.index.astype("int64")
    except (OSError, ValueError) as error:
        message = (
            f"expected a CSV with the columns cell_id and cell_type, found {str(path)!r} ({error})."
        )
        raise ReadError(message) from error
    if not found.index.is_unique:
        message = f"{str(path)!r} names a cell twice; expected one row a cell."
        raise ReadError(message)
    return found


def class_names(named: "Sequence[pd.Series[Any]]") -> tuple[str, ...]:
    """Give the classes of a head, "None" first: the types that occur, or just "Cell"."""
    if not named:
        return (NONE, CELL)
    return (NONE, *sorted({str(name) for types in named for name in types} - {NONE}))


def class_map(
    labels: "NDArray[np.int32]", types: "pd.Series[Any] | None", classes: Sequence[str]
) -> "NDArray[np.int64]":
    """Give the class of each pixel, (Y, X): 0 where no cell is, or none of a given type."""
    import numpy as np

    if types is None:
        return (labels > 0).astype(np.int64)
    number = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    for cell, name in types.items():
        if 0 < int(str(cell)) < len(number):
            number[int(str(cell))] = classes.index(str(name))
    return number[labels]


def _check_numbers(images: int, masks: int, tables: int, *, typed: bool) -> None:
    """Refuse unlike numbers of images, masks and tables of types."""
    for what, count in (("masks", masks), *((("tables of types", tables),) if typed else ())):
        if count != images:
            message = (
                f"expected as many {what} as images, found {count} and {images}; name them in the "
                "same order."
            )
            raise InputError(message)
