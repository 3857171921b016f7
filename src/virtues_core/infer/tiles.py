"""Tiles out of an image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.planes import LazyPixels
from virtues_core.infer.request import TILE_PX


def cut(pixels: NDArray[Any] | LazyPixels, origins: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Cut tiles (C, 128, 128) out of pixels (C, Y, X), by their top-left pixels (T, 2).

    A tile that reaches over the end repeats the last row or column: there a patch is filled from
    itself alone. Tiles of one row that touch are read at once.
    """
    tiles: list[NDArray[Any]] = []
    for run in _runs(origins):
        y, left, right = int(run[0, 0]), int(run[0, 1]), int(run[-1, 1]) + TILE_PX
        strip = pixels[:, y : y + TILE_PX, left:right]
        over = (TILE_PX - strip.shape[1], right - left - strip.shape[2])
        if any(over):
            strip = np.pad(strip, ((0, 0), (0, over[0]), (0, over[1])), mode="edge")
        tiles += [strip[:, :, x - left : x - left + TILE_PX] for x in run[:, 1].tolist()]
    return tiles


def _runs(origins: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Part origins, in their order, where the next tile does not touch the one before."""
    steps = np.diff(origins, axis=0)
    apart = (steps[:, 0] != 0) | (steps[:, 1] < 0) | (steps[:, 1] > TILE_PX)
    return np.split(origins, np.flatnonzero(apart) + 1) if len(origins) else []
