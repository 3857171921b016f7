"""Doing much to a window without stopping it: a little in each turn of its event loop."""

import string
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari.components import ViewerModel

Steps = Iterator[None]
"""A generator that does a little and then yields, for the window to have its turn."""
PAUSE_MS = 10
"""Between two steps, so that what one changed is drawn before the next."""


class Turns:
    """Does steps one after the other; between two of them the window gets its turn.

    Parameters
    ----------
    widget
        A widget of the window that the steps change.
    """

    def __init__(self, widget: QWidget) -> None:
        self._widget = widget
        self._steps: Steps = iter(())
        self._timer = QTimer(widget)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._step)

    def begin(self, steps: Steps) -> None:
        """Do these steps, instead of what is left of others."""
        self._steps = steps
        self._timer.start()

    @property
    def busy(self) -> bool:
        """Whether steps are left."""
        return bool(self._timer.isActive())

    def in_two(self, change: Callable[[], Any]) -> Steps:
        """Change something that takes long; it is drawn in the next turn, not in the same."""
        window = self._widget.window()
        window.setUpdatesEnabled(False)
        try:
            change()
            yield
        finally:
            with suppress(RuntimeError):  # the window was closed meanwhile
                window.setUpdatesEnabled(True)
        yield

    def _step(self) -> None:
        try:
            next(self._steps)
        except StopIteration:
            self._timer.stop()


def draw_letters(viewer: "ViewerModel") -> Steps:
    """Have napari draw letters that nobody sees, so that it is quick to draw names later.

    It computes the shape of a letter when it first draws it, which takes some 5 ms.
    """
    overlay = viewer.canvas.overlays.text
    if overlay.visible:
        return  # it is in use
    before = {name: getattr(overlay, name) for name in ("visible", "text", "color")}
    letters = " " + string.ascii_letters + string.digits + "·_-"
    try:
        for start in range(0, len(letters), 3):
            text = letters[start : start + 3]
            overlay.update({"text": text, "color": (0, 0, 0, 0), "visible": True})
            yield
    finally:
        overlay.update(before)
