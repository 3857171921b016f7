"""A table in a window of its own."""

from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QDialog, QTableView, QVBoxLayout, QWidget

from napari_virtues._widgets.form_parts import quiet_label
from napari_virtues.artifacts import Table

_NOWHERE = QModelIndex()


class TableWindow(QDialog):
    """Shows rows and columns as they are in the file."""

    picked = QtSignal(object)
    """The row that was clicked: column → text."""

    def __init__(self, table: Table, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(table.name)
        self.resize(760, 480)
        self.view = QTableView()
        self.view.setModel(_Rows(table, self))
        self.view.clicked.connect(self._on_clicked)
        self._table = table
        rows = f"{len(table.rows):,} rows"
        self.label = quiet_label(f"The first {rows}." if table.more else f"{rows}.")
        layout = QVBoxLayout(self)
        layout.addWidget(self.view)
        layout.addWidget(self.label)

    def _on_clicked(self, index: QModelIndex) -> None:
        row = self._table.rows[index.row()]
        self.picked.emit(dict(zip(self._table.columns, row, strict=False)))


class _Rows(QAbstractTableModel):
    """Gives cells when they are looked at."""

    def __init__(self, table: Table, parent: QObject) -> None:
        super().__init__(parent)
        self._table = table

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._table.rows)

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._table.columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        row = self._table.rows[index.row()]
        return row[index.column()] if index.column() < len(row) else ""

    def headerData(
        self, section: int, side: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        return self._table.columns[section] if side == Qt.Orientation.Horizontal else section + 1
