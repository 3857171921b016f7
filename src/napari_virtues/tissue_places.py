"""Where the images and the masks of a cohort's tissues lie; folders once given are kept.

No Qt; reading is for a background thread.
"""

import glob
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_virtues._reader import looks_like_labels
from virtues_core.errors import ConfigError, InputError, ReadError
from virtues_core.files import replacing
from virtues_core.image import MultiplexImage
from virtues_core.infer.listing import Listed, list_images, mask_of
from virtues_core.read import can_read, read_image, read_labels
from virtues_core.read.spora import SporaDataset, Tissue, claims

MOST_FOLDERS = 12
"""Folders that are kept; the one given first is forgotten first."""
MASKS = ("masks", "cells")
"""Folders beside images that may hold their masks."""


def default_path() -> Path:
    """Where the folders are kept: the user's settings folder, or ``VIRTUES_CONFIG_DIR``."""
    folder = os.environ.get("VIRTUES_CONFIG_DIR")
    if folder:
        return Path(folder) / "image_folders.json"
    from platformdirs import user_config_path

    return user_config_path("napari-virtues", appauthor=False) / "image_folders.json"


def kept_folders(path: Path | None = None) -> tuple[Path, ...]:
    """Return the folders that were given, the last one first.

    Raises
    ------
    ConfigError
        The file is not what `keep_folder` writes.
    """
    path = path or default_path()
    if not path.exists():
        return ()
    try:
        return tuple(Path(folder) for folder in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        message = (
            f"expected a list of folders in {str(path)!r}, found something else ({error}); move "
            "the file away, then give the folder of the images again"
        )
        raise ConfigError(message) from error


def keep_folder(folder: Path, path: Path | None = None) -> None:
    """Look for images and masks in this folder from now on, before others.

    Raises
    ------
    VirtuesError
        The settings cannot be read or written.
    """
    path = path or default_path()
    kept = [other for other in kept_folders(path) if other != folder]
    text = json.dumps([str(one) for one in [folder, *kept][:MOST_FOLDERS]], indent=1)
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


def find_image(tissue_id: str, stated: str, folders: Iterable[Path]) -> MultiplexImage:
    """Open the image of a tissue.

    Parameters
    ----------
    tissue_id
        Name of the tissue.
    stated
        Path that its table of cells says, or "".
    folders
        Where else to look: spora data sets, and folders of images that are called as the tissues.

    Raises
    ------
    InputError
        It is in none of these places.
    ReadError
        It is there and damaged.
    """
    for dataset, tissue in _spora(tissue_id, stated, folders):
        return dataset.image(tissue)
    for path in _files(tissue_id, stated, folders):
        for listed in list_images([path]):
            if listed.name == tissue_id or listed.image in {None, tissue_id}:
                return read_image(listed.path, listed.image)
        return read_image(path)
    where = f" at {stated!r} and" if stated else ""
    message = (
        f"expected the image of tissue {tissue_id!r}, found none{where} in the folders given "
        "before. Give the folder of the images: a spora data set, or files called as the tissues."
    )
    raise InputError(message)


def find_mask(tissue_id: str, image: MultiplexImage, folders: Iterable[Path]) -> NDArray[np.int32]:
    """Read the mask of a tissue's cells: (Y, X), 0 = background.

    It is looked for in the spora data set of the image, beside the image, in ``masks`` or
    ``cells`` there, and in the folders.

    Raises
    ------
    InputError
        It is in none of these places.
    ReadError
        It is damaged, or of another size than the image.
    """
    folders = tuple(folders)
    size = image.shape[1:]
    refused: ReadError | None = None
    for dataset, tissue in _spora(tissue_id, str(image.source or ""), folders):
        found = dataset.cell_mask(tissue, size)
        if found is not None:
            return found
    near = () if image.source is None else (image.source.parent,)
    for folder in (*folders, *near):
        for place in (folder, *(folder / name for name in MASKS)):
            path = mask_of(Listed(tissue_id, place / tissue_id, None, has_mask=False), place)
            if path.exists() and path != image.source:
                try:
                    return read_labels(path, size)
                except ReadError as error:  # perhaps an image of that name
                    refused = error
    if refused is not None:
        raise refused
    message = (
        f"expected a mask of the cells of tissue {tissue_id!r}, called {tissue_id}.tiff or the "
        "like, found none beside its image and none in the folders given before. Give the folder "
        "of the masks."
    )
    raise InputError(message)


def _spora(
    tissue_id: str, stated: str, folders: Iterable[Path]
) -> Iterator[tuple[SporaDataset, Tissue]]:
    """Give the tissue in each data set that has it: first that of the stated path."""
    roots = [root for root in Path(stated).parents if claims(root)] if stated else []
    if stated and claims(Path(stated)):
        roots.append(Path(stated))
    for root in dict.fromkeys([*roots, *(folder for folder in folders if claims(folder))]):
        dataset = SporaDataset(root)
        for tissue in dataset.tissues:
            if tissue.tissue_id == tissue_id:
                yield dataset, tissue


def _files(tissue_id: str, stated: str, folders: Iterable[Path]) -> Iterator[Path]:
    """Give the files that may be the image."""
    if stated and Path(stated).exists():
        yield Path(stated)
    for folder in folders:
        named = sorted(folder.glob(f"{glob.escape(tissue_id)}.*"))
        for path in (*named, folder / tissue_id):
            if path.exists() and not looks_like_labels(path) and can_read(path):
                yield path
