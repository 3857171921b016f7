"""``virtues segment``: find the cells of an image, and their types."""

from pathlib import Path
from typing import Annotated

import typer

from virtues_core.cli._options import (
    CheckpointName,
    DeviceName,
    ImageName,
    ImagePath,
    PanelFile,
    TilesAtOnce,
)

STRIDE_PX = 96
"""Default of `segment_cells`, which takes PyTorch to import; a test holds it to that."""


def register(app: typer.Typer) -> None:
    """Add ``segment`` to the command line."""
    app.command("segment")(segment)


def segment(
    path: ImagePath,
    out: Annotated[Path, typer.Option("--out", help="The label image to write, TIFF.")],
    types: Annotated[
        Path | None, typer.Option("--types", help="CSV to write: each cell's type, place, area.")
    ] = None,
    checkpoint: CheckpointName = "demo",
    head: Annotated[
        Path | None,
        typer.Option("--head", help="Segmentation head; else the one beside the checkpoint."),
    ] = None,
    image: ImageName = None,
    panel: PanelFile = None,
    stride: Annotated[
        int, typer.Option("--stride", help="Step from tile to tile, px: 128 without overlap.")
    ] = STRIDE_PX,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
) -> None:
    """Find cells and their types with a segmentation head (sp31 and sp32 have one)."""
    from collections import Counter

    from virtues_core.cli._options import open_checkpoint, tile_progress
    from virtues_core.files import check_writable, replacing
    from virtues_core.infer import segment_cells
    from virtues_core.markers import Panel
    from virtues_core.model import load_head
    from virtues_core.read import read_image, write_labels

    opened = read_image(path, image)
    model = open_checkpoint(checkpoint, device)
    for file in (out, types):
        if file is not None:
            check_writable(file)
    found = segment_cells(
        opened,
        None if panel is None else Panel.from_csv(panel),
        model,
        load_head(model, head),
        stride_px=stride,
        batch_size=batch_size,
        on_tile=tile_progress,
    )
    write_labels(out, found.labels, opened.pixel_size_um)
    if types is not None:
        with replacing(types) as new:
            found.table().to_csv(new, index=False, float_format="%.6g")
    counted = Counter(found.types).most_common()
    none = "no cells: the head was trained too briefly, or on images unlike this one"
    typer.echo("\n".join(f"{name}: {count}" for name, count in counted) or none)
    for text in found.warnings:
        typer.echo(f"note: {text}")
    typer.echo(f"{out}: {len(found.area_px)} cells")
