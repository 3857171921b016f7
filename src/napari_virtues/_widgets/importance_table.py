"""Importance of markers as numbers and bars, regions side by side."""

from typing import TYPE_CHECKING, Any

import numpy as np
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
        self.setSortingEnabled(False)
        self.clear()
        self.setRowCount(len(found.channels))
        self.setColumnCount(1 + len(found.regions))
        self.setHorizontalHeaderLabels(["Marker", *(f"Region {n}" for n in found.regions)])
        for column, pixels in enumerate(found.area_px, start=1):
            self.horizontalHeaderItem(column).setToolTip(
                f"{pixels:,} pixels; importance I_m by the first marker attention layer"
            )
        largest = np.maximum(found.importance.max(axis=0), 1e-12)
        for row, (name, scores) in enumerate(zip(found.channels, found.importance, strict=True)):
            self.setItem(row, 0, QTableWidgetItem(name))
            for column, score in enumerate(scores.tolist(), start=1):
                item = _Number(f"{score:.2f}")
                item.setData(_VALUE, score)
                item.setData(_SHARE, score / float(largest[column - 1]))
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
