"""Where in the tissues a set of cells is densest: regions worth looking at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import ConfigError

_PARTS = 4
"""A box is moved by a quarter of its side."""


@dataclass(frozen=True)
class Box:
    """A square of a tissue, µm from its top-left corner, and the cells whose centres are in it."""

    y_um: float
    x_um: float
    side_um: float
    inside: int
    """Cells of the set."""
    cells: int
    """All cells."""


def densest_box(
    places_um: NDArray[np.floating], inside: NDArray[np.bool_], side_um: float
) -> Box | None:
    """Find the square that holds most cells of a set; the first of several, row by row.

    Parameters
    ----------
    places_um
        (N, 2) centres (x, y) of a tissue's cells, µm, finite.
    inside
        (N,) whether a cell belongs to the set.
    side_um
        Of the square; it is tried at steps of a quarter of that.

    Returns
    -------
    Box or None
        None where the tissue has no such cell.

    Examples
    --------
    >>> places = np.array([[10, 10], [300, 310], [320, 300], [350, 350]])
    >>> densest_box(places, np.array([True, True, True, False]), 100)
    Box(y_um=225.0, x_um=225.0, side_um=100, inside=2, cells=2)
    """
    if not inside.any():
        return None
    step = side_um / _PARTS
    corner = np.floor(places_um.min(axis=0) / step)
    cell = (np.floor(places_um / step) - corner).astype(np.int64)[:, ::-1]  # (row, column)
    shape = tuple(cell.max(axis=0) + 1)
    counted = [_boxes(np.ravel_multi_index(c.T, shape), shape) for c in (cell[inside], cell)]
    row, column = np.unravel_index(int(counted[0].argmax()), counted[0].shape)
    return Box(
        y_um=float((corner[1] + row) * step),
        x_um=float((corner[0] + column) * step),
        side_um=side_um,
        inside=int(counted[0][row, column]),
        cells=int(counted[1][row, column]),
    )


def _boxes(cells: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Count cells in each box of four by four steps; smaller where the tissue is."""
    counts = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)
    for axis in (0, 1):
        total = np.cumsum(counts, axis=axis)
        total = np.concatenate([np.zeros_like(total.take([0], axis=axis)), total], axis=axis)
        last = max(1, counts.shape[axis] - _PARTS + 1)
        ends = np.minimum(np.arange(last) + _PARTS, counts.shape[axis])
        counts = total.take(ends, axis=axis) - total.take(np.arange(last), axis=axis)
    return np.asarray(counts)


def check_side(side_um: float) -> None:
    """Refuse a square without an area.

    Raises
    ------
    ConfigError
        The side is not above 0.
    """
    if not (np.isfinite(side_um) and side_um > 0):
        message = f"region_um: expected a length above 0 µm, such as 256, found {side_um!r}."
        raise ConfigError(message)
