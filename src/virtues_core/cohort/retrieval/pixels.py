"""How alike tissues are in their pixels: sliced Wasserstein distance of pixel vectors.

Source: the paper, Methods, "Information retrieval" ("molecular tissue composition").
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.retrieval.distance import optimal_transport
from virtues_core.cohort.retrieval.entries import Stored
from virtues_core.errors import VirtuesError
from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel
from virtues_core.read import read_image

WINDOW_PX = 512
"""Pixels are drawn from the central square of this side: the grid that the paper compares."""


@dataclass(frozen=True, eq=False)
class PixelSamples:
    """Pixels drawn from T tissues whose images could be read."""

    rows: dict[str, int]
    """Tissue → its place."""
    pixels: NDArray[np.float32]
    """(T, P, C) log(1 + value); on disk."""
    mean: NDArray[np.float64]
    """(C,) over all pixels drawn."""
    std: NDArray[np.float64]
    """(C,); 1 where a channel is constant."""
    keys: tuple[str, ...]
    """C marker keys that all images show."""
    unread: tuple[str, ...]
    """Tissues without an image that can be read."""

    def distance(self, a: str, b: str, projections: int, seed: int) -> float | None:
        """Give the distance of two tissues; None where one has no pixels."""
        if a not in self.rows or b not in self.rows:
            return None
        x, y = ((self.pixels[self.rows[one]] - self.mean) / self.std for one in (a, b))
        return sliced_wasserstein(x, y, projections, seed)


def sliced_wasserstein(
    x: NDArray[np.float64], y: NDArray[np.float64], projections: int = 100, seed: int = 0
) -> float:
    """Estimate the sliced 2-Wasserstein distance of two sets of pixel vectors.

    SW2² is the mean, over directions θ of the unit sphere, of the squared 2-Wasserstein distance of
    the sets projected onto θ (Bonneel et al. 2015); here over directions that are drawn.

    Parameters
    ----------
    x, y
        (P, C), (Q, C).
    projections
        Directions drawn.
    seed
        Draws them.

    Examples
    --------
    In one dimension all directions are the same:

    >>> sliced_wasserstein(np.array([[0.0], [1.0]]), np.array([[3.0], [4.0]]), 5)
    3.0
    """
    found = optimal_transport().sliced_wasserstein_distance(
        x, y, n_projections=projections, seed=seed
    )
    return float(found)


@contextmanager
def pixel_samples(
    tissues: Sequence[Stored],
    count: int,
    seed: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> Iterator[PixelSamples]:
    """Draw pixels from the images of tissues, of the channels that all of them show.

    Parameters
    ----------
    tissues
        Whose images are looked for where they were when the tissues were stored.
    count
        P, pixels drawn of each, with replacement, from its central 512 × 512 px.
    seed
        Draws them.
    progress
        Called after each image.

    Yields
    ------
    PixelSamples
        Whose pixels are in a temporary file until the block ends.
    """
    opened, unread = _opened(tissues)
    shared = [set(keys) for _, keys in opened.values()]
    keys = tuple(sorted(set.intersection(*shared))) if shared else ()
    if not keys:
        opened = {}
    shape = (len(opened), count, len(keys))
    with tempfile.TemporaryDirectory() as folder:
        pixels = np.zeros(shape, np.float32)
        if pixels.size:
            file = Path(folder) / "pixels.npy"
            pixels = np.lib.format.open_memmap(file, "w+", np.dtype(np.float32), shape)
        sums, squares = np.zeros(len(keys)), np.zeros(len(keys))
        for i, (image, own) in enumerate(opened.values()):
            rng = np.random.default_rng((seed, i))
            pixels[i] = drawn = _draw(image, [own[key] for key in keys], count, rng)
            sums += drawn.sum(axis=0, dtype=np.float64)
            squares += np.square(drawn, dtype=np.float64).sum(axis=0)
            if progress is not None:
                progress(i + 1, len(opened), "image")
        total = max(1, len(opened) * count)
        variance = squares / total - (sums / total) ** 2
        std = np.sqrt(np.where(variance > 1e-12, variance, 1))
        rows = {name: i for i, name in enumerate(opened)}
        yield PixelSamples(rows, pixels, sums / total, std, keys, unread)
        del pixels


def _opened(
    tissues: Sequence[Stored],
) -> tuple[dict[str, tuple[MultiplexImage, dict[str, int]]], tuple[str, ...]]:
    """Open images: tissue → image, and marker key → channel; and name those that are not there."""
    found, unread = {}, []
    for one in tissues:
        try:
            image = read_image(one.source, one.image or None)
        except VirtuesError:
            unread.append(one.tissue_id)
            continue
        keys: dict[str, int] = {}
        for i, entry in enumerate(Panel.from_names(image.channels).entries):
            if entry.key is not None:
                keys.setdefault(entry.key, i)
        found[one.tissue_id] = (image, keys)
    return found, tuple(unread)


def _draw(
    image: MultiplexImage, channels: Sequence[int], count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw pixels (P, C) of the centre of an image."""
    window = [slice(None)]
    for size in image.shape[1:]:
        first = max(0, (size - WINDOW_PX) // 2)
        window.append(slice(first, first + WINDOW_PX))
    centre = image.pixels[list(channels)][tuple(window)].compute(scheduler="threads")
    flat = np.asarray(centre, dtype=np.float64).reshape(len(channels), -1)
    chosen = flat[:, rng.integers(0, flat.shape[1], count)]
    return np.log1p(np.maximum(np.nan_to_num(chosen), 0)).T.astype(np.float32)
