"""``virtues embed``: tokens of the cells, niches or the tissue of an image, or of a cohort."""

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
    from virtues_core.infer.embed_file import EmbedFile
    from virtues_core.infer.listing import Listed


def register(app: typer.Typer) -> None:
    """Add ``embed`` to the command line."""
    app.command("embed")(embed)


def embed(
    images: ImagePaths,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="What to write: AnnData (.h5ad, .zarr), or SpatialData (.sdata.zarr) with the "
            "image and the mask, where that extra is installed; of a cohort the folder.",
        ),
    ],
    cells: Annotated[
        Path | None,
        typer.Option(
            "--cells",
            help="Mask of the cells; of a cohort the folder of masks named as the images. A data "
            "set may have its own.",
        ),
    ] = None,
    checkpoint: CheckpointName = "demo",
    stride: Annotated[
        int | None,
        typer.Option("--stride", help="Step from tile to tile, px. Cells 42, niches, tissue 128."),
    ] = None,
    level: Annotated[str, typer.Option("--level", help="cell, niche, patch or tissue.")] = "cell",
    image: ImageName = None,
    panel: PanelFile = None,
    markers: Annotated[
        str,
        typer.Option(
            "--markers",
            help="Only these channels, A,B, by name or accession: as when panels are to agree.",
        ),
    ] = "",
    tissue: Annotated[
        str, typer.Option("--tissue", help="What to call the image; by default its own name.")
    ] = "",
    patient: Annotated[str, typer.Option("--patient", help="Whose tissue it is.")] = "",
    types: Annotated[
        Path | None,
        typer.Option(
            "--types",
            help="CSV or parquet: cell_id and cell_type, or other columns; of a cohort with "
            "tissue_id, or a folder of tables named as the images.",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            help="Folder that keeps patch tokens for other runs. By default they are kept beside "
            "the output until it is written, so that a run that was stopped goes on.",
        ),
    ] = None,
    device: DeviceName = "auto",
    batch_size: TilesAtOnce = 8,
    scheduler: Scheduler = "",
    workers: Workers = None,
) -> None:
    """Compute tokens of cells, niches or the tissue, with mean intensities and places."""
    from virtues_core.cli._cohort import do_cohort, is_cohort, listed
    from virtues_core.cli._options import tile_progress
    from virtues_core.infer import EmbedRequest
    from virtues_core.infer.embed_file import EmbedFile
    from virtues_core.infer.token_table import check_level

    request = EmbedRequest(level=check_level(level), stride_px=stride, batch_size=batch_size)
    one = EmbedFile(
        Path(images[0]), out, request, image, cells, checkpoint, device, panel, markers, tissue,
        patient, types, cache,
    )  # fmt: skip
    if is_cohort(images, out, scheduler=scheduler, workers=workers):
        found = listed(images, out, image=image, tissue=tissue)
        do_cohort([_of(each, one) for each in found], device, scheduler, workers)
    else:
        typer.echo(one.run(tile_progress))


def _of(image: "Listed", common: "EmbedFile") -> "EmbedFile":
    """Say what is to be done with one image of a cohort."""
    from virtues_core.cli._cohort import anywhere, checkpoint_anywhere
    from virtues_core.errors import InputError
    from virtues_core.infer.listing import mask_of, table_of

    cells, types = common.cells, common.types
    if common.request.level == "cell" and not (cells or image.has_mask):
        message = (
            f"expected masks of the cells, found none for {image.name!r}. Give the folder of masks "
            "with --cells, or choose --level niche or tissue."
        )
        raise InputError(message)
    if cells is not None and not cells.is_dir():
        message = (
            f"expected a folder of masks named as the images, found {str(cells)!r}. For one image "
            "let --out be a file."
        )
        raise InputError(message)
    return replace(
        common,
        path=image.path,
        image=image.image,
        out=common.out.absolute() / f"{image.name}.h5ad",
        tissue="" if image.has_mask else image.name,
        cells=None if cells is None else mask_of(image, cells),
        types=table_of(image, types) if types is not None and types.is_dir() else anywhere(types),
        checkpoint=checkpoint_anywhere(common.checkpoint),
        panel=anywhere(common.panel),
        cache=anywhere(common.cache),
    )
