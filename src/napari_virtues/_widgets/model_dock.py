"""What all docks share that run a model on the active image."""

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QApplication, QFrame, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_virtues._widgets.background import Background
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.form_parts import quiet_label
from napari_virtues._widgets.listening import at_end, listen
from napari_virtues._widgets.model_fields import ModelFields
from napari_virtues._widgets.notify import telling
from napari_virtues._widgets.run_panel import RunPanel
from napari_virtues.inpaint_command import PANEL, has_own_panel
from napari_virtues.state import AppState, OpenImage, unwrapped
from virtues_core.errors import InputError


class ModelDock(QScrollArea):
    """A column of fields: the image on top, a model, a run, and what came of it.

    A dock of this kind says what was chosen (`_chosen`), makes a job of it (`_job_of`), shows its
    result (`_finish`) and writes the command that repeats it (`_command_of`).

    Parameters
    ----------
    napari_viewer
        The window that it belongs to.
    model
        What the model does here.
    run
        What the run button says.
    """

    image_changed = QtSignal()
    """Another image is active, or its channels measure something else."""

    def __init__(
        self,
        napari_viewer: "napari.viewer.Viewer",  # noqa: F821
        *,
        model: str,
        run: str,
    ) -> None:
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.state = AppState.of(self.viewer)
        self.bridge = EngineBridge.of(self.viewer)
        self.engine = self.bridge.engine
        self.background = Background(self)
        self.intent: Any = None
        """What was chosen for the last run."""
        self.job: Any = None
        """The job that the engine got for it."""
        self.image_label = quiet_label()
        self.model = ModelFields(self.bridge, model)
        self.run = RunPanel(self.bridge, self.background, run)
        self.command_button = QPushButton("Copy command")
        self.command_button.setToolTip("Copy the command that repeats this in a terminal")
        self.column = self._empty_column()
        self.column.addWidget(self.image_label)
        self.run.asked.connect(self.compute)
        self.command_button.clicked.connect(self._copy_command)
        self._followed: list[OpenImage] = []
        listen(
            self,
            (self.state.active_changed, self._follow),
            (self.state.checkpoint_changed, self.model.choose),
        )
        if self.state.checkpoint is not None:
            self.model.choose(self.state.checkpoint)
        at_end(self, partial(_unfollow, self._followed, self._on_panel))
        self._follow()

    def sizeHint(self) -> QSize:
        """Wide enough for tables of numbers."""
        return QSize(420, 760)

    def showEvent(self, event: Any) -> None:
        """Start the engine ahead of the first run, to know its devices."""
        super().showEvent(event)
        self.engine.start()

    @property
    def command(self) -> str:
        """The command that repeats the last run.

        Raises
        ------
        InputError
            Nothing was run yet.
        """
        if self.job is None:
            message = f"nothing was computed yet; press {self.run.run_button.text()!r} first"
            raise InputError(message)
        return self._command_of(self.job)

    def compute(self) -> None:
        """Take what is chosen, and let the engine do it; answers as the run button does."""
        self._begin(self._chosen, self._job_of, self._finish)

    def _begin(
        self,
        chosen: Callable[[], Any],
        job_of: Callable[[Any], Any],
        finish: Callable[[Any], None],
    ) -> None:
        try:
            intent = chosen()
        except InputError as error:
            self.run.message.say(str(error))
            return
        started = partial(self._started, intent)
        self.run.begin(partial(job_of, intent), finish, intent.checkpoint, started=started)

    def _active(self) -> OpenImage:
        opened = self.state.active
        if opened is None:
            message = "no image is open; open one in the Images dock, then go on here"
            raise InputError(message)
        return opened

    def _chosen(self) -> Any:
        """Return what was chosen, with its ``checkpoint``; an `InputError` tells what is not."""
        raise NotImplementedError

    def _job_of(self, intent: Any) -> Any:
        """Resolve it into a job; called in the background thread."""
        raise NotImplementedError

    def _started(self, intent: Any, job: Any) -> None:
        self.intent, self.job = intent, job

    def _finish(self, result: Any) -> None:
        raise NotImplementedError

    def _command_of(self, job: Any) -> str:
        raise NotImplementedError

    def _empty_column(self) -> QVBoxLayout:
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(380)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(10, 10, 10, 10)
        column.setSpacing(8)
        self.setWidget(inside)
        return column

    def _follow(self, *_: Any) -> None:
        """Listen to the active image instead of the last one."""
        _unfollow(self._followed, self._on_panel)
        if self.state.active is not None:
            self._followed.append(self.state.active)
            self.state.active.panel_changed.connect(self._on_panel)
        self._on_panel()

    def _on_panel(self) -> None:
        opened = self.state.active
        self.run.run_button.setEnabled(opened is not None and not self.run.busy)
        if opened is None:
            self.image_label.setText("Open an image to begin.")
        else:
            channels, height, width = opened.image.shape
            usable = sum(entry.key is not None for entry in opened.panel.entries)
            self.image_label.setText(
                f"{opened.image.name}: {width:,} × {height:,} pixels, {usable} of {channels} "
                "channels are for the model"
            )
        self.image_changed.emit()

    @telling
    def _copy_command(self, *_: Any) -> None:
        command = self.command
        QApplication.clipboard().setText(command)
        first = f" Save the panel in the Images dock as {PANEL} first."
        self.run.status.setText(f"Copied: {command}" + (first if has_own_panel(self.job) else ""))


def _unfollow(followed: list[OpenImage], slot: Callable[[], None]) -> None:
    while followed:
        followed.pop().panel_changed.disconnect(slot)
