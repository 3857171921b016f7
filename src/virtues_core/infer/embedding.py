"""An image and its cells → tokens of cells, niches, patches or the tissue, tile by tile.

The table that comes out is laid out as `virtues_core.infer.token_table` says: ``X`` mean marker
intensities, ``obsm["X_virtues"]`` tokens, ``obsm["spatial"]`` centres (x, y) in µm, ``obs`` with
``tissue_id``, ``cell_id``, ``area_um2`` and what is known besides, ``var`` the panel,
``uns["virtues"]`` what it was made from.

Memory does not grow with the image: pixels are normalised when a tile is read, sums over many
cells are in a temporary file, and patch tokens are let go of once they are added to their cells.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from virtues_core import __version__
from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.annotations import category, describe_channels, known_of_cells
from virtues_core.infer.cache import (
    TokenCache,
    checkpoint_signature,
    precision,
    token_signature,
)
from virtues_core.infer.cells import CellMask, measure_cells
from virtues_core.infer.predict import Runner, never
from virtues_core.infer.prepare import PreparedImage, prepare_image
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.rows import RowMeans
from virtues_core.infer.stream import TileTokens, tile_tokens
from virtues_core.infer.survey import sampling_step
from virtues_core.infer.token_table import Embedding, EmbedRequest
from virtues_core.infer.tokens import LEAST_TISSUE, PatchCounter, niche_origins
from virtues_core.markers import Panel
from virtues_core.model import Checkpoint
from virtues_core.preprocess import tile_origins

if TYPE_CHECKING:
    import pandas as pd

IN_MEMORY_VALUES = 2**24
"""An image of more values (channels x pixels) is normalised tile by tile: 64 MiB of float32."""


@dataclass(frozen=True, eq=False)
class _Work:
    """What a run has at hand."""

    image: MultiplexImage
    prepared: PreparedImage
    request: EmbedRequest
    tiles: Callable[[NDArray[np.int64]], Iterator[TileTokens]]
    dim: int
    """D."""
    patch_px: int

    @property
    def pixel_um(self) -> NDArray[np.float64]:
        """(2,) pixel size (y, x) in µm; 1 where the file does not say."""
        return np.array(self.image.pixel_size_um or (1.0, 1.0))


@dataclass(frozen=True, eq=False)
class _Rows:
    """N rows of the table."""

    number_column: str
    numbers: NDArray[np.int64]
    tokens: RowMeans
    intensities: RowMeans
    centres_px: NDArray[np.float64]
    """(N, 2) (y, x)."""
    area_px: NDArray[np.float64]
    columns: Mapping[str, Any]
    tiles: int
    stored_tiles: int


def embed(
    image: MultiplexImage,
    cells: NDArray[np.integer[Any]] | da.Array | None,
    panel: Panel | None,
    checkpoint: Checkpoint,
    request: EmbedRequest | None = None,
    *,
    tissue_id: str = "",
    patient_id: str = "",
    cell_table: "pd.DataFrame | None" = None,
    cache: Path | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = never,
    in_memory: bool | None = None,
) -> Embedding:
    """Compute tokens of the cells, niches, patches or the tissue of an image.

    Source: the paper, Methods, "Aggregation into cell-, niche- and tissue-level representations".
    Cells: tiles at a stride of 42 px, the last of a row or column shifted inward to end with the
    image, so that every cell lies in tiles whole of image; only tiles that hold cells are computed.
    Niches, patches and tissue: the tiles of `niche_origins` with 30 % tissue or more.

    Parameters
    ----------
    image
        Raw counts or intensities, 128 px or more on both sides.
    cells
        (Y, X) labels, 0 = background, an array or lazy; needed for cells alone.
    panel
        What its channels are; from their names by default.
    checkpoint
        The model, its marker embeddings and statistics.
    request
        Level, stride and batch size.
    tissue_id
        What to call the image in the table; its own name by default.
    patient_id
        Whose tissue it is, where known.
    cell_table
        What is known of the cells: ``cell_id`` and columns such as ``cell_type``; with a column
        ``tissue_id``, only the rows of this tissue count.
    cache
        Folder to keep patch tokens in, so that a run goes on where it was stopped.
    on_tile
        Called after each tile with how many are done, of how many.
    cancelled
        Asked between and within batches.
    in_memory
        Whether to normalise the whole image at once; by its size by default.

    Returns
    -------
    Embedding
        Tokens, mean intensities, places and provenance; `Embedding.to_anndata`, `Embedding.write`.

    Raises
    ------
    InputError
        The image is too small, has NaN or negative counts; the mask has another size or no cell;
        no tile has enough tissue; the table of cells does not fit.
    MarkerError
        The panel is not that of the image.
    Cancelled
        ``cancelled()`` said so; what is in the cache stays there.
    """
    request = request or EmbedRequest()
    tissue_id = tissue_id or image.name
    mask = _mask(cells, image) if request.level == "cell" else None
    known: dict[str, Any] = {}
    if mask is not None and cell_table is not None:
        known = known_of_cells(cell_table, mask.ids, tissue_id)
    if in_memory is None:
        in_memory = math.prod(image.shape) <= IN_MEMORY_VALUES
    prepared = prepare_image(image, panel, checkpoint, in_memory=in_memory)
    runner = Runner(checkpoint, batch_size=request.batch_size, cancelled=cancelled)
    signature = token_signature(checkpoint, prepared.keys, prepared.embeddings)
    store = None if cache is None else TokenCache(cache, tissue_id, signature)

    def tiles(origins: NDArray[np.int64]) -> Iterator[TileTokens]:
        for i, tile in enumerate(tile_tokens(prepared, origins, runner, store)):
            yield tile
            if on_tile is not None:
                on_tile(i + 1, len(origins))

    config = checkpoint.config
    work = _Work(image, prepared, request, tiles, config.model_dim, config.patch_size)
    if mask is not None:
        rows = _cells(work, mask)
    else:
        rows = _patches(work) if request.level == "patch" else _niches(work)
    columns = dict(rows.columns) | known
    if patient_id:
        columns["patient_id"] = category([patient_id] * len(rows.numbers))
    warnings = [*prepared.warnings, *(store.notes() if store else ())]
    if image.pixel_size_um is None:
        warnings.append("the file does not say how large a pixel is: taken as 1 µm")
    return Embedding(
        level=request.level,
        names=(rows.number_column, tissue_id),
        numbers=rows.numbers,
        tokens=rows.tokens,
        intensities=rows.intensities,
        centres_um=rows.centres_px[:, ::-1] * work.pixel_um[::-1],
        area_um2=rows.area_px * work.pixel_um.prod(),
        var=describe_channels(image, panel, prepared),
        provenance=_provenance(work, checkpoint, rows, warnings),
        columns=columns,
        tiles=rows.tiles,
        stored_tiles=rows.stored_tiles,
        warnings=tuple(warnings),
    )


def _mask(cells: NDArray[np.integer[Any]] | da.Array | None, image: MultiplexImage) -> CellMask:
    if cells is None:
        message = (
            "expected a mask of the cells, found none. Give one (labels, 0 = background), or "
            "choose the niche or tissue level."
        )
        raise InputError(message)
    return CellMask(cells, image.shape[1:])


def _cells(work: _Work, mask: CellMask) -> _Rows:
    """Average patch tokens over cells."""
    origins = tile_origins(mask.shape, size=TILE_PX, stride=work.request.stride)
    origins = origins[mask.held_by(origins)]
    tokens = RowMeans(len(mask), work.dim)
    side = TILE_PX // work.patch_px
    counter = PatchCounter((side, side), work.patch_px)
    stored = 0
    for tile in work.tiles(origins):
        y, x = tile.origin
        window = (slice(y, y + TILE_PX), slice(x, x + TILE_PX))
        found, counts, totals = counter.count([mask.numbers(window)])
        tokens.add(found, counts @ tile.tokens.reshape(-1, work.dim), totals)
        stored += tile.stored
    measured = measure_cells(work.image, mask)
    return _Rows(
        number_column="cell_id",
        numbers=mask.ids,
        tokens=tokens,
        intensities=measured.intensities,
        centres_px=measured.centres_px,
        area_px=measured.area_px,
        columns={},
        tiles=len(origins),
        stored_tiles=stored,
    )


def _niches(work: _Work) -> _Rows:
    """Average patch tokens over tiles with enough tissue, or over all of them."""
    whole = work.request.level == "tissue"
    origins, share = _tiles_of_tissue(work)
    count = 1 if whole else len(origins)
    tokens, bright = RowMeans(count, work.dim), RowMeans(count, len(work.image.channels))
    stored = 0
    for i, tile in enumerate(work.tiles(origins)):
        row = np.array([0 if whole else i])
        patches = tile.tokens.reshape(-1, work.dim)
        tokens.add(row, patches.sum(axis=0, dtype=np.float64)[None], np.array([len(patches)]))
        raw = _raw_tile(work, tile.origin)
        bright.add(row, raw.sum(axis=(1, 2), dtype=np.float64)[None], np.array([TILE_PX**2]))
        stored += tile.stored
    centres = origins.astype(np.float64) + (TILE_PX - 1) / 2
    areas = np.full(len(origins), float(TILE_PX**2))
    columns = {"y_px": origins[:, 0], "x_px": origins[:, 1], "tissue_fraction": share}
    return _Rows(
        number_column="" if whole else "niche_id",
        numbers=np.arange(count),
        tokens=tokens,
        intensities=bright,
        centres_px=centres.mean(axis=0, keepdims=True) if whole else centres,
        area_px=areas.sum(keepdims=True) if whole else areas,
        columns={"tissue_fraction": [share.mean()]} if whole else columns,
        tiles=len(origins),
        stored_tiles=stored,
    )


def _patches(work: _Work) -> _Rows:
    """Keep the patch tokens of tiles with enough tissue as they are."""
    origins, share = _tiles_of_tissue(work)
    size = work.patch_px
    side = TILE_PX // size
    each = side**2
    tokens = RowMeans(len(origins) * each, work.dim)
    bright = RowMeans(len(origins) * each, len(work.image.channels))
    stored = 0
    for i, tile in enumerate(work.tiles(origins)):
        rows = np.arange(i * each, (i + 1) * each)
        tokens.add(rows, tile.tokens.reshape(-1, work.dim), np.ones(each))
        raw = _raw_tile(work, tile.origin).reshape(-1, side, size, side, size)
        sums = raw.sum(axis=(2, 4), dtype=np.float64).reshape(-1, each).T
        bright.add(rows, sums, np.full(each, size**2))
        stored += tile.stored
    within = size * np.indices((side, side)).reshape(2, -1).T
    corners = (origins[:, None] + within).reshape(-1, 2)
    return _Rows(
        number_column="patch_id",
        numbers=np.arange(len(corners)),
        tokens=tokens,
        intensities=bright,
        centres_px=corners.astype(np.float64) + (size - 1) / 2,
        area_px=np.full(len(corners), float(size**2)),
        columns={
            "y_px": corners[:, 0],
            "x_px": corners[:, 1],
            "tissue_fraction": np.repeat(share, each),
        },
        tiles=len(origins),
        stored_tiles=stored,
    )


def _tiles_of_tissue(work: _Work) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give the tiles (T, 2) with enough tissue, and its share of each (T,)."""
    origins = niche_origins(work.prepared.shape, stride=work.request.stride)
    share = tissue_share(work.prepared, origins)
    enough = share >= LEAST_TISSUE
    if not enough.any():
        message = (
            f"expected a tile of {TILE_PX} px with {LEAST_TISSUE:.0%} tissue or more in "
            f"{work.image.name!r}, found {share.max():.0%} at the most. Choose an image with more "
            "tissue."
        )
        raise InputError(message)
    return origins[enough], share[enough]


def _raw_tile(work: _Work, origin: tuple[int, int]) -> NDArray[Any]:
    """Read the pixels (C, 128, 128) of a tile as the image has them."""
    y, x = origin
    read = work.image.pixels[:, y : y + TILE_PX, x : x + TILE_PX]
    return np.asarray(read.compute(scheduler="threads"))


def tissue_share(prepared: PreparedImage, origins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each tile (T, 2) that is tissue: (T,)."""
    step = 1 if prepared.in_memory else sampling_step(prepared.shape)
    first, last = origins // step, -(-(origins + TILE_PX) // step)
    return np.array(
        [
            prepared.tissue[y:y_end, x:x_end].mean()
            for (y, x), (y_end, x_end) in zip(first.tolist(), last.tolist(), strict=True)
        ]
    )


def _provenance(
    work: _Work, checkpoint: Checkpoint, rows: _Rows, warnings: list[str]
) -> dict[str, Any]:
    """Say what the table was made from, in texts, numbers and lists."""
    folder = checkpoint.folder
    return {
        "level": work.request.level,
        "checkpoint": "in memory" if folder is None else folder.name,
        "checkpoint_signature": checkpoint_signature(checkpoint),
        "precision": precision(checkpoint),
        "statistics": work.prepared.statistics_from,
        "panel": np.array(work.prepared.keys, dtype=object),
        "stride_px": work.request.stride,
        "tile_px": TILE_PX,
        "patch_px": checkpoint.config.patch_size,
        "tiles": rows.tiles,
        "image": work.prepared.source or work.image.name,
        "pixel_size_um": work.pixel_um,
        "pixel_size_known": work.image.pixel_size_um is not None,
        "version": __version__,
        "versions": {name: _version(name) for name in ("anndata", "numpy", "torch")},
        "warnings": np.array(warnings, dtype=object),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
