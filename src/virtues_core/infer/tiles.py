"""Tiles out of an image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.prepare import TILE_PX


def cut(pixels: NDArray[Any], origins: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Cut tiles (C, 128, 128) out of pixels (C, Y, X), by their top-left pixels (T, 2)."""
    return [pixels[:, y : y + TILE_PX, x : x + TILE_PX] for y, x in origins.tolist()]
