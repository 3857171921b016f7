"""Which column of a clinical table is what: chosen once, for all analyses."""

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QComboBox, QFormLayout, QMenu, QPushButton, QWidget

from napari_virtues._widgets.config_fields import field_docs, in_words, one_line
from napari_virtues._widgets.form_parts import combo_box
from napari_virtues.cohort_intent import ROLES, usual_columns
from virtues_core.cohort.patients import Columns

NONE = "–"
POSITIVE, COVARIATES = "positive", "covariates"
TITLES = {"positive": "Counts as 1", "timepoint": "Time point"}
NO_COVARIATES = "none"


class ColumnMap(QWidget):
    """A box for each thing that a column can be; boxes are filled by guess from the names."""

    changed = QtSignal()
    """A person chose."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.boxes: dict[str, QComboBox] = {}
        """What a column can be → its box."""
        self.covariates = QPushButton(NO_COVARIATES)
        self._values: Mapping[str, tuple[str, ...]] = {}
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setSpacing(5)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        tips = field_docs(Columns)
        for role in ROLES:
            tip = one_line(tips.get(role, ""))
            editor: QWidget = self.covariates if role == COVARIATES else combo_box(tip)
            editor.setToolTip(tip)
            self.form.addRow(TITLES.get(role, in_words(role)), editor)
            if isinstance(editor, QComboBox):
                self.boxes[role] = editor
                editor.activated.connect(self._on_chosen)
        self.covariates.setMenu(QMenu(self.covariates))
        self.show_table({})

    @property
    def columns(self) -> Columns:
        """What was chosen.

        Raises
        ------
        ConfigError
            No patient, or a time without an event.
        """
        chosen = {role: str(box.currentData() or "") for role, box in self.boxes.items()}
        if not chosen["outcome"]:
            chosen[POSITIVE] = ""
        return Columns(**chosen, covariates=self._covariates())

    def show_table(self, values: Mapping[str, tuple[str, ...]]) -> None:
        """List the columns of a table (name → its values), and guess which is what."""
        self._values = values
        guessed = usual_columns(values)
        for role, box in self.boxes.items():
            if role != POSITIVE:
                _fill(box, values, str(box.currentData() or "") or guessed.get(role, ""))
        menu = self.covariates.menu()
        kept = set(self._covariates())
        menu.clear()
        for name in values:
            action = menu.addAction(name)
            action.setCheckable(True)
            action.setChecked(name in kept)
            action.toggled.connect(self._on_covariate)
        self._name_covariates()
        self._list_values()

    def choose(self, role: str, column: str) -> None:
        """Choose a column, as a person would; of ``positive`` a value."""
        box = self.boxes[role]
        box.setCurrentIndex(max(0, box.findData(column)))
        self._on_chosen()

    def _covariates(self) -> tuple[str, ...]:
        actions = self.covariates.menu().actions() if self.covariates.menu() else ()
        return tuple(action.text() for action in actions if action.isChecked())

    def _on_chosen(self, *_: Any) -> None:
        self._list_values()
        self.changed.emit()

    def _on_covariate(self, *_: Any) -> None:
        self._name_covariates()
        self.changed.emit()

    def _name_covariates(self) -> None:
        self.covariates.setText(", ".join(self._covariates()) or NO_COVARIATES)
        self.covariates.setEnabled(bool(self._values))

    def _list_values(self) -> None:
        """List what the outcome can be; it is asked for where that is not 0 and 1 or the like."""
        outcome, box = self.boxes["outcome"].currentData(), self.boxes[POSITIVE]
        _fill(box, self._values.get(outcome or "", ()), str(box.currentData() or ""))
        box.setVisible(bool(outcome))
        self.form.labelForField(box).setVisible(bool(outcome))


def _fill(box: QComboBox, names: Any, chosen: str) -> None:
    with QSignalBlocker(box):
        box.clear()
        box.addItem(NONE, "")
        for name in names:
            box.addItem(name, name)
        box.setCurrentIndex(max(0, box.findData(chosen)))
