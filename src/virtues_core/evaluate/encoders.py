"""Features of cells by different means, behind one interface, so that they can be compared."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.evaluate.labelled import LabelledTissue
from virtues_core.infer.cells import CellMask, measure_cells
from virtues_core.infer.embedding import embed
from virtues_core.infer.token_table import EmbedRequest
from virtues_core.model import Checkpoint
from virtues_core.preprocess import (
    Statistics,
    dataset_statistics,
    normalise,
    tissue_mask,
    upper_quantiles,
)


@dataclass(frozen=True, eq=False)
class EncodedCells:
    """Cells of one tissue."""

    ids: NDArray[np.int64]
    """(N,) labels in the mask, ascending."""
    features: NDArray[np.float32]
    """(N, F)."""


class Encoder(Protocol):
    """Anything that gives features of cells; widths are the same for all tissues of a cohort."""

    @property
    def name(self) -> str:
        """What to call it in a table."""

    def encode(self, cohort: Iterable[LabelledTissue]) -> list[EncodedCells]:
        """Encode the cells of each tissue of a cohort, in its order.

        Labels must not be looked at. The cohort is gone through as often as need be.
        """


@dataclass(frozen=True)
class MeanIntensities:
    """Mean of log(1 + counts) of each marker over the cell, standardised over its data set.

    Only markers that every tissue of the cohort shows are used; channels of one marker are
    averaged. Standardising by data set, as is done with pixels before the model sees them, takes
    out what differs between instruments.
    """

    name: str = "mean intensities"

    def encode(self, cohort: Iterable[LabelledTissue]) -> list[EncodedCells]:
        """See `Encoder`."""
        keys = keys_of_all(cohort)
        found: list[EncodedCells] = []
        members: dict[str, list[int]] = defaultdict(list)
        for place, tissue in enumerate(cohort):
            members[tissue.dataset].append(place)
            found.append(_log_means(tissue, keys))
        for places in members.values():
            together = np.concatenate([found[i].features for i in places])
            mean, std = together.mean(0), together.std(0)
            for i in places:
                scaled = (found[i].features - mean) / np.where(std > 0, std, 1)
                found[i] = replace(found[i], features=scaled.astype(np.float32))
        return found


def _log_means(tissue: LabelledTissue, keys: list[str]) -> EncodedCells:
    cells = CellMask(tissue.cell_mask, tissue.image.shape[1:])
    means = np.log1p(np.asarray(measure_cells(tissue.image, cells).intensities))
    of_key = {key: [i for i, own in enumerate(tissue.panel.keys) if own == key] for key in keys}
    columns = [means[:, places].mean(1) for places in of_key.values()]
    return EncodedCells(cells.ids, np.stack(columns, axis=1).astype(np.float32))


@dataclass(frozen=True, eq=False)
class VirTuesTokens:
    """Cell tokens of a checkpoint, pixels standardised by the data set that is at hand."""

    checkpoint: Checkpoint
    stride_px: int = 42
    batch_size: int = 8
    name: str = "VirTues"

    def encode(self, cohort: Iterable[LabelledTissue]) -> list[EncodedCells]:
        """See `Encoder`."""
        statistics = statistics_of_datasets(cohort)
        request = EmbedRequest("cell", stride_px=self.stride_px, batch_size=self.batch_size)
        found = []
        for tissue in cohort:
            known = replace(self.checkpoint, statistics=(statistics[tissue.dataset],))
            made = embed(tissue.image, tissue.cell_mask, tissue.panel, known, request)
            found.append(EncodedCells(made.numbers, np.asarray(made.tokens)))
        return found


def keys_of_all(cohort: Iterable[LabelledTissue]) -> list[str]:
    """List the marker keys that every tissue of a cohort shows, sorted.

    Raises
    ------
    InputError
        There is none.
    """
    found = [set(tissue.keys) for tissue in cohort]
    keys = set.intersection(*found) if found else set()
    if not keys:
        message = "expected a marker that all tissues show, found none. Compare fewer of them."
        raise InputError(message)
    return sorted(keys)


def model_units(tissue: LabelledTissue, known: Statistics) -> tuple[NDArray[np.float32], list[str]]:
    """Normalise a tissue by the statistics of its data set: (C, Y, X), and the C marker keys."""
    channels = [tissue.image.index(name) for name in known.channels]
    pixels = tissue.image.compute(channels)
    upper = upper_quantiles(pixels, tissue_mask(pixels))
    keys = [str(tissue.panel.keys[i]) for i in channels]
    return normalise(pixels, upper, known.mean, known.std), keys


def statistics_of_datasets(cohort: Iterable[LabelledTissue]) -> dict[str, Statistics]:
    """Take mean and standard deviation of the channels of each data set in a cohort, by name."""
    names = dict.fromkeys(tissue.dataset for tissue in cohort)
    return {name: _statistics(name, cohort) for name in names}


def _statistics(dataset: str, cohort: Iterable[LabelledTissue]) -> Statistics:
    """Take mean and standard deviation of the channels of one data set, over its tissues."""
    first = next(tissue for tissue in cohort if tissue.dataset == dataset)
    used = [i for i, e in enumerate(first.panel.entries) if e.keep and e.key is not None]
    channels = [first.image.channels[i] for i in used]

    def images() -> Iterable[tuple[NDArray[np.generic], NDArray[np.bool_]]]:
        for tissue in cohort:
            if tissue.dataset == dataset:
                pixels = tissue.image.compute([tissue.image.index(name) for name in channels])
                yield pixels, tissue_mask(pixels)

    return dataset_statistics(dataset, images(), channels, [first.panel.keys[i] for i in used])
