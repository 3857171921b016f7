"""Tokens with their image and their cells in one store: SpatialData, an extra.

::

    images/<image>    (c, y, x): every channel of the image, raw units
    labels/cells      (y, x): the mask (level cell)
    shapes/niches     squares of 128 px (level niche)
    tables/tokens     what `virtues_core.infer.token_table` says; each row annotates the cell of its
                      ``cell_id``, the niche of its ``niche_id``, or nothing (level tissue)

The coordinate system "global" is in µm. Source: Marconato et al. 2025, "SpatialData: an open and
universal data framework for spatial omics".
"""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.files import replacing
from virtues_core.image import MultiplexImage
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.token_table import Embedding

if TYPE_CHECKING:
    from anndata import AnnData

SUFFIXES = [".sdata", ".zarr"]
"""How the name of a SpatialData store ends here; ``.zarr`` alone is AnnData."""
_ELEMENTS = {"cell": "cells", "niche": "niches"}


def is_spatialdata(path: Path | str) -> bool:
    """Say whether a path to write to names a SpatialData store: ``X.sdata.zarr``."""
    return Path(path).suffixes[-2:] == SUFFIXES


def check_spatialdata() -> None:
    """Raise an InputError where the package spatialdata is not installed."""
    if find_spec("spatialdata") is None:
        message = (
            "expected the package spatialdata, which writes .sdata.zarr, found it missing. Install "
            "it in an environment of its own, for it needs an older dask: pip install "
            "'napari-virtues[spatialdata]'. Or write AnnData: end the name with .h5ad or .zarr."
        )
        raise InputError(message)


def write_spatialdata(
    path: Path | str,
    embedding: Embedding,
    image: MultiplexImage,
    cells: NDArray[np.integer[Any]] | da.Array | None = None,
) -> None:
    """Write tokens, the image and the mask or niches as a SpatialData store.

    Parameters
    ----------
    path
        The folder to write; an older one is replaced.
    embedding
        What was computed of ``image``.
    image
        (C, Y, X) raw units, lazy.
    cells
        (Y, X) labels, an array or lazy; needed where the rows are cells.

    Raises
    ------
    InputError
        spatialdata is not installed, or the rows are cells and there is no mask.
    VirtuesError
        The disk is full or the folder cannot be written; what stood there is untouched.
    """
    check_spatialdata()
    if embedding.level == "cell" and cells is None:
        message = "expected the mask of the cells that the rows are of, found none. Give it too."
        raise InputError(message)
    import anndata
    import dask
    from spatialdata import SpatialData
    from spatialdata.models import Image2DModel, Labels2DModel, ShapesModel
    from spatialdata.transformations import Scale

    pixel_um = np.array(image.pixel_size_um or (1.0, 1.0))
    to_um = {"global": Scale(pixel_um, axes=("y", "x"))}
    elements: dict[str, Any] = {
        element_name(image.name): Image2DModel.parse(
            image.pixels, dims=("c", "y", "x"), c_coords=list(image.channels), transformations=to_um
        )
    }
    if embedding.level == "cell":
        labels = cells if isinstance(cells, da.Array) else da.from_array(np.asarray(cells))  # type: ignore[no-untyped-call]
        elements["cells"] = Labels2DModel.parse(labels, dims=("y", "x"), transformations=to_um)
    elif embedding.level == "niche":
        elements["niches"] = ShapesModel.parse(_squares(embedding), transformations=to_um)
    elements["tokens"] = _annotating(embedding)
    store = SpatialData.init_from_elements(elements)
    with (
        replacing(Path(path)) as new,
        dask.config.set(scheduler="synchronous"),
        anndata.settings.override(auto_shard_zarr_v3=False),
    ):
        store.write(new)


def element_name(name: str) -> str:
    """Turn an image's name into one that a store takes: letters, digits, ``_``, ``-`` and ``.``.

    Examples
    --------
    >>> element_name("Region 1 (left)")
    'Region_1_left'
    """
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("_.") or "image"


def _squares(embedding: Embedding) -> Any:
    """Give the niches as squares in px, numbered as the rows are."""
    import geopandas
    import shapely

    y, x = (np.asarray(embedding.columns[name], float) for name in ("y_px", "x_px"))
    squares = shapely.box(x, y, x + TILE_PX, y + TILE_PX)
    return geopandas.GeoDataFrame({"geometry": squares}, index=embedding.numbers)


def _annotating(embedding: Embedding) -> "AnnData":
    """Give the table, which says what element its rows are of."""
    from spatialdata.models import TableModel

    table = embedding.lazy_anndata()
    element = _ELEMENTS.get(embedding.level)
    if element is None:
        return TableModel.parse(table)
    import pandas as pd

    table.obs["region"] = pd.Categorical([element]).repeat(len(embedding))
    return TableModel.parse(
        table, region=element, region_key="region", instance_key=embedding.names[0]
    )
