"""Weighted means of many rows, taken up piece by piece: in memory, or in a temporary file."""

import mmap
import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import VirtuesError

IN_MEMORY_VALUES = 2**21
"""Larger tables are kept in a temporary file: 16 MiB of float64."""
_RELEASE_EVERY_BYTES = 2**24


class RowMeans:
    """Weighted means of (N, W) values, kept as sums in float64.

    A large table is in a file without a name where the system keeps temporary files (``TMPDIR``);
    what was touched of it is handed back to the system now and then, so that memory does not grow
    with N. Takes what an array takes as ``[rows]`` with a slice, and gives (n, W) float32.

    Parameters
    ----------
    count
        N.
    width
        W.
    on_disk
        Whether to keep it in a file; by its size by default.

    Raises
    ------
    VirtuesError
        The disk is full.
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, count: int, width: int, *, on_disk: bool | None = None) -> None:
        self.shape = (count, width)
        self.weights = np.zeros(count)
        """(N,) weight of each row so far."""
        self._touched = 0
        on_disk = count * width > IN_MEMORY_VALUES if on_disk is None else on_disk
        if on_disk and count * width:
            self._sums: NDArray[np.float64] = _mapped(self.shape)
        else:
            self._sums = np.zeros(self.shape)

    def add(
        self,
        rows: NDArray[np.integer[Any]],
        sums: NDArray[Any],
        weights: NDArray[Any],
    ) -> None:
        """Add weighted sums (n, W) and their weights (n,) to n different rows."""
        self._sums[rows] += sums
        self.weights[rows] += weights
        self._touch(len(rows))

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Give the means of some rows; NaN where nothing was added."""
        weights = self.weights[rows, None]
        means = np.full((len(weights), self.shape[1]), np.nan, np.float32)
        np.divide(self._sums[rows], weights, out=means, where=weights > 0, casting="same_kind")
        self._touch(len(weights))
        return means

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001
        return self[:].astype(dtype or self.dtype, copy=bool(copy))

    def _touch(self, rows: int) -> None:
        """Hand memory back to the system once enough of the file was touched."""
        self._touched += rows * self.shape[1] * self._sums.itemsize
        if self._touched >= _RELEASE_EVERY_BYTES and isinstance(self._sums, np.memmap):
            self._touched = 0
            mapped = self._sums._mmap  # type: ignore[attr-defined]  # no other way to it
            if hasattr(mmap, "MADV_DONTNEED"):  # the values stay in the file
                mapped.madvise(mmap.MADV_DONTNEED)


def _mapped(shape: tuple[int, int]) -> "np.memmap[Any, np.dtype[np.float64]]":
    try:
        with tempfile.TemporaryFile(prefix="virtues-") as file:
            size = int(np.prod(shape, dtype=np.int64)) * 8
            if hasattr(os, "posix_fallocate"):
                # take the space now: a disk found full under a memory map would end the process
                os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)
            return np.memmap(file, np.float64, mode="r+", shape=shape)
    except OSError as error:
        message = (
            f"could not write a temporary file in {tempfile.gettempdir()!r}: "
            f"{error.strerror or error}. Sums over many cells are kept there: free some space, or "
            "name another folder in the environment variable TMPDIR, then run again."
        )
        raise VirtuesError(message) from error
