"""The cells of an image, read window by window: which there are, how large, how bright."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.planes import Canvas, Window, windows
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.rows import RowMeans
from virtues_core.infer.tokens import CellNumbers, checked_labels, labels_in

IN_MEMORY_PX = 2**22
"""A lazy mask of more pixels is copied to a temporary file: 16 MiB of int32."""


class CellMask:
    """Cell labels of an image, numbered 1 to N in the order of their labels.

    Parameters
    ----------
    labels
        (Y, X) whole numbers, 0 = background; an array, or lazy (then a large one is copied to a
        temporary file and never held whole).
    shape
        (Y, X) of the image, px.

    Raises
    ------
    InputError
        Another size than the image, something other than whole numbers from 0, or no cell at all.
    VirtuesError
        The disk is full.
    """

    def __init__(self, labels: NDArray[Any] | da.Array, shape: tuple[int, int]) -> None:
        self._labels: NDArray[np.integer[Any]] | Canvas
        self.shape = shape
        if tuple(labels.shape) != tuple(shape):
            message = (
                f"expected cell labels of the image's size {tuple(shape)} (y, x) px, found "
                f"{tuple(labels.shape)}. Choose the mask made for this image, at the same "
                "resolution."
            )
            raise InputError(message)
        if isinstance(labels, da.Array) and labels.size > IN_MEMORY_PX:
            self._labels, found = _copied(labels)
        else:
            self._labels = checked_labels(labels)
            found = [self._labels[block] for block in windows(shape)]
        self.ids = labels_in(found)
        """(N,) labels, ascending."""
        if not len(self.ids):
            message = (
                "expected a mask with one cell or more, found only background (0). Choose the "
                "mask of the cells, or segment the image first."
            )
            raise InputError(message)
        self._numbers = CellNumbers(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self, window: Window) -> NDArray[np.integer[Any]]:
        """Read labels (h, w) of a window inside the image."""
        if isinstance(self._labels, Canvas):
            return np.asarray(self._labels.get(0, window))
        return self._labels[window]

    def numbers(self, window: Window) -> NDArray[np.integer[Any]]:
        """Read (h, w) of a window as numbers 1 to N, 0 = background."""
        return self._numbers.of(self.labels(window))

    def held_by(self, origins: NDArray[np.int64], size: int = TILE_PX) -> NDArray[np.bool_]:
        """Say which tiles hold a pixel of a cell.

        Parameters
        ----------
        origins
            (T, 2) top-left pixels (y, x), inside the image.
        size
            Side of a tile, px.
        """
        held = np.zeros(len(origins), bool)
        for y in np.unique(origins[:, 0]).tolist():
            rows = slice(y, min(y + size, self.shape[0]))
            any_cell = (self.labels((rows, slice(0, self.shape[1]))) > 0).any(axis=0)
            before = np.concatenate([[0], np.cumsum(any_cell)])
            here = np.flatnonzero(origins[:, 0] == y)
            left = origins[here, 1]
            held[here] = before[np.minimum(left + size, self.shape[1])] > before[left]
        return held


@dataclass(frozen=True, eq=False)
class CellTable:
    """What is measured of each of N cells."""

    area_px: NDArray[np.float64]
    """(N,) pixels."""
    centres_px: NDArray[np.float64]
    """(N, 2) mean (y, x) of its pixels' positions, from 0."""
    intensities: RowMeans
    """(N, C) mean of each channel of the image over the cell, raw units."""


def measure_cells(image: MultiplexImage, cells: CellMask) -> CellTable:
    """Take size, place and mean intensities of every cell, going through the image in blocks.

    Parameters
    ----------
    image
        (C, Y, X) raw units, lazy.
    cells
        Its cells.
    """
    places = np.zeros((len(cells), 2))
    intensities = RowMeans(len(cells), len(image.channels))
    for window in windows(cells.shape):
        numbers = cells.numbers(window)
        inside = numbers > 0
        if not inside.any():
            continue
        present, local = np.unique(numbers[inside], return_inverse=True)
        count = len(present)
        area = np.bincount(local, minlength=count).astype(np.float64)
        y, x = np.nonzero(inside)
        place = [y + window[0].start, x + window[1].start]
        read = np.asarray(image.pixels[(slice(None), *window)].compute(scheduler="threads"))
        bright = [plane[inside] for plane in read]
        where, sums = (
            np.stack([np.bincount(local, values, count) for values in columns], axis=1)
            for columns in (place, bright)
        )
        places[present - 1] += where
        intensities.add(present - 1, sums, area)
    areas = intensities.weights
    return CellTable(areas, places / areas[:, None], intensities)


def _copied(labels: da.Array) -> tuple[Canvas, list[NDArray[Any]]]:
    """Copy lazy labels to a file, block by block; give the labels of each block, too."""
    canvas = Canvas((1, *labels.shape), np.int32, on_disk=True)
    found = []
    rows, columns = ([0, *np.cumsum(sizes).tolist()] for sizes in labels.chunks)
    for y, y_end in pairwise(rows):
        for x, x_end in pairwise(columns):
            window = (slice(y, y_end), slice(x, x_end))
            block = checked_labels(labels[window].compute(scheduler="synchronous"))
            if block.max() > np.iinfo(np.int32).max:
                message = (
                    f"expected labels up to {np.iinfo(np.int32).max}, found {block.max()}. "
                    "Number the cells from 1."
                )
                raise InputError(message)
            canvas.put(0, window, block)
            found.append(labels_in(block[part] for part in windows(block.shape)))
    return canvas, found
