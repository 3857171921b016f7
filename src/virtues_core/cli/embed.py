"""``virtues embed``: tokens of the cells, niches or the tissue of an image, in a file."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtues_core.cli._options import (
    CheckpointName,
    DeviceName,
    ImageName,
    ImagePath,
    PanelFile,
    TilesAtOnce,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from virtues_core.image import MultiplexImage
    from virtues_core.infer import Embedding
    from virtues_core.markers import Panel

CACHE_SUFFIX = ".tokens"
"""Folder beside the output that holds patch tokens until the output is written."""


def register(app: typer.Typer) -> None:
    """Add ``embed`` to the command line."""
    app.command("embed")(embed)


def embed(
    path: ImagePath,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="What to write: AnnData (.h5ad, .zarr), or SpatialData (.sdata.zarr) with the "
            "image and the mask, where that extra is installed.",
        ),
    ],
    cells: Annotated[
        Path | None, typer.Option("--cells", help="Mask of the cells; a data set may have its own.")
    ] = None,
    checkpoint: CheckpointName = "demo",
    stride: Annotated[
        int | None,
        typer.Option("--stride", help="Step from tile to tile, px. Cells 42, niches, tissue 128."),
    ] = None,
    level: Annotated[str, typer.Option("--level", help="cell, niche or tissue.")] = "cell",
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
        typer.Option("--types", help="CSV or parquet: cell_id and cell_type, or other columns."),
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
) -> None:
    """Compute tokens of cells, niches or the tissue, with mean intensities and places."""
    from virtues_core.cli._options import open_checkpoint, tile_progress
    from virtues_core.files import check_writable
    from virtues_core.infer import EmbedRequest
    from virtues_core.infer import embed as compute
    from virtues_core.infer.spatialdata import (
        check_spatialdata,
        is_spatialdata,
        write_spatialdata,
    )
    from virtues_core.infer.token_table import check_level, check_suffix
    from virtues_core.markers import Panel
    from virtues_core.read import open_labels, read_image

    check_suffix(out)
    if is_spatialdata(out):
        check_spatialdata()
    request = EmbedRequest(level=check_level(level), stride_px=stride, batch_size=batch_size)
    opened = read_image(path, image)
    known = _Known(path, opened.name)
    mask = None
    if level == "cell":
        size = opened.shape[1:]
        mask = known.mask(size) if cells is None else open_labels(cells, shape=size)
    described = None if panel is None else Panel.from_csv(panel)
    if markers:
        opened, described = _only(markers, opened, described or Panel.from_names(opened.channels))
    check_writable(out)
    kept = cache or out.with_name(out.name + CACHE_SUFFIX)
    found = compute(
        opened,
        mask,
        described,
        open_checkpoint(checkpoint, device),
        request,
        tissue_id=tissue or known.tissue_id,
        patient_id=patient or known.patient_id,
        cell_table=known.cells() if types is None else _read_table(types),
        cache=kept,
        on_tile=tile_progress,
    )
    if is_spatialdata(out):
        write_spatialdata(out, found, opened, mask)
    else:
        found.write(out)
    if cache is None:
        shutil.rmtree(kept, ignore_errors=True)
    typer.echo(told(found, out))


def _only(markers: str, image: "MultiplexImage", panel: "Panel") -> "tuple[MultiplexImage, Panel]":
    """Keep the channels that are named, by name or marker key, in the order of the image."""
    from virtues_core.errors import MarkerError
    from virtues_core.markers import Panel

    wanted = dict.fromkeys(name.strip() for name in markers.split(",") if name.strip())
    entries = [panel[name] for name in image.channels]
    unknown = [m for m in wanted if not any(m in {entry.name, entry.key} for entry in entries)]
    if unknown:
        message = (
            f"expected channels of {image.name!r}, by name or accession, found "
            f"{', '.join(unknown)} as well. Its channels are: {', '.join(image.channels)}"
        )
        raise MarkerError(message)
    kept = [i for i, entry in enumerate(entries) if {entry.name, entry.key} & wanted.keys()]
    return image.select(kept), Panel(tuple(entries[i] for i in kept))


class _Known:
    """What a spora data set says of one of its tissues; nothing, of any other file."""

    def __init__(self, path: Path, name: str) -> None:
        from virtues_core.read.spora import SporaDataset, claims, tissues_by_name

        self._dataset = SporaDataset(path) if path.is_dir() and claims(path) else None
        self._tissue = None if self._dataset is None else tissues_by_name(self._dataset)[name]
        self.tissue_id = "" if self._tissue is None else self._tissue.tissue_id
        self.patient_id = (self._tissue.patient_id or "") if self._tissue else ""

    def mask(self, shape: tuple[int, int]) -> "NDArray[np.int32] | None":
        """(Y, X) labels of the cells."""
        if self._dataset is None or self._tissue is None:
            return None
        return self._dataset.cell_mask(self._tissue, shape)

    def cells(self) -> "pd.DataFrame | None":
        """Give the rows of the tissue's cells."""
        table = None if self._dataset is None else self._dataset.cells()
        if table is None:
            return None
        own = table[table["tissue_id"].astype(str) == self.tissue_id]
        return None if own.empty else own


def _read_table(path: Path) -> "pd.DataFrame":
    import pandas as pd

    from virtues_core.errors import ReadError

    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        message = (
            f"expected a table of cells (CSV or parquet) at {str(path)!r}, found none that can be "
            f"read ({error}). Check the path, or export the table again."
        )
        raise ReadError(message) from error


def told(found: "Embedding", out: Path) -> str:
    """Say what was made, then what a person should know."""
    count = len(found)
    what = found.level if count == 1 else f"{found.level}s"
    tiles = "1 tile" if found.tiles == 1 else f"{found.tiles} tiles"
    stored = f", {found.stored_tiles} of them stored before" if found.stored_tiles else ""
    lines = [
        f"{out} ({found.names[1]}): {count} {what}, {found.tokens.shape[1]} values each, "
        f"{found.intensities.shape[1]} channels; {tiles}{stored}"
    ]
    return "\n".join([*lines, *(f"note: {text}" for text in found.warnings)])
