"""Cut an image into tiles and put overlapping tiles together again."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError


def tile_origins(
    shape: tuple[int, int], *, size: int = 128, stride: int = 128
) -> NDArray[np.int64]:
    """Place square tiles so that every pixel lies in one or more.

    Parameters
    ----------
    shape
        (Y, X) of the image, px.
    size
        Side of a tile, px.
    stride
        Step from tile to tile, px, ``size`` at the most. The last tile of a row or column is
        shifted inward to end with the image.

    Returns
    -------
    numpy.ndarray
        (T, 2) int64: top-left (y, x) of each tile, row by row.

    Raises
    ------
    InputError
        The image is smaller than a tile, or the stride is not within 1 … ``size``.

    Examples
    --------
    >>> tile_origins((128, 200)).tolist()
    [[0, 0], [0, 72]]
    """
    if min(shape) < size:
        message = (
            f"expected an image of at least {size} × {size} px, found {shape[0]} × {shape[1]} px "
            "(y, x). Choose a larger image, or rescale it to about 1 µm per pixel."
        )
        raise InputError(message)
    if not 1 <= stride <= size:
        message = (
            f"expected a stride of 1 to {size} px (the tile's side), found {stride}: "
            "with a longer one pixels between tiles would be left out. Choose a shorter one."
        )
        raise InputError(message)
    rows, columns = ([*range(0, n - size, stride), n - size] for n in shape)
    return np.array([(y, x) for y in rows for x in columns], dtype=np.int64)


class Blender:
    """Put overlapping tiles together: a weighted mean, with smooth ramps at the tiles' edges.

    Parameters
    ----------
    shape
        (K, Y, X) of the image to make.
    size
        Side of a tile, px.
    overlap_px
        Length of the ramp at each edge: how far neighbouring tiles overlap. 0 averages evenly.
    """

    def __init__(self, shape: tuple[int, int, int], size: int = 128, overlap_px: int = 0) -> None:
        ramp = np.ones(size, dtype=np.float32)
        length = min(overlap_px, size // 2)
        if length > 0:
            rise = np.sin(0.5 * np.pi * (np.arange(length) + 0.5) / length) ** 2
            ramp[:length] = rise
            ramp[size - length :] = rise[::-1]
        self._size = size
        self._weight = np.outer(ramp, ramp).astype(np.float32)
        self._sum = np.zeros(shape, dtype=np.float32)
        self._weights = np.zeros(shape[1:], dtype=np.float32)

    def add(
        self, origin: tuple[int, int] | NDArray[np.int64], tile: NDArray[np.floating[Any]]
    ) -> None:
        """Add a tile (K, size, size) whose top-left pixel is ``origin`` (y, x)."""
        y, x = int(origin[0]), int(origin[1])
        window = (slice(y, y + self._size), slice(x, x + self._size))
        self._sum[(slice(None), *window)] += tile * self._weight
        self._weights[window] += self._weight

    def result(self) -> NDArray[np.float32]:
        """Return the blended image, (K, Y, X) float32; NaN where no tile has been added."""
        out = np.full(self._sum.shape, np.nan, dtype=np.float32)
        np.divide(self._sum, self._weights, out=out, where=self._weights > 0)
        return out


class RollingBlender(Blender):
    """As `Blender`, for tiles that come row by row: keeps only the rows that are not done yet.

    Parameters
    ----------
    planes
        K.
    width
        X of the image, px.
    size, overlap_px
        As in `Blender`.
    """

    def __init__(self, planes: int, width: int, size: int = 128, overlap_px: int = 0) -> None:
        super().__init__((planes, 0, width), size, overlap_px)
        self._top = 0

    def add(
        self, origin: tuple[int, int] | NDArray[np.int64], tile: NDArray[np.floating[Any]]
    ) -> None:
        """Add a tile (K, size, size); its row must not have been taken."""
        y, x = int(origin[0]), int(origin[1])
        if self._weights.shape[0] == 0:
            self._top = y
        missing = max(0, y + self._size - self._top - self._weights.shape[0])
        if missing:
            self._sum = np.pad(self._sum, ((0, 0), (0, missing), (0, 0)))
            self._weights = np.pad(self._weights, ((0, missing), (0, 0)))
        super().add((y - self._top, x), tile)

    def take(self, until: int) -> tuple[int, NDArray[np.float32]]:
        """Hand on the rows above row ``until``, to which no tile will be added any more.

        Returns
        -------
        tuple
            The first row, and the rows (K, h, X) as `Blender.result` gives them.
        """
        first = self._top
        count = min(max(0, until - first), self._weights.shape[0])
        if count == 0:  # still in the row of tiles: nothing is moved
            return first, np.empty((self._sum.shape[0], 0, self._sum.shape[2]), np.float32)
        rest_sum, rest_weights = self._sum[:, count:].copy(), self._weights[count:].copy()
        self._sum, self._weights = self._sum[:, :count], self._weights[:count]
        rows = self.result()
        self._sum, self._weights, self._top = rest_sum, rest_weights, first + count
        return first, rows
