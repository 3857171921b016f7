"""The *Attention* dock: which markers the model looks at, in regions drawn in the image."""

from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_virtues._widgets import dialogs
from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.form_parts import heading, row
from napari_virtues._widgets.importance_table import ImportanceTable
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues._widgets.model_dock import ModelDock
from napari_virtues._widgets.region_picker import RegionPicker
from napari_virtues.attention_intent import (
    AttentionIntent,
    attention_command,
    attention_job_of,
    regions_layer,
)
from napari_virtues.engine import AttentionJob, RegionImportance
from virtues_core.cli.attention import write_csv
from virtues_core.errors import InputError, VirtuesError

TABLES = "Table (*.csv)"


class AttentionDock(ModelDock):
    """Asks the engine for the importance of markers, and shows it as bars and numbers."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        super().__init__(
            napari_viewer, model="The model whose attention is read", run="Compute importance"
        )
        self.result: RegionImportance | None = None
        """The last result."""
        self.regions = RegionPicker(
            self.viewer,
            "Shapes or Labels layer: each shape, or each label, is a region of its own",
            "Take regions from a mask image (TIFF, PNG, npz)",
        )
        self.draw_button = QPushButton("Draw")
        self.results = QWidget()
        self.table = ImportanceTable()
        self.warnings = MessageBox()
        self.save_button = QPushButton("Save as CSV…")
        self._lay_out()
        self.draw_button.clicked.connect(self.draw)
        self.save_button.clicked.connect(self._pick_output)

    def draw(self) -> None:
        """Add a layer to draw regions in, ready for the first; answers as the button does."""
        try:
            image = self._active().image
        except InputError as error:
            self.run.message.say(str(error))
            return
        self.run.message.say("")
        layer = regions_layer(image)
        self.viewer.add_layer(layer)
        self.regions.box.setCurrentText(layer.name)
        layer.mode = "add_rectangle"

    def save(self, path: Path | str) -> None:
        """Write the table as CSV, as ``virtues attention`` does."""
        if self.result is not None:
            path = Path(path)
            path = path if path.suffix else path.with_suffix(".csv")
            work = partial(attempt, write_csv, self.result, path)
            self.background.run(work, partial(self._on_saved, path))

    def _chosen(self) -> AttentionIntent:
        opened, source = self._active(), self.regions.source
        if source is None:
            message = "no regions are there; draw some in a Shapes or Labels layer, then compute"
            raise InputError(message)
        return AttentionIntent(opened, source, self.model.checkpoint, self.model.device)

    def _job_of(self, intent: AttentionIntent) -> AttentionJob:
        return attention_job_of(intent)

    def _command_of(self, job: AttentionJob) -> str:
        return attention_command(job, region=self.intent.regions.path)

    def _finish(self, result: RegionImportance) -> None:
        self.result = result
        self.warnings.say(result.warnings, "warning")
        self.table.show_importance(result)
        self.results.show()

    def _on_saved(self, path: Path, outcome: "VirtuesError | None") -> None:
        if isinstance(outcome, VirtuesError):
            self.run.message.say(str(outcome))
        else:
            self.run.status.setText(f"Saved {path.name}.")

    def _lay_out(self) -> None:
        self.draw_button.setToolTip("Drag rectangles over the image; each is a region")
        self.save_button.setToolTip("Save the table, a column a region")
        self.column.addWidget(heading("Regions"))
        self.column.addLayout(row(self.regions, self.draw_button))
        self.column.addWidget(heading("Model"))
        self.column.addWidget(self.model)
        self.column.addWidget(self.run)
        results = QVBoxLayout(self.results)
        results.setContentsMargins(0, 0, 0, 0)
        results.setSpacing(6)
        results.addWidget(heading("Marker importance"))
        results.addWidget(self.table)
        results.addWidget(self.warnings)
        results.addLayout(row(self.save_button, self.command_button))
        self.results.hide()
        self.column.addWidget(self.results)
        self.column.addStretch(1)

    def _pick_output(self) -> None:
        dialogs.ask_save(self, "Save the table", "markers.csv", TABLES, self.save)
