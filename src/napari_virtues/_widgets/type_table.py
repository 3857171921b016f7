"""The types of cells: names, colours, counts; the chosen one is what a click says."""

from collections.abc import Mapping

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QColorDialog, QTableWidget, QTableWidgetItem, QWidget

from napari_virtues.cells_layers import TYPE_COLORS
from virtues_core.cohort import UNSURE
from virtues_core.errors import InputError

HEADERS = {
    "": "Colour: double click to change it",
    "Type": "Choose the type that a click says; double click to rename it",
    "Clicked": "Cells of this type that were clicked in the image",
    "Cells": "Cells of this type, once all are typed",
}
COLOR, NAME, CLICKED, CELLS = range(4)
MOST = 250
"""Types; they are numbered in one byte."""


class TypeTable(QTableWidget):
    """A row a type."""

    renamed = QtSignal(str, str)
    """Old and new name."""
    recolored = QtSignal()
    listed = QtSignal()
    """A type came or went."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(HEADERS), parent)
        self.setHorizontalHeaderLabels(list(HEADERS))
        for column, tip in enumerate(HEADERS.values()):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        self.setStyleSheet("QTableWidget::item { padding: 3px }")
        self.verticalHeader().hide()
        self.setShowGrid(False)
        self.setFixedHeight(170)
        self.horizontalHeader().setMinimumSectionSize(24)
        self.setColumnWidth(COLOR, 28)
        self.setColumnWidth(NAME, 170)
        self.setColumnWidth(CLICKED, 68)
        self.horizontalHeader().setStretchLastSection(True)
        self.itemChanged.connect(self._on_edit)
        self.cellDoubleClicked.connect(self._on_double_click)

    @property
    def names(self) -> list[str]:
        """The types, in the order of the rows."""
        return [self.item(row, NAME).text() for row in range(self.rowCount())]

    @property
    def colors(self) -> dict[str, str]:
        """Name → ``#rrggbb``, in the order of the rows."""
        role = Qt.ItemDataRole.UserRole
        shown = [str(self.item(row, COLOR).data(role)) for row in range(self.rowCount())]
        return dict(zip(self.names, shown, strict=True))

    @property
    def chosen(self) -> str | None:
        """The type that a click says."""
        row = self.currentRow()
        return self.item(row, NAME).text() if row >= 0 else None

    def add(self, name: str, color: str | None = None) -> None:
        """Add a type and choose it.

        Raises
        ------
        InputError
            No name, one that is there, one that means "not sure", or too many types.
        """
        name = name.strip()
        self._check(name, self.names)
        used = set(self.colors.values())
        free = [c for c in TYPE_COLORS if c not in used] or list(TYPE_COLORS)
        row = self.rowCount()
        blocker = QSignalBlocker(self)
        self.insertRow(row)
        fixed = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        for column in range(self.columnCount()):
            item = QTableWidgetItem("0" if column == CLICKED else "")
            if column >= CLICKED:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if column != NAME:
                item.setFlags(fixed)
            self.setItem(row, column, item)
        _paint(self.item(row, COLOR), color or free[0])
        self._name(row, name)
        del blocker
        self.selectRow(row)
        self.listed.emit()

    def remove_chosen(self) -> str | None:
        """Forget the chosen type; return its name."""
        name = self.chosen
        if name is not None:
            self.removeRow(self.currentRow())
            self.listed.emit()
        return name

    def choose(self, name: str) -> None:
        """Choose a type by its name."""
        self.selectRow(self.names.index(name))

    def show_counts(self, clicked: Mapping[str, int], cells: Mapping[str, int]) -> None:
        """Say how many cells of each type were clicked, and how many there are; none, no number."""
        blocker = QSignalBlocker(self)
        for row, name in enumerate(self.names):
            self.item(row, CLICKED).setText(str(clicked.get(name, 0)))
            self.item(row, CELLS).setText(f"{cells[name]:,}" if name in cells else "")
        del blocker
        self.viewport().update()

    def set_color(self, name: str, color: str) -> None:
        """Change a type's colour, ``#rrggbb``."""
        blocker = QSignalBlocker(self)
        _paint(self.item(self.names.index(name), COLOR), color)
        blocker.unblock()
        self.recolored.emit()

    def _name(self, row: int, name: str) -> None:
        self.item(row, NAME).setText(name)
        self.item(row, NAME).setData(Qt.ItemDataRole.UserRole, name)

    def _check(self, name: str, others: list[str]) -> None:
        if not name or name == UNSURE or name in others or len(others) >= MOST:
            message = (
                f"expected the name of a new type, other than {UNSURE!r}, and {MOST} types at "
                f"the most; found {name!r}. Type another name."
            )
            raise InputError(message)

    def _on_edit(self, item: QTableWidgetItem) -> None:
        if item.column() != NAME:
            return
        old, new = str(item.data(Qt.ItemDataRole.UserRole)), item.text().strip()
        others = [name for row, name in enumerate(self.names) if row != item.row()]
        blocker = QSignalBlocker(self)
        try:
            self._check(new, others)
        except InputError:
            new = old
        self._name(item.row(), new)
        blocker.unblock()
        if new != old:
            self.renamed.emit(old, new)

    def _on_double_click(self, row: int, column: int) -> None:
        if column != COLOR:
            return
        name = self.names[row]
        color = QColorDialog.getColor(QColor(self.colors[name]), self, "Colour of this type")
        if color.isValid():
            self.set_color(name, color.name())


def _paint(item: QTableWidgetItem, color: str) -> None:
    """Show a colour as a square that looks the same in a selected row."""
    square = QPixmap(14, 14)
    square.fill(QColor(color))
    icon = QIcon()
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):
        icon.addPixmap(square, mode)
    item.setIcon(icon)
    item.setData(Qt.ItemDataRole.UserRole, color)
