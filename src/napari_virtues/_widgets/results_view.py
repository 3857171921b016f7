"""The results of an analysis: what it found, linked plots and tables."""

from functools import partial
from typing import Any

from qtpy.QtCore import QSignalBlocker, QUrl
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QLabel, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_virtues._widgets.form_parts import combo_box, quiet_label, row
from napari_virtues._widgets.linked_plot import LinkedPlotView
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.table_window import TableWindow
from napari_virtues.cohort_folder import ShownPlot, ShownResults

HINT = "Click a curve, point, bar or row: its tissues open with those cells lit."
MOST_NOTES = 4
"""Notes in sight; all are in the tool tip and the report."""


class ResultsView(QWidget):
    """Shows one analysis folder."""

    picked = QtSignal(str, str)
    """A column of the results, and the value of it that was clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.shown: ShownResults | None = None
        self.headline = QLabel()
        self.further = quiet_label()
        self.notes = MessageBox()
        self.plot_box = combo_box("What is drawn")
        self.plot = LinkedPlotView()
        self.hint = quiet_label(HINT)
        self.report_button = QPushButton("Open report")
        self.tables_button = QPushButton("Tables")
        self.command_button = QPushButton("Copy command")
        self.table: TableWindow | None = None
        """The table that was opened last."""
        self._describe()
        self._lay_out()
        self._connect()
        self.hide()

    def show_results(self, shown: ShownResults | None) -> None:
        """Show these results; None hides what was shown."""
        self.shown = shown
        self.setVisible(shown is not None)
        if shown is None:
            return
        self.headline.setText(shown.headline[0] if shown.headline else "")
        self.further.setText("\n".join(shown.headline[1:]))
        self.further.setVisible(len(shown.headline) > 1)
        more = len(shown.notes) - MOST_NOTES
        notes = [*shown.notes[:MOST_NOTES], *([f"{more} more notes: see the report"] * (more > 0))]
        self.notes.say(notes, "warning")
        self.notes.setToolTip("\n\n".join(shown.notes))
        with QSignalBlocker(self.plot_box):
            self.plot_box.clear()
            for one in shown.plots:
                self.plot_box.addItem(one.plot.title or one.plot.name, one)
        for widget in (self.plot_box, self.plot, self.hint):
            widget.setVisible(bool(shown.plots))
        self.report_button.setEnabled(shown.report is not None)
        self.command_button.setEnabled(bool(shown.command))
        menu = self.tables_button.menu()
        menu.clear()
        for name in shown.tables:
            menu.addAction(name.replace("_", " ")).triggered.connect(partial(self.show_table, name))
        self._draw()

    def show_table(self, name: str, *_: Any) -> None:
        """Open a table in a window of its own; a click on a row leads to its tissues."""
        if self.shown is None:
            return
        self.table = TableWindow(self.shown.tables[name], self)
        self.table.picked.connect(partial(self._on_row, self.shown, name))
        self.table.show()

    def _draw(self, *_: Any) -> None:
        one: ShownPlot | None = self.plot_box.currentData()
        if one is not None:
            self.plot.show_drawing(one.plot, one.drawing)
            self.hint.setVisible(bool(one.plot.link))

    def _on_plot(self, value: str) -> None:
        one: ShownPlot = self.plot_box.currentData()
        self.picked.emit(one.plot.link, value)

    def _on_row(self, shown: ShownResults, name: str, cells: dict[str, str]) -> None:
        found = shown.link_of(name, cells)
        if found is not None and shown is self.shown:
            self.picked.emit(*found)

    def _open_report(self) -> None:
        if self.shown is not None and self.shown.report is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.shown.report)))

    def _copy_command(self) -> None:
        if self.shown is not None:
            QApplication.clipboard().setText(self.shown.command)

    def _describe(self) -> None:
        self.headline.setWordWrap(True)
        self.headline.setStyleSheet("font-weight: bold; font-size: 14px")
        self.report_button.setToolTip("Figures, tables and methods as a page, in the browser")
        self.tables_button.setToolTip("All numbers; a click on a row opens its tissues")
        self.tables_button.setMenu(QMenu(self.tables_button))
        self.command_button.setToolTip("Copy the command that repeats this analysis")

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widget in (
            self.headline, self.further, self.notes, self.plot_box, self.plot, self.hint,
        ):  # fmt: skip
            layout.addWidget(widget)
        layout.addLayout(row(self.report_button, self.tables_button, self.command_button))

    def _connect(self) -> None:
        self.plot_box.currentIndexChanged.connect(self._draw)
        self.plot.picked.connect(self._on_plot)
        self.report_button.clicked.connect(self._open_report)
        self.command_button.clicked.connect(self._copy_command)
