"""One job: how it stands, its curves, its log, and what it made."""

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets.form_parts import quiet_label, row
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.metrics_plot import MetricsPlot
from napari_virtues.job_files import JobLine, Metrics, Result, usage

LOG_LINES = 2_000
"""Lines of a log that are kept in sight."""
KINDS = {"failed": "error", "lost": "error", "unreadable": "error", "stopped": "warning"}
LOST = "Its process ended without a word: killed, out of memory, or the machine went down"
_RESULT = Qt.ItemDataRole.UserRole


class JobDetails(QWidget):
    """Shows the job that is chosen in the table."""

    open_wanted = QtSignal(object)
    """Carries the `Result` to open."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.usage = quiet_label()
        self.message = MessageBox()
        self.plot = MetricsPlot()
        self.log = QPlainTextEdit()
        self.results = QListWidget()
        self.open_button = QPushButton("Open")
        self.tabs = QTabWidget()
        self._results: tuple[Result, ...] = ()
        self._describe()
        self._lay_out()
        self.results.itemDoubleClicked.connect(self._open)
        self.open_button.clicked.connect(self._open)
        self.results.itemSelectionChanged.connect(self._name_button)

    def show_line(self, line: JobLine | None) -> None:
        """Show how a job stands."""
        self.setVisible(line is not None)
        if line is None:
            return
        parts = [f"virtues {line.command}" if line.command else "", usage(line.resources)]
        self.usage.setText(" · ".join(filter(None, parts)))
        self.usage.setToolTip(str(line.job.run_dir))
        said = line.message
        if line.state == "lost":
            word = f" Its last word: {line.message}" if line.message else ""
            said = f"{LOST}; {line.if_resumed}.{word}"
        self.message.say(said, KINDS.get(line.state, "note"))
        self._list(line.results)

    def clear(self) -> None:
        """Forget curves and log of the last job."""
        self.log.clear()
        self.plot.show_metrics(Metrics())

    def add_log(self, anew: bool, lines: Sequence[str]) -> None:  # noqa: FBT001 - as `Tail` gives it
        """Show new lines of the log; the end stays in sight where it was."""
        if anew:
            self.log.clear()
        if lines:
            self.log.appendPlainText("\n".join(lines))

    @property
    def result(self) -> Result | None:
        """What is chosen in the list of results."""
        item = self.results.currentItem()
        return None if item is None else item.data(_RESULT)

    def _list(self, results: tuple[Result, ...]) -> None:
        if results == self._results:
            return
        chosen, self._results = self.result, results
        self.results.clear()
        for result in results:
            item = QListWidgetItem(result.title)
            item.setData(_RESULT, result)
            item.setToolTip(str(result.path))
            self.results.addItem(item)
        if results:
            self.results.setCurrentRow(results.index(chosen) if chosen in results else 0)
        self.tabs.setTabText(2, f"Results ({len(results)})" if results else "Results")
        self._name_button()

    def _name_button(self) -> None:
        result = self.result
        self.open_button.setEnabled(result is not None)
        use = result is not None and result.is_checkpoint
        self.open_button.setText("Use this checkpoint" if use else "Open")
        self.open_button.setToolTip(
            "Choose it in the docks that run a model"
            if use
            else "Show it as layers, as a table, or in the Space dock"
        )

    def _open(self, *_: object) -> None:
        if self.result is not None:
            self.open_wanted.emit(self.result)

    def _describe(self) -> None:
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(LOG_LINES)
        self.log.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.log.setPlaceholderText("Nothing was printed yet.")
        self.open_button.setEnabled(False)

    def _lay_out(self) -> None:
        made = QWidget()
        column = QVBoxLayout(made)
        column.setContentsMargins(0, 4, 0, 0)
        column.addWidget(self.results)
        column.addLayout(row(None, self.open_button))
        for title, page in (("Metrics", self.plot), ("Log", self.log), ("Results", made)):
            self.tabs.addTab(page, title)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widget in (self.usage, self.message, self.tabs):
            layout.addWidget(widget)
