"""The *Attention* dock: what the model looks at, in regions, at a point, or for a label."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QPushButton, QWidget

from napari_virtues._widgets import dialogs
from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.explain_pages import LabelPage, PointPage, column_of
from napari_virtues._widgets.form_parts import heading, row, toggles
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
from napari_virtues.engine.explain_jobs import LabelExplained, LabelJob, PatchMap, PointJob
from napari_virtues.explain_intent import (
    LabelIntent,
    PointIntent,
    change_map,
    explain_command,
    label_job_of,
    map_layer,
    pixel_of,
    point_job_of,
)
from napari_virtues.state import OpenImage, link_of
from virtues_core.cli.attention import write_csv
from virtues_core.errors import InputError, VirtuesError

if TYPE_CHECKING:
    from napari_virtues.engine.explain_jobs import PointExplained

TABLES = "Table (*.csv)"
REGIONS, POINT, LABEL = range(3)
LOOKS = (
    ("Regions", "Which markers the model looks at in regions"),
    ("Point", "Where, and at which markers, it looks for a place"),
    ("Label", "Where a model that was fine-tuned for a label of tissues looks for it"),
)
RUN = ("Compute importance", "Explain the place", "Tell the label")


class AttentionDock(ModelDock):
    """Asks the engine what the model looks at; shows bars and numbers, and maps as layers."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        super().__init__(napari_viewer, model="The model whose attention is read", run=RUN[REGIONS])
        self.result: RegionImportance | None = None
        """The last result of regions."""
        self.look = QButtonGroup(self)
        self.regions = RegionPicker(
            self.viewer,
            "Shapes or Labels layer: each shape, or each label, is a region of its own",
            "Take regions from a mask image (TIFF, PNG, npz)",
        )
        self.draw_button = QPushButton("Draw")
        self.drawn = QWidget()
        self.point = PointPage(self.viewer)
        self.label = LabelPage()
        self._picked_in: OpenImage | None = None
        self.results = QWidget()
        self.table = ImportanceTable()
        self.warnings = MessageBox()
        self.save_button = QPushButton("Save as CSV…")
        self._lay_out()
        self.draw_button.clicked.connect(self.draw)
        self.save_button.clicked.connect(self._pick_output)
        self.look.idClicked.connect(self.choose_look)
        self.point.clicks.clicked.connect(self._on_click)
        self.image_changed.connect(self._on_image)
        self._on_image()
        self.choose_look(REGIONS)

    def choose_look(self, look: int) -> None:
        """Show the fields of one kind: REGIONS, POINT or LABEL."""
        arriving = look == POINT and self.point.isHidden()
        self.look.button(look).setChecked(True)
        self.drawn.setVisible(look == REGIONS)
        self.point.setVisible(look == POINT)
        self.label.setVisible(look == LABEL)
        self.results.setVisible(look == REGIONS and self.result is not None)
        self.point.results.setVisible(look == POINT and self.point.table.rowCount() > 0)
        self.label.results.setVisible(look == LABEL and bool(self.label.said.text()))
        if arriving or look != POINT:
            self.point.pick.setChecked(look == POINT)
        for widget in (self.model.checkpoint_box, self.model.checkpoint_file):
            widget.setEnabled(look != LABEL)  # a model of a label is a checkpoint itself
        self.run.run_button.setText(RUN[look])

    def pick(self, y: float, x: float) -> None:
        """Take the place at world coordinates, and explain it; answers as a click does."""
        try:
            self.point.choose(pixel_of(self._active().image, y, x))
        except InputError as error:
            self.run.message.say(str(error))
            return
        self.compute()

    def _on_click(self, y: float, x: float) -> None:
        if self.point.isVisible():  # the dock is not closed
            self.pick(y, x)

    def _on_image(self) -> None:
        opened = self.state.active
        entries = () if opened is None else opened.panel.entries
        self.label.list_markers(entry.name for entry in entries if entry.key is not None)
        if self._picked_in is not opened:
            self.point.choose(None)
        self._picked_in = opened

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

    def _chosen(self) -> AttentionIntent | PointIntent | LabelIntent:
        opened, look = self._active(), self.look.checkedId()
        if look == POINT:
            if self.point.point is None:
                message = "no place is picked; click one in the image, then it is explained"
                raise InputError(message)
            return PointIntent(opened, self.model.checkpoint, self.model.device, self.point.point)
        if look == LABEL:
            if self.label.folder is None:
                message = (
                    "no model of a label is chosen; open a folder of virtues train-label, then run"
                )
                raise InputError(message)
            return LabelIntent(opened, self.label.folder, self.model.device, self.label.marker)
        source = self.regions.source
        if source is None:
            message = "no regions are there; draw some in a Shapes or Labels layer, then compute"
            raise InputError(message)
        return AttentionIntent(opened, source, self.model.checkpoint, self.model.device)

    def _job_of(
        self, intent: AttentionIntent | PointIntent | LabelIntent
    ) -> AttentionJob | PointJob | LabelJob:
        if isinstance(intent, PointIntent):
            return point_job_of(intent)
        return label_job_of(intent) if isinstance(intent, LabelIntent) else attention_job_of(intent)

    def _command_of(self, job: AttentionJob | PointJob | LabelJob) -> str:
        if isinstance(job, AttentionJob):
            return attention_command(job, region=self.intent.regions.path)
        return explain_command(job)

    def _finish(self, result: "RegionImportance | PointExplained | LabelExplained") -> None:
        if isinstance(result, RegionImportance):
            self.result = result
            self.warnings.say(result.warnings, "warning")
            self.table.show_importance(result)
            self.choose_look(REGIONS)
        elif isinstance(result, LabelExplained):
            self.label.show_result(result)
            marker = self.job.marker
            within = "" if marker is None else f" in {marker}"
            self._show_map(f"attention to {result.label}{within}", result.map)
            self.choose_look(LABEL)
        else:
            self.point.show_result(result)
            self._show_map("attention rollout", result.map)
            self.choose_look(POINT)

    def _show_map(self, name: str, found: PatchMap) -> None:
        """Lay a map over the image; the last one of that name gives way."""
        image = self.intent.opened.image
        name = f"{name} · {image.name}"
        link = link_of(self.viewer.layers[name]) if name in self.viewer.layers else None
        if link is not None and link.image is image:
            change_map(self.viewer.layers[name], image, found)
        else:
            self.viewer.add_layer(map_layer(image, name, found))

    def _on_saved(self, path: Path, outcome: "VirtuesError | None") -> None:
        if isinstance(outcome, VirtuesError):
            self.run.message.say(str(outcome))
        else:
            self.run.status.setText(f"Saved {path.name}.")

    def _lay_out(self) -> None:
        self.draw_button.setToolTip("Drag rectangles over the image; each is a region")
        self.save_button.setToolTip("Save the table, a column a region")
        drawn = column_of(self.drawn)
        drawn.addWidget(heading("Regions"))
        drawn.addLayout(row(self.regions, self.draw_button))
        self.column.addLayout(toggles(self.look, LOOKS))
        for page in (self.drawn, self.point, self.label):
            self.column.addWidget(page)
        self.column.addWidget(heading("Model"))
        self.column.addWidget(self.model)
        self.column.addWidget(self.run)
        results = column_of(self.results)
        results.addWidget(heading("Marker importance"))
        results.addWidget(self.table)
        results.addWidget(self.warnings)
        results.addWidget(self.save_button)
        for found in (self.results, self.point.results, self.label.results):
            self.column.addWidget(found)
        self.column.addLayout(row(self.command_button))
        self.column.addStretch(1)

    def _pick_output(self) -> None:
        dialogs.ask_save(self, "Save the table", "markers.csv", TABLES, self.save)
