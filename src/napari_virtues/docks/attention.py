"""The *Attention* dock: which markers the model looks at, in regions drawn in the image."""

from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QFrame,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets import inpaint_dialogs as dialogs
from napari_virtues._widgets.background import Background, attempt
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.form_parts import combo_box, quiet_label, row
from napari_virtues._widgets.importance_table import ImportanceTable
from napari_virtues._widgets.inpaint_form import heading
from napari_virtues._widgets.listening import listen
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.model_fields import ModelFields
from napari_virtues._widgets.notify import telling
from napari_virtues._widgets.run_panel import RunPanel
from napari_virtues.attention_intent import (
    AttentionIntent,
    attention_command,
    attention_job_of,
    regions_layer,
)
from napari_virtues.engine import AttentionJob, RegionImportance
from napari_virtues.inpaint_intent import RegionSource, region_sources
from napari_virtues.state import AppState, unwrapped
from virtues_core.cli.attention import write_csv
from virtues_core.errors import InputError, VirtuesError

TABLES = "Table (*.csv)"


class AttentionDock(QScrollArea):
    """Asks the engine for the importance of markers, and shows it as bars and numbers."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        self.state = AppState.of(self.viewer)
        bridge = EngineBridge.of(self.viewer)
        self.engine = bridge.engine
        self.background = Background(self)
        self.job: AttentionJob | None = None
        """The last one that was asked for."""
        self.result: RegionImportance | None = None
        """The last result."""
        self._region_path: Path | None = None
        self.image_label = quiet_label("Open an image to begin.")
        self.region_box = combo_box(
            "Shapes or Labels layer: each shape, or each label, is a region of its own"
        )
        self.draw_button = QPushButton("Draw")
        self.region_file = QPushButton("Mask file…")
        self.model = ModelFields(bridge, "The model whose attention is read")
        self.run = RunPanel(bridge, self.background, "Compute importance")
        self.results = QWidget()
        self.table = ImportanceTable()
        self.warnings = MessageBox()
        self.save_button = QPushButton("Save as CSV…")
        self.command_button = QPushButton("Copy command")
        self._lay_out()
        self._connect()
        self._list_regions()
        self._on_active()

    def sizeHint(self) -> QSize:
        """Wide enough for two regions side by side."""
        return QSize(420, 760)

    def showEvent(self, event: Any) -> None:
        """Start the engine ahead of the first run, to know its devices."""
        super().showEvent(event)
        self.engine.start()

    @property
    def command(self) -> str:
        """The command that repeats the last run.

        Raises
        ------
        InputError
            Nothing was run yet.
        """
        if self.job is None:
            message = "nothing was computed yet; draw regions, then press Compute importance"
            raise InputError(message)
        return attention_command(self.job, region=self._region_path)

    def compute(self) -> None:
        """Score the markers in the chosen regions; answers as the button does."""
        opened, source = self.state.active, self.region_box.currentData()
        if opened is None:
            self.run.message.say("no image is open; open one in the Images dock, then compute")
            return
        if not isinstance(source, RegionSource):
            self.run.message.say(
                "no regions are there; draw some in a Shapes or Labels layer, then compute"
            )
            return
        intent = AttentionIntent(opened, source.frozen(), self.model.checkpoint, self.model.device)
        self._region_path = source.path
        self.run.begin(partial(self._prepare, intent), self._finish, intent.checkpoint)

    def draw(self) -> None:
        """Add a layer to draw regions in, ready for the first; answers as the button does."""
        opened = self.state.active
        if opened is None:
            self.run.message.say("no image is open; open one in the Images dock, then draw")
            return
        self.run.message.say("")
        layer = regions_layer(opened.image)
        self.viewer.add_layer(layer)
        self.region_box.setCurrentText(layer.name)
        layer.mode = "add_rectangle"

    def choose_mask_file(self, path: Path | str) -> None:
        """Take regions from a mask file: each label is one."""
        path = Path(path)
        self.region_box.addItem(path.name, RegionSource(path=path))
        self.region_box.setCurrentIndex(self.region_box.count() - 1)

    def save(self, path: Path | str) -> None:
        """Write the table as CSV, as ``virtues attention`` does."""
        if self.result is not None:
            path = Path(path)
            path = path if path.suffix else path.with_suffix(".csv")
            work = partial(attempt, write_csv, self.result, path)
            self.background.run(work, partial(self._on_saved, path))

    def _prepare(self, intent: AttentionIntent) -> AttentionJob:
        self.job = attention_job_of(intent)
        return self.job

    def _finish(self, result: RegionImportance) -> None:
        self.result = result
        self.warnings.say(result.warnings, "warning")
        self.table.show_importance(result)
        self.results.show()
        self.run.status.setText("Done.")

    def _on_saved(self, path: Path, outcome: "VirtuesError | None") -> None:
        if isinstance(outcome, VirtuesError):
            self.run.message.say(str(outcome))
        else:
            self.run.status.setText(f"Saved {path.name}.")

    def _lay_out(self) -> None:
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(380)
        self.draw_button.setToolTip("Drag rectangles over the image; each is a region")
        self.region_file.setToolTip("Take regions from a mask image (TIFF, PNG, npz)")
        self.save_button.setToolTip("Save the table, a column a region")
        self.command_button.setToolTip("Copy the command that repeats this in a terminal")
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(8)
        layout.addWidget(self.image_label)
        layout.addWidget(heading("Regions"))
        layout.addLayout(row(self.region_box, self.draw_button, self.region_file))
        layout.addWidget(heading("Model"))
        layout.addWidget(self.model)
        layout.addWidget(self.run)
        results = QVBoxLayout(self.results)
        results.setContentsMargins(0, 0, 0, 0)
        results.setSpacing(6)
        results.addWidget(heading("Marker importance"))
        results.addWidget(self.table)
        results.addWidget(self.warnings)
        results.addLayout(row(self.save_button, self.command_button))
        self.results.hide()
        layout.addWidget(self.results)
        layout.addStretch(1)
        self.setWidget(inside)

    def _connect(self) -> None:
        self.run.asked.connect(self.compute)
        self.draw_button.clicked.connect(self.draw)
        self.region_file.clicked.connect(self._pick_mask)
        self.save_button.clicked.connect(self._pick_output)
        self.command_button.clicked.connect(self._copy_command)
        layers = self.viewer.layers.events
        listen(
            self,
            (self.state.active_changed, self._on_active),
            (layers.inserted, self._list_regions),
            (layers.removed, self._list_regions),
        )

    def _on_active(self, *_: Any) -> None:
        opened = self.state.active
        self.run.run_button.setEnabled(opened is not None and not self.run.busy)
        if opened is None:
            self.image_label.setText("Open an image to begin.")
            return
        channels, height, width = opened.image.shape
        self.image_label.setText(
            f"{opened.image.name}: {width:,} × {height:,} pixels, {channels} channels"
        )

    def _list_regions(self, *_: Any) -> None:
        chosen = self.region_box.currentText()
        listed = [self.region_box.itemData(i) for i in range(self.region_box.count())]
        files = [source for source in listed if source.path is not None]
        self.region_box.clear()
        for source in (*region_sources(self.viewer), *files):
            self.region_box.addItem(source.name, source)
        self.region_box.setCurrentIndex(max(0, self.region_box.findText(chosen)))

    def _pick_mask(self) -> None:
        dialogs.ask_mask(self, self.choose_mask_file)

    def _pick_output(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the table", "markers.csv", TABLES)
        if path:
            self.save(path)

    @telling
    def _copy_command(self, *_: Any) -> None:
        command = self.command
        QApplication.clipboard().setText(command)
        self.run.status.setText(f"Copied: {command}")
