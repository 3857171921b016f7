"""Tokens of cells, niches, patches or a tissue with what is known of them, as a table: AnnData.

::

    X                     (N, C) float32: mean of every channel of the image, raw units
    obsm["X_virtues"]     (N, D) float32: tokens
    obsm["spatial"]       (N, 2) float64: centre (x, y) in µm
    obs                   index "<tissue_id>:<number>"
        tissue_id         the image's name, or what it was called
        cell_id           the label in the mask (level cell)
        niche_id          from 0, row by row (level niche), with y_px, x_px and tissue_fraction
        patch_id          from 0, tile by tile (level patch), with the same, the tile's fraction
        area_um2          of the cell; of the niche's or the tissue's tiles
        patient_id        where it was said
        cell_type, cell_type_probability, …    where a table of the cells was given
    var                   index channel names
        accession         UniProt accession, or ""
        key               marker key: accession, "stain:dna", or ""
        symbol, status    as the panel says
        in_model          whether the model saw the channel
    uns["virtues"]        provenance
        checkpoint, checkpoint_signature, precision, statistics
        panel             marker keys of the channels that the model saw, in their order
        level, stride_px, tile_px, patch_px, tiles
        image, pixel_size_um (y, x), pixel_size_known
        version           of napari-virtues; versions of what it ran on
        warnings
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.files import check_room, replacing
from virtues_core.infer.request import TILE_PX

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from virtues_core.infer.rows import RowMeans

Level = Literal["cell", "niche", "patch", "tissue"]
LEVELS: tuple[Level, ...] = get_args(Level)
CELL_STRIDE_PX = 42
"""As in the paper: each pixel lies in about nine tiles."""
TOKENS = "X_virtues"
"""Name of the tokens in ``obsm``."""
_BLOCK_BYTES = 2**22


def check_level(level: str) -> Level:
    """Return the level of this name.

    Raises
    ------
    InputError
        There is none; the message lists them.
    """
    for known in LEVELS:
        if level == known:
            return known
    message = f"expected a level among {', '.join(LEVELS)}, found {level!r}."
    raise InputError(message)


@dataclass(frozen=True)
class EmbedRequest:
    """Of what tokens are wanted, and from which tiles."""

    level: Level = "cell"
    """``cell``: one token for each cell of a mask; ``niche``: one for each tile with tissue;
    ``patch``: those of the patches of these tiles; ``tissue``: one for the image."""
    stride_px: int | None = None
    """Step from tile to tile, px, 1 to 128; by default 42 for cells, and 128 (no overlap) for
    niches, patches and tissues."""
    batch_size: int = 8
    """Tiles that go through the model at once."""

    def __post_init__(self) -> None:
        check_level(self.level)
        if self.stride_px is None:
            stride = CELL_STRIDE_PX if self.level == "cell" else TILE_PX
            object.__setattr__(self, "stride_px", stride)
        if not 1 <= self.stride <= TILE_PX:
            message = f"stride_px: expected 1 to {TILE_PX} px, found {self.stride_px}."
            raise InputError(message)
        if self.batch_size < 1:
            message = f"batch_size: expected 1 or more, found {self.batch_size}."
            raise InputError(message)

    @property
    def stride(self) -> int:
        """Step from tile to tile, px."""
        return CELL_STRIDE_PX if self.stride_px is None else self.stride_px


@dataclass(frozen=True, eq=False)
class Embedding:
    """Tokens of N cells, niches or tissues of one image."""

    level: Level
    names: tuple[str, str]
    """Name of the column that numbers the rows, and the tissue's identifier."""
    numbers: NDArray[np.int64]
    """(N,) label of the cell, number of the niche, or 0."""
    tokens: "NDArray[np.float32] | RowMeans"
    """(N, D); of many cells, read from disk in slices of rows."""
    intensities: "NDArray[np.float32] | RowMeans"
    """(N, C) mean of every channel of the image, raw units."""
    centres_um: NDArray[np.float64]
    """(N, 2) (x, y)."""
    area_um2: NDArray[np.float64]
    """(N,)."""
    var: "pd.DataFrame"
    """C rows: the image's panel."""
    provenance: Mapping[str, Any]
    """What it was made from; see the module."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of N values: patient, cell type, …"""
    tiles: int = 0
    """Tiles that were needed."""
    stored_tiles: int = 0
    """Tiles of them whose tokens were found in the cache."""
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def obs(self) -> "pd.DataFrame":
        """N rows: what is known of each."""
        import pandas as pd

        number, tissue_id = self.names
        table: dict[str, Any] = {"tissue_id": pd.Categorical([tissue_id]).repeat(len(self))}
        if number:
            table[number] = self.numbers
        table["area_um2"] = self.area_um2
        table |= self.columns
        index = [f"{tissue_id}:{i}" for i in self.numbers.tolist()] if number else [tissue_id]
        return pd.DataFrame(table, index=pd.Index(index, dtype=object))

    def to_anndata(self) -> "AnnData":
        """Give everything in memory as AnnData, laid out as the module says."""
        return self._table(np.asarray(self.intensities), np.asarray(self.tokens))

    def lazy_anndata(self) -> "AnnData":
        """Give AnnData as `to_anndata` does, whose large tables are read when they are written."""
        return self._table(_lazy(self.intensities), _lazy(self.tokens))

    def write(self, path: Path | str) -> None:
        """Write AnnData as ``.h5ad`` or ``.zarr``, by the path's suffix, a block at a time.

        Raises
        ------
        InputError
            Another suffix.
        VirtuesError
            The disk is full or the folder cannot be written; what stood there is untouched.
        """
        path = check_suffix(path)
        import dask

        table = self.lazy_anndata()
        if path.suffix == ".h5ad":
            arrays = (table.X, *table.obsm.values())
            size = sum(values.nbytes for values in arrays)
            check_room(path, size + int(table.obs.memory_usage(deep=True).sum()))
        with replacing(path) as new, dask.config.set(scheduler="synchronous"):
            if path.suffix == ".h5ad":
                table.write_h5ad(new)
            else:
                _write_zarr(table, new)

    def _table(self, intensities: Any, tokens: Any) -> "AnnData":
        from anndata import AnnData

        return AnnData(
            X=intensities,
            obs=self.obs,
            var=self.var,
            obsm={TOKENS: tokens, "spatial": self.centres_um},
            uns={"virtues": dict(self.provenance)},
        )


def check_suffix(path: Path | str) -> Path:
    """Return a path that `Embedding.write` can write.

    Raises
    ------
    InputError
        It ends otherwise.
    """
    if Path(path).suffix not in {".h5ad", ".zarr"}:
        message = f"expected a file that ends with .h5ad or .zarr, found {str(path)!r}."
        raise InputError(message)
    return Path(path)


def _write_zarr(table: "AnnData", path: Path) -> None:
    import anndata

    with (
        warnings.catch_warnings(),
        anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=False),
    ):
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        table.write_zarr(path)


def _lazy(values: "NDArray[np.float32] | RowMeans") -> Any:
    """Give a table as a Dask array in blocks of rows; one in memory as it is."""
    if isinstance(values, np.ndarray):
        return values
    import dask.array as da

    rows = max(1, _BLOCK_BYTES // (8 * values.shape[1]))
    return da.from_array(  # type: ignore[no-untyped-call]
        _Blocks(values), chunks=(rows, values.shape[1]), name=False, asarray=False, fancy=False
    )


class _Blocks:
    """A table as Dask asks for it: by slices of rows and columns."""

    def __init__(self, values: "RowMeans") -> None:
        self._values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[np.float32]:
        return self._values[key[0]][:, key[1]]
