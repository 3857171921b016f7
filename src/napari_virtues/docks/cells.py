"""The *Cells* dock: a token for each cell or niche, and types by clicking some of them."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtues._widgets import dialogs, garbage
from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.cell_typing import CellTyping
from napari_virtues._widgets.cells_form import CellsForm
from napari_virtues._widgets.listening import listen
from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.cells_intent import (
    EmbedIntent,
    SegmentIntent,
    embed_command,
    embed_job_of,
    finest,
    masks,
    segment_command,
    segment_job_of,
)
from napari_virtues.cells_layers import (
    Cells,
    cell_features,
    new_mask_layer,
    new_niches_layer,
    niche_squares,
    niches_layer,
)
from napari_virtues.engine import (
    ApplyClassifierJob,
    CellTypes,
    EmbedJob,
    SaveCellsJob,
    SaveClassifierJob,
    Segmented,
    SegmentJob,
)
from virtues_core.errors import InputError, VirtuesError
from virtues_core.infer.token_table import check_suffix
from virtues_core.read import read_labels

if TYPE_CHECKING:
    from napari.layers import Labels

    from virtues_core.image import MultiplexImage
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

    def segment(self) -> None:
        """Find cells and their types with the checkpoint's head; answers as the button does."""
        self._begin(self._to_segment, segment_job_of, self._finish_segment)

    def apply_classifier(self, path: Path | str) -> None:
        """Type all cells by a saved classifier."""
        if self._have_tokens():
            job = ApplyClassifierJob(self.cells.embedding, Path(path))
            self.run.begin(lambda: job, self.types.take)

    def save(self, path: Path | str) -> None:
        """Write the cells with tokens and types as AnnData."""
        if self._have_tokens():
            path = Path(path)
            path = path if path.suffix else path.with_suffix(".h5ad")
            job = SaveCellsJob(self.cells.embedding, self.types.types, self.unsure.value(), path)
            self.run.begin(partial(_checked, job), self._on_saved)

    def save_classifier(self, path: Path | str) -> None:
        """Fit a classifier on the clicked cells and write it."""
        if self._have_tokens():
            path = Path(path)
            path = path if path.suffix else path.with_suffix(".skops")
            job = SaveClassifierJob(self.cells.embedding, dict(self.types.clicked), path)
            self.run.begin(lambda: job, self._on_saved)

    def _have_tokens(self) -> bool:
        if self.cells is not None and not self.cells.has_tokens:
            self.run.message.say("the cells have no tokens yet; press 'Compute tokens' first")
        return self.cells is not None and self.cells.has_tokens

    def _chosen(self) -> EmbedIntent:
        opened, of_cells = self._active(), self.level == "cell"
        layer = self.mask_box.currentData() if of_cells else None
        if of_cells and layer is None:
            message = (
                "no mask of cells is open; open one with 'Mask file…', or press 'Segment', then "
                "compute"
            )
            raise InputError(message)
        return EmbedIntent(
            opened=opened,
            layer=layer,
            labels=None if layer is None else finest(layer),
            checkpoint=self.model.checkpoint,
            device=self.model.device,
            stride_px=self.stride.value() if of_cells else None,
        )

    def _to_segment(self) -> SegmentIntent:
        return SegmentIntent(self._active(), self.model.checkpoint, self.model.device)

    def _job_of(self, intent: EmbedIntent) -> EmbedJob:
        return embed_job_of(intent)

    def _started(self, intent: Any, job: Any) -> None:
        super()._started(intent, job)
        self.click_button.setChecked(False)

    def _command_of(self, job: EmbedJob | SegmentJob) -> str:
        if isinstance(job, SegmentJob):
            return segment_command(job)
        layer = self.intent.layer
        path = None if layer is None else layer.metadata.get(PATH) or layer.source.path
        return embed_command(job, cells=None if path is None else Path(path))

    def _finish(self, embedding: "Embedding") -> None:
        self.run.message.say(embedding.warnings, "warning")
        image, layer, labels = self.intent.opened.image, self.intent.layer, self.job.cells
        stored = f", {embedding.stored_tiles} of {embedding.tiles} tiles were there already"
        found = _Found(
            image, layer, labels, embedding, said=stored if embedding.stored_tiles else ""
        )
        self.background.run(partial(_filled, found), self._take)

    def _finish_segment(self, result: Segmented) -> None:
        self.run.message.say(result.warnings, "warning")
        image = self.intent.opened.image
        found = _Found(image, None, result.labels, result.cells, result.types)
        self.background.run(partial(_filled, found), self._take)

    def _take(self, found: "_Found") -> None:
        garbage.search_young_only()  # until all that comes is shown
        self._turns.begin(self._put(found))

    def _put(self, found: "_Found") -> Steps:
        level, layer = found.embedding.level, found.layer
        if layer is None:
            old = niches_layer(self.viewer, found.image) if level == "niche" else None
            if old is not None:
                self.viewer.layers.remove(old)
                yield
            make = new_niches_layer if level == "niche" else new_mask_layer
            layer = make(found.image, found.labels)
            yield
            yield from self._turns.in_two(partial(self.viewer.layers.append, layer))
            self.mask_box.setCurrentIndex(max(0, self.mask_box.findData(layer)))
        layer.features = found.features
        yield
        self.cells = Cells(found.image, layer, found.labels, found.embedding)
        if self.cells.has_tokens:
            self.state.cells = self.cells
        self.types.begin(self.cells)
        if found.types is not None:
            self.types.take(found.types)
        else:
            garbage.search_all()
        have = "were found" if found.types is not None else "have tokens"
        self.run.status.setText(f"{len(self.cells):,} {level}s {have}{found.said}.")

    def _on_mask(self, path: Path, image: Any, outcome: Any) -> None:
        if isinstance(outcome, VirtuesError):
            self.run.message.say(str(outcome))
            return
        self.run.message.say("")
        layer = new_mask_layer(image, outcome, path.name.split(".")[0])
        layer.metadata[PATH] = path
        self.viewer.add_layer(layer)
        self.mask_box.setCurrentIndex(self.mask_box.findData(layer))

    def _on_saved(self, path: Path) -> None:
        self.run.status.setText(f"Saved {path.name}.")

    def _connect(self) -> None:
        self.mask_file.clicked.connect(self._pick_mask)
        self.segment_button.clicked.connect(self.segment)
        self.types.typed.connect(garbage.search_all)
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
        name = f"{'cell' if self.cells is None else self.cells.level}s.h5ad"
        dialogs.ask_save(self, "Save the table", name, TABLES, self.save)

    def _pick_classifier_file(self) -> None:
        title, name = "Save the classifier", "types.skops"
        dialogs.ask_save(self, title, name, CLASSIFIERS, self.save_classifier)


@dataclass(frozen=True, eq=False)
class _Found:
    """What the engine gave, on its way into the window."""

    image: "MultiplexImage"
    layer: "Labels | None"
    """The mask; None where its layer is still to be made."""
    labels: Any
    """(Y, X); None where they are still to be drawn."""
    embedding: "Embedding"
    types: CellTypes | None = None
    said: str = ""
    features: Any = None


def _filled(found: _Found) -> _Found:
    """Add what takes long to make: not for the GUI's thread."""
    labels, embedding = found.labels, found.embedding
    if labels is None:
        labels = niche_squares(embedding, found.image.shape[1:])
    return replace(found, labels=labels, features=cell_features(embedding))


def _checked(job: SaveCellsJob) -> SaveCellsJob:
    """Refuse a path of another ending before cells are handed over."""
    check_suffix(job.path)
    return job
