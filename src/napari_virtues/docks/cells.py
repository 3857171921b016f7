"""The *Cells* dock: a token for each cell, and types by clicking some of them."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtues._widgets import dialogs
from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.cell_typing import CellTyping
from napari_virtues._widgets.cells_form import CellsForm
from napari_virtues._widgets.listening import listen
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
from napari_virtues.state import LINK, ChannelLink
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
        super().__init__(napari_viewer)
        self.types = CellTyping(self.viewer, self)
        self.cells: Cells | None = None
        """The cells whose tokens are there."""
        self._turns = Turns(self)
        self._connect()
        self._list_masks()

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
        opened, layer = self._active(), self.mask_box.currentData()
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

    def _job_of(self, intent: EmbedIntent) -> EmbedJob:
        return embed_job_of(intent)

    def _started(self, intent: EmbedIntent, job: EmbedJob) -> None:
        super()._started(intent, job)
        self.click_button.setChecked(False)

    def _command_of(self, job: EmbedJob) -> str:
        layer = self.intent.layer
        path = layer.metadata.get(PATH) or layer.source.path
        return embed_command(job, cells=None if path is None else Path(path))

    def _finish(self, embedding: "Embedding") -> None:
        cells = Cells(self.intent.opened.image, self.intent.layer, self.job.cells, embedding)
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
        self.mask_file.clicked.connect(self._pick_mask)
        self.apply_button.clicked.connect(self._pick_classifier)
        self.save_button.clicked.connect(self._pick_table)
        self.classifier_button.clicked.connect(self._pick_classifier_file)
        layers = self.viewer.layers.events
        listen(self, (layers.inserted, self._list_masks), (layers.removed, self._list_masks))

    def _list_masks(self, *_: Any) -> None:
        chosen = self.mask_box.currentData()
        self.mask_box.clear()
        for layer in masks(self.viewer):
            self.mask_box.addItem(layer.name, layer)
        self.mask_box.setCurrentIndex(max(0, self.mask_box.findData(chosen)))

    def _pick_mask(self) -> None:
        dialogs.ask_open(self, "Mask of the cells", dialogs.MASKS, self.open_mask)

    def _pick_classifier(self) -> None:
        dialogs.ask_open(self, "Saved classifier", CLASSIFIERS, self.apply_classifier)

    def _pick_table(self) -> None:
        dialogs.ask_save(self, "Save the cells", "cells.h5ad", TABLES, self.save)

    def _pick_classifier_file(self) -> None:
        title, name = "Save the classifier", "types.skops"
        dialogs.ask_save(self, title, name, CLASSIFIERS, self.save_classifier)


def _checked(job: SaveCellsJob) -> SaveCellsJob:
    """Refuse a path of another ending before cells are handed over."""
    check_suffix(job.path)
    return job
