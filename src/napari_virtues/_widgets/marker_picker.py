"""Choosing several markers out of forty: a search line over a list of ticks."""

from collections.abc import Iterable

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import (
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets.form_parts import EDGE, QUIET
from napari_virtues._widgets.panel_table import measures
from virtues_core.markers import Panel

_NAME = int(Qt.ItemDataRole.UserRole)
_WORDS = _NAME + 1


class MarkerPicker(QWidget):
    """The channels of a panel that the model can take, with a tick each."""

    changed = QtSignal()
    """Other markers are ticked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search markers and proteins")
        self.search.setClearButtonEnabled(True)
        self.list = QListWidget()
        self.list.setFixedHeight(152)
        self.list.setStyleSheet(
            "QListWidget::item { padding: 3px }"
            f"QListWidget::indicator:unchecked {{ border: 1px solid {EDGE} }}"
        )
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.search)
        layout.addWidget(self.list)
        layout.addWidget(self.summary)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.search.textChanged.connect(self._filter)
        self.list.itemChanged.connect(self._on_tick)
        self._nothing = ""

    def set_panel(self, panel: Panel | None) -> None:
        """List the channels of a panel that are for the model; ticks stay where names stay."""
        ticked = set(self.chosen)
        blocker = QSignalBlocker(self.list)
        self.list.clear()
        for entry in panel.entries if panel is not None else ():
            if entry.key is None:
                continue
            what = measures(entry)
            same = what.lower() == entry.name.lower()
            item = QListWidgetItem(entry.name if same else f"{entry.name}   ·   {what}")
            item.setData(_NAME, entry.name)
            item.setData(_WORDS, f"{entry.name} {what} {entry.accession or ''}".lower())
            item.setToolTip(f"{what}, UniProt {entry.accession}" if entry.accession else what)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            state = Qt.CheckState.Checked if entry.name in ticked else Qt.CheckState.Unchecked
            item.setCheckState(state)
            self.list.addItem(item)
        blocker.unblock()
        self._filter(self.search.text())
        self._on_tick()

    @property
    def choices(self) -> tuple[str, ...]:
        """All channels that can be ticked, by name."""
        return tuple(item.data(_NAME) for item in self._items())

    @property
    def chosen(self) -> tuple[str, ...]:
        """The ticked channels, in the panel's order."""
        return tuple(
            item.data(_NAME) for item in self._items() if item.checkState() == Qt.CheckState.Checked
        )

    @chosen.setter
    def chosen(self, names: Iterable[str]) -> None:
        wanted = set(names)
        for item in self._items():
            on = item.data(_NAME) in wanted
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    def item(self, name: str) -> QListWidgetItem:
        """Return the line of a channel."""
        return next(item for item in self._items() if item.data(_NAME) == name)

    def describe(self, nothing: str) -> None:
        """Say what it means when nothing is ticked."""
        self._nothing = nothing
        self._summarise()

    def _items(self) -> list[QListWidgetItem]:
        return [self.list.item(row) for row in range(self.list.count())]

    def _filter(self, text: str) -> None:
        words = text.lower().split()
        for item in self._items():
            item.setHidden(not all(word in item.data(_WORDS) for word in words))

    def _on_tick(self) -> None:
        self._summarise()
        self.changed.emit()

    def _summarise(self) -> None:
        chosen = self.chosen
        text = ", ".join(chosen) if chosen else self._nothing
        self.summary.setText(text)
        self.summary.setStyleSheet("" if chosen else QUIET)
