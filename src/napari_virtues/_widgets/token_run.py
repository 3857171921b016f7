"""Tokens of images that are being made for the *Cohort* dock."""

from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_virtues._widgets.background import Background, attempt
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.job_progress import JobProgress
from napari_virtues._widgets.listening import at_end
from napari_virtues._widgets.tokens_form import TokensForm
from napari_virtues.job_files import UNDER_WAY, JobLine, JobWatch, out_of
from napari_virtues.tokens_intent import COMMAND, start_tokens
from virtues_core.errors import VirtuesError
from virtues_core.jobs import Job

LOOK_MS = 1000
"""Between two looks at the files."""


class TokenRun(QWidget):
    """Asks for tokens of images, starts the job and shows it until they are there."""

    made = QtSignal(object)
    """The folder of tables, once the job has finished."""

    def __init__(self, bridge: EngineBridge) -> None:
        super().__init__()
        self.background = Background(self)
        self.form = TokensForm(bridge, self)
        self.going = JobProgress(self.background)
        self._watch = JobWatch()
        self._run_dir: Path | None = None
        self._first = True
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.going)
        self.going.hide()
        self._timer.timeout.connect(self.look)
        self.going.acted.connect(self.look)
        self.form.run_button.clicked.connect(self.start)
        at_end(self, self.background.close)

    def ask(self) -> None:
        """Show the dialog."""
        self.form.show()
        self.form.raise_()

    def start(self) -> None:
        """Start the job that was asked for, unless something would go wrong."""
        message = self.form.message
        line = self.going.line
        if line is not None and line.state in UNDER_WAY:
            message.say("tokens are being made already; wait for them in the dock, or cancel them")
            return
        try:
            intent = self.form.intent
        except VirtuesError as error:
            message.say(str(error))
            return
        message.say("Looking at the images…", "note")
        self.form.run_button.setEnabled(False)
        self.background.run(
            partial(attempt, start_tokens, intent), self._on_started, self._on_not_started
        )

    def look(self) -> None:
        """Look at the files, in the background, unless that is being done."""
        if not self.background.busy:
            self.background.run(self._watch.read, self._on_seen)

    def showEvent(self, event: Any) -> None:
        """Look now and then while somebody can see it."""
        super().showEvent(event)
        self._timer.start()
        self.look()

    def hideEvent(self, event: Any) -> None:
        """Leave the files alone."""
        super().hideEvent(event)
        self._timer.stop()

    def _on_started(self, outcome: "Job | VirtuesError") -> None:
        self._on_not_started()
        if isinstance(outcome, VirtuesError):
            self.form.message.say(str(outcome))
            return
        self.form.hide()
        self.going.message.say("")
        self._run_dir = outcome.run_dir
        self.look()

    def _on_not_started(self) -> None:
        self.form.message.say("")
        self.form.run_button.setEnabled(True)

    def _on_seen(self, lines: tuple[JobLine, ...]) -> None:
        if self._first and self._run_dir is None:  # one that an earlier window started
            self._run_dir = next((x.job.run_dir for x in lines if _under_way(x)), None)
        self._first = False
        line = next((x for x in lines if x.job.run_dir == self._run_dir), None)
        finished = line is not None and line.state == "finished"
        self.going.setVisible(line is not None and not finished)
        self.going.show_line(line)
        if line is not None and finished:
            self._run_dir = None
            self.made.emit(out_of(line.job))


def _under_way(line: JobLine) -> bool:
    """Whether a job makes tables of a cohort now; those of one image have a name with an ending."""
    out = out_of(line.job) if line.command == COMMAND and line.state in UNDER_WAY else None
    return out is not None and (not out.suffix or out.is_dir())
