"""What a training would do, and what would go wrong, told before it starts.

`plan_training` looks at names, masks and coarse pixels only; `memory.measure_step` measures a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError, VirtuesError
from virtues_core.image import MultiplexImage
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import Checkpoint
from virtues_core.preprocess import tissue_mask
from virtues_core.train.config import TrainConfig, accumulation
from virtues_core.train.dataset import window_count
from virtues_core.train.sources import Source
from virtues_core.train.trainer import steps_for

LEAST_PATIENTS = 5
"""Fewer are not split into training and validation."""
_COARSE_PX = 256
"""Side to which an image is thinned out to estimate its tissue."""


@dataclass(frozen=True)
class DatasetPlan:
    """What one dataset brings."""

    name: str
    images: int
    patients: int
    markers: tuple[str, ...]
    """Channels that are trained on, by their names."""
    left_out: tuple[str, ...]
    """Channels that are no markers."""
    tissue: float
    """Fraction of the pixels that is tissue, estimated on every n-th pixel; 0 to 1."""
    windows: int
    """Windows that an epoch draws crops from."""


@dataclass(frozen=True)
class TrainingPlan:
    """What a training would do."""

    datasets: tuple[DatasetPlan, ...]
    shared: tuple[str, ...]
    """Markers that all datasets show."""
    differing: tuple[str, ...]
    """Markers that only some show."""
    widest_panel: int
    """Markers of the widest panel: the measure of memory and time."""
    windows: int
    """Windows of an epoch, in all datasets."""
    steps: int | None
    """Optimiser steps of the run; None where the clock ends it."""
    crops: int | None
    """Crops that the whole run takes; None where the clock ends it."""
    held_out: int
    """Patients kept out to validate on, about."""
    stops: tuple[str, ...]
    """What would end the run at once."""
    warnings: tuple[str, ...]
    """What it would go on with, and should be known."""

    def minutes(self, seconds_a_step: float) -> float | None:
        """Estimate how long the steps take; None where the clock ends the run."""
        return None if self.steps is None else self.steps * seconds_a_step / 60


def plan_training(
    config: TrainConfig,
    sources: Sequence[Source],
    *,
    embeddings: MarkerEmbeddings | None = None,
    start: Checkpoint | None = None,
) -> TrainingPlan:
    """Foresee a training: panels, tissue, crops, steps, and what would go wrong.

    Parameters
    ----------
    config, sources, embeddings, start
        As `pretrain` takes them.

    Raises
    ------
    InputError
        There is no image.
    """
    if not sources:
        message = "no image to train on; expected one file or folder at least"
        raise InputError(message)
    stops: list[str] = []
    groups: dict[str, list[Source]] = {}
    for source in sources:
        groups.setdefault(source.dataset, []).append(source)
    datasets = tuple(_dataset(name, own, config, stops) for name, own in groups.items())
    keys = [{key for s in own for key in s.keys if key} for own in groups.values()]
    named = _names(sources)
    shared = set.intersection(*keys)
    windows = sum(found.windows for found in datasets)
    steps = steps_for(config, windows) if windows else config.max_steps
    patients = sum(found.patients for found in datasets)
    kept_out = 0
    if patients >= LEAST_PATIENTS and config.validation_fraction:
        kept_out = max(1, round(config.validation_fraction * patients))
    stops += _refusals(config, datasets, start)
    return TrainingPlan(
        datasets=datasets,
        shared=tuple(sorted(named[key] for key in shared)),
        differing=tuple(sorted(named[key] for key in set.union(*keys) - shared)),
        widest_panel=max(sum(key is not None for key in source.keys) for source in sources),
        windows=windows,
        steps=steps,
        crops=None if steps is None else steps * config.batch_size,
        held_out=kept_out,
        stops=tuple(stops),
        warnings=tuple(_warnings(datasets, named, embeddings, start, kept_out)),
    )


def _dataset(
    name: str, members: Sequence[Source], config: TrainConfig, stops: list[str]
) -> DatasetPlan:
    windows, tissue = 0, []
    for source in members:
        try:
            windows += window_count(source.image.name, source.image.shape[1:], config)
            tissue.append(_coverage(source))
        except VirtuesError as error:
            stops.append(str(error))
    first = members[0]
    pairs = list(zip(first.image.channels, first.keys, strict=True))
    return DatasetPlan(
        name=name,
        images=len(members),
        patients=len({source.patient for source in members}),
        markers=tuple(channel for channel, key in pairs if key is not None),
        left_out=tuple(channel for channel, key in pairs if key is None),
        tissue=float(np.mean(tissue)) if tissue else 0.0,
        windows=windows,
    )


def _coverage(source: Source) -> float:
    """Fraction of tissue: of the mask that the dataset brings, else of every n-th pixel."""
    if source.tissue is not None:
        return float(source.tissue.mean())
    kept = [i for i, key in enumerate(source.keys) if key is not None]
    return float(tissue_mask(_thinned(source.image, kept)).mean())


def _thinned(image: MultiplexImage, channels: Sequence[int]) -> NDArray[np.generic]:
    pixels = min(
        (image.pixels, *(level for level in image.levels if min(level.shape[1:]) >= _COARSE_PX)),
        key=lambda level: level.shape[1],
    )
    step = max(1, min(pixels.shape[1:]) // _COARSE_PX)
    thinned: NDArray[np.generic] = np.asarray(pixels[list(channels), ::step, ::step])
    return thinned


def _names(sources: Sequence[Source]) -> dict[str, str]:
    """Name each marker by its gene where it has one, else as the first image calls it."""
    named: dict[str, str] = {}
    for source in sources:
        entries = Panel.from_names(source.image.channels).entries
        for channel, key, entry in zip(source.image.channels, source.keys, entries, strict=True):
            if key is not None:
                own = entry.symbol if entry.key == key and entry.symbol else channel
                named.setdefault(key, own)
    return named


def _refusals(
    config: TrainConfig, datasets: Sequence[DatasetPlan], start: Checkpoint | None
) -> list[str]:
    found = []
    if start is not None and start.config != config.model:
        found.append("the model of the settings has other sizes than the checkpoint to start from")
    names = sorted(dataset.name for dataset in datasets)
    if config.dataset_weights and sorted(config.dataset_weights) != names:
        found.append(f"dataset_weights: expected a weight for each of {', '.join(names)}")
    if config.micro_batch_size != "auto":
        try:
            accumulation(config)
        except VirtuesError as error:
            found.append(str(error))
    return found


def _warnings(
    datasets: Sequence[DatasetPlan],
    named: dict[str, str],
    embeddings: MarkerEmbeddings | None,
    start: Checkpoint | None,
    kept_out: int,
) -> list[str]:
    found = []
    known = [table for table in (embeddings, start.embeddings if start else None) if table]
    without = sorted(
        f"{name} ({key})"
        for key, name in named.items()
        if not any(key in table and key not in table.stand_ins for table in known)
    )
    if without:
        found.append(
            f"without a protein embedding, to be trained by name only: {', '.join(without)}. For "
            "ESM-2 embeddings: virtues markers embed"
        )
    for dataset in datasets:
        if dataset.images == 1:
            found.append(
                f"{dataset.name} has one image: its means and deviations are that image's own, and "
                "other images will look unlike it"
            )
        if dataset.tissue < 0.1:
            found.append(
                f"{dataset.name} is {100 * dataset.tissue:.0f} % tissue: most crops will be empty"
            )
    if not kept_out:
        found.append(
            f"nobody is kept out to validate on, which takes {LEAST_PATIENTS} patients and a "
            "validation_fraction: there will be no validation loss and no best checkpoint"
        )
    return found
