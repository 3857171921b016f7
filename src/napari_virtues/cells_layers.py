"""Cells or niches, types and marks ↔ napari layers. Knows no Qt; arrays are made in any thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtues.cells_intent import NICHES, TYPES
from napari_virtues.layers import placement
from napari_virtues.state import LINK, ChannelLink
from virtues_core.image import MultiplexImage
from virtues_core.infer.request import TILE_PX

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Labels, Points
    from napari.utils.colormaps import DirectLabelColormap

    from napari_virtues.engine import CellTypes
    from virtues_core.infer import Embedding

TYPE_COLORS = (
    "#56b4e9",  # sky
    "#e69f00",  # orange
    "#2ee66b",  # green
    "#ff4fd8",  # magenta
    "#f0e442",  # yellow
    "#b388ff",  # violet
    "#ff5a4e",  # red
    "#22d3ee",  # cyan
    "#a3b85c",  # olive
    "#f5b8c4",  # rose
    "#3f6fd8",  # blue
    "#c98a5a",  # brown
)
"""Of types, in the order in which they are named."""
UNSURE_COLOR = "#7d8590"
MARKS = "virtues_marks"
"""Key in ``layer.metadata`` of the layer that shows the clicked cells."""
OUTLINE_PX = 2**21
"""Of larger masks the outlines take too long to draw: 92 ms where there are twice as many."""
_TABLE_LABELS = 2**24
"""Labels up to this are looked up in a table; among larger ones they are searched for."""


@dataclass(frozen=True, eq=False)
class Cells:
    """N cells, or niches, of an image, with their tokens."""

    image: MultiplexImage
    layer: "Labels"
    """The mask that they are in."""
    labels: NDArray[Any]
    """(Y, X) of that layer when the tokens were computed."""
    embedding: "Embedding"
    """Of cells that were found but have no tokens yet, these are (N, 0)."""

    def __len__(self) -> int:
        return len(self.embedding)

    @property
    def level(self) -> str:
        """Return "cell" or "niche"."""
        return self.embedding.level

    @property
    def ids(self) -> NDArray[np.int64]:
        """(N,) label of each in the mask, ascending."""
        return mask_ids(self.embedding)

    @property
    def has_tokens(self) -> bool:
        """Whether tokens were computed."""
        return self.embedding.tokens.shape[1] > 0

    def same_as(self, other: "Cells | None") -> bool:
        """Whether both are the same cells of the same mask."""
        return (
            other is not None
            and other.layer is self.layer
            and other.level == self.level
            and np.array_equal(other.labels, self.labels)
        )

    def row_at(self, y: float, x: float) -> int | None:
        """Return the row of the cell at a pixel; None beside the cells.

        Parameters
        ----------
        y, x
            Position in pixels, from 0; a pixel reaches half a pixel to all sides.
        """
        place = round(y), round(x)
        inside = all(0 <= p < size for p, size in zip(place, self.labels.shape, strict=True))
        label = int(self.labels[place]) if inside else 0
        row = int(np.searchsorted(self.ids, label))
        found = row < len(self) and int(self.ids[row]) == label
        return row if label and found else None

    @property
    def centres_px(self) -> NDArray[np.float64]:
        """(N, 2) (y, x) in pixels."""
        size = np.asarray(self.image.pixel_size_um or (1.0, 1.0))
        return np.asarray(self.embedding.centres_um[:, ::-1] / size)

    @property
    def size_px(self) -> float:
        """Diameter of a typical cell."""
        size = self.image.pixel_size_um or (1.0, 1.0)
        return float(np.sqrt(np.median(self.embedding.area_um2) / (size[0] * size[1])))

    @property
    def mark_px(self) -> float:
        """Diameter of the mark of a clicked one."""
        return max(1.0, (0.6 if self.level == "cell" else 0.2) * self.size_px)


def mask_ids(embedding: "Embedding") -> NDArray[np.int64]:
    """(N,) label of each cell or niche in its mask; niches are numbered from 0, labels from 1."""
    return embedding.numbers + (embedding.level == "niche")


def niche_squares(embedding: "Embedding", shape: tuple[int, int]) -> NDArray[np.int32]:
    """Draw niches as squares of their labels: (Y, X); 0 where there is too little tissue."""
    squares = np.zeros(shape, np.int32)
    corners = zip(embedding.columns["y_px"], embedding.columns["x_px"], strict=True)
    for label, (y, x) in zip(mask_ids(embedding), corners, strict=True):
        squares[y : y + TILE_PX, x : x + TILE_PX] = label
    return squares


def new_niches_layer(image: MultiplexImage, squares: NDArray[np.int32]) -> "Labels":
    """Make the layer that shows niches as outlines; it is not yet in a viewer."""
    from napari.layers import Labels

    layer = Labels(
        squares,
        name=f"niches · {image.name}",
        metadata={LINK: ChannelLink(image), NICHES: True},
        **placement(image),
    )
    layer.contour = 2
    return layer


def new_mask_layer(image: MultiplexImage, labels: NDArray[Any], name: str = "") -> "Labels":
    """Make the layer of a mask of cells; it is not yet in a viewer."""
    from napari.layers import Labels

    return Labels(
        labels,
        name=name or f"cells · {image.name}",
        opacity=0.5,
        metadata={LINK: ChannelLink(image)},
        **placement(image),
    )


def cell_features(embedding: "Embedding") -> "pd.DataFrame":
    """Say what is known of each cell, as features of a Labels layer: ``index`` is the label.

    Types stand first, empty until cells are typed; then size, place (µm) and the mean of every
    channel. Tokens are left to the table that is saved: napari takes 0.1 s for some hundred
    columns.
    """
    import pandas as pd

    count = len(embedding)
    columns: dict[str, Any] = {
        "index": mask_ids(embedding),
        f"{embedding.level}_type": np.full(count, "", dtype=object),
        f"{embedding.level}_type_probability": np.full(count, np.nan, np.float32),
        "area_um2": embedding.area_um2.astype(np.float32),
        "x_um": embedding.centres_um[:, 0].astype(np.float32),
        "y_um": embedding.centres_um[:, 1].astype(np.float32),
    }
    means = np.asarray(embedding.intensities)
    columns |= {str(name): means[:, c] for c, name in enumerate(embedding.var.index)}
    return pd.DataFrame(columns)


@dataclass(frozen=True, eq=False)
class TypedView:
    """Types, as they are shown."""

    types: "CellTypes"
    names: "NDArray[np.str_]"
    """(N,) with "unsure"."""
    order: tuple[str, ...]
    """Names of the types; the first is 1 in the picture. "unsure" is the last."""
    picture: NDArray[np.uint8]
    """(Y, X) number of the type of each cell; 0 beside them."""
    counts: Mapping[str, int]
    """Cells of each type."""


def typed_view(
    cells: Cells, types: "CellTypes", order: Sequence[str], unsure_below: float
) -> TypedView:
    """Paint each cell with the number of its type. Slow: not for the GUI's thread.

    Parameters
    ----------
    cells, types
        What was typed.
    order
        Names of all types, as the legend lists them; 254 at the most.
    unsure_below
        Cells less probable than this are "unsure".
    """
    from virtues_core.cohort import UNSURE

    names = types.names(unsure_below)
    order = (*order, UNSURE)
    numbers = np.zeros(len(cells), np.uint8)
    for number, name in enumerate(order, start=1):
        numbers[names == name] = number
    picture = painted(cells.labels, cells.ids, numbers)
    found = np.bincount(numbers, minlength=len(order) + 1)[1:].tolist()
    return TypedView(types, names, order, picture, dict(zip(order, found, strict=True)))


def painted(
    labels: NDArray[Any], ids: NDArray[np.int64], numbers: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Put numbers in the place of labels.

    Parameters
    ----------
    labels
        (Y, X).
    ids
        (N,) labels, ascending; all others become 0.
    numbers
        (N,) what they become.

    Examples
    --------
    >>> painted(np.array([[0, 7], [9, 8]]), np.array([7, 9]), np.array([1, 2], np.uint8)).tolist()
    [[0, 1], [2, 0]]
    """
    if ids[-1] > _TABLE_LABELS:
        place = np.minimum(np.searchsorted(ids, labels), len(ids) - 1)
        return np.where(ids[place] == labels, numbers[place], 0).astype(np.uint8)
    table = np.zeros(max(int(ids[-1]), int(labels.max())) + 1, np.uint8)
    table[ids] = numbers
    return np.asarray(table[labels])


def type_colormap(colors: Sequence[str]) -> "DirectLabelColormap":
    """Colours of the numbers from 1; all others are transparent."""
    from napari.utils.colormaps import DirectLabelColormap

    known: Mapping[int | None, str] = dict(enumerate(colors, start=1))
    return DirectLabelColormap(color_dict={None: "transparent", 0: "transparent", **known})


def types_layer(
    viewer: "ViewerModel", image: MultiplexImage, level: str = "cell"
) -> "Labels | None":
    """Return the layer that shows the types of an image's cells or niches, if there is one."""
    return _of_image(viewer, image, TYPES, value=level)


def niches_layer(viewer: "ViewerModel", image: MultiplexImage) -> "Labels | None":
    """Return the layer that shows the niches of an image, if there is one."""
    return _of_image(viewer, image, NICHES)


def _of_image(viewer: "ViewerModel", image: MultiplexImage, key: str, *, value: Any = True) -> Any:
    shown = (x for x in viewer.layers if x.metadata.get(key) == value)
    return next((x for x in shown if x.metadata[LINK].image is image), None)


def new_types_layer(
    cells: Cells, view: TypedView, colors: Sequence[str], level: str = "cell"
) -> "Labels":
    """Make the layer that shows types; it is hidden, and not yet in a viewer."""
    from napari.layers import Labels

    return Labels(
        view.picture,
        name=f"{level} types · {cells.image.name}",
        colormap=type_colormap(colors),
        opacity=0.6,
        visible=False,
        features=legend(view, level),
        metadata={LINK: ChannelLink(cells.image), TYPES: level},
        **placement(cells.image),
    )


def outline(mask: "Labels", *, on: bool) -> None:
    """Show the cells of a mask as outlines, over their types, or filled.

    Pointing at a cell still tells its features then; a large mask is hidden instead. Niches are
    outlines at all times.
    """
    if NICHES in mask.metadata:
        return
    if mask.data.size <= OUTLINE_PX and not mask.multiscale:
        mask.contour = int(on)
    else:
        mask.visible = not on


def legend(view: TypedView, level: str = "cell") -> "pd.DataFrame":
    """Name and count of each type, as features of the layer that shows them."""
    import pandas as pd

    names, counts = list(view.counts), list(view.counts.values())
    index = np.arange(1, len(names) + 1)
    return pd.DataFrame({"index": index, f"{level}_type": names, f"{level}s": counts})


def marks_layer(viewer: "ViewerModel", image: MultiplexImage) -> "Points | None":
    """Return the layer of the clicked cells of an image, where there is one."""
    return _of_image(viewer, image, MARKS)


def new_marks_layer(cells: Cells) -> "Points":
    """Make the layer of clicked cells: empty, hidden, and not yet in a viewer."""
    from napari.layers import Points

    return Points(
        np.empty((0, 2)),
        name=_marks_name(cells),
        size=cells.mark_px,
        border_color="white",
        border_width=0.15,
        visible=False,
        metadata={LINK: ChannelLink(cells.image), MARKS: True},
        **placement(cells.image),
    )


def _marks_name(cells: Cells) -> str:
    return f"clicked {cells.level}s · {cells.image.name}"


def show_marks(
    layer: "Points", cells: Cells, marked: Mapping[int, str], offered: int | None
) -> None:
    """Show clicked cells as discs of their type's colour, and the offered one as a ring.

    Parameters
    ----------
    layer
        From `new_marks_layer`.
    cells
        The cells.
    marked
        Row → colour.
    offered
        Row of the cell that a person is asked about.
    """
    layer.name = _marks_name(cells)
    rows = [*marked, *([] if offered is None else [offered])]
    layer.data = cells.centres_px[rows] if rows else np.empty((0, 2))
    if not rows:
        return
    rings = [] if offered is None else ["transparent"]
    layer.face_color = [*marked.values(), *rings]
    usual = cells.mark_px
    layer.size = [usual] * len(marked) + [4 * usual] * len(rings)
    layer.border_width = [0.15] * len(marked) + [0.08] * len(rings)
    layer.selected_data = set()
