"""A result in the window: layers of the chosen marker, numbers, what to mind."""

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject
from qtpy.QtCore import Signal as QtSignal

from napari_virtues._widgets import garbage
from napari_virtues._widgets.background import Background
from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.inpaint_layers import (
    PARTS,
    ResultPlanes,
    insert_result_layer,
    result_layer,
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

PLACES = (2, 2)
"""Rows and columns of the grid: a place for each of `PARTS`."""
ANY_SHAPE = (-1, -1)
"""The grid has as many places as layers are visible."""


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
        self._made: set[str] = set()  # markers whose layers show this result
        self._others: list[Any] = []  # layers that were visible before "side by side"
        self._turns = Turns(form)
        self.shown.connect(garbage.search_all)
        form.table.chosen.connect(self.show_channel)
        form.side_by_side.clicked.connect(lambda: self._turns.begin(self._arrange()))

    def show_result(self, image: MultiplexImage, result: "InpaintResult") -> None:
        """Show the numbers, and the layers of the first marker."""
        self._image, self._result = image, result
        self._made.clear()
        self._form.warnings.say(result.warnings, "warning")
        self._form.table.set_scores(result.scores)
        self._form.results.show()
        self._form.side_by_side.setChecked(True)
        self._form.table.choose(result.scores[0].channel)

    @property
    def arranging(self) -> bool:
        """Whether layers are still being put where they belong."""
        return self._turns.busy

    def step_aside(self) -> None:
        """Make room for another run: show the image as before, without the last result."""
        self._form.side_by_side.setChecked(False)
        self._channel = ""
        self._form.table.clearSelection()
        self._turns.begin(self._arrange())

    def show_channel(self, channel: str) -> None:
        """Show the layers of a marker, made now if need be."""
        if self._result is None:
            return
        garbage.search_young_only()
        self._channel = channel
        score = next(s for s in self._result.scores if s.channel == channel)
        self._form.verdict.setText(verdict(score))
        if channel in self._made and result_layers(self._viewer, self._image, channel):
            self._turns.begin(self._arrange())
        else:
            self._background.run(partial(result_planes, self._result, channel), self._put)

    def _put(self, planes: ResultPlanes) -> None:
        if self._image is None or planes.channel != self._channel:
            return  # another marker was chosen meanwhile
        self._turns.begin(self._put_layers(self._image, planes))

    def _put_layers(self, image: MultiplexImage, planes: ResultPlanes) -> Steps:
        for part in reversed(PARTS):
            layer = result_layer(self._viewer, image, planes, part)
            yield
            if layer not in self._viewer.layers:
                insert = partial(insert_result_layer, self._viewer, layer)
                yield from self._turns.in_two(insert)
        share_contrast(self._viewer, image, planes.channel)
        self._made.add(planes.channel)
        yield
        yield from self._arrange()

    def _arrange(self) -> Steps:
        """Show the chosen marker's layers: beside each other and alone, or over the image.

        The grid is switched while no layer of a result is visible, and its shape stays while they
        come and go: a visible layer that moves to another place has its shaders built anew.
        """
        made = result_layers(self._viewer)
        own = result_layers(self._viewer, self._image, self._channel) if self._channel else []
        together = self._form.side_by_side.isChecked() and bool(own)
        grid = self._viewer.canvas.grid
        switch = grid.enabled != together
        if grid.enabled:
            grid.shape = grid.actual_shape(self._viewer.layers)
            yield
        for layer in list(self._viewer.layers):  # from the last place in the grid to the first
            if not layer.visible or (layer in own and not switch):
                continue
            if layer in made or together:
                layer.visible = False
                if layer not in made:
                    self._others.append(layer)
                yield
        if switch:
            grid.stride = -1 if together else 1  # the top layer, the truth, comes first
            grid.enabled = together
        grid.shape = PLACES if together else ANY_SHAPE
        yield
        back = [] if together else self._others
        for layer in [*back, *reversed(own)]:
            if switch:  # the first one: napari makes the places for all
                yield from self._turns.in_two(partial(_show, layer))
                self._viewer.reset_view()
                switch = False
            elif not layer.visible:
                layer.visible = True
                yield
            if layer in back:
                back.remove(layer)
            elif layer.name_overlay.visible != together:
                layer.name_overlay.visible = together
                yield
        grid.shape = ANY_SHAPE
        yield
        if own:
            self.shown.emit(self._channel)


def _show(layer: Any) -> None:
    layer.visible = True
