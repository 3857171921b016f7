"""The images of a cohort, each with a name of its own, and the files that belong to them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtues_core.errors import InputError, ReadError
from virtues_core.read import image_names
from virtues_core.read.spora import claims

_ENDINGS = re.compile(r"(\.ome)?\.[^.]+$", re.IGNORECASE)
_MASKS = (".tif", ".tiff", ".ome.tif", ".ome.tiff", ".npz", ".png", ".ome.zarr", ".zarr")
"""Endings of label images, in the order in which they are looked for."""
_TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class Listed:
    """One image of a cohort."""

    name: str
    """Its own in the cohort, fit for a file: the file's name without its ending, in a file of
    several images with the image's name behind it; of a spora data set the tissue's."""
    path: Path
    """The file or folder, absolute."""
    image: str | None
    """Which image of it."""
    has_mask: bool
    """Whether it comes with a mask of its cells, as a tissue of a spora data set may."""


def list_images(paths: Sequence[Path]) -> tuple[Listed, ...]:
    """List the images of files and spora data sets.

    A file that cannot be read is listed as one image: what is wrong is told when its turn comes.

    Raises
    ------
    InputError
        Two images would have one name.
    """
    found: list[Listed] = []
    for path in dict.fromkeys(path.absolute() for path in paths):
        spora = path.is_dir() and claims(path)
        stem = _ENDINGS.sub("", path.name) if path.is_file() else path.name.split(".")[0]
        try:
            images: Sequence[str | None] = image_names(path)
        except ReadError:
            images = [None]
        for image in images:
            name = str(image) if spora else stem if len(images) == 1 else f"{stem}_{image}"
            found.append(Listed(re.sub(r"[^\w.+-]+", "_", name), path, image, spora))
    names = [one.name.casefold() for one in found]
    for one in found:
        if names.count(one.name.casefold()) > 1:
            message = (
                f"expected images with names that differ, found {one.name!r} twice: their results "
                "would be one file. Rename an image, or write into two folders."
            )
            raise InputError(message)
    return tuple(found)


def mask_of(image: Listed, folder: Path) -> Path:
    """Find an image's mask in a folder by the image's name; it need not be there."""
    return _of(image, folder, _MASKS)


def table_of(image: Listed, folder: Path) -> Path:
    """Find an image's table of cells in a folder by the image's name; it need not be there."""
    return _of(image, folder, _TABLES)


def _of(image: Listed, folder: Path, endings: Sequence[str]) -> Path:
    named = [folder.absolute() / f"{image.name}{ending}" for ending in endings]
    return next((path for path in named if path.exists()), named[0])
