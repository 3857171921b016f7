"""The widgets of the *Cells* dock and how they are laid out; no behaviour."""

from typing import Any

from qtpy.QtWidgets import (
    QButtonGroup,
    QDoubleSpinBox,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets.form_parts import (
    CHECKED,
    combo_box,
    heading,
    quiet_label,
    row,
    toggles,
)
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.model_dock import ModelDock
from napari_virtues._widgets.type_table import CELLS, TypeTable
from virtues_core.infer import EmbedRequest

LEVELS = {
    "cell": ("Cells", "A token for each cell of a mask"),
    "niche": ("Niches", "A token for each square of 128 px with tissue in it"),
}
"""What tokens are of, as `virtues_core.infer.EmbedRequest.level` has it."""


class CellsForm(ModelDock):
    """From the top: image, cells or niches, mask, model, run, types, files."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        super().__init__(
            napari_viewer,
            model="The model whose tokens describe the cells",
            run="Compute tokens",
        )
        self.levels = QButtonGroup(self)
        self.mask = QWidget()
        self.mask_box = combo_box("Labels layer with the cells: each label is one, 0 is none")
        self.mask_file = QPushButton("Mask file…")
        self.segment_button = QPushButton("Segment")
        self.stride = QSpinBox()
        self.typing = QWidget()
        self.name = QLineEdit()
        self.add_button = QPushButton("Add type")
        self.remove_button = QPushButton("Remove")
        self.table = TypeTable()
        self.click_button = QPushButton("Click cells")
        self.hint = quiet_label()
        self.type_button = QPushButton("Type all cells")
        self.offer_button = QPushButton("Show the least sure")
        self.unsure = QDoubleSpinBox()
        self.summary = quiet_label()
        self.problem = MessageBox()
        self.apply_button = QPushButton("Apply a saved classifier…")
        self.save_button = QPushButton("Save as h5ad…")
        self.classifier_button = QPushButton("Save classifier…")
        self._describe()
        self._lay_out()
        self.levels.idToggled.connect(self._on_level)

    @property
    def level(self) -> str:
        """What tokens are wanted of: "cell" or "niche"."""
        return list(LEVELS)[self.levels.checkedId()]

    def say_level(self, level: str) -> None:
        """Say in all words below the run whether cells or niches are typed."""
        names = LEVELS[level][0]
        self.click_button.setText(f"Click {names.lower()}")
        self.type_button.setText(f"Type all {names.lower()}")
        self.table.horizontalHeaderItem(CELLS).setText(names)

    def _on_level(self, *_: Any) -> None:
        self.mask.setVisible(self.level == "cell")
        self.stride.setEnabled(self.level == "cell")  # niches lie side by side

    def _describe(self) -> None:
        usual = EmbedRequest()
        self.mask_file.setToolTip("Open a mask image (TIFF, PNG, npz) as a Labels layer")
        self.segment_button.setToolTip(
            "Where cells have no mask: find them and their types with the segmentation head of the "
            "chosen checkpoint (VirTues SP31 and SP32 have one)"
        )
        self.stride.setRange(1, 128)
        self.stride.setValue(usual.stride)
        self.stride.setSuffix(" px")
        self.stride.setToolTip("Of cells: pixels from tile to tile; smaller is smoother and slower")
        self.name.setPlaceholderText("Name of a type, such as B cell")
        self.add_button.setToolTip("Add a type to the list")
        self.remove_button.setToolTip("Forget the chosen type and its clicks")
        self.click_button.setCheckable(True)
        self.click_button.setStyleSheet(CHECKED)
        self.click_button.setToolTip(
            "A click on a cell says that it is of the chosen type; on one of that type, that it "
            "is not. Dragging moves the image as ever"
        )
        self.type_button.setToolTip("Type all cells from the clicked ones")
        self.offer_button.setToolTip(
            "Go to a cell whose type would say most; click it as what it is, then type all again"
        )
        self.unsure.setRange(0, 1)
        self.unsure.setSingleStep(0.05)
        self.unsure.setValue(0.5)
        self.unsure.setToolTip("Cells whose likeliest type is less probable than this are 'unsure'")
        self.apply_button.setToolTip("Type all cells as `virtues annotate fit` learnt it elsewhere")
        self.save_button.setToolTip("Save tokens, intensities, places and types as AnnData")
        self.classifier_button.setToolTip(
            "Fit a classifier on the clicked cells, for other images of the same panel and model"
        )
        self.typing.setEnabled(False)

    def _lay_out(self) -> None:
        self.model.form.addRow("Stride", self.stride)
        mask = row(self.mask_box, self.mask_file, self.segment_button)
        mask.setContentsMargins(0, 0, 0, 0)
        self.mask.setLayout(mask)
        self.column.addWidget(heading("What to describe"))
        self.column.addLayout(toggles(self.levels, LEVELS.values()))
        self.column.addWidget(self.mask)
        self.column.addWidget(heading("Model"))
        self.column.addWidget(self.model)
        self.column.addWidget(self.run)
        self.column.addWidget(self._types())
        self.column.addStretch(1)

    def _types(self) -> QWidget:
        layout = QVBoxLayout(self.typing)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(heading("Types"))
        layout.addLayout(row(self.name, self.add_button, self.remove_button))
        layout.addWidget(self.table)
        layout.addWidget(self.hint)
        layout.addLayout(row(self.click_button, self.type_button))
        layout.addLayout(row(self.offer_button, quiet_label("Unsure below"), self.unsure))
        layout.addWidget(self.summary)
        layout.addWidget(self.problem)
        layout.addLayout(row(self.apply_button, self.classifier_button))
        layout.addLayout(row(self.save_button, self.command_button))
        return self.typing
