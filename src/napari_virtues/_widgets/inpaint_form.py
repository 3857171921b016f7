"""The widgets of the *Inpaint* dock and how they are laid out; no behaviour."""

from qtpy.QtWidgets import (
    QButtonGroup,
    QLabel,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_virtues._widgets.form_parts import heading, row, toggles
from napari_virtues._widgets.marker_picker import MarkerPicker
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.model_dock import ModelDock
from napari_virtues._widgets.region_picker import RegionPicker
from napari_virtues._widgets.request_fields import RequestFields
from napari_virtues._widgets.score_table import ScoreTable

STRATEGIES = {
    "marker": ("Markers", "Hide whole markers: the model paints them from the others"),
    "niche": ("A region", "Hide all markers in a region: the model paints it from around it"),
    "independent": ("Patches", "Hide random patches of every marker: how well the model does"),
}
"""What can be hidden, as `virtues_core.infer.InpaintRequest.strategy` has it."""


class InpaintForm(ModelDock):
    """From the top: image, what to hide, model, run, numbers."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        super().__init__(napari_viewer, model="The model that paints", run="Run")
        self.strategy = QButtonGroup(self)
        self.picker = MarkerPicker()
        self.regions = RegionPicker(
            self.viewer,
            "Labels or Shapes layers: what they cover is hidden. Of a Labels layer with "
            "'show selected' only the selected label",
            "Hide what a mask image covers (TIFF, PNG, npz)",
            without="Random places",
        )
        self.cohort = QListWidget()
        self.cohort_add = QPushButton("Add…")
        self.cohort_clear = QPushButton("Clear")
        self.fields = RequestFields()
        self.warnings = MessageBox()
        self.results = QWidget()
        self.table = ScoreTable()
        self.verdict = QLabel()
        self.side_by_side = QPushButton("Side by side")
        self.save_button = QPushButton("Save…")
        self._describe()
        self._lay_out()

    def _describe(self) -> None:
        self.cohort.setFixedHeight(54)
        self.cohort.setToolTip(
            "Other images that carry the hidden markers: a linear model is fitted on them, and "
            "the better of both is shown"
        )
        self.side_by_side.setCheckable(True)
        self.side_by_side.setToolTip("Show truth, reconstruction, difference and uncertainty")
        self.save_button.setToolTip("Save reconstruction, interval and truth as OME-TIFF")
        self.verdict.setWordWrap(True)
        self.regions.hide()
        self.results.hide()

    def _lay_out(self) -> None:
        buttons = QVBoxLayout()
        buttons.addWidget(self.cohort_add)
        buttons.addWidget(self.cohort_clear)
        cohort = row(self.cohort)
        cohort.addLayout(buttons)
        more = QCollapsible("More settings", expandedIcon="▾", collapsedIcon="▸")
        more.layout().setContentsMargins(0, 0, 0, 0)
        more.addWidget(self.fields)
        self.model.form.addRow("Cohort", cohort)
        self.model.form.addRow(more)
        self.column.addWidget(heading("What to hide"))
        self.column.addLayout(toggles(self.strategy, STRATEGIES.values()))
        self.column.addWidget(self.regions)
        self.column.addWidget(self.picker)
        self.column.addWidget(heading("Model"))
        self.column.addWidget(self.model)
        self.column.addWidget(self.run)
        self.column.addWidget(self._results())
        self.column.addStretch(1)

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
