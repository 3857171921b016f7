"""Which cells are selected: in the map, in the image, and from either to the other."""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer
from qtpy.QtCore import Signal as QtSignal

from napari_virtues._widgets.listening import at_end
from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.attention_intent import regions_layer
from napari_virtues.space_cells import (
    InImage,
    new_selection_layer,
    polygons,
    selection_layer,
    show,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_virtues._widgets.space_form import SpaceForm

STILL_MS = 80
"""A drawing is looked at once it has not changed for so long."""


class SpaceSelection(QObject):
    """Keeps the selected cells, and shows them in the image."""

    changed = QtSignal()
    shown = QtSignal()
    """The image shows what is selected."""

    def __init__(self, viewer: "ViewerModel", form: "SpaceForm") -> None:
        super().__init__(form)
        self._viewer = viewer
        self._form = form
        self._turns = Turns(form)
        self._turn = 0
        self._count = 0
        self._where: InImage | None = None
        self._drawing: Any = None
        self._still = QTimer(self)
        self._still.setSingleShot(True)
        self._still.setInterval(STILL_MS)
        self._still.timeout.connect(self._take_drawing)
        self.rows = np.empty(0, np.int64)
        """(M,) of the selected cells."""
        at_end(form, self._end)

    def begin(self, count: int, where: InImage | None) -> None:
        """Take N other cells, none of them selected."""
        self._listen(where)
        self._count = count
        self.select(np.empty(0, np.int64))

    def select(self, rows: NDArray[np.int64]) -> None:
        """Select these cells instead of others."""
        self.rows = rows
        self._turn += 1
        self.changed.emit()
        if self._where is None:
            self.shown.emit()
            return
        flags = np.zeros(self._count, np.uint8)
        flags[rows] = 1
        done = partial(self._on_picture, self._turn, bool(len(rows)))
        self._form.background.run(partial(self._where.picture, flags), done)

    def draw(self) -> None:
        """Add a layer to draw in, ready for the first outline."""
        if self._where is None:
            return
        if self._drawing not in self._viewer.layers:
            self._drawing = regions_layer(self._where.image)
            self._drawing.name = f"selection · {self._where.image.name}"
            self._drawing.events.data.connect(self._on_drawing)
            self._viewer.add_layer(self._drawing)
        self._viewer.layers.selection.active = self._drawing
        self._drawing.mode = "add_polygon_lasso"

    def _end(self) -> None:
        self._listen(None)
        if self._drawing is not None:
            self._drawing.events.data.disconnect(self._on_drawing)

    def _listen(self, where: InImage | None) -> None:
        if self._where is not None:
            self._where.layer.events.selected_label.disconnect(self._on_label)
        self._where = where
        if where is not None:
            where.layer.events.selected_label.connect(self._on_label)

    def _on_label(self, *_: Any) -> None:
        row = None if self._where is None else self._where.row_of(self._where.layer.selected_label)
        self.select(np.array([] if row is None else [row], dtype=np.int64))

    def _on_drawing(self, *_: Any) -> None:
        self._still.start()

    def _take_drawing(self) -> None:
        if self._where is not None and self._drawing in self._viewer.layers:
            drawn = polygons(self._drawing)
            self._form.background.run(partial(self._where.within, drawn), self.select)

    def _on_picture(self, turn: int, any_selected: bool, picture: NDArray[np.uint8]) -> None:  # noqa: FBT001
        if turn == self._turn:
            self._turns.begin(self._show(picture, any_selected=any_selected))

    def _show(self, picture: NDArray[np.uint8], *, any_selected: bool) -> Steps:
        if self._where is None:
            return
        layers = self._viewer.layers
        layer = selection_layer(self._viewer, self._where.image)
        if layer is not None:
            layer.data = picture
            layer.visible = any_selected
        elif any_selected:
            active = layers.selection.active
            layer = new_selection_layer(self._where.image, picture)
            yield
            yield from self._turns.in_two(partial(layers.append, layer))
            layers.selection.active = active if active in layers else None
            yield
            yield from self._turns.in_two(partial(show, layer))
        self.shown.emit()
        yield
