"""A result in the window: layers of the chosen marker, numbers, what to mind."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer
from qtpy.QtCore import Signal as QtSignal

from napari_virtues._widgets.background import Background
from napari_virtues.inpaint_layers import (
    ResultPlanes,
    put_result_layer,
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

Step = Callable[[], Any]


class ResultView(QObject):
    """Shows one result at a time; the row chosen in the table decides whose layers are seen.

    What is done to layers is done in small steps, and the window gets its turn between them.
    """

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
        self._made: set[str] = set()  # markers whose layers show this result
        self._others: list[Any] = []  # layers that were visible before "side by side"
        self._steps: Iterator[Step] = iter(())
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._step)
        form.table.chosen.connect(self.show_channel)
        form.side_by_side.clicked.connect(lambda: self._begin(self._arrange()))

    def show_result(self, image: MultiplexImage, result: "InpaintResult") -> None:
        """Show the numbers, and the layers of the first marker."""
        self._image, self._result = image, result
        self._made.clear()
        self._form.warnings.say(result.warnings, "warning")
        self._form.table.set_scores(result.scores)
        self._form.results.show()
        self._form.side_by_side.setChecked(True)
        self._form.table.choose(result.scores[0].channel)

    def step_aside(self) -> None:
        """Make room for another run: show the image as before, without the last result."""
        self._form.side_by_side.setChecked(False)
        self._channel = ""
        self._form.table.clearSelection()
        self._begin(self._arrange())

    def show_channel(self, channel: str) -> None:
        """Show the layers of a marker, made now if need be."""
        if self._result is None:
            return
        self._channel = channel
        score = next(s for s in self._result.scores if s.channel == channel)
        self._form.verdict.setText(verdict(score))
        if channel in self._made and result_layers(self._viewer, self._image, channel):
            self._begin(self._arrange())
        else:
            self._background.run(partial(result_planes, self._result, channel), self._put)

    def _put(self, planes: ResultPlanes) -> None:
        if self._image is None or planes.channel != self._channel:
            return  # another marker was chosen meanwhile
        self._begin(self._put_steps(self._image, planes))

    def _put_steps(self, image: MultiplexImage, planes: ResultPlanes) -> Iterator[Step]:
        for part, _, _ in reversed(planes.layers):
            yield partial(put_result_layer, self._viewer, image, planes, part)
        yield partial(share_contrast, self._viewer, image, planes.channel)
        self._made.add(planes.channel)
        yield from self._arrange()

    def _arrange(self) -> Iterator[Step]:
        """Show the chosen marker's layers: beside each other and alone, or over the image."""
        made = result_layers(self._viewer)
        own = result_layers(self._viewer, self._image, self._channel) if self._channel else []
        together = self._form.side_by_side.isChecked() and bool(own)
        hide = [x for x in made if x not in own]
        if together:
            others = [x for x in self._viewer.layers if x.visible and x not in made]
            self._others += others
            hide += others
        for layer in hide:
            if layer.visible:
                yield partial(_set, layer, visible=False)
        if not together:
            yield partial(self._set_grid, together)
            while self._others:
                layer = self._others.pop()
                yield partial(_set, layer, visible=True)
        for layer in reversed(own):
            yield partial(_set, layer, visible=True)
            yield partial(_set, layer.name_overlay, visible=together)
        if together:
            yield partial(self._set_grid, together)
        if own:
            yield partial(self.shown.emit, self._channel)

    def _set_grid(self, enabled: bool) -> None:  # noqa: FBT001
        grid = self._viewer.canvas.grid
        if grid.enabled != enabled:
            grid.stride = -1 if enabled else 1  # the top layer, the truth, comes first
            grid.enabled = enabled
            self._viewer.reset_view()

    def _begin(self, steps: Iterator[Step]) -> None:
        """Do these steps, a turn of the event loop each, instead of what is left of others."""
        self._steps = steps
        self._timer.start()

    def _step(self) -> None:
        step = next(self._steps, None)
        if step is None:
            self._timer.stop()
        else:
            step()


def _set(target: Any, *, visible: bool) -> None:
    target.visible = visible
