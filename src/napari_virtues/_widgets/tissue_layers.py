"""Tissues of a cohort in the viewer: opened when they are chosen, a few at a time."""

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QWidget

from napari_virtues._widgets import garbage
from napari_virtues._widgets.background import Background, attempt
from napari_virtues._widgets.listening import at_end
from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.cells_intent import LIT
from napari_virtues.cells_layers import outline
from napari_virtues.cohort_layers import OpenedTissue, open_tissue
from napari_virtues.lit_cells import Lit
from napari_virtues.space_cells import show
from napari_virtues.state import LINK, AppState, link_of
from virtues_core.errors import VirtuesError

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from napari_virtues.cohort_folder import ShownResults

MOST_OPEN = 3
"""Tissues that stay open; the one opened first is closed for another."""


class TissueLayers(QObject):
    """Opens tissues with lit cells; one is visible, and only images opened here are closed."""

    told = QtSignal(str)
    """What could not be shown."""
    opened = QtSignal(int)
    """A tissue is shown; how many of its kind are open."""

    def __init__(self, viewer: "ViewerModel", widget: QWidget) -> None:
        super().__init__(widget)
        self._viewer = viewer
        self._state = AppState.of(viewer)
        self._background = Background(self)
        self._turns = Turns(widget)
        self._turn = 0
        self.ours: dict[str, tuple[Layer, ...]] = {}
        """Tissue → the layers that were added for it, the one opened first at the front."""
        at_end(widget, self._background.close)
        at_end(widget, garbage.search_all)

    @property
    def busy(self) -> bool:
        """Whether a tissue is being opened."""
        return self._background.busy or self._turns.busy

    def open(self, shown: "ShownResults", lit: Lit, tissue_id: str) -> None:
        """Show a tissue with its cells lit."""
        garbage.search_young_only()
        self._turn += 1
        known = next((x.image for x in self._state.images if x.image.name == tissue_id), None)
        links = [link for layer in self._viewer.layers if (link := link_of(layer))]
        bare = not any(x.image is known and x.channel is not None for x in links)
        work = partial(open_tissue, shown.images, lit, tissue_id, known, channels=bare)
        self._background.run(
            partial(attempt, work), partial(self._on_opened, self._turn), garbage.search_all
        )

    def _on_opened(self, turn: int, found: "OpenedTissue | VirtuesError") -> None:
        if turn != self._turn:
            return  # another was chosen meanwhile
        if isinstance(found, VirtuesError):
            self._turns.begin(self._make_room(""))  # what is seen shall be what was asked for
            self.told.emit(str(found))
            garbage.search_all()
        else:
            self._turns.begin(self._put(found))

    def _put(self, found: OpenedTissue) -> Steps:
        yield from self._make_room(found.tissue_id)
        self._state.add(found.image, found.panel)
        yield
        own = self._here(found.tissue_id)
        for layer in found.layers:
            old = next((x for x in own if _role(x) == _role(layer)), None)
            if old is None or _role(layer) == "channel":
                yield from self._turns.in_two(partial(self._add, found.tissue_id, layer))
            else:
                yield from _take_over(old, layer)
        for layer in self._here(found.tissue_id):
            if _role(layer) == "mask":
                outline(layer, on=True)
                yield
            if not layer.visible:
                yield from self._turns.in_two(partial(show, layer))
        self._viewer.reset_view()
        self.told.emit(found.told)
        self.opened.emit(len(self.ours))
        garbage.search_all()
        yield

    def _make_room(self, tissue_id: str) -> Steps:
        """Hide other images, which lie at the same place, and close the first of too many."""
        self.ours = {name: self._here(name) for name in self.ours if self._here(name)}
        others = [name for name in self.ours if name != tissue_id]
        wanted = len(others) + bool(tissue_id)
        for name in others[: max(0, wanted - MOST_OPEN)]:
            closed = self.ours.pop(name)
            with self._viewer.layers.batched_update():  # each removal costs a search for garbage
                for layer in closed:
                    self._viewer.layers.remove(layer)
            yield
            self._forget(name)
        for layer in tuple(self._viewer.layers):
            link = link_of(layer)
            if layer.visible and link is not None and link.image.name != tissue_id:
                layer.visible = False
                yield

    def _forget(self, tissue_id: str) -> None:
        """Close an image of which no layer is left."""
        linked = {id(link.image) for layer in self._viewer.layers if (link := link_of(layer))}
        for opened in self._state.images:
            if opened.image.name == tissue_id and id(opened.image) not in linked:
                self._state.close(opened)

    def _add(self, tissue_id: str, layer: "Layer") -> None:
        units = next((x.units for x in self._viewer.layers if x.ndim == layer.ndim), None)
        if units is not None:
            layer.units = units  # napari shows layers of one unit alone
        self._viewer.add_layer(layer)
        self.ours[tissue_id] = (*self.ours.get(tissue_id, ()), layer)

    def _here(self, tissue_id: str) -> "tuple[Layer, ...]":
        """Return the layers of a tissue that were added here and are still there."""
        return tuple(x for x in self.ours.get(tissue_id, ()) if x in self._viewer.layers)


def _role(layer: "Layer") -> str:
    """Tell a layer of a channel, the mask and the lit cells from each other."""
    if LIT in layer.metadata:
        return "lit"
    return "channel" if layer.metadata[LINK].channel is not None else "mask"


def _take_over(old: "Labels", new: "Labels") -> Steps:
    """Have a layer show what a new one would: removing one makes napari search all for garbage."""
    old.data = new.data
    yield
    if _role(old) == "lit":
        old.colormap = new.colormap
        yield
    old.features = new.features
    old.name = new.name
    yield
