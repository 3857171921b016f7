"""Label images: cells, regions, tissue. TIFF, PNG, ``.npz`` (key ``mask``) and OME-Zarr labels."""

import zipfile
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import ReadError

NPZ_KEY = "mask"


def read_labels(path: Path | str, shape: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Read a label image.

    Parameters
    ----------
    path
        A TIFF or PNG of one plane, an ``.npz`` with an array ``mask``, or an OME-Zarr label group
        (or an image with one label group).
    shape
        (Y, X) of the image that the labels belong to, in pixels; checked if given.

    Returns
    -------
    NDArray[np.int32]
        (Y, X), 0 = background.

    Raises
    ------
    ReadError
        The file is missing, damaged, of another kind, of another size, or holds something other
        than whole numbers from 0.
    """
    path = Path(path)
    if not path.exists():
        message = f"expected a label image, found nothing at {str(path)!r}; check the path"
        raise ReadError(message)
    labels = _whole_numbers(_load(path), path)
    _check_size(labels.shape, shape, path)
    return labels


def open_labels(
    path: Path | str, shape: tuple[int, int] | None = None
) -> "NDArray[np.int32] | da.Array":
    """Open a label image without reading it, where the file allows that.

    Parameters
    ----------
    path, shape
        As `read_labels` takes them.

    Returns
    -------
    dask.array.Array or numpy.ndarray
        (Y, X) int32, 0 = background; of a TIFF lazy, checked block by block as it is read.

    Raises
    ------
    ReadError
        As `read_labels`; what is wrong inside of a TIFF is found when it is read.
    """
    from virtues_core.read import tiff

    path = Path(path)
    if not path.is_file() or path.suffix.lower() in {".npz", ".png"} or not tiff.claims(path):
        return read_labels(path, shape)
    plane = _one_plane(path)
    _check_size(plane.shape, shape, path)
    checked: da.Array = plane.map_blocks(_whole_numbers, path, dtype=np.int32)  # type: ignore[arg-type]
    return checked


def _load(path: Path) -> NDArray[Any]:
    if path.is_dir():
        from virtues_core.read.zarr import read_label_group

        return read_label_group(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _load_npz(path)
    if suffix == ".png":
        return _load_png(path)
    from virtues_core.read import tiff

    if not tiff.claims(path):
        message = (
            f"expected a label image (TIFF, PNG, .npz with the key {NPZ_KEY!r}, OME-Zarr labels), "
            f"found another kind of file: {str(path)!r}"
        )
        raise ReadError(message)
    plane: Any = _one_plane(path)
    return np.asarray(plane.compute(scheduler="threads"))


def _one_plane(path: Path) -> da.Array:
    from virtues_core.read import tiff

    image = tiff.read(path)
    if image.shape[0] != 1:
        message = (
            f"expected a label image of one plane, found {image.shape[0]} planes in "
            f"{str(path)!r}; choose the mask file, not the image"
        )
        raise ReadError(message)
    plane: da.Array = image.pixels[0]
    return plane


def _check_size(found: tuple[int, ...], shape: tuple[int, int] | None, path: Path) -> None:
    if shape is not None and found != tuple(shape):
        message = (
            f"expected labels of the image's size {tuple(shape)} (y, x) px, found {found} "
            f"in {str(path)!r}; choose the mask made for this image, at the same resolution"
        )
        raise ReadError(message)


def _load_npz(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if NPZ_KEY not in arrays:
                message = (
                    f"expected an array {NPZ_KEY!r} in {str(path)!r}, found "
                    f"{', '.join(arrays) or 'none'}; save it with numpy.savez(..., mask=labels)"
                )
                raise ReadError(message)
            return np.asarray(arrays[NPZ_KEY])
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        message = (
            f"expected an .npz of plain arrays, found one that cannot be read: {str(path)!r} "
            f"({error}); save it again with numpy.savez_compressed (objects are never unpickled)"
        )
        raise ReadError(message) from error


def _load_png(path: Path) -> NDArray[Any]:
    import imagecodecs

    try:
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    except (OSError, RuntimeError, ValueError) as error:
        message = (
            f"expected a PNG, found one that cannot be read: {str(path)!r} ({error}); save it again"
        )
        raise ReadError(message) from error


def _whole_numbers(values: NDArray[Any], path: Path) -> NDArray[np.int32]:
    values = values.squeeze() if values.ndim > 2 else values
    if values.ndim != 2:
        found = f"an array of shape {values.shape}"
    elif values.dtype.kind == "b" or values.size == 0:
        return values.astype(np.int32)
    elif values.dtype.kind not in "uif":
        found = f"values of type {values.dtype}"
    elif values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        found = "values with fractions or NaN"
    elif values.min() < 0:
        found = f"the value {values.min():g}"
    elif values.max() > np.iinfo(np.int32).max:
        found = f"the value {values.max():g}"
    else:
        return values.astype(np.int32)
    message = (
        f"expected labels (Y, X) as whole numbers from 0 to {np.iinfo(np.int32).max}, found "
        f"{found} in {str(path)!r}; save the label image, not a picture of it"
    )
    raise ReadError(message)
