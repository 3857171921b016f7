"""A folder with one TIFF per channel; the file names are the channel names."""

import os
import re
from pathlib import Path

import dask.array as da
import numpy as np

from virtues_core.errors import ReadError
from virtues_core.image import MultiplexImage
from virtues_core.read import tiff
from virtues_core.read._names import pick


def claims(path: Path) -> bool:
    """Whether the folder holds TIFFs of one plane; a few of them are looked into."""
    if not path.is_dir():
        return False
    files = _files(path)
    if not files:
        return False
    few = {files[0], files[len(files) // 2], files[-1]}
    try:
        return all(tiff.claims(f) and tiff.read(f).shape[0] == 1 for f in few)
    except ReadError:
        return len(files) > 1  # a damaged channel: reading says which


def names(path: Path) -> tuple[str, ...]:
    """Name of the one image: the folder's."""
    return (path.name,)


def read(path: Path, image: str | None = None) -> MultiplexImage:
    """Open a folder as one image, a channel a file, in the natural order of the file names.

    Parameters
    ----------
    path
        The folder.
    image
        Its name, or None.

    Returns
    -------
    MultiplexImage
        Channels are named by their files, without the ending.

    Raises
    ------
    ReadError
        A file is damaged, has several planes, or is of another size than the others.
    """
    pick(image, names(path), path)
    planes = [tiff.read(file) for file in _files(path)]
    for plane in planes:
        if plane.shape != (1, *planes[0].shape[1:]):
            message = (
                f"expected one TIFF of {planes[0].shape[1:]} (y, x) px for each channel in "
                f"{str(path)!r}, found shape {plane.shape} in {plane.name!r}; keep only the "
                "channels of one image in the folder"
            )
            raise ReadError(message)
    dtype = np.result_type(*(p.pixels.dtype for p in planes))
    return MultiplexImage(
        pixels=da.concatenate([p.pixels.astype(dtype) for p in planes]),  # type: ignore[no-untyped-call]
        channels=tuple(p.name for p in planes),
        pixel_size_um=planes[0].pixel_size_um,
        name=path.name,
        source=path,
    )


def _files(path: Path) -> list[Path]:
    with os.scandir(path) as entries:
        found = [Path(e.path) for e in entries if not e.name.startswith(".") and e.is_file()]
    return sorted((f for f in found if f.suffix.lower() in tiff.SUFFIXES), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key in which ``c2`` comes before ``c10``."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
