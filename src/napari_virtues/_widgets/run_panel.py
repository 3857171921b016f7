"""Run, cancel, progress and what went wrong: one job at a time, from asking to its end."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_virtues._widgets import dialogs, garbage
from napari_virtues._widgets.background import Background, attempt
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.form_parts import quiet_label, row
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.model_fields import HUB
from napari_virtues.engine import (
    Cancelled,
    Download,
    Failed,
    Finished,
    Job,
    Loading,
    LookUpTerms,
    Progress,
    Started,
    Terms,
)
from virtues_core.errors import VirtuesError

LOADING = {
    "checkpoint": "Loading the model…",
    "image": "Reading the image…",
    "licence": "Asking for the licence…",
    "download": "Downloading the model…",
    "cells": "Separating the cells…",
    "classifier": "Typing the cells…",
    "saving": "Saving…",
    "table": "Reading the table…",
    "neighbours": "Looking for each cell's nearest…",
    "map": "Laying the cells out…",
    "clusters": "Looking for clusters…",
    "similar tissues": "Comparing tissues…",
    "training data": "Looking at the data…",
    "training step": "Measuring a training step…",
}
GREEN = (
    "QPushButton:enabled { background: #2f7d4f; color: white; font-weight: bold }"
    "QPushButton:enabled:hover { background: #38945e }"
)


class RunPanel(QWidget):
    """Buttons and a progress bar over the engine.

    Parameters
    ----------
    bridge
        The engine of the window.
    background
        Where jobs are prepared.
    text
        What the run button says.
    """

    asked = QtSignal()
    """The run button was pressed."""
    stopped = QtSignal()
    """A run ended without a result."""

    def __init__(self, bridge: EngineBridge, background: Background, text: str) -> None:
        super().__init__()
        self._engine = bridge.engine
        self._background = background
        self._turn = 0
        self._number: int | None = None
        self._begun = 0.0
        self.run_button = QPushButton(text)
        self.cancel_button = QPushButton("Cancel")
        self.progress = QProgressBar()
        self.status = quiet_label()
        self.message = MessageBox()
        self._describe()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(row(self.run_button, self.cancel_button))
        for widget in (self.progress, self.status, self.message):
            layout.addWidget(widget)
        self.run_button.clicked.connect(self.asked)
        self.cancel_button.clicked.connect(self.cancel)
        bridge.event.connect(self._on_event)
        self.destroyed.connect(garbage.search_all)

    @property
    def busy(self) -> bool:
        """Whether a run was asked for that has not ended."""
        return bool(self.cancel_button.isEnabled())

    def begin(
        self,
        prepare: Callable[[], Job],
        then: Callable[[Any], None],
        checkpoint: str = "demo",
        *,
        started: Callable[[Any], None] | None = None,
    ) -> None:
        """Prepare a job in the background, let the engine do it, and hand on its result.

        Parameters
        ----------
        prepare
            Gives the job; its `VirtuesError` is shown.
        then
            Called with the result, in the window's thread.
        checkpoint
            What the job runs; a published one is downloaded first, if its licence is accepted.
        started
            Called with the job when the engine gets it.
        """
        if self.busy:
            return
        self.message.say("")
        self._set_busy()
        self._then, self._started = then, started
        self._turn += 1
        done = partial(self._prepared, self._turn, checkpoint)
        self._background.run(partial(attempt, prepare), done, partial(self.stop, ""))

    def cancel(self) -> None:
        """Stop the run."""
        if self.busy:
            self.status.setText("Stopping…")
            if self._number is None:
                self._turn += 1
                self.stop("Cancelled.")
            else:
                self._engine.cancel()

    def stop(self, status: str, problem: str = "", detail: str = "") -> None:
        """End a run and say why."""
        self._number = None
        self._set_idle(status)
        self.message.say(problem)
        self.message.setToolTip(detail)
        garbage.search_all()
        self.stopped.emit()

    def _prepared(self, turn: int, checkpoint: str, outcome: "Job | VirtuesError") -> None:
        if turn != self._turn:
            return  # cancelled meanwhile
        if isinstance(outcome, VirtuesError):
            self.stop("", str(outcome))
        elif checkpoint in HUB:
            self._submit(LookUpTerms(checkpoint), partial(self._ask_licence, outcome))
        else:
            self._start(outcome)

    def _ask_licence(self, job: Job, terms: Terms) -> None:
        if terms.here:
            self._start(job)
        elif dialogs.accept_licence(self, terms):
            self._submit(Download(terms.name), lambda _: self._start(job))
        else:
            self.stop(f"{terms.name} was not downloaded: its licence was not accepted.")

    def _start(self, job: Job) -> None:
        self._begun = time.monotonic()
        if self._started is not None:
            self._started(job)
        self._submit(job, self._finish)

    def _submit(self, job: Job, then: Callable[[Any], None]) -> None:
        self._next = then
        try:
            self._number = self._engine.submit(job)
        except VirtuesError as error:
            self.stop("", str(error))

    def _finish(self, result: Any) -> None:
        took = time.monotonic() - self._begun
        self._set_idle(f"Done in {took:.0f} s." if took >= 1 else "Done.")
        garbage.search_all()
        self._then(result)

    def _on_event(self, event: Any) -> None:
        if self._number is None:
            return
        if isinstance(event, Started):
            self.status.setText("Starting the engine…")
        elif isinstance(event, Loading):
            self.status.setText(LOADING.get(event.what, "Loading…"))
        elif isinstance(event, Progress):
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
            self.status.setText(f"Tile {event.done} of {event.total}")
        elif isinstance(event, Finished | Failed | Cancelled) and event.number == self._number:
            self._number = None
            self._on_end(event)

    def _on_end(self, event: Finished | Failed | Cancelled) -> None:
        if isinstance(event, Finished):
            self._next(event.result)
        elif isinstance(event, Cancelled):
            self.stop("Cancelled.")
        else:
            self.stop("", event.message, event.detail)

    def _describe(self) -> None:
        self.run_button.setStyleSheet(GREEN)
        self.run_button.setMinimumHeight(30)
        self.cancel_button.setMinimumHeight(30)
        self.cancel_button.setEnabled(False)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(8)
        self.progress.hide()

    def _set_busy(self) -> None:
        garbage.search_young_only()
        self.status.setText("Preparing…")
        self.run_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.progress.setRange(0, 1)  # an animated bar would redraw the whole window all the time
        self.progress.setValue(0)
        self.progress.show()

    def _set_idle(self, status: str) -> None:
        self.status.setText(status)
        self.run_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        self.progress.hide()
