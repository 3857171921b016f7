"""OME-TIFF (pyramids too), ImageJ and plain multi-page TIFF."""

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dask.array as da
import numpy as np
import tifffile

from virtues_core.errors import ReadError
from virtues_core.image import MultiplexImage
from virtues_core.read._directories import missing_part
from virtues_core.read._names import channel_names, pick, unique
from virtues_core.read._planes import DECODING_ERRORS, Plane, PlaneStack, damaged, lazy

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".tf2", ".qptiff")

_RGB = {tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR, tifffile.PHOTOMETRIC.CIELAB}
_MICROMETRES = {
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}


def claims(path: Path) -> bool:
    """Whether the file begins as a TIFF does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def names(path: Path) -> tuple[str, ...]:
    """Names of the images (series) of a TIFF; a pyramid is one image.

    Raises
    ------
    ReadError
        The file is not a TIFF or is truncated.
    """
    with _open(path) as tiff:
        return _names(path, _series(path, tiff))


def read(path: Path, image: str | None = None) -> MultiplexImage:
    """Open one image of a TIFF; its pixels are read when they are needed.

    Parameters
    ----------
    path
        The file.
    image
        Name of the image in a file of several; the first by default.

    Returns
    -------
    MultiplexImage
        ``pixels`` (C, Y, X) in the file's type, ``levels`` of the pyramid if there is one.

    Raises
    ------
    ReadError
        Not a TIFF, truncated, RGB, or with more axes than (C, Y, X).
    """
    with _open(path) as tiff:
        series = _series(path, tiff)
        image_names = _names(path, series)
        index = pick(image, image_names, path)
        try:
            pixels, *levels = [_pixels(path, tiff, level) for level in series[index].levels]
            found, pixel_size = _metadata(tiff, series, index, int(pixels.shape[0]))
        except DECODING_ERRORS as error:
            raise ReadError(damaged(path, str(error))) from error
        return MultiplexImage(
            pixels=pixels,
            channels=channel_names(found, path),
            pixel_size_um=pixel_size,
            name=image_names[index],
            source=path,
            levels=tuple(levels),
        )


def _open(path: Path) -> tifffile.TiffFile:
    try:
        missing = missing_part(path)
        if missing:
            raise ReadError(damaged(path, missing))
        return tifffile.TiffFile(path)
    except DECODING_ERRORS as error:
        raise ReadError(damaged(path, str(error))) from error


def _series(path: Path, tiff: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    try:
        series = list(tiff.series)
    except DECODING_ERRORS as error:
        raise ReadError(damaged(path, str(error))) from error
    if not series:
        raise ReadError(damaged(path, "no image in it"))
    return series


def _names(path: Path, series: list[tifffile.TiffPageSeries]) -> tuple[str, ...]:
    if len(series) == 1:
        return (stem(path),)
    return unique([s.name for s in series], stem(path))


def stem(path: Path) -> str:
    """File name without its ending, ``.ome.tiff`` counting as one ending."""
    return path.stem.removesuffix(".ome")


def _pixels(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> da.Array:
    """One level of a series as a lazy (C, Y, X) array."""
    page = series.keyframe
    _check_axes(path, series, page)
    height, width = page.imagelength, page.imagewidth
    count = math.prod(series.shape) // (height * width)
    dtype = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
    start = series.dataoffset
    if start is not None and "S" not in page.axes:
        step = height * width * dtype.itemsize
        _check_end(path, start + count * step, tiff.filehandle.size)
        planes = [Plane(path, start + i * step, contiguous=True) for i in range(count)]
    else:
        planes = _page_planes(path, tiff, series, count)
    segment = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    return lazy(PlaneStack(planes, (height, width), dtype), (min(segment[0], height), segment[1]))


def _page_planes(
    path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, count: int
) -> list[Plane]:
    """Find each plane's directory and check that its pixels lie within the file."""
    planes: list[Plane] = []
    pages = list(series.pages)
    samples = count // len(pages) if pages else 1
    for number, page in enumerate(pages):
        if page is None:
            found = f"plane {number + 1} of {len(pages)} is missing"
            raise ReadError(damaged(path, found))
        handle = page.parent.filehandle
        ends = zip(page.dataoffsets, page.databytecounts, strict=True)
        _check_end(path, max((a + b for a, b in ends), default=0), handle.size)
        file = path if page.parent is tiff else Path(handle.path)
        planes += [
            Plane(file, page.offset, sample=i if samples > 1 else None) for i in range(samples)
        ]
    if len(planes) != count:
        raise ReadError(damaged(path, f"{len(planes)} planes where {count} are declared"))
    return planes


def _check_end(path: Path, end: int, size: int) -> None:
    if end > size:
        raise ReadError(damaged(path, f"{size} bytes where its pixels need {end}"))


def _check_axes(path: Path, series: tifffile.TiffPageSeries, page: Any) -> None:
    if page.photometric in _RGB and page.samplesperpixel <= 4 and page.samplesperpixel > 1:
        message = (
            f"expected one plane a channel, found an RGB picture: {str(path)!r} "
            f"(axes {series.axes}, shape {series.shape}); export the channels as separate planes, "
            "with their names, as OME-TIFF"
        )
        raise ReadError(message)
    if page.dtype is None or page.dtype.kind not in "uifb":
        message = (
            f"expected pixels that are whole or real numbers, found {page.dtype} in "
            f"{str(path)!r}; export the image again as uint16 or float32"
        )
        raise ReadError(message)
    long = [a for a, n in zip(series.axes, series.shape, strict=True) if a not in "YX" and n > 1]
    if len(long) > 1 or not {"Y", "X"} <= set(page.axes):
        message = (
            f"expected one plane a channel, axes (C, Y, X), found axes {series.axes} of shape "
            f"{series.shape} in {str(path)!r}; choose one time point and one z plane (or project "
            "them) and export that"
        )
        raise ReadError(message)


def _metadata(
    tiff: tifffile.TiffFile, series: list[tifffile.TiffPageSeries], index: int, count: int
) -> tuple[list[str | None], tuple[float, float] | None]:
    """Names of ``count`` channels, None where there are none, and the pixel size (y, x) in µm."""
    if tiff.is_ome and tiff.ome_metadata:
        return _ome_metadata(tiff.ome_metadata, index, count)
    page = series[index].keyframe
    if tiff.is_imagej and tiff.imagej_metadata is not None:
        labels = tiff.imagej_metadata.get("Labels") or []
        unit = tiff.imagej_metadata.get("unit")
        found = list(labels) if len(labels) == count else [None] * count
        return found, _resolution_um(page, _MICROMETRES.get(str(unit)))
    unit_um = 1e4 if page.resolutionunit == tifffile.RESUNIT.CENTIMETER else None
    pages = list(series[index].pages)
    found = [_page_name(p) for p in pages] if len(pages) == count else [None] * count
    return found, _resolution_um(page, unit_um)


def _ome_metadata(
    xml: str, index: int, count: int
) -> tuple[list[str | None], tuple[float, float] | None]:
    """Channel names and pixel size (y, x) in µm of image ``index`` of an OME-XML text."""
    root = ElementTree.fromstring(xml)
    images = root.findall("{*}Image")
    pixels = images[index].find("{*}Pixels") if index < len(images) else None
    if pixels is None:
        return [None] * count, None
    found: list[str | None] = [c.get("Name") for c in pixels.findall("{*}Channel")]
    sizes = [
        float(pixels.get(f"PhysicalSize{a}", "nan"))
        * _MICROMETRES.get(pixels.get(f"PhysicalSize{a}Unit", "µm"), math.nan)
        for a in "YX"
    ]
    known = all(math.isfinite(s) and s > 0 for s in sizes)
    return (
        found if len(found) == count else [None] * count,
        (sizes[0], sizes[1]) if known else None,
    )


def _page_name(page: Any) -> str | None:
    """PageName tag (285), where acquisition software writes the channel."""
    tags = page.aspage().tags if isinstance(page, tifffile.TiffFrame) else page.tags
    value = tags.valueof(285)
    return str(value) if value else None


def _resolution_um(page: Any, unit_um: float | None) -> tuple[float, float] | None:
    """Pixel size (y, x) in µm from the resolution tags, given the unit's length in µm."""
    per_unit = [page.tags.valueof(code) for code in (283, 282)]  # YResolution, XResolution
    if unit_um is None or any(not v or not v[0] or not v[1] for v in per_unit):
        return None
    y, x = (unit_um * below / above for above, below in per_unit)
    return y, x
