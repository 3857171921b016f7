"""How a job goes, and what can be done to it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_virtues._widgets.background import Background, attempt
from napari_virtues._widgets.form_parts import quiet_label, row
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.training_runs import in_words
from napari_virtues.job_files import RESUMABLE, UNDER_WAY, JobLine
from virtues_core import jobs
from virtues_core.errors import VirtuesError


class JobProgress(QWidget):
    """Shows one job that is run again from its beginning, not resumed; cancels it, starts it again.

    Parameters
    ----------
    background
        Where that is done.
    """

    acted = QtSignal()
    """Something was done to the job: its files say what became of it."""

    def __init__(self, background: Background) -> None:
        super().__init__()
        self.line: JobLine | None = None
        """The job as it stood when it was last shown."""
        self._background = background
        self.status = quiet_label()
        self.progress = QProgressBar()
        self.cancel_button = QPushButton("Cancel")
        self.resume_button = QPushButton("Run again")
        self.message = MessageBox()
        self._lay_out()
        self.cancel_button.clicked.connect(self.cancel)
        self.resume_button.clicked.connect(self.run_again)

    def show_line(self, line: JobLine | None, otherwise: str = "") -> None:
        """Show how a job stands; where there is none, what is said otherwise."""
        self.line = line
        state = None if line is None else line.state
        self.progress.setVisible(state in UNDER_WAY)
        self.cancel_button.setVisible(state in UNDER_WAY)
        self.cancel_button.setEnabled(state in UNDER_WAY)
        self.resume_button.setVisible(state in RESUMABLE)
        self.resume_button.setEnabled(state in RESUMABLE)
        if line is None:
            self.status.setText(otherwise)
            return
        self.progress.setValue(round(1000 * line.progress))
        self.status.setText(in_words(line))
        if state in {"failed", "lost", "unreadable"}:
            self.message.say(line.message)

    def cancel(self) -> None:
        """Have the job end."""
        self._do(jobs.cancel, "Stopping…")

    def run_again(self) -> None:
        """Run the command of a job that was stopped or failed once more."""
        self._do(jobs.resume, "Starting…")

    def _do(self, work: Callable[[Any], Any], text: str) -> None:
        if self.line is None:
            return
        self.message.say("")
        self.status.setText(text)
        self.cancel_button.setEnabled(False)
        self.resume_button.setEnabled(False)
        self._background.run(partial(attempt, work, self.line.job), self._on_done)

    def _on_done(self, outcome: Any) -> None:
        if isinstance(outcome, VirtuesError):
            self.message.say(str(outcome))
        self.acted.emit()

    def _lay_out(self) -> None:
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(8)
        self.cancel_button.setToolTip("Have it end; what was written before stays")
        self.resume_button.setToolTip("Run the same command once more")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.status)
        layout.addWidget(self.progress)
        layout.addLayout(row(self.cancel_button, self.resume_button))
        layout.addWidget(self.message)
