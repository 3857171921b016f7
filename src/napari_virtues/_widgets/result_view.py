"""A result in the window: layers of the chosen marker, numbers, what to mind."""

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer
from qtpy.QtCore import Signal as QtSignal

from napari_virtues._widgets.background import Background
from napari_virtues.inpaint_layers import (
    ResultPlanes,
    add_result_layer,
    result_layers,
    result_planes,
    share_contrast,
)
from napari_virtues.inpaint_result import verdict
from virtues_core.image import MultiplexImage

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_virtues._widgets.inpaint_form import InpaintForm
    from virtues_core.infer import InpaintResult


class ResultView(QObject):
    """Shows one result at a time; the row chosen in the table decides whose layers are seen."""

    shown = QtSignal(str)
    """All layers of this marker are there."""

    def __init__(self, viewer: "ViewerModel", background: Background, form: "InpaintForm") -> None:
        super().__init__(form)
        self._viewer = viewer
        self._background = background
        self._form = form
        self._image: MultiplexImage | None = None
        self._result: InpaintResult | None = None
        self._channel = ""
        self._others: list[Any] = []  # layers that were visible before "side by side"
        form.table.chosen.connect(self.show_channel)
        form.side_by_side.toggled.connect(self._arrange)

    def show_result(self, image: MultiplexImage, result: "InpaintResult") -> None:
        """Show the numbers, and the layers of the first marker, in place of an older result."""
        for layer in result_layers(self._viewer):
            self._viewer.layers.remove(layer)
        self._image, self._result = image, result
        self._form.warnings.say(result.warnings, "warning")
        self._form.table.set_scores(result.scores)
        self._form.results.show()
        self._form.table.choose(result.scores[0].channel)

    def step_aside(self) -> None:
        """Make room for another run: show the image as before, without the last result."""
        self._form.side_by_side.setChecked(False)
        for layer in result_layers(self._viewer):
            layer.visible = False

    def show_channel(self, channel: str) -> None:
        """Show the layers of a marker, made now if need be."""
        if self._result is None:
            return
        self._channel = channel
        score = next(s for s in self._result.scores if s.channel == channel)
        self._form.verdict.setText(verdict(score))
        if result_layers(self._viewer, channel):
            self._arrange()
            self.shown.emit(channel)
        else:
            self._background.run(partial(result_planes, self._result, channel), self._add_layers)

    def _add_layers(self, planes: ResultPlanes) -> None:
        """Add layers one after the other: the window gets its turn between them."""
        self._add_next(planes, [part for part, _, _ in planes.layers])

    def _add_next(self, planes: ResultPlanes, parts: list[str]) -> None:
        if self._image is None or planes.channel != self._channel:
            return  # another marker was chosen meanwhile
        if parts:
            add_result_layer(self._viewer, self._image, planes, parts.pop(), visible=False)
            QTimer.singleShot(0, partial(self._add_next, planes, parts))
            return
        share_contrast(self._viewer, planes.channel)
        self._form.side_by_side.setChecked(True)
        self._arrange()
        self.shown.emit(planes.channel)

    def _arrange(self, *_: Any) -> None:
        """Show the chosen marker's layers: beside each other and alone, or over the image."""
        own = result_layers(self._viewer, self._channel)
        together = self._form.side_by_side.isChecked() and bool(own)
        grid = self._viewer.canvas.grid
        if together:
            others = [x for x in self._viewer.layers if x.visible and x not in own]
            made = result_layers(self._viewer)
            self._others += [x for x in others if x not in made]
            for layer in others:
                layer.visible = False
        else:
            for layer in self._others:
                layer.visible = True
            self._others = []
            for layer in result_layers(self._viewer):
                layer.visible = layer in own
        for layer in own:
            layer.visible = True
            layer.name_overlay.visible = together
        if grid.enabled != together:
            grid.enabled = together
            self._viewer.reset_view()
