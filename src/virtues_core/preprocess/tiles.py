"""Tiles that cover an image, and their results blended back into one."""

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError


def tile_origins(shape: tuple[int, int], *, size: int = 128, stride: int = 128) -> NDArray[np.int64]:
    """Lay tiles over an image so that every pixel is covered.

    Parameters
    ----------
    shape
        (Y, X) of the image in pixels.
    size
        Side of a tile.
    stride
        Distance between tiles; the last row and column are shifted inward to end at the border.

    Returns
    -------
    numpy.ndarray
        (T, 2) top-left pixels, row by row.

    Raises
    ------
    InputError
        The image is smaller than a tile, or the stride leaves gaps.
    """
    if min(shape) < size:
        message = (
            f"expected an image of at least {size} x {size} px, found {shape[0]} x {shape[1]}. "
            "The model sees tissue in squares of that size: open a larger region."
        )
        raise InputError(message)
    if not 0 < stride <= size:
        message = f"stride: expected 1 to {size} px, got {stride}"
        raise InputError(message)
    rows, columns = (
        np.append(np.arange(0, side - size, stride), side - size) for side in shape
    )
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, 2).astype(np.int64)


class Blender:
    """Adds tiles up to an image; where they overlap, each fades out towards its border.

    Parameters
    ----------
    shape
        (K, Y, X) of the result.
    size
        Side of a tile.
    overlap_px
        Width over which a tile's weight rises from its border.
    """

    def __init__(self, shape: tuple[int, int, int], *, size: int = 128, overlap_px: int = 32) -> None:
        edge = np.minimum(np.arange(size), np.arange(size)[::-1]) + 1.0
        ramp = np.minimum(edge / max(1, overlap_px), 1).astype(np.float32)
        self._weight = np.outer(ramp, ramp)
        self._size = size
        self._sum = np.zeros(shape, np.float32)
        self._total = np.zeros(shape[1:], np.float32)

    def add(self, origin: NDArray[np.int64], tile: NDArray[np.float32]) -> None:
        """Add a tile (K, size, size) whose top-left pixel is ``origin``."""
        y, x = (int(value) for value in origin)
        window = (slice(y, y + self._size), slice(x, x + self._size))
        self._sum[:, *window] += tile * self._weight
        self._total[window] += self._weight

    def result(self) -> NDArray[np.float32]:
        """Give the blended image (K, Y, X); 0 where no tile was added."""
        return self._sum / np.where(self._total > 0, self._total, 1)
