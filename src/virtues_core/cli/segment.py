"""``virtues segment``: find the cells of an image, or of a cohort, and their types."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.cli._cohort import ImagePaths, Scheduler, Workers
from virtues_core.cli._options import (
    CheckpointName,
    DeviceName,
    ImageName,
    PanelFile,
    TilesAtOnce,
)

if TYPE_CHECKING:
    from virtues_core.infer.listing import Listed
    from virtues_core.infer.segment_file import SegmentFile

STRIDE_PX = 96
"""Default of `segment_cells`, which takes PyTorch to import; a test holds it to that."""


def register(app: typer.Typer) -> None:
    """Add ``segment`` to the command line."""
    app.command("segment")(segment)


def segment(
    images: ImagePaths,
    out: Annotated[
        Path,
        typer.Option("--out", help="The label image to write, TIFF; of a cohort their folder."),
    ],
    types: Annotated[
        Path | None,
        typer.Option(
            "--types",
            help="CSV to write: each cell's type, place, area; of a cohort the folder of these.",
        ),
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
    scheduler: Scheduler = "",
    workers: Workers = None,
) -> None:
    """Find cells and their types with a segmentation head (sp31 and sp32 have one)."""
    from virtues_core.cli._cohort import do_cohort, is_cohort, listed
    from virtues_core.cli._options import tile_progress
    from virtues_core.infer.segment_file import SegmentFile

    one = SegmentFile(
        Path(images[0]), out, stride, image, types, checkpoint, head, device, panel, batch_size
    )
    if is_cohort(images, out, scheduler=scheduler, workers=workers):
        found = listed(images, out, image=image)
        do_cohort([_of(each, one) for each in found], device, scheduler, workers)
    else:
        typer.echo(one.run(tile_progress))


def _of(image: "Listed", common: "SegmentFile") -> "SegmentFile":
    """Say what is to be done with one image of a cohort."""
    from virtues_core.cli._cohort import anywhere, checkpoint_anywhere

    folder = anywhere(common.types)
    return replace(
        common,
        path=image.path,
        image=image.image,
        out=common.out.absolute() / f"{image.name}.tif",
        types=None if folder is None else folder / f"{image.name}.csv",
        checkpoint=checkpoint_anywhere(common.checkpoint),
        head=anywhere(common.head),
        panel=anywhere(common.panel),
    )
