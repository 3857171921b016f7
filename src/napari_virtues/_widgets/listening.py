"""Listening to the state for as long as a widget lives."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

_ENDINGS: set["_Ending"] = set()
"""What waits for an object's end: held here, for a callable that Python's search for garbage took
apart together with the object's Python half would crash Qt when it calls it."""


def listen(widget: QWidget, *pairs: tuple[Any, Callable[..., Any]]) -> None:
    """Connect (signal, slot) pairs, and disconnect them when the widget is destroyed.

    The signals are those of the state or of napari; without this a dock that was closed would
    still be called.
    """
    for signal, slot in pairs:
        signal.connect(slot)
    at_end(widget, partial(_stop, pairs))


def at_end(widget: QObject, work: Callable[[], None]) -> None:
    """Do ``work()`` when Qt destroys a widget."""
    widget.destroyed.connect(_Ending(work))


class _Ending:
    """Does something once, and is kept until then."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        _ENDINGS.add(self)

    def __call__(self, *_: Any) -> None:
        _ENDINGS.discard(self)
        self._work()


def _stop(pairs: Iterable[tuple[Any, Callable[..., Any]]]) -> None:
    for signal, slot in pairs:
        signal.disconnect(slot)
