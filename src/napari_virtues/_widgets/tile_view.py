"""Tiles as they come: a picture that grows, a bar, and the time left."""

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel, QProgressBar

from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.engine import TileDone
from napari_virtues.inpaint_layers import RESULT, Preview
from virtues_core.image import MultiplexImage

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

SHOW_EVERY_MS = 100
"""The picture is drawn at most this often; less often where drawing takes long."""


class TileView:
    """Shows a run while it goes on."""

    def __init__(self, viewer: "ViewerModel", bar: QProgressBar, status: QLabel) -> None:
        self._viewer = viewer
        self._bar = bar
        self._status = status
        self._timer = QTimer(bar)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._show)
        self._turns = Turns(bar)
        self._image: MultiplexImage | None = None
        self._preview: Preview | None = None
        self._layer: Any = None
        self._last: TileDone | None = None
        self._first = 0.0
        self._first_index = 0

    def begin(self, image: MultiplexImage) -> None:
        """Get ready for a run on this image."""
        self.end()
        self._image, self._preview = image, Preview(image)

    def add(self, tile: TileDone) -> None:
        """Take a tile; it is drawn soon."""
        if self._preview is None:
            return
        if self._last is None:
            self._first, self._first_index = time.monotonic(), tile.index
        self._last = tile
        if len(tile.prediction):
            self._preview.add(tile.origin, tile.prediction[0])
        if not self._timer.isActive():
            self._timer.start(SHOW_EVERY_MS if self._layer is not None else 0)

    def end(self, *, keep: bool = False) -> None:
        """Take the growing picture away.

        Parameters
        ----------
        keep
            Leave it where it is to become the reconstruction.
        """
        self._timer.stop()
        self._turns.begin(iter(()))
        layer = self._layer
        keep = keep and layer is not None and RESULT in layer.metadata
        if layer is not None and layer in self._viewer.layers and not keep:
            self._viewer.layers.remove(layer)
        self._layer = self._preview = self._last = None

    def _show(self) -> None:
        tile, preview = self._last, self._preview
        if tile is None or preview is None or self._image is None:
            return
        self._bar.setRange(0, tile.total)
        self._bar.setValue(tile.index + 1)
        last = tile.index + 1 == tile.total
        left = ", comparing with simpler ways…" if last else self._time_left(tile)
        self._status.setText(f"Tile {tile.index + 1} of {tile.total}{left}")
        start = time.monotonic()
        if self._layer is None:
            self._layer = preview.layer(self._viewer, self._image, tile.channels[0])
            self._turns.begin(self._add(self._layer))
        elif self._layer in self._viewer.layers:
            self._layer.contrast_limits = preview.contrast()
            self._layer.refresh(extent=False, thumbnail=False)
        took_ms = 1000 * (time.monotonic() - start)
        self._timer.setInterval(max(SHOW_EVERY_MS, int(5 * took_ms)))

    def _add(self, layer: "Image") -> Steps:
        yield from self._turns.in_two(partial(self._viewer.layers.append, layer))
        layer.visible = True

    def _time_left(self, tile: TileDone) -> str:
        done = tile.index - self._first_index
        if done < 1:
            return ""
        seconds = (time.monotonic() - self._first) / done * (tile.total - tile.index - 1)
        return f", about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Write a time span in words.

    Examples
    --------
    >>> duration(8.2), duration(95), duration(4000)
    ('8 s', '2 min', '1.1 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
