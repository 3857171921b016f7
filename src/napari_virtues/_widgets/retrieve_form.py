"""The widgets of the *Retrieve* dock and how they are laid out; no behaviour."""

import html
from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QStringListModel, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QCompleter,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets.form_parts import combo_box, heading, quiet_label, row
from napari_virtues._widgets.match_cards import TissueCard
from napari_virtues._widgets.model_dock import ModelDock

ACTIVE = "The active image"
ANY = "any"
MOST_VALUES = 40
"""A clinical column with more values is no filter here."""
START = "Open a database of tissues to begin; `virtues db build` makes one."


class RetrieveForm(ModelDock):
    """From the top: database, query, filters, model, run, the query and what is like it."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        super().__init__(
            napari_viewer,
            model="The model that made the database: images are searched by its tokens",
            run="Find similar tissues",
        )
        self.open_button = QPushButton("Open database…")
        self.folder_button = QPushButton("Images…")
        self.about = quiet_label(START)
        self.query_box = combo_box("What is searched for: the active image, or one of the database")
        self.patient = QLineEdit()
        self.top = QSpinBox()
        self.same_patient = QCheckBox("Tissues of the same patient too")
        self.filters = QWidget()
        self.filter_form = QFormLayout(self.filters)
        self.legend = quiet_label()
        self.matches = QWidget()
        self.cards = QVBoxLayout(self.matches)
        self._describe()
        self._lay_out()

    @property
    def where(self) -> dict[str, str]:
        """Clinical column → value, of the filters that are set."""
        boxes = self.filter_boxes()
        return {name: box.currentText() for name, box in boxes.items() if box.currentIndex() > 0}

    def filter_boxes(self) -> dict[str, QComboBox]:
        """Return the clinical columns that can be filtered by, with their boxes."""
        boxes: dict[str, QComboBox] = {}
        for line in range(self.filter_form.rowCount()):
            item = self.filter_form.itemAt(line, QFormLayout.ItemRole.FieldRole)
            boxes[item.widget().objectName()] = item.widget()
        return boxes

    def list_filters(self, values: Mapping[str, tuple[Any, ...]]) -> None:
        """Make a box of each clinical column with few values that are no measurements."""
        while self.filter_form.rowCount():
            self.filter_form.removeRow(0)
        for column, found in values.items():
            measured = any(isinstance(value, float) for value in found)
            if 1 < len(found) <= MOST_VALUES and not measured:
                box = combo_box(f"Only tissues with this value of {column}")
                box.setObjectName(column)
                box.addItems([ANY, *(_text(value) for value in found)])
                label = QLabel(column)
                label.setTextFormat(Qt.TextFormat.PlainText)
                self.filter_form.addRow(label, box)
        self.filters.setVisible(self.filter_form.rowCount() > 0)

    def list_tissues(self, names: list[str]) -> None:
        """Offer the active image and the tissues of a database as queries."""
        self.query_box.setModel(QStringListModel([ACTIVE, *names], self.query_box))
        finder = QCompleter(self.query_box.model(), self.query_box)
        finder.setFilterMode(Qt.MatchFlag.MatchContains)
        finder.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.query_box.setCompleter(finder)

    def clear_cards(self) -> None:
        """Take the last result away."""
        while self.cards.count():
            card = self.cards.takeAt(0).widget()
            if card is not None:
                card.setParent(None)
                card.deleteLater()
        self.legend.setText("")

    def list_types(self, colors: Mapping[str, str]) -> None:
        """Say which colour is which cell type in the bars."""
        self.legend.setText(
            " &nbsp; ".join(
                f'<span style="color:{color}">■</span>&nbsp;{html.escape(name)}'
                for name, color in colors.items()
            )
        )

    def shown_cards(self) -> list[TissueCard]:
        """Return the cards from the top: the query, then the matches."""
        widgets = (self.cards.itemAt(i).widget() for i in range(self.cards.count()))
        return [widget for widget in widgets if isinstance(widget, TissueCard)]

    def _describe(self) -> None:
        self.open_button.setToolTip("Open a database by `virtues db build`")
        self.folder_button.setToolTip(
            "Say in which folder images are that are no longer where the database has them from"
        )
        self.patient.setPlaceholderText("Patient of the active image")
        self.patient.setToolTip(
            "Whose tissues are left out; found out where the database has the active image"
        )
        self.query_box.setEditable(True)
        self.query_box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.list_tissues([])
        self.top.setRange(1, 50)
        self.top.setValue(3)
        self.top.setToolTip("How many tissues to find")
        self.same_patient.setToolTip(
            "Else tissues of the query's own patient are left out: they are alike without telling "
            "anything"
        )
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.command_button.setEnabled(False)

    def _lay_out(self) -> None:
        self.filter_form.setContentsMargins(0, 0, 0, 0)
        self.filter_form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self.filters.hide()
        self.cards.setContentsMargins(0, 0, 0, 0)
        self.column.addWidget(heading("Database"))
        self.column.addLayout(row(self.open_button, self.folder_button, None))
        self.column.addWidget(self.about)
        self.column.addWidget(heading("Query"))
        self.column.addLayout(row(self.query_box, self.patient))
        self.column.addLayout(row(self.same_patient, None, quiet_label("Find"), self.top))
        self.column.addWidget(self.filters)
        self.column.addWidget(self.model)
        self.column.addWidget(self.run)
        self.column.addWidget(self.matches)
        self.column.addWidget(self.legend)
        self.column.addLayout(row(None, self.command_button))
        self.column.addStretch(1)


def _text(value: object) -> str:
    """Write a clinical value as a filter of the database reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
