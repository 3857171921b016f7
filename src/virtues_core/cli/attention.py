"""``virtues attention``: which markers the model attends to in regions of an image."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from virtues_core.infer import MarkerImportance

SHOWN = 5
"""Markers of a region that are printed."""


def register(app: typer.Typer) -> None:
    """Add ``attention`` to the command line."""
    app.command("attention")(attention)


def attention(
    path: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image file or folder.")],
    region: Annotated[
        Path, typer.Option("--region", help="Mask file: each label is a region, 0 is none.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write markers.csv into.")],
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="Folder, file, hub name, or demo.")
    ] = "demo",
    image: Annotated[
        str | None, typer.Option("--image", help="Which one, in a file of several images.")
    ] = None,
    panel: Annotated[
        Path | None,
        typer.Option("--panel", help="Panel CSV: what its channels are; else from their names."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", help="Tiles at once.")] = 8,
) -> None:
    """Score each marker's importance in each region, from the first marker attention layer."""
    from virtues_core.cli._options import open_checkpoint, tile_progress
    from virtues_core.infer import marker_importance
    from virtues_core.markers import Panel
    from virtues_core.read import read_image, read_labels

    opened = read_image(path, image)
    found = marker_importance(
        opened,
        None if panel is None else Panel.from_csv(panel),
        open_checkpoint(checkpoint, device),
        read_labels(region, shape=opened.shape[1:]),
        batch_size=batch_size,
        on_tile=tile_progress,
    )
    write_csv(found, out / "markers.csv")
    for label, pixels in zip(found.regions, found.area_px, strict=True):
        best = ", ".join(f"{name} {score:.2f}" for name, score in found.ranked(label)[:SHOWN])
        typer.echo(f"region {label} ({pixels} px): {best}")
    for text in found.warnings:
        typer.echo(f"note: {text}")
    typer.echo(f"{out / 'markers.csv'}: {len(found.channels)} markers")


def write_csv(found: "MarkerImportance", path: Path) -> None:
    """Write the columns marker and importance; of several regions, importance_LABEL each.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    import csv

    from virtues_core.files import replacing

    one = len(found.regions) == 1
    columns = ["importance"] if one else [f"importance_{label}" for label in found.regions]
    with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["marker", *columns])
        for name, scores in zip(found.channels, found.importance, strict=True):
            rows.writerow([name, *(f"{score:.6g}" for score in scores)])
