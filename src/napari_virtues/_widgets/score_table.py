"""The numbers of an inpainting, a row a marker."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

if TYPE_CHECKING:
    from virtues_core.infer import MarkerScore

FIXED = {
    "Marker": "Click a marker to see its layers",
    "Pearson": "Correlation of reconstruction and truth, over hidden pixels only; 1 is perfect",
    "F1": "Agreement on which hidden pixels are positive (above the mean); 1 is perfect",
    "In 80 %": "Share of the hidden pixels whose truth lies in the stated 80 % interval",
    "Method": "What the reconstruction was made with: the better one on images held out",
}
BASELINES = {
    "mean_visible": ("Mean", "Pearson of the mean of the visible pixels"),
    "best_other": ("Best other", "Pearson of the most correlated other marker"),
    "ridge": ("Ridge", "Pearson of ridge regression on the other markers"),
    "model": ("Model", "Pearson of the model's own reconstruction"),
}


METHODS = {"model": "model", "ridge": "ridge", "ridge+model": "ridge + model"}


def number(value: float | None) -> str:
    """Write a number for the table.

    Examples
    --------
    >>> number(0.7264), number(-0.001), number(None), number(float("nan"))
    ('0.73', '0.00', '–', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{round(value, 2) + 0.0:.2f}"


class ScoreTable(QTableWidget):
    """Scores with baselines; the selected row is the marker whose layers are shown."""

    chosen = QtSignal(str)
    """This marker's layers are wanted."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.verticalHeader().hide()
        self.setShowGrid(False)
        self.itemSelectionChanged.connect(self._on_selected)

    def set_scores(self, scores: Sequence["MarkerScore"]) -> None:
        """Show other numbers; nothing is selected afterwards."""
        blocker = QSignalBlocker(self)
        self.clear()
        ways = list(dict.fromkeys(name for score in scores for name in other_ways(score)))
        headers = [*list(FIXED.items())[:4], *(BASELINES[way] for way in ways)]
        headers.append(("Method", FIXED["Method"]))
        self.setColumnCount(len(headers))
        self.setRowCount(len(scores))
        for column, (text, tip) in enumerate(headers):
            item = QTableWidgetItem(text)
            item.setToolTip(tip)
            self.setHorizontalHeaderItem(column, item)
        for row, score in enumerate(scores):
            self._fill(row, score, ways)
        blocker.unblock()
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setMinimumSectionSize(30)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        rows = min(6, len(scores))
        self.setFixedHeight(header.sizeHint().height() + rows * self.rowHeight(0) + 6)

    def choose(self, channel: str) -> None:
        """Select a marker's row."""
        for row in range(self.rowCount()):
            if self.item(row, 0).text() == channel:
                self.selectRow(row)

    def _fill(self, row: int, score: "MarkerScore", ways: Sequence[str]) -> None:
        others = other_ways(score)
        best = max([r for r in others.values() if not math.isnan(r)], default=-1.0)
        texts = [score.channel, number(score.pearson), number(score.f1), number(score.coverage)]
        texts += [number(others.get(way)) for way in ways]
        texts.append(METHODS[score.method])
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            if 0 < column < len(texts) - 1:
                right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                item.setTextAlignment(right)
            if column == 1 and score.pearson >= best:
                font = item.font()
                font.setBold(True)
                item.setFont(font)
            item.setToolTip(score.note or text)
            self.setItem(row, column, item)

    def _on_selected(self) -> None:
        rows = {index.row() for index in self.selectedIndexes()}
        if rows:
            self.chosen.emit(self.item(rows.pop(), 0).text())


def other_ways(score: "MarkerScore") -> dict[str, float]:
    """Return the Pearson of what the result is compared with; the model too, if it was not used."""
    own = {} if score.method == "model" else {"model": score.model_pearson}
    return {**score.baselines, **own}
