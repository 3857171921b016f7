"""What preprocessing needs to know of an image that does not fit in memory.

Tissue and clipping values are taken from every n-th pixel of every n-th row, statistics from every
n-th block, with n so that about `SAMPLED_PX` pixels are looked at; one plane is in memory at a
time. With n = 1 they are what the whole image gives.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.planes import LazyPixels, windows
from virtues_core.preprocess import (
    ChannelSums,
    Statistics,
    check_counts,
    tissue_mask,
    upper_quantiles,
)

SAMPLED_PX = 2048**2
"""Pixels of each channel that are looked at: the rank of a quantile is known to 0.01 %."""
STATISTICS_BLOCK_PX = (512, 512)


@dataclass(frozen=True, eq=False)
class Survey:
    """Where the tissue is, and at what value each channel is clipped."""

    tissue: NDArray[np.bool_]
    """(y, x) True on tissue, of every ``step``-th pixel of every ``step``-th row."""
    upper: NDArray[np.float32]
    """(C,) raw units."""
    step: int

    def tissue_at(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Whether each pixel of a window is tissue."""
        y = np.arange(rows.start, rows.stop) // self.step
        x = np.arange(columns.start, columns.stop) // self.step
        return np.asarray(self.tissue[np.ix_(y, x)], dtype=bool)


class _Planes:
    """Every n-th pixel of an image, a plane at a time, read anew whenever it is gone through."""

    ndim = 3

    def __init__(self, pixels: da.Array, step: int) -> None:
        self._pixels = pixels
        self._step = step
        self.dtype = pixels.dtype
        count, height, width = pixels.shape
        self.shape = (int(count), -(-int(height) // step), -(-int(width) // step))

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for plane in self._pixels:
            sparse = plane[:: self._step, :: self._step].map_blocks(np.ascontiguousarray)
            yield np.asarray(sparse.compute(scheduler="threads"))


def sampling_step(shape: tuple[int, int], sampled_px: int = SAMPLED_PX) -> int:
    """Say which n-th pixel of which n-th row of an image (Y, X) is looked at."""
    return max(1, math.ceil(math.sqrt(shape[0] * shape[1] / sampled_px)))


def survey(pixels: da.Array, channels: Sequence[str], *, sampled_px: int = SAMPLED_PX) -> Survey:
    """Find tissue and clipping values of an image (C, Y, X), raw units.

    Raises
    ------
    InputError
        A channel holds NaN or negative values where it was looked at.
    """
    step = sampling_step((pixels.shape[1], pixels.shape[2]), sampled_px)
    planes: Any = _Planes(pixels, step)
    check_counts(planes, channels)
    tissue = tissue_mask(planes)
    return Survey(tissue, upper_quantiles(planes, tissue, channels=channels), step)


def sampled_statistics(
    pixels: da.Array,
    found: Survey,
    channels: tuple[str, ...],
    keys: Sequence[str | None],
    *,
    dataset: str,
    sampled_px: int = SAMPLED_PX,
) -> Statistics:
    """Take mean and standard deviation of each channel over the tissue of some blocks."""
    count, height, width = pixels.shape
    logged = LazyPixels(
        pixels, found.upper, np.zeros(count, np.float32), np.ones(count, np.float32), channels
    )
    everywhere = not found.tissue.any()
    blocks = [
        (block, inside)
        for block in windows((height, width), STATISTICS_BLOCK_PX)
        if (inside := found.tissue_at(*block) | everywhere).any()
    ]
    sums = ChannelSums(count)
    for block, inside in blocks[:: max(1, math.ceil(height * width / sampled_px))]:
        sums.add(logged[(slice(None), *block)][:, inside])
    return sums.statistics(dataset, channels, keys)
