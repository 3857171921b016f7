"""Tokens of cells and niches, saved classifiers and tables, as jobs for the child."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_virtues.engine import messages
from napari_virtues.engine.inpaint_job import ImageSource
from virtues_core.errors import InputError
from virtues_core.markers import Panel

if TYPE_CHECKING:
    from anndata import AnnData

    from virtues_core.cohort import Annotation, Classifier
    from virtues_core.infer import Embedding, EmbedRequest


@dataclass(frozen=True, eq=False)
class CellTypes:
    """Types of N cells or niches, and where they come from."""

    classes: tuple[str, ...]
    """K names."""
    probabilities: NDArray[np.float32]
    """(N, K)."""
    clicked: Mapping[int, str] = field(default_factory=dict)
    """Row of a cell that a person clicked → its type."""
    model: Path | None = None
    """The saved classifier that they come from."""
    head: str = ""
    """Signature of the checkpoint whose segmentation head they come from. Types without a
    classifier and a head come from the clicks."""
    warnings: tuple[str, ...] = ()

    @property
    def probability(self) -> NDArray[np.float32]:
        """(N,) of the likeliest class."""
        return np.asarray(self.probabilities.max(axis=1))

    def names(self, unsure_below: float) -> "NDArray[np.str_]":
        """(N,) the likeliest class, or "unsure" where that is less probable."""
        from virtues_core.cohort import UNSURE

        best = np.array(self.classes)[self.probabilities.argmax(axis=1)]
        return np.where(self.probability < unsure_below, UNSURE, best)


class _OneByOne:
    """A job that computes nothing in batches."""

    batch_size = 1

    def with_batch_size(self, batch_size: int) -> Self:
        """Return itself."""
        return self


@dataclass(frozen=True, eq=False)
class EmbedJob:
    """Compute a token for each cell, or niche, of an image."""

    image: ImageSource
    panel: Panel
    """Of the image's channels, in their order."""
    checkpoint: str
    """"demo", a folder or file, or a name on the hub that was downloaded before."""
    device: str
    """"auto", "cpu", "cuda" or "mps"."""
    cells: NDArray[Any] | None
    """(Y, X) labels, 0 = background; None for niches."""
    request: "EmbedRequest"
    cache: Path
    """Folder that keeps patch tokens until the result is there, so that a run that was stopped
    goes on. Folders beside it, of other images, are emptied."""

    @property
    def batch_size(self) -> int:
        """Tiles at once."""
        return self.request.batch_size

    def with_batch_size(self, batch_size: int) -> Self:
        """Return the same job with another batch size."""
        return replace(self, request=replace(self.request, batch_size=batch_size))

    def run(self, worker: messages.Worker) -> "Embedding":
        """Do it, in the child; all values come back in memory."""
        from virtues_core.infer import embed

        checkpoint = worker.checkpoint(self.checkpoint, self.device)
        worker.emit(messages.Loading("image"))
        for other in self.cache.parent.glob("*"):
            if other != self.cache:
                shutil.rmtree(other, ignore_errors=True)
        found = embed(
            self.image.open(),
            self.cells,
            self.panel,
            checkpoint,
            self.request,
            cache=self.cache,
            on_tile=lambda done, total: worker.emit(messages.Progress(done, total)),
            cancelled=worker.cancelled,
        )
        shutil.rmtree(self.cache, ignore_errors=True)
        return replace(
            found, tokens=np.asarray(found.tokens), intensities=np.asarray(found.intensities)
        )


@dataclass(frozen=True, eq=False)
class ApplyClassifierJob(_OneByOne):
    """Type cells by a classifier that ``virtues annotate fit`` saved."""

    embedding: "Embedding"
    model: Path

    def run(self, worker: messages.Worker) -> CellTypes:
        """Do it, in the child."""
        from virtues_core.cohort import annotate, load_classifier

        worker.emit(messages.Loading("classifier"))
        found = annotate(self.embedding.to_anndata(), load_classifier(self.model))
        return CellTypes(
            found.classes, found.probabilities, model=self.model, warnings=found.warnings
        )


@dataclass(frozen=True, eq=False)
class SaveClassifierJob(_OneByOne):
    """Fit a classifier on the clicked cells, and save it."""

    embedding: "Embedding"
    clicked: Mapping[int, str]
    """Row of a clicked cell → its type."""
    path: Path

    def run(self, worker: messages.Worker) -> Path:
        """Do it, in the child."""
        from virtues_core.cohort import save_classifier

        worker.emit(messages.Loading("saving"))
        save_classifier(_fitted(_table(self.embedding, self.clicked)), self.path)
        return self.path


@dataclass(frozen=True, eq=False)
class SaveCellsJob(_OneByOne):
    """Write cells with their tokens and types as AnnData."""

    embedding: "Embedding"
    types: CellTypes | None
    unsure_below: float
    path: Path

    def run(self, worker: messages.Worker) -> Path:
        """Do it, in the child."""
        from virtues_core.cohort import write_annotation, write_table

        worker.emit(messages.Loading("saving"))
        types = self.types
        table = _table(self.embedding, {} if types is None else types.clicked)
        if types is not None:
            write_annotation(table, _annotation(types, self.unsure_below), _learnt(types, table))
        write_table(table, self.path)
        return self.path


def _table(embedding: "Embedding", clicked: Mapping[int, str]) -> "AnnData":
    """Give the cells as AnnData, with a column of what was clicked."""
    import pandas as pd

    table = embedding.to_anndata()
    if clicked:
        column = np.full(len(embedding), None, dtype=object)
        column[list(clicked)] = list(clicked.values())
        table.obs[f"{embedding.level}_type_clicked"] = pd.Categorical(column)
    return table


def _learnt(types: CellTypes, table: "AnnData") -> "Classifier":
    """Give what the types come from."""
    from virtues_core.cohort import Classifier, load_classifier

    if types.model is not None:
        return load_classifier(types.model)
    if not types.head:
        return _fitted(table)
    made = table.uns["virtues"]
    return Classifier(
        estimator=None,
        method="segmentation head",
        label="",
        classes=types.classes,
        level="cell",
        checkpoint=made["checkpoint"],
        signature=types.head,
        panel=tuple(made["panel"]),
        width=0,
        cells={},
    )


def _fitted(table: "AnnData") -> "Classifier":
    from virtues_core.cohort import classifier_of_clicks

    clicked = f"{table.uns['virtues']['level']}_type_clicked"
    if clicked not in table.obs:
        message = (
            "expected clicked cells to learn from, found none; click cells of each type in the "
            "image, then save"
        )
        raise InputError(message)
    return classifier_of_clicks(table, clicked)


def _annotation(types: CellTypes, unsure_below: float) -> "Annotation":
    from virtues_core.cohort import Annotation

    return Annotation(
        types=types.names(unsure_below),
        probability=types.probability,
        probabilities=types.probabilities,
        classes=types.classes,
        unsure_below=unsure_below,
        warnings=types.warnings,
    )
