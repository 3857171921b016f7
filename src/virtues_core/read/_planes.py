"""Planes of a TIFF as a lazy (C, Y, X) array; the file is open only while a block is read."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from virtues_core.errors import ReadError

BLOCK_PX = 2048
"""Aim for the side of a block, in pixels: a few MB, whole tiles of the file."""

DECODING_ERRORS = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    struct.error,
)


@dataclass(frozen=True)
class Plane:
    """Where one (Y, X) plane lies."""

    path: Path
    offset: int
    """Of the plane's directory in the file, or of its first pixel if ``contiguous``; bytes."""
    contiguous: bool = False
    sample: int | None = None
    """Which sample of the page, where one page holds several channels."""


class PlaneStack:
    """Planes of one size, readable by slices, as Dask asks for them.

    Parameters
    ----------
    planes
        C planes.
    shape
        (Y, X).
    dtype
        Of the pixels; in the byte order of the file.
    """

    def __init__(
        self, planes: Sequence[Plane], shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> None:
        self._planes = tuple(planes)
        self._stored = dtype
        self.shape = (len(self._planes), *shape)
        self.dtype = dtype.newbyteorder("=")
        self.ndim = 3

    def __getitem__(self, key: tuple[slice | int, ...]) -> NDArray[Any]:
        """Read the block of a slice or a position for each of (C, Y, X)."""
        slices, kept = as_slices(key)
        chosen = self._planes[slices[0]]
        size = [len(range(*k.indices(n))) for k, n in zip(slices, self.shape, strict=True)]
        block = np.empty(size, self.dtype)
        for target, plane in zip(block, chosen, strict=True):
            try:
                target[:] = self._read(plane, slices[1], slices[2])
            except DECODING_ERRORS as error:
                raise ReadError(damaged(plane.path, str(error))) from error
        return np.asarray(block[kept])

    def _read(self, plane: Plane, rows: slice, columns: slice) -> NDArray[Any]:
        if plane.contiguous:
            stored = np.memmap(plane.path, self._stored, "r", plane.offset, self.shape[1:])
            return np.array(stored[rows, columns])
        with tifffile.TiffFile(plane.path) as tiff:
            tiff.filehandle.seek(plane.offset)
            page = tifffile.TiffPage(tiff, index=0)
            store = page.aszarr()
            try:
                pixels = zarr.open_array(store, mode="r")
                at = {"Y": rows, "X": columns}
                return np.asarray(pixels[tuple(at.get(a, plane.sample or 0) for a in page.axes)])
            finally:
                store.close()


def damaged(path: Path, found: str) -> str:
    """Say that a TIFF breaks off or cannot be decoded."""
    return (
        f"expected a complete TIFF, found a truncated or damaged one: {str(path)!r} ({found}); "
        "copy or export the file again"
    )


def lazy(stack: PlaneStack, segment: tuple[int, int]) -> da.Array:
    """Return the stack as a Dask array of one channel a block, in whole segments of the file.

    Parameters
    ----------
    stack
        The planes.
    segment
        (y, x) size of the file's tiles or strips, in pixels.
    """
    return blocks(stack, (1, *block_size(stack.shape[1:], segment)))


def block_size(shape: Sequence[int], segment: Sequence[int]) -> tuple[int, int]:
    """Size of a block (y, x) px: whole segments, about ``BLOCK_PX`` squared pixels in all.

    >>> block_size((20000, 20000), (256, 256))
    (2048, 2048)
    >>> block_size((20000, 20000), (1, 20000))
    (209, 20000)
    """
    height, width = shape
    columns = min(width, segment[1] * max(1, BLOCK_PX // segment[1]))
    rows = segment[0] * max(1, BLOCK_PX**2 // max(columns, 1) // segment[0])
    return min(height, rows), columns


def blocks(source: Any, chunks: tuple[int, ...]) -> da.Array:
    """Return a source with ``shape``, ``dtype`` and slicing as a Dask array; nothing is read.

    Parameters
    ----------
    source
        Asked for one block at a time, by slices (or positions, where an axis is dropped).
    chunks
        Size of a block on each axis.
    """
    pixels: da.Array = da.from_array(  # type: ignore[no-untyped-call]
        source,
        chunks=chunks,
        name=False,
        asarray=False,
        fancy=False,
        meta=np.empty((0,) * len(chunks), source.dtype),
    )
    return pixels


def as_slices(
    key: tuple[slice | int, ...], ndim: int = 3
) -> tuple[list[slice], tuple[slice | int, ...]]:
    """Split a key into slices to read, and what then drops the axes given by a position.

    >>> as_slices((2, slice(0, 5)), ndim=2)
    ([slice(2, 3, None), slice(0, 5, None)], (0, slice(None, None, None)))
    """
    full = (*key, *(slice(None),) * (ndim - len(key)))
    slices = [k if isinstance(k, slice) else slice(k, k + 1 or None) for k in full]
    return slices, tuple(slice(None) if isinstance(k, slice) else 0 for k in full)
