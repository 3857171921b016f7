"""Clicks in the image, told apart from drags that move it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject
from qtpy.QtCore import Signal as QtSignal

from napari_virtues._widgets.listening import at_end

if TYPE_CHECKING:
    from napari.components import ViewerModel

STILL_PX = 4
"""A mouse that moves further, on the screen, drags."""


class CellClicks(QObject):
    """Listens to the canvas while it is switched on, whichever layer is selected."""

    clicked = QtSignal(float, float)
    """World coordinates (y, x)."""

    def __init__(self, viewer: "ViewerModel", parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        at_end(parent, partial(_forget, viewer.mouse_drag_callbacks, self._on_press))

    @property
    def on(self) -> bool:
        """Whether clicks are listened to."""
        return self._on_press in self._viewer.mouse_drag_callbacks

    @on.setter
    def on(self, on: bool) -> None:
        if on and not self.on:
            self._viewer.mouse_drag_callbacks.append(self._on_press)
        elif self.on and not on:
            self._viewer.mouse_drag_callbacks.remove(self._on_press)

    def _on_press(self, _viewer: Any, event: Any) -> Iterator[None]:
        if event.button != 1 or event.modifiers:
            return
        start, dragged = tuple(event.pos), False
        yield
        while event.type == "mouse_move":
            dragged |= max(abs(a - b) for a, b in zip(event.pos, start, strict=True)) > STILL_PX
            yield
        if not dragged:
            y, x = event.position[-2:]
            self.clicked.emit(float(y), float(x))


def _forget(callbacks: list[Callable[..., Any]], own: Callable[..., Any]) -> None:
    if own in callbacks:
        callbacks.remove(own)
