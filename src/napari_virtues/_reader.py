"""npe2 readers: multiplexed images, and label images.

Both look inside a file before they claim it, and no file is claimed by both: napari asks a
plugin's readers in no particular order.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_virtues.colors import default_colors, first_channels
from napari_virtues.layers import channel_layer, load_channel
from napari_virtues.state import AppState, ChannelDisplay
from virtues_core.errors import VirtuesError
from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel
from virtues_core.read import can_read, read_image, read_labels

LayerData = tuple[Any, ...]
Reader = Callable[[str | Sequence[str]], list[LayerData]]
_NOTHING: list[LayerData] = [(None,)]  # napari's word for "read, but no layer comes of it"
_NAMED_LIKE_LABELS = re.compile(
    r"(?:^|[^a-z])(?:masks?|labels?|cells?|instances?|segmentations?|regions?)(?:[^a-z]|$)"
)


def get_image_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader of multiplexed images, or None where the path holds none."""
    one = _one(path)
    if one is None or looks_like_labels(one) or not can_read(one):
        return None
    return read_image_layers


def get_labels_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader of label images, or None where the path holds none."""
    one = _one(path)
    return read_labels_layers if one is not None and looks_like_labels(one) else None


def read_image_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Read a file's first image: the nuclear stain and the first proteins, a layer each.

    The other channels are ticked in the *Images* dock, which finds the image by the layers'
    metadata. Errors that the user can mend are shown as a notification.
    """
    try:
        return opening_layers(read_image(Path(_one(path) or "")))
    except VirtuesError as error:
        return _tell(error)


def opening_layers(image: MultiplexImage) -> list[LayerData]:
    """Return the layers that an image opens with: four at the most."""
    panel = Panel.from_names(image.channels)
    colors = default_colors(panel)
    return [
        channel_layer(image, load_channel(image, channel), ChannelDisplay(colors[channel]))
        for channel in first_channels(panel)
    ]


def read_labels_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Read a label image; where images are open it must have the size of one of them."""
    one = Path(_one(path) or "")
    try:
        shapes = _open_shapes()
        labels = read_labels(one)
        if shapes and labels.shape not in shapes:
            labels = read_labels(one, next(iter(shapes)))
    except VirtuesError as error:
        return _tell(error)
    attributes = {"name": one.name.split(".")[0], "opacity": 0.5, **shapes.get(labels.shape, {})}
    return [(labels, attributes, "labels")]


def looks_like_labels(path: Path) -> bool:
    """Whether a file or folder is a label image: one plane of whole numbers, named like one.

    A TIFF of 32-bit whole numbers needs no telling name; an ``.npz`` needs an array ``mask``.
    """
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            return path.parent.name == "labels" and any(
                (path / mark).is_file() for mark in (".zattrs", "zarr.json")
            )
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return "mask" in arrays.files
        if suffix in (".tif", ".tiff"):
            return _tiff_of_labels(path)
    except (OSError, ValueError, EOFError):
        return False
    return suffix == ".png" and _named_like_labels(path) and path.is_file()


def _tiff_of_labels(path: Path) -> bool:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            shape = [n for n in series.shape if n != 1]
            if len(shape) > 2 or series.dtype is None or series.dtype.kind not in "ui":
                return False
            return series.dtype.itemsize >= 4 or _named_like_labels(path)
    except (tifffile.TiffFileError, IndexError):
        return False


def _named_like_labels(path: Path) -> bool:
    return _NAMED_LIKE_LABELS.search(path.name.split(".")[0].lower()) is not None


def _open_shapes() -> dict[tuple[int, int], dict[str, Any]]:
    """Return (Y, X) of the images open in this window, the active one first → scale and units."""
    from napari import current_viewer
    from napari_virtues.layers import placement

    viewer = current_viewer()
    if viewer is None:
        return {}
    state = AppState.of(viewer)
    shapes: dict[tuple[int, int], dict[str, Any]] = {}
    for image in sorted(state.images, key=lambda image: image is not state.active):
        shapes.setdefault(image.image.shape[1:], placement(image.image))
    return shapes


def _tell(error: VirtuesError) -> list[LayerData]:
    from napari.utils.notifications import show_error

    show_error(str(error))
    return _NOTHING


def _one(path: str | Sequence[str]) -> Path | None:
    """Return the only path; None for a stack of files."""
    if isinstance(path, str):
        return Path(path)
    return Path(path[0]) if len(path) == 1 else None
