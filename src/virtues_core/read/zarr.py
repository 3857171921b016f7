"""OME-Zarr 0.4 and 0.5, and SpatialData stores, which hold OME-Zarr images and labels."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray

from virtues_core.errors import ReadError
from virtues_core.image import MultiplexImage
from virtues_core.read._names import channel_names, pick
from virtues_core.read._planes import as_slices, block_size, blocks

_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "µm": 1.0, "um": 1.0}

_BROKEN = (OSError, ValueError, LookupError, TypeError, RuntimeError)
"""What a damaged store makes zarr and its codecs raise."""


def claims(path: Path) -> bool:
    """Whether the folder is a zarr store with at least one image in it."""
    if not any((path / mark).is_file() for mark in _MARKS):
        return False
    try:
        return bool(_images(path))
    except ReadError:
        return True  # a damaged store: its own error says more than "of another kind"


def names(path: Path) -> tuple[str, ...]:
    """Names of the images in a store.

    Raises
    ------
    ReadError
        Not a zarr store, damaged, or without images.
    """
    return tuple(_found(path))


def read(path: Path, image: str | None = None) -> MultiplexImage:
    """Open an image of a store; its pixels are read when they are needed.

    Parameters
    ----------
    path
        An OME-Zarr image (0.4 or 0.5), a bioformats2raw or SpatialData store of several, or a
        bare (C, Y, X) array.
    image
        Name of the image in a store of several; the first by default.

    Returns
    -------
    MultiplexImage
        Channel names from ``omero``, pixel size from the scale of the finest level.

    Raises
    ------
    ReadError
        Damaged, RGB, with more axes than (C, Y, X), or there is no such image.
    """
    found = _found(path)
    name = list(found)[pick(image, list(found), path)]
    node = found[name]
    try:
        if isinstance(node, zarr.Array):
            levels = [_level(path, node, "cyx"[-node.ndim :])]
            labels: list[str | None] = [None] * int(levels[0].shape[0])
            size = None
        else:
            levels, labels, size = _multiscale(path, node)
    except _BROKEN as error:
        raise ReadError(_damaged(path, error)) from error
    return MultiplexImage(
        pixels=levels[0],
        channels=channel_names(labels, path),
        pixel_size_um=size,
        name=name,
        source=path,
        levels=tuple(levels[1:]),
    )


def read_label_group(path: Path) -> NDArray[Any]:
    """Read OME-Zarr labels: the group of one label image, or an image that has exactly one.

    Parameters
    ----------
    path
        ``image.zarr/labels/cells``, or ``image.zarr``.

    Returns
    -------
    NDArray[Any]
        (Y, X) in the store's own type, at the finest level.

    Raises
    ------
    ReadError
        Damaged, no labels, or several.
    """
    try:
        node = zarr.open(path, mode="r")
    except _BROKEN as error:
        raise ReadError(_damaged(path, error)) from error
    listed = _labels_of(node)
    if len(listed) > 1:
        message = (
            f"expected one label image, found {len(listed)} in {str(path)!r}: "
            f"{', '.join(listed)}; give the path of one, {str(path / 'labels' / listed[0])!r}"
        )
        raise ReadError(message)
    if listed:
        return read_label_group(path / "labels" / listed[0])
    image = read(path)
    if image.shape[0] != 1:
        message = (
            f"expected a label image of one plane, found an image of {image.shape[0]} channels "
            f"without labels: {str(path)!r}; choose its mask instead"
        )
        raise ReadError(message)
    return np.asarray(image.compute()[0])


def _labels_of(node: Any) -> list[str]:
    if isinstance(node, zarr.Array) or "labels" not in node:
        return []
    group = node["labels"]
    listed = _attributes(group).get("labels")
    return [str(n) for n in listed] if listed else sorted(n for n, _ in group.groups())


def _found(path: Path) -> dict[str, Any]:
    found = _images(path)
    if not found:
        message = (
            f"expected an OME-Zarr image (0.4 or 0.5), found a zarr store without one: "
            f"{str(path)!r}; give the path of the image inside it, or export it as OME-Zarr"
        )
        raise ReadError(message)
    return found


def _images(path: Path) -> dict[str, Any]:
    """Images of a store by name: multiscale groups, or the store itself where it is an array."""
    try:
        node = zarr.open(path, mode="r")
        if isinstance(node, zarr.Array):
            return {_stem(path): node} if node.ndim in {2, 3} else {}
        if "multiscales" in _attributes(node):
            return {_stem(path): node}
        return dict(_inside(node))
    except _BROKEN as error:
        raise ReadError(_damaged(path, error)) from error


def _inside(root: Any) -> Iterator[tuple[str, Any]]:
    """Images of a SpatialData store (``images/*``) or a bioformats2raw store (``0``, ``1`` …)."""
    if "images" in root and not isinstance(root["images"], zarr.Array):
        members = sorted(root["images"].groups())
    else:
        members = sorted(
            ((n, g) for n, g in root.groups() if n.isdecimal()), key=lambda item: int(item[0])
        )
    for name, group in members:
        if "multiscales" in _attributes(group):
            yield str(name), group


def _stem(path: Path) -> str:
    return path.name.removesuffix(".zarr").removesuffix(".ome")


def _attributes(node: Any) -> Mapping[str, Any]:
    """OME attributes: under ``ome`` since 0.5, at the top before."""
    attributes = dict(node.attrs)
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _multiscale(
    path: Path, group: Any
) -> tuple[list[da.Array], list[str | None], tuple[float, float] | None]:
    """Levels (C, Y, X), finest first, channel names and pixel size (y, x) in µm."""
    attributes = _attributes(group)
    scales = attributes["multiscales"][0]
    arrays = [group[d["path"]] for d in scales["datasets"]]
    names = [a["name"] if isinstance(a, dict) else a for a in scales.get("axes", "tczyx")]
    levels = [_level(path, array, names) for array in arrays]
    count = int(levels[0].shape[0])
    listed = (attributes.get("omero") or {}).get("channels") or []
    labels = [c.get("label") for c in listed] if len(listed) == count else [None] * count
    return levels, labels, _pixel_size_um(scales, names)


def _pixel_size_um(scales: Mapping[str, Any], names: list[str]) -> tuple[float, float] | None:
    units = {a["name"]: a.get("unit") for a in scales.get("axes", []) if isinstance(a, dict)}
    size = {name: _MICROMETRES.get(str(units.get(name)), math.nan) for name in "yx"}
    transforms = [
        *scales["datasets"][0].get("coordinateTransformations", []),
        *scales.get("coordinateTransformations", []),
    ]
    for transform in transforms:
        if transform.get("type") == "scale" and len(transform["scale"]) == len(names):
            size = {n: size[n] * float(transform["scale"][names.index(n)]) for n in "yx"}
    y, x = size["y"], size["x"]
    return (y, x) if math.isfinite(y * x) and y > 0 and x > 0 else None


def _level(path: Path, array: Any, names: list[str] | str) -> da.Array:
    """One level as a lazy (C, Y, X) array; axes of length one are dropped."""
    extra = [n for n, size in zip(names, array.shape, strict=True) if n not in "cyx" and size > 1]
    if extra or list(names)[-2:] != ["y", "x"]:
        message = (
            f"expected axes (c, y, x), found {', '.join(names)} of shape {array.shape} in "
            f"{str(path)!r}; choose one time point and one z plane (or project them) and export "
            "that"
        )
        raise ReadError(message)
    where = list(names).index("c") if "c" in names else None
    source = _Planes(path, array, where)
    chunks = array.chunks
    channels = 1 if where is None else chunks[where]
    return blocks(source, (channels, *block_size(array.shape[-2:], chunks[-2:])))


class _Planes:
    """A zarr array of any axes that end in y and x, seen as (C, Y, X)."""

    def __init__(self, path: Path, array: Any, channel_axis: int | None) -> None:
        self._path = path
        self._array = array
        self._axis = channel_axis
        count = 1 if channel_axis is None else array.shape[channel_axis]
        self.shape = (int(count), *(int(n) for n in array.shape[-2:]))
        self.dtype = np.dtype(array.dtype).newbyteorder("=")
        self.ndim = 3

    def __getitem__(self, key: tuple[slice | int, ...]) -> NDArray[Any]:
        """Read the block of a slice or a position for each of (C, Y, X)."""
        (channels, rows, columns), kept = as_slices(key)
        where: list[slice | int] = [0] * self._array.ndim
        where[-2:] = [rows, columns]
        if self._axis is not None:
            where[self._axis] = channels
        try:
            block = np.asarray(self._array[tuple(where)])
        except _BROKEN as error:
            raise ReadError(_damaged(self._path, error)) from error
        return np.asarray(block.reshape(-1, *block.shape[-2:])[kept])


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"expected an OME-Zarr store (0.4 or 0.5), found a damaged or incomplete one: "
        f"{str(path)!r} ({type(error).__name__}: {error}); copy or export it again"
    )
