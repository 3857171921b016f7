"""The widgets of the *Cohort* dock and how they are laid out; no behaviour."""

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QFrame,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets.background import Background
from napari_virtues._widgets.cohort_runs import CohortRuns
from napari_virtues._widgets.column_map import ColumnMap
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.form_parts import (
    combo_box,
    heading,
    line_up,
    quiet_label,
    row,
    toggles,
)
from napari_virtues._widgets.lit_tissues import LitTissues
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.path_list import PathList
from napari_virtues._widgets.token_run import TokenRun
from napari_virtues.cohort_intent import ANALYSES

PAGES = (
    ("New analysis", "Choose cells, patients and an analysis, and start it"),
    ("Results", "How analyses go, what they found, and the cells behind it"),
)
NEW, RESULTS = range(len(PAGES))
LABEL_PX = 96


class CohortForm(QScrollArea):
    """Two pages: a new analysis, and the results."""

    def __init__(self, bridge: EngineBridge) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(400)
        self.background = Background(self)
        self.page_buttons = QButtonGroup(self)
        self.cells = PathList("Tables of cells (.h5ad, .zarr), or folders of them", 70)
        self.add_tables = QPushButton("Tables…")
        self.add_folder = QPushButton("Folder…")
        self.from_images = QPushButton("From images…")
        self.clear_cells = QPushButton("Clear")
        self.tokens = TokenRun(bridge)
        self.cells_label = quiet_label()
        self.cells_message = MessageBox()
        self.clinical_line = QLineEdit()
        self.clinical_file = QPushButton("Open…")
        self.columns = ColumnMap()
        self.counts = quiet_label()
        self.problems = MessageBox()
        self.analysis_box = combo_box("What to find out")
        self.about = quiet_label()
        self.discovery_line = QLineEdit()
        self.discovery_folder = QPushButton("Open…")
        self.discovery = QWidget()
        self.settings = QVBoxLayout()
        """Holds the fields of the chosen analysis."""
        self.out_line = QLineEdit()
        self.out_folder = QPushButton("Choose…")
        self.run_button = QPushButton("Run")
        self.command_button = QPushButton("Copy command")
        self.message = MessageBox()
        self.runs = CohortRuns()
        self.tissues = LitTissues()
        self._describe()
        self._lay_out()

    def sizeHint(self) -> QSize:
        """Wide enough for a plot."""
        return QSize(460, 820)

    def show_page(self, number: int) -> None:
        """Show one of `PAGES`."""
        self.page_buttons.button(number).setChecked(True)
        for index, page in enumerate(self.pages):
            page.setVisible(index == number)
        self.verticalScrollBar().setValue(0)

    def _describe(self) -> None:
        self.add_tables.setToolTip("Add tables of cells")
        self.add_folder.setToolTip("Add all tables of a folder, or a .zarr table")
        self.from_images.setToolTip("Make tokens of images, and add their tables")
        self.clinical_line.setPlaceholderText("CSV, TSV or Parquet; a row a patient or a tissue")
        self.clinical_line.setToolTip("What is known of the patients")
        self.counts.setTextFormat(Qt.TextFormat.PlainText)
        for analysis in ANALYSES:
            self.analysis_box.addItem(analysis.title, analysis)
        self.discovery_line.setPlaceholderText("results of a biomarker discovery")
        self.out_line.setPlaceholderText("a new folder, or one of an earlier analysis")
        self.out_line.setToolTip("Where figures, tables, cells and the report are written")
        self.run_button.setToolTip("Start it; it goes on when this window is closed")
        self.command_button.setToolTip("Copy the command that does the same in a terminal")

    def _lay_out(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(8)
        layout.addLayout(toggles(self.page_buttons, PAGES))
        self.pages = (self._new(), self._results())
        for page in self.pages:
            layout.addWidget(page, 1)
        self.setWidget(inside)
        self.show_page(NEW)

    def _new(self) -> QWidget:
        page, layout = _page()
        layout.addWidget(heading("Cells"))
        layout.addWidget(self.cells)
        layout.addLayout(row(self.add_tables, self.add_folder, self.from_images, self.clear_cells))
        for widget in (self.tokens, self.cells_label, self.cells_message, heading("Patients")):
            layout.addWidget(widget)
        layout.addLayout(row(self.clinical_line, self.clinical_file))
        for widget in (self.columns, self.counts, self.problems, heading("Analysis")):
            layout.addWidget(widget)
        layout.addWidget(self.analysis_box)
        layout.addWidget(self.about)
        discovery = row(QLabel("Discovery"), self.discovery_line, self.discovery_folder)
        discovery.setContentsMargins(0, 0, 0, 0)
        self.discovery.setLayout(discovery)
        layout.addWidget(self.discovery)
        layout.addLayout(self.settings)
        layout.addWidget(heading("Results in"))
        layout.addLayout(row(self.out_line, self.out_folder))
        layout.addWidget(self.message)
        layout.addLayout(row(self.run_button, self.command_button))
        layout.addStretch()
        line_up(self.columns.form, LABEL_PX)
        return page

    def _results(self) -> QWidget:
        page, layout = _page()
        layout.addWidget(self.runs)
        layout.addWidget(self.tissues)
        layout.addStretch()
        return page


def _page() -> tuple[QWidget, QVBoxLayout]:
    page = QWidget()
    layout = QVBoxLayout(page)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(8)
    return page, layout
