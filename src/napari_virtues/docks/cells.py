"""The *Cells* dock: a token for each cell, and types by clicking some of them."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QApplication, QFileDialog

from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.cell_typing import CellTyping
from napari_virtues._widgets.cells_form import CellsForm
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.inpaint_dialogs import MASKS
from napari_virtues._widgets.listening import listen
from napari_virtues._widgets.notify import telling
from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.cells_intent import EmbedIntent, embed_command, embed_job_of, finest, masks
from napari_virtues.cells_layers import Cells, cell_features
from napari_virtues.engine import (
    ApplyClassifierJob,
    EmbedJob,
    SaveCellsJob,
    SaveClassifierJob,
)
from napari_virtues.layers import placement
from napari_virtues.state import LINK, AppState, ChannelLink, unwrapped
from virtues_core.errors import InputError, VirtuesError
from virtues_core.infer.token_table import check_suffix
from virtues_core.read import read_labels

if TYPE_CHECKING:
    from virtues_core.infer import Embedding

TABLES = "AnnData (*.h5ad *.zarr)"
CLASSIFIERS = "Classifiers (*.skops);;All files (*)"
PATH = "virtues_mask_path"
"""Key in ``layer.metadata``: the file that a mask was read from."""


class CellsDock(CellsForm):
    """Asks the engine for tokens, and shows what the cells are."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        viewer = unwrapped(napari_viewer)
        self.bridge = EngineBridge.of(viewer)
        super().__init__(self.bridge)
        self.viewer = viewer
        self.state = AppState.of(viewer)
        self.engine = self.bridge.engine
        self.types = CellTyping(viewer, self)
        self.job: EmbedJob | None = None
        """The last one that was asked for."""
        self.cells: Cells | None = None
        """The cells whose tokens are there."""
        self._intent: EmbedIntent | None = None
        self._turns = Turns(self)
        self._connect()
        self._list_masks()
        self._on_active()

    def showEvent(self, event: Any) -> None:
        """Start the engine ahead of the first run, to know its devices."""
        super().showEvent(event)
        self.engine.start()

    @property
    def command(self) -> str:
        """The command that computes the last tokens.

        Raises
        ------
        InputError
            Nothing was computed yet.
        """
        if self.job is None or self._intent is None:
            message = "nothing was computed yet; choose the cells, then press Compute tokens"
            raise InputError(message)
        layer = self._intent.layer
        path = layer.metadata.get(PATH) or layer.source.path
        return embed_command(self.job, cells=None if path is None else Path(path))

    def compute(self) -> None:
        """Compute tokens of the chosen cells; answers as the button does."""
        try:
            intent = self._chosen()
        except InputError as error:
            self.run.message.say(str(error))
            return
        self._intent = intent
        self.click_button.setChecked(False)
        self.run.begin(partial(self._prepare, intent), self._finish, intent.checkpoint)

    def open_mask(self, path: Path | str) -> None:
        """Add a mask file as a Labels layer, and choose it."""
        active = self.state.active
        if active is None:
            self.run.message.say("no image is open; open one first, then its mask")
            return
        work = partial(attempt, read_labels, Path(path), active.image.shape[1:])
        self.background.run(work, partial(self._on_mask, Path(path), active.image))

    def apply_classifier(self, path: Path | str) -> None:
        """Type all cells by a saved classifier."""
        if self.cells is not None:
            job = ApplyClassifierJob(self.cells.embedding, Path(path))
            self.run.begin(lambda: job, self.types.take)

    def save(self, path: Path | str) -> None:
        """Write the cells with tokens and types as AnnData."""
        if self.cells is None:
            return
        path = Path(path)
        if not path.suffix:
            path = path.with_suffix(".h5ad")
        job = SaveCellsJob(self.cells.embedding, self.types.types, self.unsure.value(), path)
        self.run.begin(partial(_checked, job), self._on_saved)

    def save_classifier(self, path: Path | str) -> None:
        """Fit a classifier on the clicked cells and write it."""
        if self.cells is None:
            return
        path = Path(path)
        if not path.suffix:
            path = path.with_suffix(".skops")
        job = SaveClassifierJob(self.cells.embedding, dict(self.types.clicked), path)
        self.run.begin(lambda: job, self._on_saved)

    def _chosen(self) -> EmbedIntent:
        opened, layer = self.state.active, self.mask_box.currentData()
        if opened is None:
            message = "no image is open; open one in the Images dock, then compute"
            raise InputError(message)
        if layer is None:
            message = "no mask of cells is open; open one with 'Mask file…', then compute"
            raise InputError(message)
        return EmbedIntent(
            opened=opened,
            layer=layer,
            labels=finest(layer),
            checkpoint=self.model.checkpoint,
            device=self.model.device,
            stride_px=self.stride.value(),
        )

    def _prepare(self, intent: EmbedIntent) -> EmbedJob:
        self.job = embed_job_of(intent)
        return self.job

    def _finish(self, embedding: "Embedding") -> None:
        if self._intent is None or self.job is None:
            return
        cells = Cells(self._intent.opened.image, self._intent.layer, self.job.cells, embedding)
        self.run.message.say(embedding.warnings, "warning")
        self.background.run(partial(cell_features, embedding), partial(self._take, cells))

    def _take(self, cells: Cells, features: Any) -> None:
        self._turns.begin(self._put(cells, features))

    def _put(self, cells: Cells, features: Any) -> Steps:
        cells.layer.features = features
        yield
        self.cells = cells
        self.types.begin(cells)
        self.run.status.setText(f"{len(cells):,} cells have tokens.")

    def _on_mask(self, path: Path, image: Any, outcome: Any) -> None:
        if isinstance(outcome, VirtuesError):
            self.run.message.say(str(outcome))
            return
        self.run.message.say("")
        metadata = {LINK: ChannelLink(image), PATH: path}
        name = path.name.split(".")[0]
        layer = self.viewer.add_labels(
            outcome, name=name, opacity=0.5, metadata=metadata, **placement(image)
        )
        self.mask_box.setCurrentIndex(self.mask_box.findData(layer))

    def _on_saved(self, path: Path) -> None:
        self.run.status.setText(f"Saved {path.name}.")

    def _connect(self) -> None:
        self.run.asked.connect(self.compute)
        self.mask_file.clicked.connect(self._pick_mask)
        self.apply_button.clicked.connect(self._pick_classifier)
        self.save_button.clicked.connect(self._pick_table)
        self.classifier_button.clicked.connect(self._pick_classifier_file)
        self.command_button.clicked.connect(self._copy_command)
        layers = self.viewer.layers.events
        listen(
            self,
            (self.state.active_changed, self._on_active),
            (layers.inserted, self._list_masks),
            (layers.removed, self._list_masks),
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

    def _list_masks(self, *_: Any) -> None:
        chosen = self.mask_box.currentData()
        self.mask_box.clear()
        for layer in masks(self.viewer):
            self.mask_box.addItem(layer.name, layer)
        self.mask_box.setCurrentIndex(max(0, self.mask_box.findData(chosen)))

    def _pick_mask(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Mask of the cells", filter=MASKS)
        if path:
            self.open_mask(path)

    def _pick_classifier(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Saved classifier", filter=CLASSIFIERS)
        if path:
            self.apply_classifier(path)

    def _pick_table(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the cells", "cells.h5ad", TABLES)
        if path:
            self.save(path)

    def _pick_classifier_file(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the classifier", "types.skops", CLASSIFIERS
        )
        if path:
            self.save_classifier(path)

    @telling
    def _copy_command(self, *_: Any) -> None:
        command = self.command
        QApplication.clipboard().setText(command)
        self.run.status.setText(f"Copied: {command}")


def _checked(job: SaveCellsJob) -> SaveCellsJob:
    """Refuse a path of another ending before cells are handed over."""
    check_suffix(job.path)
    return job
