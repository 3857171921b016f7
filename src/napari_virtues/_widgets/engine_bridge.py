"""The engine of a window: its events in the GUI's thread, its end with the window."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QApplication

from napari_virtues.engine import Engine, Ready
from napari_virtues.state import unwrapped

if TYPE_CHECKING:
    from napari.components import ViewerModel


class EngineBridge(QObject):
    """Hands on what the engine tells, to slots in the GUI's thread."""

    event = QtSignal(object)
    """An `napari_virtues.engine.Event`."""

    def __init__(self, engine: Engine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.engine = engine
        self.devices: tuple[str, ...] = ("cpu",)
        """Where the model can run: what PyTorch found, once the child is up."""
        engine.event.connect(self._hand_on)
        self.destroyed.connect(engine.close)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(engine.close)

    @classmethod
    def of(cls, viewer: "ViewerModel") -> "EngineBridge":
        """Return the engine of a viewer, made at the first call and shared by all its docks.

        Its child process starts when it is first needed and ends with the viewer's window.
        """
        viewer = unwrapped(viewer)
        if viewer not in _BRIDGES:
            window = getattr(viewer, "window", None)
            _BRIDGES[viewer] = cls(Engine(), getattr(window, "_qt_window", None))
        return _BRIDGES[viewer]

    def _hand_on(self, event: Any) -> None:
        if isinstance(event, Ready):
            self.devices = event.devices
        with suppress(RuntimeError):  # the window was destroyed while the event came in
            self.event.emit(event)


_BRIDGES: "WeakKeyDictionary[ViewerModel, EngineBridge]" = WeakKeyDictionary()
# One engine a window, for as long as the window lives; nothing here outlasts it.
