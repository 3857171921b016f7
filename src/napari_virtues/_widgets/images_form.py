"""The widgets of the *Images* dock and how they are laid out; no behaviour."""

from qtpy.QtCore import QSize
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets.form_parts import combo_box, quiet_label, row
from napari_virtues._widgets.panel_table import PanelTable
from napari_virtues.state import PERCENTILES


class ImagesForm(QWidget):
    """From the top: image, search, table, contrast, views, proteins."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumWidth(340)
        self.image_box = combo_box("The open images")
        self.name_label = QLabel("Image in file")
        self.name_box = combo_box("The images in this file")
        self.open_button = QPushButton("Open")
        self.open_menu = QMenu(self.open_button)
        self.summary = quiet_label()
        self.search = QLineEdit()
        self.to_check = QCheckBox("Not known")
        self.hide_all = QPushButton("Hide all")
        self.table = PanelTable()
        self.low = _percent(PERCENTILES[0], "This share of the pixels is black")
        self.high = _percent(PERCENTILES[1], "Above this share of the pixels the colour is full")
        self.contrast_selected = QPushButton("Selected")
        self.contrast_all = QPushButton("All")
        self.composite_box = combo_box("Saved views: which channels, in which colours")
        self.save_composite = QPushButton("Save…")
        self.delete_composite = QPushButton("Delete")
        self.edit_protein = QPushButton("Edit…")
        self.load_panel_button = QPushButton("Load…")
        self.save_panel_button = QPushButton("Save…")
        self._describe()
        self._lay_out()

    def sizeHint(self) -> QSize:
        """Wide enough for a channel's name beside its protein."""
        return QSize(380, 720)

    def _describe(self) -> None:
        self.open_button.setMenu(self.open_menu)
        self.open_button.setMinimumWidth(76)
        self.search.setPlaceholderText("Search channels and proteins")
        self.search.setClearButtonEnabled(True)
        self.to_check.setToolTip("List only the channels of which nobody knows what they measure")
        self.hide_all.setToolTip("Untick every channel")
        self.contrast_selected.setToolTip("Use this contrast for the selected channels")
        self.contrast_all.setToolTip("Use this contrast for every channel")
        self.save_composite.setToolTip("Save the ticked channels and their colours under a name")
        self.delete_composite.setToolTip("Forget this view")
        self.edit_protein.setToolTip("Say what the selected channel measures")
        self.load_panel_button.setToolTip("Read what the channels measure from a table (CSV)")
        self.save_panel_button.setToolTip("Write what the channels measure to a table (CSV)")

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(8)
        layout.addLayout(row(self.image_box, self.open_button))
        layout.addLayout(row(self.name_label, self.name_box))
        layout.addWidget(self.summary)
        layout.addSpacing(4)
        layout.addLayout(row(self.search, self.to_check, self.hide_all))
        layout.addWidget(self.table, stretch=1)
        layout.addSpacing(4)
        to = QLabel("to")
        to.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        layout.addLayout(
            row(
                _heading("Contrast"),
                self.low,
                to,
                self.high,
                self.contrast_selected,
                self.contrast_all,
            )
        )
        layout.addLayout(
            row(_heading("View"), self.composite_box, self.save_composite, self.delete_composite)
        )
        layout.addLayout(
            row(
                _heading("Proteins"),
                self.edit_protein,
                self.load_panel_button,
                self.save_panel_button,
                None,
            )
        )


def _heading(text: str) -> QLabel:
    label = QLabel(text)
    label.setFixedWidth(66)
    return label


def _percent(value: float, tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0, 100)
    box.setDecimals(1)
    box.setSingleStep(0.1 if value > 50 else 1)
    box.setValue(value)
    box.setSuffix(" %")
    box.setToolTip(tip)
    box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
    box.setFixedWidth(62)
    return box
