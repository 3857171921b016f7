"""Images and label images → OME-TIFF, a plane at a time, never over a good file by halves."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.files import replacing

TILE_PX = 256
"""Side of a tile in the files that are written, in pixels."""

_WRITABLE = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")


def write_ome_tiff(
    path: Path | str,
    pixels: NDArray[Any] | da.Array,
    channels: Sequence[str],
    pixel_size_um: tuple[float, float] | None = None,
) -> None:
    """Write an image as OME-TIFF: tiled, compressed without loss, channels named.

    Parameters
    ----------
    path
        The file; replaced only when the new one is complete.
    pixels
        (C, Y, X), in memory or lazy (then one channel at a time is in memory).
    channels
        C names.
    pixel_size_um
        (y, x) in µm.

    Raises
    ------
    InputError
        Other axes, another number of names, or a type that OME-TIFF does not know.
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    path = Path(path)
    if pixels.ndim != 3 or pixels.shape[0] != len(channels) or 0 in pixels.shape:
        message = (
            f"expected pixels (C, Y, X) and C names, found shape {pixels.shape} and "
            f"{len(channels)} names; give one name for each plane"
        )
        raise InputError(message)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if pixels.dtype.name not in _WRITABLE:
        message = (
            f"expected one of the types {', '.join(_WRITABLE)}, found {pixels.dtype}; "
            "convert the pixels first"
        )
        raise InputError(message)
    metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": list(channels)}}
    if pixel_size_um is not None:
        for axis, size in zip("YX", pixel_size_um, strict=True):
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    _write(path, pixels, metadata, ome=True)


def write_labels(
    path: Path | str, labels: NDArray[Any], pixel_size_um: tuple[float, float] | None = None
) -> None:
    """Write a label image as OME-TIFF, in the smallest unsigned type that holds its labels.

    Parameters
    ----------
    path
        The file; replaced only when the new one is complete.
    labels
        (Y, X) whole numbers, 0 = background.
    pixel_size_um
        (y, x) in µm.

    Raises
    ------
    InputError
        Not two axes, not whole numbers, or negative.
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "uib" or (labels.size and labels.min() < 0):
        message = (
            f"expected labels (Y, X) as whole numbers from 0, found shape {labels.shape} of "
            f"{labels.dtype}; number the objects from 1, with 0 for background"
        )
        raise InputError(message)
    top = int(labels.max(initial=0))
    dtype = next(t for t in (np.uint8, np.uint16, np.uint32) if top <= np.iinfo(t).max)
    write_ome_tiff(path, labels[None].astype(dtype), ["labels"], pixel_size_um)


def _write(path: Path, pixels: Any, metadata: dict[str, Any], *, ome: bool) -> None:
    with (
        replacing(path) as temporary,
        tifffile.TiffWriter(temporary, ome=ome, bigtiff=pixels.nbytes > 2**31) as tiff,
    ):
        tiff.write(
            _tiles(pixels),
            shape=pixels.shape,
            dtype=pixels.dtype,
            tile=(TILE_PX, TILE_PX),
            photometric="minisblack",
            compression="zlib",
            predictor=False,
            metadata=metadata,
        )


def _tiles(pixels: Any) -> Iterator[NDArray[Any]]:
    """Cut each plane into tiles, row by row; those at the edge are padded with zeros."""
    for channel in range(pixels.shape[0]):
        plane = np.asarray(pixels[channel])
        for top in range(0, plane.shape[0], TILE_PX):
            for left in range(0, plane.shape[1], TILE_PX):
                piece = plane[top : top + TILE_PX, left : left + TILE_PX]
                tile = np.zeros((TILE_PX, TILE_PX), plane.dtype)
                tile[: piece.shape[0], : piece.shape[1]] = piece
                yield tile
