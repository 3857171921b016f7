"""Analyses that run, have run, or were opened: how they go, and their results."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, QTimer
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_virtues._widgets.background import Background, attempt
from napari_virtues._widgets.form_parts import combo_box, row
from napari_virtues._widgets.job_progress import JobProgress
from napari_virtues._widgets.listening import at_end
from napari_virtues._widgets.results_view import ResultsView
from napari_virtues.cohort_folder import ShownResults, read_folder
from napari_virtues.cohort_intent import COMMANDS
from napari_virtues.job_files import JobLine, JobWatch, out_of
from virtues_core.errors import VirtuesError

LOOK_MS = 1000
"""Between two looks at the files."""
NOTHING = "No analysis yet. Start one under New analysis, or open the folder of one."


@dataclass(frozen=True)
class RunLine:
    """A job, and the folder that it writes."""

    line: JobLine
    out: Path | None

    @property
    def key(self) -> Path:
        """What stands for it in the list."""
        return self.line.job.run_dir


class CohortRuns(QWidget):
    """Chooses an analysis, shows how it goes, stops it, shows what it found."""

    shown = QtSignal(object)
    """Other results are shown: a `ShownResults`, or None."""

    def __init__(self) -> None:
        super().__init__()
        self.background = Background(self)
        self.box = combo_box("The analyses that are known here, the newest first")
        self.open_button = QPushButton("Open results folder…")
        self.going = JobProgress(self.background)
        """The chosen job."""
        self.message = self.going.message
        self.view = ResultsView()
        self.folders: list[Path] = []
        """Those that were opened here."""
        self._watch = JobWatch()
        self._outs: dict[Path, Path | None] = {}
        self._lines: tuple[RunLine, ...] = ()
        self._wanted: Path | None = None
        self._read: tuple[Path, float] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._describe()
        self._lay_out()
        self._connect()
        at_end(self, self.background.close)
        self._show_line()

    @property
    def line(self) -> RunLine | None:
        """The chosen job as it stood at the last look; None for a folder that was opened."""
        here = self.box.currentData()
        return next((line for line in self._lines if line.key == here), None)

    def watch(self, run_dir: Path) -> None:
        """Choose a job, which may have been started just now."""
        self._wanted = run_dir
        self.look()

    def open_folder(self, folder: Path | str) -> None:
        """Show the results of any earlier analysis."""
        folder = Path(folder)
        if folder in self.folders:
            self.folders.remove(folder)
        self.folders.insert(0, folder)
        self._wanted, self._read = folder, None
        self._list()

    def look(self) -> None:
        """Look at the files, in the background, unless that is being done."""
        if not self.background.busy:
            self.background.run(partial(_look, self._watch, self._outs), self._on_seen)

    def showEvent(self, event: Any) -> None:
        """Look now and then while somebody can see it."""
        super().showEvent(event)
        self._timer.start()
        self.look()

    def hideEvent(self, event: Any) -> None:
        """Leave the files alone."""
        super().hideEvent(event)
        self._timer.stop()

    def _on_seen(self, lines: tuple[RunLine, ...]) -> None:
        self._lines = lines
        self._list()

    def _list(self) -> None:
        """List jobs and folders, and keep the choice."""
        here = self._wanted or self.box.currentData()
        listed = [(f"{x.line.job.name} · {x.line.state}", x.key) for x in self._lines]
        listed += [(f"{folder.name} · opened", folder) for folder in self.folders]
        with QSignalBlocker(self.box):
            self.box.clear()
            for text, key in listed:
                self.box.addItem(text, key)
            found = self.box.findData(here)
            self.box.setCurrentIndex(max(found, 0) if listed else -1)
        if found >= 0:
            self._wanted = None
        self._show_line()

    def _on_chosen(self, *_: Any) -> None:
        self._wanted = None
        self.message.say("")
        self._show_line()

    def _show_line(self) -> None:
        found = self.line
        self.box.setVisible(self.box.count() > 0)
        key = self.box.currentData()
        if found is None:
            self.going.show_line(None, NOTHING if key is None else str(key))
            self._show_folder(key)
        else:
            self.going.show_line(found.line)
            self._show_folder(found.out if found.line.state == "finished" else None)

    def _show_folder(self, folder: Path | None) -> None:
        """Read and show a folder, unless that was done since it was written."""
        wanted = None if folder is None else (folder, _written(folder))
        if wanted == self._read:
            return
        self._read = wanted
        self._put(None)
        if folder is not None:
            self.message.say("")
            work = partial(attempt, read_folder, folder)
            self.background.run(work, partial(self._on_read, wanted))

    def _on_read(self, wanted: Any, outcome: "ShownResults | VirtuesError") -> None:
        if wanted != self._read:
            return  # another was chosen meanwhile
        if isinstance(outcome, VirtuesError):
            self.message.say(str(outcome))
        else:
            self._put(outcome)

    def _put(self, results: ShownResults | None) -> None:
        if results is not self.view.shown:
            self.view.show_results(results)
            self.shown.emit(results)

    def _describe(self) -> None:
        self.open_button.setToolTip("Show what an earlier analysis found, wherever it was run")

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(row(self.box, self.open_button))
        layout.addWidget(self.going)
        layout.addWidget(self.view)

    def _connect(self) -> None:
        self._timer.timeout.connect(self.look)
        self.box.activated.connect(self._on_chosen)
        self.going.acted.connect(self.look)


def _look(watch: JobWatch, outs: dict[Path, Path | None]) -> tuple[RunLine, ...]:
    """Read how analyses stand; in the background."""
    found = []
    for line in watch.read():
        if line.command in COMMANDS:
            if line.job.run_dir not in outs:
                outs[line.job.run_dir] = out_of(line.job)
            found.append(RunLine(line, outs[line.job.run_dir]))
    return tuple(found)


def _written(folder: Path) -> float:
    try:
        return (folder / "summary.json").stat().st_mtime
    except OSError:
        return 0.0
