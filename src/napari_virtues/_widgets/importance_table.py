"""Importance of markers as numbers and bars, regions side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QModelIndex, QRect, Qt
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

if TYPE_CHECKING:
    from napari_virtues.engine import RegionImportance

BAR = QColor("#4a6bff")
_VALUE = int(Qt.ItemDataRole.UserRole)
_SHARE = _VALUE + 1
_NUMBER_PX = 46
"""Room for a number, right of its bar."""


class ImportanceTable(QTableWidget):
    """A row a marker, a column a region; a click on a region's header sorts by it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.verticalHeader().hide()
        self.setShowGrid(False)
        self.setSortingEnabled(True)
        self.setMinimumHeight(420)
        self.setItemDelegate(_Bars(self))

    def show_importance(self, found: "RegionImportance") -> None:
        """Show other numbers, the most important marker of the first region first.

        Bars of a region are as long as its scores; the longest fills the column.
        """
        columns = zip(found.regions, found.importance.T, strict=True)
        self.show_scores(found.channels, {f"Region {n}": scores for n, scores in columns})
        for column, pixels in enumerate(found.area_px, start=1):
            self.horizontalHeaderItem(column).setToolTip(
                f"{pixels:,} pixels; importance I_m by the first marker attention layer"
            )

    def show_scores(
        self,
        markers: Sequence[str],
        columns: Mapping[str, NDArray[np.floating]],
        shown: str = "{:.2f}",
    ) -> None:
        """Show other numbers, the marker with the highest of the first column first.

        Parameters
        ----------
        markers
            C names.
        columns
            Title → (C,) scores of 0 or more.
        shown
            How a number is written.
        """
        self.setSortingEnabled(False)
        self.clear()
        self.setRowCount(len(markers))
        self.setColumnCount(1 + len(columns))
        self.setHorizontalHeaderLabels(["Marker", *columns])
        for row, name in enumerate(markers):
            self.setItem(row, 0, QTableWidgetItem(name))
        for column, scores in enumerate(columns.values(), start=1):
            largest = max(float(scores.max()), 1e-12)
            for row, score in enumerate(scores.tolist()):
                item = _Number(shown.format(score))
                item.setData(_VALUE, score)
                item.setData(_SHARE, score / largest)
                self.setItem(row, column, item)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        header.setMinimumSectionSize(80)
        self.setSortingEnabled(True)
        self.sortItems(1, Qt.SortOrder.DescendingOrder)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """What is shown, from the top: the marker and its scores."""
        columns = range(self.columnCount())
        return [
            tuple(self.item(row, column).text() for column in columns)
            for row in range(self.rowCount())
        ]


class _Number(QTableWidgetItem):
    """Sorts by its value, not by its letters."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return float(self.data(_VALUE)) < float(other.data(_VALUE))


class _Bars(QStyledItemDelegate):
    """Draws a bar beside each number."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw a cell of the table."""
        share: Any = index.data(_SHARE)
        if share is None:
            super().paint(painter, option, index)
            return
        box: QRect = option.rect.adjusted(4, 3, -_NUMBER_PX, -3)
        painter.fillRect(QRect(box.topLeft(), box.bottomLeft()).adjusted(0, 0, 1, 0), BAR)
        box.setWidth(round(box.width() * float(share)))
        painter.fillRect(box, BAR)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(option.rect.adjusted(0, 0, -6, 0), int(right), str(index.data()))
