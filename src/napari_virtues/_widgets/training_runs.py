"""Trainings that run or have run: curves, and what can be done with each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, QTimer
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QMenu, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_virtues._widgets.background import Background, attempt
from napari_virtues._widgets.form_parts import combo_box, quiet_label, row
from napari_virtues._widgets.listening import at_end
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.metrics_plot import MetricsPlot
from napari_virtues.job_files import (
    RESUMABLE,
    UNDER_WAY,
    JobFiles,
    JobLine,
    JobWatch,
    Metrics,
    Result,
    duration,
    usage,
)
from napari_virtues.reconstruction_layers import newest_reconstruction
from virtues_core import jobs
from virtues_core.errors import VirtuesError

COMMAND = "pretrain"
LOOK_MS = 1000
"""Between two looks at the files."""
PLOT_PX = 380
"""Height of the curves; all buttons are in sight where the window is 800 pixels high."""
NOTHING = "No training yet. Start one under New training."


@dataclass(frozen=True, eq=False)
class Seen:
    """What one look found."""

    lines: tuple[JobLine, ...]
    """Trainings, the newest first."""
    run_dir: Path | None
    """The one that was looked at."""
    metrics: Metrics | None
    """Of it; None where there is nothing new."""
    reconstruction: Path | None
    """Its newest picture of the fixed validation tile."""


class TrainingRuns(QWidget):
    """Chooses a training, shows how it goes, stops it, resumes it, hands out what it learnt."""

    checkpoint_wanted = QtSignal(str)
    """A checkpoint's folder that the other docks shall use."""
    reconstruction_wanted = QtSignal(object)
    """A picture of the validation tile that shall be shown as layers."""
    running = QtSignal()
    """The first look found a training under way."""

    def __init__(self) -> None:
        super().__init__()
        self.background = Background(self)
        self.box = combo_box("The trainings that are known here, the newest first")
        self.status = quiet_label(NOTHING)
        self.progress = QProgressBar()
        self.message = MessageBox()
        self.plot = MetricsPlot()
        self.stop_button = QPushButton("Stop")
        self.resume_button = QPushButton("Resume")
        self.picture_button = QPushButton("Reconstruction")
        self.use_button = QPushButton("Use checkpoint")
        self.marker_box = combo_box("Marker of the validation tile that is shown")
        self.picture_label = quiet_label()
        self._watch = JobWatch()
        self._files: JobFiles | None = None
        self._lines: tuple[JobLine, ...] = ()
        self._picture: Path | None = None
        self._first = True
        self._wanted: Path | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._describe()
        self._lay_out()
        self._connect()
        at_end(self, self.background.close)
        self._show_line()

    @property
    def line(self) -> JobLine | None:
        """The chosen training as it stood at the last look."""
        here = self.box.currentData()
        return next((line for line in self._lines if line.job.run_dir == here), None)

    def watch(self, run_dir: Path) -> None:
        """Choose a training, which may have been started just now."""
        self._wanted = run_dir
        self.look()

    def look(self) -> None:
        """Look at the files, in the background, unless that is being done."""
        if self.background.busy:
            return
        run_dir = self._wanted or self.box.currentData()
        if self._files is None or self._files.run_dir != run_dir:
            self._files = None if run_dir is None else JobFiles(run_dir)
        self.background.run(partial(_look, self._watch, self._files), self._on_seen)

    def stop(self) -> None:
        """Have the chosen training save and end."""
        self._do(jobs.cancel, "Stopping: it saves after the step in hand…")

    def resume(self) -> None:
        """Go on with the chosen training where it was saved."""
        self._do(jobs.resume, "Going on…")

    def showEvent(self, event: Any) -> None:
        """Look now and then while somebody can see it."""
        super().showEvent(event)
        self._timer.start()
        self.look()

    def hideEvent(self, event: Any) -> None:
        """Leave the files alone."""
        super().hideEvent(event)
        self._timer.stop()

    def _do(self, work: Callable[[Any], Any], text: str) -> None:
        line = self.line
        if line is None:
            return
        self.message.say("")
        self.status.setText(text)
        self.stop_button.setEnabled(False)
        self.resume_button.setEnabled(False)
        self.background.run(partial(attempt, work, line.job), self._on_done)

    def _on_done(self, outcome: Any) -> None:
        if isinstance(outcome, VirtuesError):
            self.message.say(str(outcome))
        self.look()

    def _on_seen(self, seen: Seen) -> None:
        self._lines = seen.lines
        self._list()
        if seen.run_dir == self.box.currentData():
            if seen.metrics is not None:
                self.plot.show_metrics(seen.metrics)
            fresh = seen.reconstruction != self._picture
            self._picture = seen.reconstruction
            if fresh and self._picture is not None and self.picture_button.isChecked():
                self.reconstruction_wanted.emit(self._picture)
        self._show_line()
        if self._first:
            self._first = False
            if any(line.state in UNDER_WAY for line in self._lines):
                self.running.emit()

    def _list(self) -> None:
        """List the trainings, and keep the choice."""
        here = self._wanted or self.box.currentData()
        with QSignalBlocker(self.box):
            self.box.clear()
            for line in self._lines:
                self.box.addItem(line.job.name, line.job.run_dir)
            found = self.box.findData(here)
            self.box.setCurrentIndex(max(found, 0) if self._lines else -1)
        if found >= 0:
            self._wanted = None
        if self.box.currentData() != here:
            self._on_chosen()

    def _on_chosen(self, *_: Any) -> None:
        self._files, self._picture = None, None
        self.plot.show_metrics(Metrics())
        self.message.say("")
        self._show_line()
        self.look()

    def _show_line(self) -> None:
        line = self.line
        self.stop_button.setEnabled(line is not None and line.state in UNDER_WAY)
        self.resume_button.setEnabled(line is not None and line.state in RESUMABLE)
        self.picture_button.setEnabled(self._picture is not None)
        checkpoints = [] if line is None else [x for x in line.results if x.is_checkpoint]
        self.use_button.setEnabled(bool(checkpoints))
        self.progress.setVisible(line is not None and line.state in UNDER_WAY)
        self.plot.setVisible(line is not None)
        if line is None:
            self.status.setText(NOTHING)
            return
        self.progress.setValue(round(1000 * line.progress))
        self.status.setText(in_words(line))
        self._offer(checkpoints)
        if line.message and line.state in {"failed", "lost", "unreadable"}:
            self.message.say(line.message)

    def _offer(self, checkpoints: list[Result]) -> None:
        menu = self.use_button.menu()
        if [action.data() for action in menu.actions()] == [str(x.path) for x in checkpoints]:
            return
        menu.clear()
        for result in checkpoints:
            action = menu.addAction(result.title)
            action.setData(str(result.path))
            action.triggered.connect(partial(self._use, str(result.path)))

    def _use(self, path: str, *_: Any) -> None:
        self.checkpoint_wanted.emit(path)

    def _on_picture(self) -> None:
        if self.picture_button.isChecked() and self._picture is not None:
            self.reconstruction_wanted.emit(self._picture)

    def _describe(self) -> None:
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(8)
        self.plot.setMaximumHeight(PLOT_PX)
        self.stop_button.setToolTip("Save after the step in hand, and end; Resume goes on")
        self.resume_button.setToolTip("Go on where it was saved")
        self.picture_button.setCheckable(True)
        self.picture_button.setToolTip(
            "Show the validation tile under the three masks as layers, and follow it"
        )
        self.marker_box.hide()
        self.use_button.setToolTip("Choose the trained model in the other docks")
        self.use_button.setMenu(QMenu(self.use_button))

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.box)
        layout.addWidget(self.status)
        layout.addWidget(self.progress)
        layout.addWidget(self.message)
        layout.addWidget(self.plot, 1)
        layout.addLayout(row(self.stop_button, self.resume_button))
        layout.addLayout(row(self.picture_button, self.use_button))
        layout.addWidget(self.marker_box)
        layout.addWidget(self.picture_label)
        layout.addStretch()

    def _connect(self) -> None:
        self._timer.timeout.connect(self.look)
        self.box.activated.connect(self._on_chosen)
        self.stop_button.clicked.connect(self.stop)
        self.resume_button.clicked.connect(self.resume)
        self.picture_button.clicked.connect(self._on_picture)


def _look(watch: JobWatch, files: JobFiles | None) -> Seen:
    """Read what is new; in the background."""
    run_dir = None if files is None else files.run_dir
    return Seen(
        lines=tuple(x for x in watch.read() if x.command == COMMAND or x.job.run_dir == run_dir),
        run_dir=run_dir,
        metrics=None if files is None else files.metrics(),
        reconstruction=None if run_dir is None else newest_reconstruction(run_dir),
    )


def in_words(line: JobLine) -> str:
    """Say how a training stands."""
    if line.state == "stopped" and line.message:
        return line.message
    parts = [line.state]
    if line.state in UNDER_WAY:
        parts.append(f"{100 * line.progress:.0f} %")
        if line.seconds_left is not None:
            parts.append(f"{duration(line.seconds_left)} left")
        if line.resources is not None:
            parts.append(usage(line.resources))
    if line.message and line.state in UNDER_WAY:
        parts.append(line.message)
    return " · ".join(parts)
