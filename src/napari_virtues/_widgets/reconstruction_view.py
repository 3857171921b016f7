"""The validation tile of a training as layers that follow it."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QSignalBlocker

from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.training_runs import TrainingRuns
from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.reconstruction_layers import PARTS, TILE, TilePicture, read_picture, tile_layer
from virtues_core.errors import VirtuesError

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class ReconstructionView(QObject):
    """Shows one marker of a picture; an earlier picture is replaced in its layers.

    Parameters
    ----------
    viewer
        Where the layers go.
    runs
        Asks for pictures, and says which marker is to be seen.
    """

    def __init__(self, viewer: "ViewerModel", runs: TrainingRuns) -> None:
        super().__init__(runs)
        self._viewer = viewer
        self._runs = runs
        self._turns = Turns(runs)
        self._unseen: list[Layer] = []
        """Layers that were added and are not seen yet, or not looked at."""
        self.picture: TilePicture | None = None
        """What was read last."""
        runs.reconstruction_wanted.connect(self.show_picture)
        runs.marker_box.activated.connect(self._show)

    def show_picture(self, path: Path) -> None:
        """Read a picture in the background, then show it, a layer in each turn."""
        self._runs.background.run(partial(attempt, read_picture, path), self._on_read)

    def _on_read(self, outcome: "TilePicture | VirtuesError") -> None:
        if isinstance(outcome, VirtuesError):
            self._runs.picture_label.setText(str(outcome))
            return
        before = None if self.picture is None else self.picture.markers
        self.picture = outcome
        box = self._runs.marker_box
        if outcome.markers != before:
            with QSignalBlocker(box):
                box.clear()
                box.addItems(outcome.markers)
        box.show()
        rows = ", ".join(outcome.maskings)
        self._runs.picture_label.setText(
            f"The validation tile after {outcome.step:,} steps; rows: {rows} masking"
        )
        self._show()

    def _show(self, *_: int) -> None:
        if self.picture is not None:
            marker = max(0, self._runs.marker_box.currentIndex())
            self._turns.begin(self._put(self.picture, marker))

    def _put(self, picture: TilePicture, marker: int) -> Steps:
        """Show a picture; the next one may break in before this one is all shown."""
        for part in PARTS:
            layer = tile_layer(self._viewer, picture, part, marker)
            if layer not in self._viewer.layers:
                yield
                self._unseen.append(layer)
                yield from self._turns.in_two(partial(self._viewer.add_layer, layer))
            if layer in self._unseen:
                layer.visible = True
            yield
        if self._unseen:
            self._unseen.clear()
            self._look_at_it()

    def _look_at_it(self) -> None:
        corners = [x.extent.world for x in self._viewer.layers if TILE in x.metadata]
        top, left = (min(float(low[axis]) for low, _ in corners) for axis in (-2, -1))
        bottom, right = (max(float(high[axis]) for _, high in corners) for axis in (-2, -1))
        camera = self._viewer.scene.camera
        camera.center = (0, (top + bottom) / 2, (left + right) / 2)
        camera.zoom = 0.9 * min(self._viewer.canvas.size) / max(bottom - top, right - left, 1)
