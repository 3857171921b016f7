"""The widgets of the *Space* dock and how they are laid out; no behaviour."""

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QFrame,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets.background import Background
from napari_virtues._widgets.cluster_table import ClusterTable
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.form_parts import CHECKED, combo_box, heading, quiet_label, row
from napari_virtues._widgets.run_panel import RunPanel
from napari_virtues._widgets.scatter import Scatter

SHOWN = {
    "Tokens": ("tokens",),
    "Mean intensities": ("intensities",),
    "Both, side by side": ("tokens", "intensities"),
}
"""What cells are compared by."""
TITLES = {"tokens": "tokens", "intensities": "mean intensities"}
START = "Compute tokens in the Cells dock, or open a table of them."


class SpaceForm(QScrollArea):
    """From the top: cells, run, map, clusters."""

    def __init__(self, bridge: EngineBridge) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(380)
        self.background = Background(self)
        self.source_box = combo_box("The cells: those of the Cells dock, or of a table")
        self.open_button = QPushButton("Open table…")
        self.features_box = combo_box("What makes cells alike; both are shown side by side")
        self.run = RunPanel(bridge, self.background, "UMAP")
        self.pca_button = QPushButton("PCA")
        self.cluster_button = QPushButton("Clusters")
        self.resolution = QDoubleSpinBox()
        self.map = QWidget()
        self.plots = {kind: Scatter() for kind in TITLES}
        self.color_box = combo_box("What the colours of the points mean")
        self.legend = quiet_label()
        self.lasso_button = QPushButton("Lasso")
        self.draw_button = QPushButton("Draw in the image")
        self.selection = quiet_label()
        self.clusters = QWidget()
        self.table = ClusterTable()
        self.types_button = QPushButton("Show as cell types")
        self.save_button = QPushButton("Save as h5ad…")
        self._describe()
        self._lay_out()

    def sizeHint(self) -> QSize:
        """Wide enough for a map and a heat map."""
        return QSize(460, 820)

    def _describe(self) -> None:
        for name, kinds in SHOWN.items():
            self.features_box.addItem(name, kinds)
        self.open_button.setToolTip("Open a table by `virtues embed` (.h5ad)")
        self.run.run_button.setToolTip("Lay the cells out so that cells that are alike are near")
        self.pca_button.setToolTip("Lay the cells out by their first two principal components")
        self.cluster_button.setToolTip("Find groups of cells that are alike (Leiden)")
        self.resolution.setRange(0.05, 10)
        self.resolution.setSingleStep(0.1)
        self.resolution.setValue(1.0)
        self.resolution.setToolTip("More gives more and smaller clusters")
        self.lasso_button.setCheckable(True)
        self.lasso_button.setStyleSheet(CHECKED)
        self.lasso_button.setToolTip(
            "Draw round points to select these cells in the image; a click selects none. While "
            "this is off, dragging moves the map"
        )
        self.draw_button.setToolTip("Draw round cells in the image to see them in the map")
        self.types_button.setToolTip("Colour the cells in the image by the names of their clusters")
        self.save_button.setToolTip("Save the cells with clusters, their names and the map")
        self.legend.setTextFormat(Qt.TextFormat.RichText)

    def _lay_out(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(8)
        layout.addWidget(heading("Cells"))
        layout.addLayout(row(self.source_box, self.open_button))
        layout.addLayout(row(quiet_label("Alike by"), self.features_box))
        layout.addLayout(
            row(self.pca_button, self.cluster_button, quiet_label("Resolution"), self.resolution)
        )
        layout.addWidget(self.run)
        layout.addWidget(self._map(), 1)
        layout.addWidget(self._clusters())
        layout.addStretch(0)
        self.setWidget(inside)

    def _map(self) -> QWidget:
        layout = QVBoxLayout(self.map)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(row(quiet_label("Colour by"), self.color_box))
        layout.addLayout(row(*self.plots.values()))
        layout.addWidget(self.legend)
        layout.addLayout(row(self.lasso_button, self.draw_button))
        layout.addWidget(self.selection)
        return self.map

    def _clusters(self) -> QWidget:
        layout = QVBoxLayout(self.clusters)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(heading("Clusters"))
        layout.addWidget(self.table)
        layout.addLayout(row(self.types_button, self.save_button))
        return self.clusters
