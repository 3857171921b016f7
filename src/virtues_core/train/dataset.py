"""Training samples: crops of normalised images, with their masks, each decided by its number.

Sample k of a run is drawn by a generator seeded with (seed, k) alone. So a run that is resumed
goes on exactly where it was, whatever the number of workers or devices.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from virtues_core.errors import ConfigError, InputError
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model.split import Split
from virtues_core.train.augment import random_turn
from virtues_core.train.config import TrainConfig
from virtues_core.train.masking import draw_mask

_VALIDATION = 1 << 40
"""Sample numbers from here on are the validation's."""


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """A normalised image on disk."""

    pixels: Path
    """.npy, (C, Y, X) float16, model units; opened as a memory map."""
    tissue: NDArray[np.bool_]
    """(Y, X)."""
    keys: tuple[str, ...]
    """Marker key of each channel."""
    name: str
    patient: str
    """Patient, or the image's name where that is unknown: splits are made by it."""
    dataset: str
    channels: tuple[str, ...]
    """Name of each channel."""


class Sample(NamedTuple):
    """One crop, ready for the model."""

    image: Tensor
    """(C, S, S) float32."""
    embeddings: Tensor
    """(C, E) float32."""
    mask: Tensor
    """(C, S/p, S/p) bool, True = masked."""
    decode: tuple[int, ...]
    """Channels whose reconstruction counts in this step."""


class CropDataset(Dataset[Sample]):
    """All the samples of a run, by number.

    Parameters
    ----------
    images
        Where crops are drawn from.
    embeddings
        Marker embeddings of every key in them.
    config
        Sizes, masking, dropout.
    training
        False gives the fixed samples of the validation: no dropout, no turns.
    """

    def __init__(
        self,
        images: Sequence[TrainingImage],
        embeddings: MarkerEmbeddings,
        config: TrainConfig,
        *,
        training: bool = True,
    ) -> None:
        self.images = tuple(images)
        self.config = config
        self.training = training
        self._table = embeddings
        self._embeddings = [torch.from_numpy(embeddings.stack(i.keys)) for i in self.images]
        counts = [windows_of(image, config) for image in self.images]
        self._windows = np.repeat(np.arange(len(counts)), counts)
        self._shares = self._drawn_shares(counts) if training and config.dataset_weights else None

    @property
    def epoch_length(self) -> int:
        """Windows of an epoch."""
        return len(self._windows)

    def __len__(self) -> int:
        """Give the number of samples of a validation; a training goes by its sampler."""
        return self.config.validation_crops if not self.training else self.epoch_length

    def __getitem__(self, number: int) -> Sample:
        config = self.config
        offset = 0 if self.training else _VALIDATION
        generator = np.random.default_rng((config.seed, number + offset))
        which = self._which(number)
        image = self.images[which]
        pixels = np.load(image.pixels, mmap_mode="r")
        y, x = self._origin(generator, image)
        size = config.crop_px
        crop = np.asarray(pixels[:, y : y + size, x : x + size], np.float32)
        channels = np.arange(len(crop))
        if self.training:
            crop = random_turn(generator, crop)
            dropped = int(generator.uniform(0, config.channel_dropout) * len(crop))
            channels = np.sort(generator.permutation(len(crop))[dropped:])
        grid = (size // config.model.patch_size,) * 2
        mask = draw_mask(generator, len(channels), grid, config.masking)
        decoded = len(channels)
        if self.training:
            decoded = max(1, round(config.decode_fraction * decoded))
        decode = np.sort(generator.permutation(len(channels))[:decoded])
        return Sample(
            torch.from_numpy(np.ascontiguousarray(crop[channels])),
            self._embeddings[which][channels],
            torch.from_numpy(mask),
            tuple(decode.tolist()),
        )

    def fixed(self) -> "CropDataset":
        """Give fixed samples of the same images."""
        return CropDataset(self.images, self._table, self.config, training=False)

    def image_of(self, number: int) -> TrainingImage:
        """Image that a sample is drawn from."""
        return self.images[self._which(number)]

    def _drawn_shares(self, counts: Sequence[int]) -> NDArray[np.float64]:
        """Share of the samples that each image gets: its dataset's weight, by windows within it."""
        weights = self.config.dataset_weights
        names = sorted({image.dataset for image in self.images})
        if sorted(weights) != names:
            message = (
                f"dataset_weights: expected a weight for each of {', '.join(names)}, got "
                f"{', '.join(sorted(weights))}"
            )
            raise ConfigError(message)
        windows = dict.fromkeys(names, 0)
        for image, count in zip(self.images, counts, strict=True):
            windows[image.dataset] += count
        shares = [
            weights[image.dataset] * count / windows[image.dataset]
            for image, count in zip(self.images, counts, strict=True)
        ]
        return np.array(shares) / sum(shares)

    def _which(self, number: int) -> int:
        """Image of a sample: by the datasets' weights; else epochs are shuffled passes."""
        if self._shares is not None:
            generator = np.random.default_rng((self.config.seed, number, 4))
            return int(generator.choice(len(self.images), p=self._shares))
        epoch, place = divmod(number, len(self._windows))
        order = np.random.default_rng((self.config.seed, epoch, 1)).permutation(self._windows)
        return int(order[place])

    def _origin(self, generator: np.random.Generator, image: TrainingImage) -> tuple[int, int]:
        """Draw the crop's top-left pixel in a window with enough tissue."""
        size = self.config.crop_px
        window = tuple(min(self.config.subimage_px, side) for side in image.tissue.shape)
        best = draw_window(generator, image.tissue, window, self.config.min_tissue)
        y, x = (
            corner + int(generator.integers(w - size + 1))
            for corner, w in zip(best, window, strict=True)
        )
        return y, x


class NumberSampler(Sampler[int]):
    """The numbers of the samples that this process takes: from ``first`` to ``last`` by rank."""

    def __init__(self, first: int, last: int, *, rank: int = 0, world: int = 1) -> None:
        self.numbers = range(first + rank, last, world)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def windows_of(image: TrainingImage, config: TrainConfig) -> int:
    """Windows that an epoch counts for an image: 4 N, N the number that fit side by side.

    Source: the paper, Methods, "Data augmentation".

    Raises
    ------
    InputError
        The image is smaller than a crop.
    """
    return window_count(image.name, image.tissue.shape, config)


def window_count(name: str, shape: tuple[int, ...], config: TrainConfig) -> int:
    """Give the same for an image of this name and shape (Y, X), px."""
    if min(shape) < config.crop_px:
        message = (
            f"{name}: expected at least {config.crop_px} x {config.crop_px} px, found "
            f"{shape[0]} x {shape[1]}. Leave it out."
        )
        raise InputError(message)
    fit = math.prod(max(1, side // config.subimage_px) for side in shape)
    return int(fit) * config.subimages_per_fit


def draw_window(
    generator: np.random.Generator,
    tissue: NDArray[np.bool_],
    window: tuple[int, ...],
    min_tissue: float,
) -> tuple[int, int]:
    """Draw the top-left pixel (y, x) of a window (h, w) with enough tissue, or the best of 20."""
    best, most = (0, 0), -1.0
    for _ in range(20):
        y, x = (
            int(generator.integers(side - length + 1))
            for side, length in zip(tissue.shape, window, strict=True)
        )
        covered = float(tissue[y : y + window[0], x : x + window[1]].mean())
        if covered > most:
            best, most = (y, x), covered
        if covered >= min_tissue:
            break
    return best


def split_by_patient(
    images: Sequence[TrainingImage], fraction: float, seed: int, before: Split | None = None
) -> tuple[list[TrainingImage], list[TrainingImage]]:
    """Split images into training and validation so that no patient is in both.

    Patients of an earlier split stay where they were. Of the others a fraction is kept out, or
    none where they are fewer than five.
    """
    patients = sorted({(image.dataset, image.patient) for image in images})
    parts = {patient: before.part(*patient) if before else None for patient in patients}
    fresh = [patient for patient in patients if parts[patient] is None]
    held = {patient for patient in patients if parts[patient] == "validation"}
    if len(fresh) >= 5 and fraction:
        order = np.random.default_rng((seed, 2)).permutation(len(fresh))
        held |= {fresh[i] for i in order[: max(1, round(fraction * len(fresh)))]}
    if len(held) == len(patients):
        message = (
            "expected a patient to train on, found only patients that the checkpoint to start from "
            "keeps out of training. Give other images."
        )
        raise InputError(message)
    validation = [i for i in images if (i.dataset, i.patient) in held]
    training = [i for i in images if (i.dataset, i.patient) not in held]
    return training, validation
