"""The widgets of the *Train* dock and how they are laid out; no behaviour."""

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QFrame,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets.background import Background
from napari_virtues._widgets.config_fields import ConfigFields
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.form_parts import (
    combo_box,
    heading,
    line_up,
    quiet_label,
    row,
    toggles,
)
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.model_fields import ModelFields
from napari_virtues._widgets.path_list import PathList
from napari_virtues._widgets.run_panel import RunPanel
from napari_virtues._widgets.training_runs import TrainingRuns
from napari_virtues.train_intent import SCRATCH
from virtues_core.jobs import SlurmOptions
from virtues_core.train.recipes import RECIPES

PAGES = (
    ("New training", "Choose data and a recipe, see what would go wrong, start"),
    ("Trainings", "How those that run are doing, and those that ran"),
)
NEW, RUNS = range(len(PAGES))
IN_SIGHT = ("max_minutes", "batch_size")
"""Settings that are not behind the fold."""
ELSEWHERE = ("accelerator",)
"""Settings that another widget decides."""
LABEL_PX = 90
EXECUTORS = {"This machine": "local", "SLURM cluster": "slurm"}
TITLES = {
    "demo": "Demo size: minutes on a CPU",
    "small": "Small: an hour on a CPU",
    "published": "Published: hours on a GPU",
}


class TrainForm(QScrollArea):
    """Two pages: a new training, and the trainings that are known."""

    def __init__(self, bridge: EngineBridge) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(380)
        self.background = Background(self)
        self.page_buttons = QButtonGroup(self)
        self.data = PathList("What the model learns from", 84)
        self.add_images = QPushButton("Images…")
        self.add_folder = QPushButton("Folder…")
        self.add_open = QPushButton("Open images")
        self.clear_data = QPushButton("Clear")
        self.model = ModelFields(bridge, "Weights that the training starts from")
        self.recipe_box = combo_box("A recipe to start from; every number of it can be changed")
        first = RECIPES["demo"]
        self.settings = ConfigFields(first, only=IN_SIGHT)
        self.fold = QToolButton()
        self.advanced = ConfigFields(first, without=(*IN_SIGHT, *ELSEWHERE))
        self.executor_box = combo_box("Where it runs; a training outlives this window")
        self.slurm = ConfigFields(SlurmOptions())
        self.name_line = QLineEdit()
        self.embeddings_line = QLineEdit()
        self.embeddings_file = QPushButton("Open…")
        self.check_button = QPushButton("Check")
        self.run = RunPanel(bridge, self.background, "Start training")
        self.plan = quiet_label()
        self.warnings = MessageBox()
        self.command_button = QPushButton("Copy command")
        self.trainings = TrainingRuns()
        self._describe()
        self._lay_out()

    def sizeHint(self) -> QSize:
        """Wide enough for curves."""
        return QSize(420, 760)

    def show_page(self, number: int) -> None:
        """Show one of `PAGES`."""
        self.page_buttons.button(number).setChecked(True)
        for index, page in enumerate(self.pages):
            page.setVisible(index == number)
        self.verticalScrollBar().setValue(0)

    def _describe(self) -> None:
        self.add_images.setToolTip("Add image files; those with the same channels are one dataset")
        self.add_folder.setToolTip("Add a spora folder, or an image that is a folder")
        self.add_open.setToolTip("Add the images that are open in this window")
        box = self.model.checkpoint_box
        box.insertItem(0, "None: start from scratch", SCRATCH)
        box.setCurrentIndex(0)
        for name in RECIPES:
            self.recipe_box.addItem(TITLES.get(name, name), name)
        self.fold.setText("Advanced")
        self.fold.setCheckable(True)
        self.fold.setArrowType(Qt.ArrowType.RightArrow)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.setAutoRaise(True)
        self.fold.setToolTip("Every setting of the recipe")
        self.advanced.hide()
        for title, name in EXECUTORS.items():
            self.executor_box.addItem(title, name)
        self.slurm.hide()
        self.name_line.setPlaceholderText("by date and time")
        self.name_line.setToolTip("What it is called in the list of jobs")
        self.embeddings_line.setPlaceholderText("none: markers by name only")
        self.embeddings_line.setToolTip(
            "Proteins' ESM-2 embeddings by `virtues markers embed` (safetensors, or their folder)"
        )
        self.check_button.setToolTip(
            "Look at the data, measure one step on this device, and say what would go wrong"
        )
        self.run.run_button.setToolTip("Check, then start; it goes on when this window is closed")
        self.command_button.setToolTip("Copy the command that does the same in a terminal")
        self.plan.setTextFormat(Qt.TextFormat.PlainText)
        self.plan.hide()

    def _lay_out(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(8)
        layout.addLayout(toggles(self.page_buttons, PAGES))
        self.pages = (self._new(), self.trainings)
        for page in self.pages:
            layout.addWidget(page, 1)
        self.setWidget(inside)
        self.show_page(NEW)

    def _new(self) -> QWidget:
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(heading("Data"))
        layout.addWidget(self.data)
        layout.addLayout(row(self.add_images, self.add_folder, self.add_open, self.clear_data))
        layout.addWidget(heading("Model"))
        form = self.model.form
        form.insertRow(1, "Recipe", self.recipe_box)
        form.insertRow(2, "Embeddings", row(self.embeddings_line, self.embeddings_file))
        form.addRow("Run on", self.executor_box)
        form.addRow("Name", self.name_line)
        for part in (form, self.settings.form, self.slurm.form):
            line_up(part, LABEL_PX)
        layout.addWidget(self.model)
        layout.addWidget(self.slurm)
        layout.addWidget(self.settings)
        layout.addWidget(self.fold)
        layout.addWidget(self.advanced)
        layout.addWidget(self.run)
        layout.addLayout(row(self.check_button, self.command_button))
        layout.addWidget(self.plan)
        layout.addWidget(self.warnings)
        layout.addStretch()
        return page
