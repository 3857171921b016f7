"""Cells as points of a map ↔ the cells in the image. Knows no Qt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtues.cells_intent import SELECTED, finest, masks
from napari_virtues.cells_layers import (
    TYPE_COLORS,
    UNSURE_COLOR,
    Cells,
    TypedView,
    painted,
    type_colormap,
)
from napari_virtues.layers import placement
from napari_virtues.state import LINK, AppState, ChannelLink
from virtues_core.cohort import UNSURE
from virtues_core.image import MultiplexImage

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Labels, Shapes

    from napari_virtues.engine import CellTable
    from virtues_core.infer import Embedding

SELECTION_COLOR = "#ffffff"
MOST_GROUPS = 250
"""A column with more different texts says who a cell is, not of what kind."""
UNKNOWN_COLOR = "#4b5058"
"""Of cells of which nothing is said."""
_ELLIPSE = np.linspace(0, 2 * np.pi, 64, endpoint=False)


@dataclass(frozen=True, eq=False)
class InImage:
    """M of the cells, where they are in an image."""

    image: MultiplexImage
    layer: "Labels"
    """The mask that they are in."""
    labels: NDArray[Any]
    """(Y, X)."""
    rows: NDArray[np.int64]
    """(M,) which of all cells they are."""
    numbers: NDArray[np.int64]
    """(M,) their labels, ascending."""
    centres_px: NDArray[np.float64]
    """(M, 2) (y, x)."""
    level: str = "cell"
    """Or "niche"."""

    def row_of(self, label: int) -> int | None:
        """Return the row of the cell with a label; None where there is none."""
        at = int(np.searchsorted(self.numbers, label))
        found = at < len(self.numbers) and int(self.numbers[at]) == label
        return int(self.rows[at]) if found else None

    def picture(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Paint each cell with its value, of (N,) for all cells: (Y, X). Slow for large masks."""
        return painted(self.labels, self.numbers, values[self.rows])

    def within(self, polygons: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
        """Return the rows of cells whose centres are in one of the polygons (K, 2) (y, x) px."""
        found = np.zeros(len(self.rows), bool)
        for polygon in polygons:
            found[inside(self.centres_px, polygon)] = True
        return self.rows[found]


@dataclass(frozen=True, eq=False)
class SpaceCells:
    """N cells (or niches, or tissues) to be mapped."""

    name: str
    source: "Embedding | Path"
    """Where they come from, to save them."""
    tokens: NDArray[np.float32]
    """(N, D)."""
    intensities: NDArray[np.float32]
    """(N, C) raw."""
    markers: tuple[str, ...]
    in_image: InImage | None
    """None where the image is not open."""
    table: "pd.DataFrame | None" = None
    """N rows: what is known of each; None where the mask's features say it."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def known(self) -> "pd.DataFrame":
        """What is known of each cell now: N rows, or none where that is lost."""
        import pandas as pd

        found = self.table
        if found is None and self.in_image is not None:
            found = self.in_image.layer.features
        return found if found is not None and len(found) == len(self) else pd.DataFrame()

    @property
    def groups(self) -> tuple[str, ...]:
        """Columns of ``known`` that part cells into kinds: types, niches, tissues."""
        known = self.known
        return tuple(str(name) for name in known if _parts(known[name]))


def of_cells(cells: Cells) -> SpaceCells:
    """Take the cells of the *Cells* dock."""
    found = cells.embedding
    where = InImage(
        cells.image,
        cells.layer,
        cells.labels,
        np.arange(len(cells)),
        cells.ids,
        cells.centres_px,
        cells.level,
    )
    return SpaceCells(
        name=cells.image.name,
        source=found,
        tokens=np.asarray(found.tokens),
        intensities=np.asarray(found.intensities),
        markers=tuple(str(name) for name in found.var.index),
        in_image=where,
    )


def of_table(table: "CellTable", viewer: "ViewerModel") -> SpaceCells:
    """Take the rows of a table, and find those that are in an image of the window."""
    return SpaceCells(
        name=table.path.name,
        source=table.path,
        tokens=table.tokens,
        intensities=table.intensities,
        markers=table.markers,
        in_image=_found(table, viewer),
        table=table.obs,
    )


def _found(table: "CellTable", viewer: "ViewerModel") -> InImage | None:
    """Find an open image whose name is a tissue of the table, its mask, and its cells."""
    obs = table.obs
    if table.centres_um is None or not {"tissue_id", "cell_id"} <= set(obs.columns):
        return None
    for opened in AppState.of(viewer).images:
        image = opened.image
        layer = next((x for x in masks(viewer) if finest(x).shape == image.shape[1:]), None)
        rows = np.flatnonzero(obs["tissue_id"].astype(str) == image.name)
        if layer is not None and len(rows):
            numbers = obs["cell_id"].to_numpy(np.int64)[rows]
            order = np.argsort(numbers)
            rows, numbers = rows[order], numbers[order]
            size = np.asarray(image.pixel_size_um or (1.0, 1.0))
            centres = table.centres_um[rows][:, ::-1] / size
            return InImage(image, layer, np.asarray(finest(layer)), rows, numbers, centres)
    return None


def _parts(column: "pd.Series[Any]") -> bool:
    import pandas as pd

    if not (isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object):
        return bool(column.dtype == bool)
    return 2 <= column.nunique() <= MOST_GROUPS


def inside(points: NDArray[Any], polygon: NDArray[Any]) -> NDArray[np.int64]:
    """Return which of N points (N, 2) are in a polygon (K, 2).

    Examples
    --------
    >>> inside(np.array([[1, 1], [5, 1]]), np.array([[0, 0], [0, 3], [3, 3], [3, 0]])).tolist()
    [0]
    """
    from skimage.measure import points_in_poly

    if len(polygon) < 3:
        return np.empty(0, np.int64)
    low, high = np.min(polygon, axis=0), np.max(polygon, axis=0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    return near[points_in_poly(points[near], polygon)] if len(near) else near


def polygons(layer: "Shapes") -> list[NDArray[Any]]:
    """Return the outlines of drawn shapes, each (K, 2) (y, x) px; lines enclose nothing."""
    found = []
    for kind, data in zip(layer.shape_type, layer.data, strict=True):
        corners = np.asarray(data)[:, -2:]
        if kind == "ellipse":
            centre = corners.mean(axis=0)
            one, other = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
            angle = _ELLIPSE[:, None]
            corners = centre + np.cos(angle) * one + np.sin(angle) * other
        if kind != "line":
            found.append(corners)
    return found


@dataclass(frozen=True, eq=False)
class Coloring:
    """A colour for each of N cells, and what the colours mean."""

    argb: NDArray[np.uint32]
    """(N,) 0xAARRGGBB."""
    legend: tuple[tuple[str, str], ...]
    """(name, ``#rrggbb``); of a scale its two ends."""


def by_group(names: Any, colors: Mapping[str, str] | None = None) -> Coloring:
    """Colour cells by what kind they are.

    Parameters
    ----------
    names
        (N,) texts; empty or missing ones are grey.
    colors
        Name → ``#rrggbb``, for those that have one already.
    """
    import pandas as pd

    codes, found = pd.factorize(pd.Series(np.asarray(names, dtype=object)).replace("", None))
    order = np.argsort([str(name) for name in found], kind="stable")
    known = dict(colors or {}) | {UNSURE: UNSURE_COLOR}
    shown = {str(found[k]): color_of(n) for n, k in enumerate(order)} | known
    table = [*(_argb(shown[str(name)]) for name in found), _argb(UNKNOWN_COLOR)]
    listed = [str(found[k]) for k in order] if colors is None else list(colors)
    legend = tuple((name, shown[name]) for name in listed)
    return Coloring(np.array(table, np.uint32)[codes], legend)


def by_value(values: NDArray[Any]) -> Coloring:
    """Colour cells (N,) by how bright a marker is: log(1 + x), 1st to 99th percentile."""
    from napari.utils.colormaps import ensure_colormap

    from virtues_core.cohort.table import signed_log

    shown = signed_log(values)
    finite = shown[np.isfinite(shown)]
    low, high = np.percentile(finite, (1, 99)) if len(finite) else (0.0, 1.0)
    share = np.nan_to_num((shown - low) / max(float(high - low), 1e-9)).clip(0, 1)
    ramp = (255 * ensure_colormap("viridis").map(np.linspace(0, 1, 256))).astype(np.uint32)
    table = np.uint32(0xFF000000) | ramp[:, 0] << 16 | ramp[:, 1] << 8 | ramp[:, 2]
    argb = table[(255 * share).astype(np.intp)].astype(np.uint32)
    ends = [f"#{int(table[k]) & 0xFFFFFF:06x}" for k in (0, 255)]
    return Coloring(argb, (("dim", ends[0]), ("bright", ends[1])))


def color_of(number: int) -> str:
    """Give the colour of the n-th kind; after the well-known ones hues go round.

    Examples
    --------
    >>> color_of(0)
    '#56b4e9'
    """
    from colorsys import hsv_to_rgb

    if number < len(TYPE_COLORS):
        return TYPE_COLORS[number]
    hue = (0.618034 * number) % 1
    rgb = hsv_to_rgb(hue, 0.55, 0.75 + 0.2 * (number % 2))
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def _argb(color: str) -> int:
    return 0xFF000000 | int(color[1:], 16)


def selection_layer(viewer: "ViewerModel", image: MultiplexImage) -> "Labels | None":
    """Return the layer that shows which cells of an image are selected, where there is one."""
    found = (x for x in viewer.layers if SELECTED in x.metadata and x.metadata[LINK].image is image)
    return next(found, None)


def new_selection_layer(image: MultiplexImage, picture: NDArray[np.uint8]) -> "Labels":
    """Make the layer of selected cells; it is hidden, and not yet in a viewer."""
    from napari.layers import Labels

    return Labels(
        picture,
        name=f"selected cells · {image.name}",
        colormap=type_colormap([SELECTION_COLOR]),
        opacity=0.7,
        visible=False,
        metadata={LINK: ChannelLink(image), SELECTED: True},
        **placement(image),
    )


def show(layer: "Labels") -> None:
    """Make a layer visible."""
    layer.visible = True


def clusters_as_types(
    where: InImage, clusters: NDArray[np.int64], names: Sequence[str]
) -> "tuple[TypedView, list[str]]":
    """Make types of clusters; those of one name become one. Not for the GUI's thread.

    Parameters
    ----------
    where
        The cells to be shown.
    clusters
        (N,) number of each cell's cluster.
    names
        Of the clusters; `MOST_GROUPS` different ones are shown, further ones are "unsure".

    Returns
    -------
    view, colors
        The types of the cells in the image, and a colour for each, "unsure" last.
    """
    from napari_virtues.engine import CellTypes

    order = tuple(name for name in dict.fromkeys(names) if name != UNSURE)[:MOST_GROUPS]
    colors = [color_of(list(names).index(name)) for name in order]
    place = {name: number for number, name in enumerate(order, start=1)}
    of_cluster = np.array([place.get(name, len(order) + 1) for name in names], np.uint8)
    numbers = of_cluster[clusters]
    shown = numbers[where.rows]
    all_names = np.array(["", *order, UNSURE])
    found = np.bincount(shown, minlength=len(all_names))[1:].tolist()
    classes = (*order, UNSURE)
    certain = np.eye(len(classes), dtype=np.float32)[shown - 1]
    view = TypedView(
        types=CellTypes(classes, certain),
        names=all_names[shown],
        order=classes,
        picture=where.picture(numbers),
        counts=dict(zip(classes, found, strict=True)),
    )
    return view, [*colors, UNSURE_COLOR]
