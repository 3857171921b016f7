"""The numbers of an inpainting, a row a marker."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
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
    "mean": ("Mean", "Pearson of the mean of the visible pixels"),
    "visible_mean": ("Mean", "Pearson of the mean of the visible pixels"),
    "nearest": ("Nearest", "Pearson of the most correlated other marker"),
    "best_marker": ("Nearest", "Pearson of the most correlated other marker"),
    "most_correlated": ("Nearest", "Pearson of the most correlated other marker"),
    "ridge": ("Ridge", "Pearson of ridge regression on the other markers"),
}


def number(value: float | None) -> str:
    """Write a number for the table.

    Examples
    --------
    >>> number(0.7264), number(None), number(float("nan"))
    ('0.73', '–', '–')
    """
    return "–" if value is None or value != value else f"{value:.2f}"  # noqa: PLR0124 - NaN


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
        self.blockSignals(True)
        self.clear()
        baselines = list(dict.fromkeys(name for score in scores for name in score.baselines))
        headers = [*list(FIXED.items())[:4], *(_baseline(n) for n in baselines)]
        headers.append(("Method", FIXED["Method"]))
        self.setColumnCount(len(headers))
        self.setRowCount(len(scores))
        for column, (text, tip) in enumerate(headers):
            item = QTableWidgetItem(text)
            item.setToolTip(tip)
            self.setHorizontalHeaderItem(column, item)
        for row, score in enumerate(scores):
            self._fill(row, score, baselines)
        self.blockSignals(False)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        rows = min(6, len(scores))
        self.setFixedHeight(header.sizeHint().height() + rows * self.rowHeight(0) + 20)

    def choose(self, channel: str) -> None:
        """Select a marker's row."""
        for row in range(self.rowCount()):
            if self.item(row, 0).text() == channel:
                self.selectRow(row)

    def _fill(self, row: int, score: "MarkerScore", baselines: Sequence[str]) -> None:
        best = max([v for v in score.baselines.values() if v == v], default=None)  # noqa: PLR0124
        texts = [score.channel, number(score.pearson), number(score.f1), number(score.coverage)]
        texts += [number(score.baselines.get(name)) for name in baselines]
        texts.append(score.method)
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            if 0 < column < len(texts) - 1:
                right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                item.setTextAlignment(right)
            if column == 1 and (best is None or (score.pearson or 0) >= best):
                font = item.font()
                font.setBold(True)
                item.setFont(font)
            item.setToolTip(score.note or text)
            self.setItem(row, column, item)

    def _on_selected(self) -> None:
        rows = {index.row() for index in self.selectedIndexes()}
        if rows:
            self.chosen.emit(self.item(rows.pop(), 0).text())


def _baseline(name: str) -> tuple[str, str]:
    return BASELINES.get(name, (name.replace("_", " ").capitalize(), f"Pearson of {name}"))
