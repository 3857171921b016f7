"""A tissue of a cohort and its lit cells → napari layers. Knows no Qt; for any thread."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_virtues._reader import opening_layers
from napari_virtues.cells_intent import LIT
from napari_virtues.cells_layers import new_mask_layer, new_niches_layer, painted, type_colormap
from napari_virtues.layers import placement
from napari_virtues.lit_cells import PLACES, SQUARES, Kinds, Lit, read_lit
from napari_virtues.space_cells import SELECTION_COLOR, color_of
from napari_virtues.state import LINK, ChannelLink
from napari_virtues.tissue_places import find_image, find_mask, kept_folders
from virtues_core.errors import InputError, VirtuesError
from virtues_core.image import MultiplexImage
from virtues_core.infer.request import TILE_PX
from virtues_core.markers import Panel

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels, Layer


@dataclass(frozen=True, eq=False)
class OpenedTissue:
    """A tissue, ready to be shown."""

    tissue_id: str
    image: MultiplexImage
    panel: Panel
    """What its channels measure: looking that up takes a while."""
    layers: "tuple[Layer, ...]"
    """Of its channels, where they are wanted; then the mask and the lit cells, all hidden."""
    told: str = ""
    """What could not be shown, and why."""


def open_tissue(
    stated: Mapping[str, str],
    lit: Lit,
    tissue_id: str,
    known: MultiplexImage | None = None,
    *,
    channels: bool = True,
) -> OpenedTissue:
    """Open a tissue with its cells lit.

    Parameters
    ----------
    stated
        Tissue → path of its image, as the analysis says.
    lit
        What was clicked.
    tissue_id
        One of its tissues.
    known
        Its image, where it is open.
    channels
        Whether layers of its channels are wanted.

    Raises
    ------
    InputError
        The image is nowhere.
    ReadError
        The image or the cells are damaged.
    """
    from napari.layers import Layer

    folders = kept_folders()
    image = known or find_image(tissue_id, stated.get(tissue_id, ""), folders)
    panel = Panel.from_names(image.channels)
    layers = [Layer.create(*x) for x in opening_layers(image)] if channels else []
    for layer in layers:
        layer.visible = False
    if lit.path is None:
        return OpenedTissue(tissue_id, image, panel, tuple(layers))
    cells = read_lit(lit, tissue_id)
    try:
        labels = _labels(image, lit, cells, tissue_id, folders)
    except VirtuesError as error:
        return OpenedTissue(tissue_id, image, panel, tuple(layers), str(error))
    cells[lit.number] += lit.number in SQUARES  # labels are from 1
    shown = cells[cells["color"] > 0]
    ids = shown[lit.number].to_numpy(np.int64)
    picture = np.zeros(labels.shape, np.uint8)
    if len(shown):
        picture = painted(labels, ids, shown["color"].to_numpy())
    absent = int((~np.isin(ids, np.unique(labels))).sum())
    told = f"{absent:,} of the lit cells: not in the mask; is it another mask?" * bool(absent)
    if lit.number != "patch_id":  # so many outlines would hide the tissue
        layers.append(_mask_layer(image, lit, labels, cells))
    layers.append(_lit_layer(image, lit, picture))
    return OpenedTissue(tissue_id, image, panel, tuple(layers), told)


def _labels(
    image: MultiplexImage,
    lit: Lit,
    cells: "pd.DataFrame",
    tissue_id: str,
    folders: tuple[Path, ...],
) -> NDArray[np.int32]:
    """Read the mask of the cells, or draw niches or patches as squares: (Y, X)."""
    if lit.number in SQUARES:
        return _squares(image, cells, lit.number)
    return find_mask(tissue_id, image, folders)


def _mask_layer(
    image: MultiplexImage, lit: Lit, labels: NDArray[np.int32], cells: "pd.DataFrame"
) -> "Labels":
    """Make the layer that tells of each cell, or niche, what is known of it."""
    layer = (new_niches_layer if lit.number in SQUARES else new_mask_layer)(image, labels)
    layer.visible = False
    known = cells.drop(columns=["color", *(name for name in PLACES if name in cells)])
    layer.features = known.rename(columns={lit.number: "index"})
    return layer


def _squares(image: MultiplexImage, rows: "pd.DataFrame", number: str) -> NDArray[np.int32]:
    """Draw niches, or patches, around their centres, as squares of their labels: (Y, X)."""
    if not set(PLACES) <= set(rows):
        message = "the results do not say where niches lie; run the analysis again"
        raise InputError(message)
    size = np.asarray(image.pixel_size_um or (1.0, 1.0))
    centres = rows[["y_um", "x_um"]].to_numpy(np.float64) / size
    side = TILE_PX if number == "niche_id" else _least_step(centres)
    squares = np.zeros(image.shape[1:], np.int32)
    corners = np.maximum(0, np.round(centres - (side - 1) / 2)).astype(int)
    for label, (y, x) in zip(rows[number] + 1, corners, strict=True):
        squares[y : y + side, x : x + side] = label
    return squares


def _least_step(centres: NDArray[np.float64]) -> int:
    """Return how far apart the nearest two of a grid of places (N, 2) are."""
    steps = np.concatenate([np.diff(np.unique(np.round(column))) for column in centres.T])
    return int(steps.min()) if len(steps) else 1


def _lit_layer(image: MultiplexImage, lit: Lit, picture: NDArray[np.uint8]) -> "Labels":
    import pandas as pd
    from napari.layers import Labels

    names = lit.kinds.names or (lit.title,)
    features = {"index": np.arange(1, len(names) + 1), "lit": names}
    return Labels(
        picture,
        name=f"{lit.title} · {image.name}",
        colormap=type_colormap(_colors(lit.kinds)),
        opacity=0.7,
        visible=False,
        features=pd.DataFrame(features),
        metadata={LINK: ChannelLink(image), LIT: True},
        **placement(image),
    )


def _colors(kinds: Kinds) -> list[str]:
    if kinds.scale is not None:
        from napari.utils.colormaps import ensure_colormap

        ramp = ensure_colormap("viridis").map(np.linspace(0, 1, len(kinds.names)))
        return ["#" + "".join(f"{round(255 * c):02x}" for c in color[:3]) for color in ramp]
    return [color_of(k) for k in range(len(kinds.names))] or [SELECTION_COLOR]
