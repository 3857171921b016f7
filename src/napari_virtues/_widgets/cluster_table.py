"""Clusters as a heat map of their marker profiles, with names that a person can change."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QRect, QSignalBlocker, QSize, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtGui import QBrush, QColor, QPainter
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_virtues.space_cells import color_of

if TYPE_CHECKING:
    from virtues_core.cohort.space import Profiles

NAME, CELLS, FIRST_MARKER = range(3)
BOX_PX = 15
"""Width of a marker's column."""
NAME_PX = 76
"""Height for the names of markers; longer ones are cut, and told by their boxes."""
ROW_PX = 21
_LOW, _MIDDLE, _HIGH = (np.array(c) for c in ((58, 118, 200), (28, 31, 36), (224, 72, 58)))


class ClusterTable(QTableWidget):
    """A row a cluster: its name, its cells, and a box a marker, red where it is bright."""

    renamed = QtSignal()
    chosen = QtSignal(object)
    """(M,) numbers of the clusters whose rows are selected."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        self.setHorizontalHeader(_Upright(self))
        self.verticalHeader().hide()
        self.verticalHeader().setMinimumSectionSize(ROW_PX)
        self.verticalHeader().setDefaultSectionSize(ROW_PX)
        self.setShowGrid(False)
        self.setMinimumHeight(210)
        self.itemChanged.connect(self._on_edit)
        self.itemSelectionChanged.connect(self._on_chosen)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the clusters, in the order of their numbers."""
        return tuple(self.item(row, NAME).text() for row in range(self.rowCount()))

    def show_profiles(self, found: "Profiles", limit: float) -> None:
        """Show other clusters.

        Parameters
        ----------
        found
            Of the clusters, in the order of their numbers.
        limit
            Standard deviations at which colours end.
        """
        blocker = QSignalBlocker(self)
        self.clear()
        self.setRowCount(len(found.names))
        self.setColumnCount(FIRST_MARKER + len(found.markers))
        self.setHorizontalHeaderLabels(["Name", "Cells", *found.markers])
        shades = shade(found.values, limit)
        for row, name in enumerate(found.names):
            self._describe(row, name, int(found.counts[row]))
            for column, marker in enumerate(found.markers):
                box = QTableWidgetItem()
                box.setFlags(Qt.ItemFlag.ItemIsEnabled)  # a selected one would lose its colour
                box.setBackground(QBrush(QColor(*shades[row, column].tolist())))
                value = float(found.values[row, column])
                box.setToolTip(f"{marker} in {name}: {value:+.2f} standard deviations")
                self.setItem(row, FIRST_MARKER + column, box)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setMinimumSectionSize(BOX_PX)
        header.resizeSection(NAME, 130)
        header.resizeSection(CELLS, 58)
        for column in range(FIRST_MARKER, self.columnCount()):
            header.resizeSection(column, BOX_PX)
        del blocker

    def _describe(self, row: int, name: str, count: int) -> None:
        item = QTableWidgetItem(name)
        item.setForeground(QBrush(QColor(color_of(row))))
        item.setData(Qt.ItemDataRole.UserRole, name)
        item.setToolTip("Double click to name this cluster; clusters of one name become one type")
        self.setItem(row, NAME, item)
        cells = QTableWidgetItem(f"{count:,}")
        cells.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
        cells.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(row, CELLS, cells)

    def _on_edit(self, item: QTableWidgetItem) -> None:
        if item.column() != NAME:
            return
        old, new = str(item.data(Qt.ItemDataRole.UserRole)), item.text().strip()
        blocker = QSignalBlocker(self)
        item.setText(new or old)
        item.setData(Qt.ItemDataRole.UserRole, new or old)
        del blocker
        if new and new != old:
            self.renamed.emit()

    def _on_chosen(self) -> None:
        rows = {index.row() for index in self.selectedIndexes()}
        self.chosen.emit(np.array(sorted(rows), dtype=np.int64))


def shade(values: NDArray[np.float32], limit: float) -> NDArray[np.int64]:
    """Give colours (K, C, 3) from blue (low) over the background (0) to red (high).

    Examples
    --------
    >>> shade(np.array([[0.0, 9.0]]), 2.0).tolist()
    [[[28, 31, 36], [224, 72, 58]]]
    """
    share = np.clip(values / limit, -1, 1)[..., None]
    end = np.where(share < 0, _LOW, _HIGH)
    return np.rint(_MIDDLE + np.abs(share) * (end - _MIDDLE)).astype(np.int64)


class _Upright(QHeaderView):
    """A header whose narrow columns are labelled from bottom to top."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setSectionsClickable(True)

    def sizeHint(self) -> QSize:
        """High enough for the longest name of a marker."""
        model = self.model()
        names = [
            str(model.headerData(c, Qt.Orientation.Horizontal))
            for c in range(FIRST_MARKER, model.columnCount())
        ]
        longest = max((self.fontMetrics().horizontalAdvance(name) for name in names), default=0)
        return QSize(super().sizeHint().width(), max(24, min(longest, NAME_PX) + 10))

    def paintSection(self, painter: QPainter, rect: QRect, logical: int) -> None:
        """Draw a column's label."""
        if logical < FIRST_MARKER:
            super().paintSection(painter, rect, logical)
            return
        name = str(self.model().headerData(logical, Qt.Orientation.Horizontal))
        painter.save()
        painter.translate(rect.x(), rect.bottom())
        painter.rotate(-90)
        box = QRect(4, 0, rect.height() - 8, rect.width())
        painter.setPen(self.palette().text().color())
        name = self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter), name)
        painter.restore()
