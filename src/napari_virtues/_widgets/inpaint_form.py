"""The widgets of the *Inpaint* dock and how they are laid out; no behaviour."""

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_virtues._widgets.form_parts import combo_box, quiet_label, row
from napari_virtues._widgets.marker_picker import MarkerPicker
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.request_fields import RequestFields
from napari_virtues._widgets.score_table import ScoreTable

STRATEGIES = {
    "marker": ("Markers", "Hide whole markers: the model paints them from the others"),
    "niche": ("A region", "Hide all markers in a region: the model paints it from around it"),
    "independent": ("Patches", "Hide random patches of every marker: how well the model does"),
}
"""What can be hidden, as `virtues_core.infer.InpaintRequest.strategy` has it."""
CHECKPOINTS = {
    "demo": "Demo model (simulated tissue)",
    "sp31": "VirTues SP31, from the hub",
    "sp32": "VirTues SP32, from the hub",
    "imc14": "VirTues IMC14, from the hub",
}
HUB = ("sp31", "sp32", "imc14")


class InpaintForm(QScrollArea):
    """From the top: image, what to hide, model, run, numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(380)
        self.image_label = quiet_label("Open an image to begin.")
        self.strategy = QButtonGroup(self)
        self.picker = MarkerPicker()
        self.region_box = combo_box(
            "Labels or Shapes layers: what they cover is hidden. Of a Labels layer with "
            "'show selected' only the selected label"
        )
        self.region_file = QPushButton("Mask file…")
        self.region_row = QWidget()
        self.checkpoint_box = combo_box("The model that paints")
        self.checkpoint_file = QPushButton("Open")
        self.device_box = combo_box("Where the model runs")
        self.cohort = QListWidget()
        self.cohort_add = QPushButton("Add…")
        self.cohort_clear = QPushButton("Clear")
        self.fields = RequestFields()
        self.run_button = QPushButton("Run")
        self.cancel_button = QPushButton("Cancel")
        self.progress = QProgressBar()
        self.status = quiet_label()
        self.message = MessageBox()
        self.warnings = MessageBox()
        self.results = QWidget()
        self.table = ScoreTable()
        self.verdict = QLabel()
        self.side_by_side = QPushButton("Side by side")
        self.save_button = QPushButton("Save…")
        self.command_button = QPushButton("Copy command")
        self._describe()
        self._lay_out()

    def sizeHint(self) -> QSize:
        """Wide enough for the table of numbers."""
        return QSize(420, 760)

    def _describe(self) -> None:
        self.run_button.setStyleSheet(
            "QPushButton:enabled { background: #2f7d4f; color: white; font-weight: bold }"
            "QPushButton:enabled:hover { background: #38945e }"
        )
        self.run_button.setMinimumHeight(30)
        self.cancel_button.setMinimumHeight(30)
        self.cancel_button.setEnabled(False)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(8)
        self.progress.hide()
        self.cohort.setFixedHeight(54)
        self.cohort.setToolTip(
            "Other images that carry the hidden markers: a linear model is fitted on them, and "
            "the better of both is shown"
        )
        self.region_file.setToolTip("Hide what a mask image covers (TIFF, PNG, npz)")
        self.checkpoint_file.setMinimumWidth(76)  # room for the arrow of its menu
        self.checkpoint_file.setToolTip("Open a checkpoint's folder, or a weights file")
        self.side_by_side.setCheckable(True)
        self.side_by_side.setToolTip("Show truth, reconstruction, difference and uncertainty")
        self.save_button.setToolTip("Save reconstruction, interval and truth as OME-TIFF")
        self.command_button.setToolTip("Copy the command that repeats this run in a terminal")
        self.verdict.setWordWrap(True)
        self.results.hide()

    def _lay_out(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(8)
        layout.addWidget(self.image_label)
        layout.addWidget(heading("What to hide"))
        layout.addLayout(self._strategies())
        layout.addWidget(self._region())
        layout.addWidget(self.picker)
        layout.addWidget(heading("Model"))
        layout.addLayout(self._model())
        layout.addLayout(row(self.run_button, self.cancel_button))
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        layout.addWidget(self.message)
        layout.addWidget(self._results())
        layout.addStretch(1)
        self.setWidget(inside)

    def _strategies(self) -> QHBoxLayout:
        buttons = []
        for number, (name, tip) in enumerate(STRATEGIES.values()):
            button = QPushButton(name)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.setStyleSheet("QPushButton:checked { background: #4a6bff; color: white }")
            self.strategy.addButton(button, number)
            buttons.append(button)
        buttons[0].setChecked(True)
        return row(*buttons)

    def _region(self) -> QWidget:
        layout = row(self.region_box, self.region_file)
        layout.setContentsMargins(0, 0, 0, 0)
        self.region_row.setLayout(layout)
        self.region_row.hide()
        return self.region_row

    def _model(self) -> QFormLayout:
        form = QFormLayout()
        form.setSpacing(6)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Checkpoint", row(self.checkpoint_box, self.checkpoint_file))
        form.addRow("Device", self.device_box)
        buttons = QVBoxLayout()
        buttons.addWidget(self.cohort_add)
        buttons.addWidget(self.cohort_clear)
        cohort = row(self.cohort)
        cohort.addLayout(buttons)
        form.addRow("Cohort", cohort)
        more = QCollapsible("More settings", expandedIcon="▾", collapsedIcon="▸")
        more.layout().setContentsMargins(0, 0, 0, 0)
        more.addWidget(self.fields)
        form.addRow(more)
        return form

    def _results(self) -> QWidget:
        layout = QVBoxLayout(self.results)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(heading("Result"))
        layout.addWidget(self.table)
        layout.addWidget(self.verdict)
        layout.addWidget(self.warnings)
        layout.addLayout(row(self.side_by_side, self.save_button, self.command_button))
        return self.results


def heading(text: str) -> QLabel:
    """Make the title of a section."""
    label = QLabel(text)
    label.setStyleSheet("font-weight: bold; margin-top: 4px")
    return label
