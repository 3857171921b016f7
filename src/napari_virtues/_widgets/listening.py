"""Listening to the state for as long as a widget lives."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from qtpy.QtWidgets import QWidget


def listen(widget: QWidget, *pairs: tuple[Any, Callable[..., Any]]) -> None:
    """Connect (signal, slot) pairs, and disconnect them when the widget is destroyed.

    The signals are those of the state or of napari; without this a dock that was closed would
    still be called.
    """
    for signal, slot in pairs:
        signal.connect(slot)
    widget.destroyed.connect(partial(_stop, pairs))


def _stop(pairs: Iterable[tuple[Any, Callable[..., Any]]], *_: Any) -> None:
    for signal, slot in pairs:
        signal.disconnect(slot)
