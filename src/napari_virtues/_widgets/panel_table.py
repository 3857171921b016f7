"""The channels of an image as a table: one model, however many rows."""

from enum import IntEnum
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSize, QSortFilterProxyModel, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_virtues._widgets.form_parts import EDGE
from napari_virtues.state import OpenImage
from virtues_core.markers import PanelEntry

CHECK_ME = QColor("#ffb74d")
QUIET = QColor("#8a9099")
SORT_ROLE = int(Qt.ItemDataRole.UserRole)
_Role = Qt.ItemDataRole


class Column(IntEnum):
    """The table's columns, from the left."""

    SHOWN = 0
    COLOR = 1
    CHANNEL = 2
    MEASURES = 3
    UNIPROT = 4


HEADERS = {Column.CHANNEL: "Channel", Column.MEASURES: "Measures", Column.UNIPROT: "UniProt"}
TIPS = {
    Column.SHOWN: "Tick to show",
    Column.COLOR: "Click to change the colour",
    Column.CHANNEL: "The channel's name in the file",
    Column.MEASURES: "The protein or stain; double-click to change it",
    Column.UNIPROT: "The protein's UniProt accession",
}


def measures(entry: PanelEntry) -> str:
    """Say in a word or two what a channel measures.

    Examples
    --------
    >>> from virtues_core.markers import Panel
    >>> [measures(e) for e in Panel.from_names(["CD20", "DNA1_Ir191", "131Xe", "xyzzy"]).entries]
    ['MS4A1', 'DNA stain', 'background', 'not known']
    """
    if entry.status == "review":
        return "not known"
    if entry.status == "background":
        return "background"
    if entry.status == "stain":
        return entry.symbol if "stain" in entry.symbol.lower() else f"{entry.symbol} stain"
    short = {"phosphorylated": "phospho", "carbohydrate": "sugar"}.get(entry.form, entry.form)
    return f"{entry.symbol} ({short})" if short else entry.symbol


def explanation(entry: PanelEntry) -> str:
    """Say where that was found, and what to mind."""
    found = {
        "registry": "Found by its symbol.",
        "alias": "Found by another name of the protein.",
        "cocktail": "A cocktail of antibodies.",
        "isotope": "Named by the metal only.",
        "user": "Set by you.",
    }
    lines = [f"{entry.name}: {measures(entry)}", found.get(entry.source, "")]
    if entry.status == "review":
        lines.append("Double-click to say what it measures.")
    if entry.suggestions:
        lines.append(f"Similar names: {', '.join(entry.suggestions)}.")
    if entry.note:
        lines.append(f"{entry.note[0].upper()}{entry.note[1:].rstrip('.')}.")
    return "\n".join(line for line in lines if line)


class PanelModel(QAbstractTableModel):
    """The channels of one `OpenImage`; ticks and colours go straight to it."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._image: OpenImage | None = None

    @property
    def image(self) -> OpenImage | None:
        """The image whose channels are listed."""
        return self._image

    def set_image(self, image: OpenImage | None) -> None:
        """List the channels of another image."""
        self.beginResetModel()
        self.forget()
        self._image = image
        if image is not None:
            image.shown_changed.connect(self._refresh_shown)
            image.display_changed.connect(self._refresh_colors)
            image.panel_changed.connect(self._refresh_panel)
        self.endResetModel()

    def forget(self) -> None:
        """Stop listening to the image."""
        if self._image is not None:
            self._image.shown_changed.disconnect(self._refresh_shown)
            self._image.display_changed.disconnect(self._refresh_colors)
            self._image.panel_changed.disconnect(self._refresh_panel)
        self._image = None

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() or self._image is None else len(self._image.panel)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(Column)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == _Role.DisplayRole:
            return HEADERS.get(Column(section), "")
        return TIPS[Column(section)] if role == _Role.ToolTipRole else None

    def flags(self, index: QModelIndex) -> Any:
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        tick = index.column() == Column.SHOWN
        return flags | Qt.ItemFlag.ItemIsUserCheckable if tick else flags

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        image = self._image
        if image is None or not index.isValid():
            return None
        row, column = index.row(), Column(index.column())
        entry = image.panel.entries[row]
        if role == _Role.ToolTipRole:
            return TIPS[column] if column <= Column.COLOR else explanation(entry)
        if column == Column.SHOWN:
            return _tick(row in image.shown, role)
        if column == Column.COLOR:
            color = image.display(row).color
            place = int(entry.status == "background") * len(image.panel) + row
            return {_Role.DecorationRole: swatch(color), SORT_ROLE: place}.get(role)
        return _cell(entry, column, role)

    def setData(self, index: QModelIndex, value: Any, role: int = 0) -> bool:
        if self._image is None or role != _Role.CheckStateRole or index.column() != Column.SHOWN:
            return False
        if Qt.CheckState(value) == Qt.CheckState.Checked:
            self._image.show(index.row())
        else:
            self._image.hide(index.row())
        return True

    def _refresh_shown(self) -> None:
        self._refresh(Column.SHOWN, Column.SHOWN)

    def _refresh_colors(self) -> None:
        self._refresh(Column.COLOR, Column.COLOR)

    def _refresh_panel(self) -> None:
        self._refresh(Column.CHANNEL, Column.UNIPROT)

    def _refresh(self, first: Column, last: Column) -> None:
        self.dataChanged.emit(self.index(0, first), self.index(self.rowCount() - 1, last))


class PanelFilter(QSortFilterProxyModel):
    """Rows that hold the text searched for; only those that need a person, if asked.

    At first in the file's order, background channels last: what sorting by colour gives.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._words: tuple[str, ...] = ()
        self._to_check = False
        self.setSortRole(SORT_ROLE)
        self.setSortCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)

    def search(self, text: str) -> None:
        """Keep rows in which every word occurs: in the channel's name, protein or accession."""
        self._words = tuple(text.lower().split())
        self.invalidate()

    def only_to_check(self, on: bool) -> None:  # noqa: FBT001 - a slot of `toggled`
        """Keep only channels of which nobody knows what they measure."""
        self._to_check = on
        self.invalidate()

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:
        image = self.sourceModel().image
        entry = image.panel.entries[row]
        if self._to_check and entry.status != "review":
            return False
        text = f"{entry.name} {measures(entry)} {entry.symbol} {entry.accession or ''}".lower()
        return all(word in text for word in self._words)


class PanelTable(QTableView):
    """The table of channels."""

    color_wanted = QtSignal(int)
    """The colour of this channel was clicked."""
    edit_wanted = QtSignal(int)
    """This channel was double-clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.panel = PanelModel(self)
        self.filter = PanelFilter(self)
        self.filter.setSourceModel(self.panel)
        self.setModel(self.filter)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setStyleSheet(f"QTableView::indicator:unchecked {{ border: 1px solid {EDGE} }}")
        self.setWordWrap(False)
        self.setIconSize(QSize(14, 14))
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._shape_columns()
        self.clicked.connect(self._on_click)
        self.doubleClicked.connect(self._on_double_click)

    def selected_channels(self) -> tuple[int, ...]:
        """Positions in the image of the selected rows, from the top."""
        rows = self.selectionModel().selectedRows()
        return tuple(sorted(self.filter.mapToSource(index).row() for index in rows))

    def keyPressEvent(self, event: Any) -> None:
        """Tick or untick the selected rows with the space bar."""
        channels = self.selected_channels()
        if event.key() != Qt.Key.Key_Space or not channels or self.panel.image is None:
            super().keyPressEvent(event)
            return
        image = self.panel.image
        if all(c in image.shown for c in channels):
            image.shown = tuple(c for c in image.shown if c not in channels)
        else:
            image.shown = (*image.shown, *channels)

    def _shape_columns(self) -> None:
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(26)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(24)
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        widths = {Column.SHOWN: 30, Column.COLOR: 26, Column.UNIPROT: 78}
        for column in Column:
            fixed = column in widths
            mode = QHeaderView.ResizeMode.Fixed if fixed else QHeaderView.ResizeMode.Stretch
            header.setSectionResizeMode(column, mode)
            if fixed:
                self.setColumnWidth(column, widths[column])
        self.setSortingEnabled(True)
        self.sortByColumn(Column.COLOR, Qt.SortOrder.AscendingOrder)

    def _on_click(self, index: QModelIndex) -> None:
        if index.column() == Column.COLOR:
            self.color_wanted.emit(self.filter.mapToSource(index).row())

    def _on_double_click(self, index: QModelIndex) -> None:
        if index.column() > Column.COLOR:
            self.edit_wanted.emit(self.filter.mapToSource(index).row())


def swatch(color: str, size: int = 14) -> QIcon:
    """Draw a rounded square of one colour."""
    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(color))
    painter.drawRoundedRect(1, 1, size - 2, size - 2, 3, 3)
    painter.end()
    return QIcon(pixmap)


def _tick(on: bool, role: int) -> Any:  # noqa: FBT001 - a tick is on or off
    if role == _Role.CheckStateRole:
        return Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
    return int(on) if role == SORT_ROLE else None


def _text(entry: PanelEntry, column: Column) -> str:
    if column == Column.CHANNEL:
        return entry.name or "(no name)"
    return measures(entry) if column == Column.MEASURES else entry.accession or ""


def _cell(entry: PanelEntry, column: Column, role: int) -> Any:
    """Text and colour of the columns that say what a channel is."""
    if role in (_Role.DisplayRole, SORT_ROLE):
        return _text(entry, column)
    if role != _Role.ForegroundRole:
        return None
    if entry.status == "review" and column == Column.MEASURES:
        return CHECK_ME
    return QUIET if entry.status == "background" or column == Column.UNIPROT else None
