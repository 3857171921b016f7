"""The jobs, a row each: state, progress, when they began."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QModelIndex, QRect, QSignalBlocker, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_virtues.job_files import UNDER_WAY, JobLine, clock, duration, usage

HEADERS = {
    "Job": "Its name",
    "State": "Lost: its process died without a word",
    "Progress": "How much is done, and an estimate of the time left",
    "Started": "When it was asked for",
}
NAME, STATE, PROGRESS, STARTED = range(len(HEADERS))
STATE_COLORS = {
    "running": "#4fae75",
    "finished": "#8fb8ff",
    "failed": "#e06c67",
    "lost": "#e06c67",
    "unreadable": "#e06c67",
    "stopped": "#d7a351",
}
"""Others are shown in the colour of text."""
_BAR, _TROUGH = QColor(74, 107, 255, 110), QColor(128, 128, 128, 40)
_DONE = Qt.ItemDataRole.UserRole


class JobTable(QTableWidget):
    """Lists jobs; the one that is chosen stays so while their numbers change."""

    chosen = QtSignal(object)
    """Carries the run directory, or None."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(HEADERS), parent)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.verticalHeader().hide()
        self.setShowGrid(False)
        self.setItemDelegateForColumn(PROGRESS, _ProgressBar(self))
        for column, (text, tip) in enumerate(HEADERS.items()):
            item = QTableWidgetItem(text)
            item.setToolTip(tip)
            self.setHorizontalHeaderItem(column, item)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column, width in ((STATE, 66), (PROGRESS, 138), (STARTED, 76)):
            header.resizeSection(column, width)
        self.lines: tuple[JobLine, ...] = ()
        """What is shown, a row each."""
        self.itemSelectionChanged.connect(lambda: self.chosen.emit(self.run_dir))

    @property
    def line(self) -> JobLine | None:
        """The job that is chosen."""
        rows = self.selectionModel().selectedRows()
        return self.lines[rows[0].row()] if rows else None

    @property
    def run_dir(self) -> Path | None:
        """The run directory of the job that is chosen."""
        return None if self.line is None else self.line.job.run_dir

    def show_lines(self, lines: Sequence[JobLine]) -> None:
        """Show how the jobs stand now; the newest is chosen where none is, or it is gone."""
        if tuple(lines) == self.lines:
            return
        before = self.run_dir
        blocker = QSignalBlocker(self)
        self.lines = tuple(lines)
        self.setRowCount(len(lines))
        for row, line in enumerate(lines):
            self._fill(row, line)
        dirs = [line.job.run_dir for line in lines]
        if before in dirs:
            self.selectRow(dirs.index(before))
        elif dirs:
            self.selectRow(0)
        blocker.unblock()
        if self.run_dir != before:
            self.chosen.emit(self.run_dir)

    def choose(self, run_dir: Path) -> None:
        """Choose a job that is listed."""
        for row, line in enumerate(self.lines):
            if line.job.run_dir == run_dir:
                self.selectRow(row)

    def _fill(self, row: int, line: JobLine) -> None:
        tip = "\n".join(filter(None, (str(line.job.run_dir), line.message, usage(line.resources))))
        texts = (line.job.name, line.state, progress(line), clock(line.submitted))
        for column, text in enumerate(texts):
            item = self.item(row, column)
            if item is None:
                item = QTableWidgetItem()
                self.setItem(row, column, item)
            item.setText(text)
            item.setToolTip(tip)
            if column == STATE:
                color = STATE_COLORS.get(line.state)
                item.setData(
                    Qt.ItemDataRole.ForegroundRole, None if color is None else QColor(color)
                )
            elif column == PROGRESS:
                item.setData(_DONE, line.progress)


def progress(line: JobLine) -> str:
    """Write how far a job is, and how long it still takes."""
    if line.state in UNDER_WAY and line.progress == 0:
        return ""
    text = f"{100 * line.progress:.0f} %"
    if line.state == "running" and line.seconds_left is not None:
        text += f", {duration(line.seconds_left)} left"
    return text


class _ProgressBar(QStyledItemDelegate):
    """Paints a bar over the text of a cell, which shows through."""

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        super().paint(painter, option, index)
        done: Any = index.data(_DONE)
        if painter is not None and done is not None:
            area = option.rect.adjusted(2, 4, -2, -4)
            painter.fillRect(area, _TROUGH)
            width = round(area.width() * float(done))
            painter.fillRect(QRect(area.left(), area.top(), width, area.height()), _BAR)
