"""Pixels too many for memory: those of an image made when they are read, results kept on disk."""

import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import VirtuesError
from virtues_core.preprocess import check_counts, normalise

IN_MEMORY_VALUES = 2**28
"""An image of more values (channels x pixels) is normalised piece by piece: 1 GiB of float32."""
BLOCK_PX = (256, 1024)
"""(y, x) of the pieces in which an image is gone through."""

Window = tuple[slice, slice]
"""Rows and columns, with start and stop."""


class LazyPixels:
    """Channels of an image in model units, normalised when a window of them is read.

    Takes what an array (C, Y, X) takes between brackets, in the forms ``[c]``, ``[channels]`` and
    ``[channels, rows, columns]`` with slices for rows and columns, and gives the very values that
    `normalise` gives for the whole image: the blur reaches one pixel, which is read besides.

    Parameters
    ----------
    pixels
        (C, Y, X) raw units, lazy.
    upper, mean, std
        (C,) as `normalise` takes them.
    channels
        C names, for messages.
    """

    ndim = 3
    dtype = np.dtype(np.float32)

    def __init__(
        self,
        pixels: da.Array,
        upper: NDArray[np.float32],
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        channels: tuple[str, ...],
    ) -> None:
        self._pixels = pixels
        self._upper, self._mean, self._std = upper, mean, std
        self._channels = np.array(channels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, Y, X)."""
        count, height, width = self._pixels.shape
        return int(count), int(height), int(width)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        which, rows, columns = (*key, *(slice(None),) * 3)[:3] if isinstance(key, tuple) else (
            key, slice(None), slice(None),
        )  # fmt: skip
        chosen = np.atleast_1d(np.arange(self.shape[0])[which])
        (top, bottom), (left, right) = (
            part.indices(size)[:2]
            for part, size in zip((rows, columns), self.shape[1:], strict=True)
        )
        y, x = max(top - 1, 0), max(left - 1, 0)
        raw = self._pixels[chosen.tolist(), y : bottom + 1, x : right + 1]
        read = np.asarray(raw.compute(scheduler="threads"))
        check_counts(read, self._channels[chosen].tolist())
        values = normalise(read, self._upper[chosen], self._mean[chosen], self._std[chosen])
        found = values[:, top - y : bottom - y, left - x : right - x]
        return found[0] if isinstance(which, int | np.integer) else found


def windows(shape: tuple[int, int], block: tuple[int, int] = BLOCK_PX) -> Iterator[Window]:
    """Go through (Y, X) in blocks, row by row; the last ones are smaller."""
    for y in range(0, shape[0], block[0]):
        for x in range(0, shape[1], block[1]):
            yield (
                slice(y, min(y + block[0], shape[0])),
                slice(x, min(x + block[1], shape[1])),
            )


class Canvas:
    """An array (K, Y, X) written piece by piece: in memory, or in a temporary file.

    The file is where the system keeps temporary files (``TMPDIR``), has no name where the system
    allows that, and is gone with the last array that shows it.

    Parameters
    ----------
    shape
        (K, Y, X).
    dtype
        Of its values, all 0 at first.
    on_disk
        Whether to keep them in a file.

    Raises
    ------
    VirtuesError
        The disk is full.
    """

    def __init__(
        self, shape: tuple[int, int, int], dtype: type[np.generic] = np.float32, *, on_disk: bool
    ) -> None:
        self.shape = shape
        self._dtype = np.dtype(dtype)
        self._array: NDArray[Any] | None = None
        self._file: Any = None
        if not on_disk:
            self._array = np.zeros(shape, self._dtype)
            return
        try:
            self._file = tempfile.TemporaryFile(prefix="virtues-")
            weakref.finalize(self, self._file.close)
            self._file.truncate(int(np.prod(shape, dtype=np.int64)) * self._dtype.itemsize)
        except OSError as error:
            raise _unwritable(error) from error

    def put(self, k: int, window: Window, values: NDArray[Any]) -> None:
        """Write (h, w) values of plane ``k``."""
        if self._array is not None:
            self._array[(k, *window)] = values
            return
        rows, whole = np.asarray(values, self._dtype), self._whole(window)
        try:
            for at, row in zip(self._places(k, window), rows[None] if whole else rows, strict=True):
                self._file.seek(at)
                self._file.write(np.ascontiguousarray(row).data)
        except OSError as error:
            raise _unwritable(error) from error

    def get(self, k: int, window: Window) -> NDArray[Any]:
        """Read (h, w) values of plane ``k``."""
        if self._array is not None:
            return np.asarray(self._array[(k, *window)])
        size = tuple(part.stop - part.start for part in window)
        values = np.empty(size, self._dtype)
        for at, row in zip(
            self._places(k, window), values[None] if self._whole(window) else values, strict=True
        ):
            self._file.seek(at)
            self._file.readinto(row.data.cast("B"))
        return values

    def finish(self) -> NDArray[Any]:
        """Give the array; on disk, a read-only memory map of it."""
        if self._array is not None:
            return self._array
        try:
            self._file.flush()
        except OSError as error:
            raise _unwritable(error) from error
        return np.memmap(self._file, self._dtype, mode="r", shape=self.shape)

    def _whole(self, window: Window) -> bool:
        """Say whether the rows of a window follow on one another in the file."""
        return bool(window[1].stop - window[1].start == self.shape[2])

    def _places(self, k: int, window: Window) -> Sequence[int]:
        """Where each row of a window begins in the file, in bytes."""
        rows, columns = window
        first = (k * self.shape[1] + rows.start) * self.shape[2] + columns.start
        if self._whole(window):
            return [first * self._dtype.itemsize]
        step = self.shape[2]
        return [(first + i * step) * self._dtype.itemsize for i in range(rows.stop - rows.start)]


def _unwritable(error: OSError) -> VirtuesError:
    return VirtuesError(
        f"could not write a temporary file in {tempfile.gettempdir()!r}: "
        f"{error.strerror or error}. Results of large images are kept there: free some space, or "
        "name another folder in the environment variable TMPDIR, then run again."
    )
