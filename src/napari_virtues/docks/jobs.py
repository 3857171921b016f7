"""The *Jobs* dock: long work that goes on without the window, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QPushButton, QSplitter, QVBoxLayout, QWidget

from napari_virtues._widgets import dialogs
from napari_virtues._widgets.background import Background, attempt
from napari_virtues._widgets.form_parts import quiet_label, row
from napari_virtues._widgets.job_details import JobDetails
from napari_virtues._widgets.job_table import JobTable
from napari_virtues._widgets.listening import at_end
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.table_window import TableWindow
from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.artifacts import TOKENS, Table, read_artifact
from napari_virtues.job_files import (
    RESUMABLE,
    UNDER_WAY,
    JobFiles,
    JobLine,
    JobWatch,
    Metrics,
    Result,
)
from napari_virtues.layers import placement
from napari_virtues.state import AppState, unwrapped
from virtues_core.errors import VirtuesError
from virtues_core.jobs import Job, cancel, kill, remove, resume

if TYPE_CHECKING:
    from napari.layers import Layer

EVERY_MS = 1000
"""Between two looks at the run directories, while the dock is seen."""
START = (
    "No jobs yet. Start a training in the Train dock, or add --executor local to a virtues command."
)


@dataclass(frozen=True)
class _Seen:
    """What one look found."""

    lines: tuple[JobLine, ...]
    files: JobFiles | None
    """Of the job whose log and metrics are here."""
    log: tuple[bool, list[str]]
    metrics: Metrics | None


class JobsDock(QWidget):
    """Shows the run directories of all jobs; they live without it."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.state = AppState.of(self.viewer)
        self.background = Background(self)
        self.watch = JobWatch()
        self.hint = quiet_label(START)
        self.table = JobTable()
        self.cancel_button = QPushButton("Cancel")
        self.resume_button = QPushButton("Resume")
        self.remove_button = QPushButton("Remove…")
        self.message = MessageBox()
        self.details = JobDetails()
        self._files: JobFiles | None = None
        self._asked_to_stop: set[Path] = set()
        self._turns = Turns(self)
        self._timer = QTimer(self)
        self._timer.setInterval(EVERY_MS)
        self._lay_out()
        self._connect()
        self._on_chosen(None)
        at_end(self, self.background.close)

    def sizeHint(self) -> QSize:
        """Wide enough for the table."""
        return QSize(440, 760)

    def showEvent(self, event: Any) -> None:
        """Look at the jobs, again and again while the dock is seen."""
        super().showEvent(event)
        self.look()
        self._timer.start()

    def hideEvent(self, event: Any) -> None:
        """Look no more."""
        super().hideEvent(event)
        self._timer.stop()

    def look(self) -> None:
        """Read how the jobs stand, in the background; not while it still reads or acts."""
        if not self.background.busy:
            self.background.run(partial(attempt, self._read, self._files), self._show)

    def cancel(self) -> None:
        """Ask the chosen job to save and stop; if it was asked before, offer to end it at once."""
        line = self.table.line
        if line is None or line.state not in UNDER_WAY:
            return
        if line.job.run_dir not in self._asked_to_stop:
            self._asked_to_stop.add(line.job.run_dir)
            self._act(cancel, line.job, "Cancelling: a training saves first.")
        elif dialogs.confirm(
            self,
            "End at once?",
            f"{line.job.name} was asked to stop and still saves, or hangs. End it at once? "
            "What is not saved is lost.",
        ):
            self._act(kill, line.job, "Ended.")

    def resume(self) -> None:
        """Go on with the chosen job."""
        line = self.table.line
        if line is not None and line.state in RESUMABLE:
            self._act(resume, line.job, "Resumed." if line.goes_on else "Begun again.")

    def remove(self) -> None:
        """Delete the chosen job's folder, after asking."""
        line = self.table.line
        if line is None or line.state in UNDER_WAY:
            return
        if dialogs.confirm(
            self,
            f"Remove {line.job.name}?",
            f"This deletes {line.job.run_dir} with its log, checkpoints and results.",
        ):
            self._act(remove, line.job, "Removed.")

    def open_result(self, result: Result) -> None:
        """Show what a job made: as layers, as a table; or have docks use a checkpoint."""
        if result.is_checkpoint:
            self.state.checkpoint = str(result.path)
            self.message.say(f"{result.title}: chosen in the docks that run a model.", "note")
        elif result.path.suffix in TOKENS and hasattr(self.viewer, "window"):
            _, dock = self.viewer.window.add_plugin_dock_widget("napari-virtues", "Space")
            dock.open_table(result.path)
        else:
            self.message.say(f"Opening {result.title}…", "note")
            self.background.run(partial(attempt, read_artifact, result.path), self._opened)

    # what comes back

    def _read(self, files: JobFiles | None) -> _Seen:
        lines = self.watch.read()
        if files is None:
            return _Seen(lines, None, (False, []), None)
        return _Seen(lines, files, files.log(), files.metrics())

    def _show(self, seen: "_Seen | VirtuesError") -> None:
        if isinstance(seen, VirtuesError):
            self.message.say(str(seen))
            return
        self.table.show_lines(seen.lines)
        self.hint.setVisible(not seen.lines)
        under_way = {x.job.run_dir for x in seen.lines if x.state in UNDER_WAY}
        if self._asked_to_stop - under_way:  # it has stopped
            self._asked_to_stop &= under_way
            self.message.say("")
        self._show_line()
        if seen.files is not None and seen.files is self._files:
            self.details.add_log(*seen.log)
            if seen.metrics is not None:
                self.details.plot.show_metrics(seen.metrics)

    def _on_chosen(self, run_dir: Path | None) -> None:
        self._files = None if run_dir is None else JobFiles(run_dir)
        self.details.clear()
        self.message.say("")
        self._show_line()
        self.look()

    def _show_line(self) -> None:
        line = self.table.line
        state = None if line is None else line.state
        self.cancel_button.setEnabled(state in UNDER_WAY)
        asked = line is not None and line.job.run_dir in self._asked_to_stop
        self.cancel_button.setText("End at once…" if asked else "Cancel")
        self.resume_button.setEnabled(state in RESUMABLE)
        anew = line is not None and not line.goes_on
        self.resume_button.setText("Run again" if anew else "Resume")
        self.resume_button.setToolTip("" if line is None else line.if_resumed.capitalize())
        self.remove_button.setEnabled(state is not None and state not in UNDER_WAY)
        self.details.show_line(line)

    def _act(self, work: Callable[[Job], Any], job: Job, done: str) -> None:
        self.message.say("")
        self.background.run(partial(attempt, work, job), partial(self._acted, done))

    def _acted(self, done: str, outcome: Any) -> None:
        if isinstance(outcome, VirtuesError):
            self.message.say(str(outcome))
        else:
            self.message.say(done, "note")
        self._show_line()
        self.look()

    def _opened(self, opened: "Table | list[Layer] | VirtuesError") -> None:
        if isinstance(opened, VirtuesError):
            self.message.say(str(opened))
            return
        self.message.say("")
        if isinstance(opened, Table):
            TableWindow(opened, self).show()
        else:
            self._turns.begin(self._add(opened))

    def _add(self, layers: "list[Layer]") -> Steps:
        for layer in layers:
            self._place(layer)
            self.viewer.add_layer(layer)
            yield

    def _place(self, layer: "Layer") -> None:
        """Lay a mask on the active image where it has its size; napari shows one unit alone."""
        if layer.metadata:
            return  # an image, which says where it is
        units = next((x.units for x in self.viewer.layers if x.ndim == layer.ndim), None)
        if units is not None:
            layer.units = units
        opened = self.state.active
        if opened is not None and layer.data.shape == opened.image.shape[1:]:
            for name, value in placement(opened.image).items():
                setattr(layer, name, value)

    # how it is put together

    def _connect(self) -> None:
        self._timer.timeout.connect(self.look)
        self.table.chosen.connect(self._on_chosen)
        self.cancel_button.clicked.connect(self.cancel)
        self.resume_button.clicked.connect(self.resume)
        self.remove_button.clicked.connect(self.remove)
        self.details.open_wanted.connect(self.open_result)
        self.cancel_button.setToolTip("Have it stop; a training saves its state first")
        self.remove_button.setToolTip("Delete its folder: log, checkpoints and results")

    def _lay_out(self) -> None:
        top = QWidget()
        column = QVBoxLayout(top)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.hint)
        column.addWidget(self.table)
        column.addLayout(row(self.cancel_button, self.resume_button, None, self.remove_button))
        column.addWidget(self.message)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.addWidget(top)
        split.addWidget(self.details)
        split.setSizes([240, 480])
        split.setStretchFactor(1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.addWidget(split)
