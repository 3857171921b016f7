"""A small picture of a tissue: four markers in four colours, alike for a whole database."""

import math

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel

SIDE_PX = 192
"""Longer side at the most."""
COLOURS: tuple[tuple[tuple[float, float, float], tuple[str, ...]], ...] = (
    ((0.25, 0.35, 1.0), ("stain:dna", "P68431")),
    ((0.0, 0.85, 0.3), ("P02533", "P05787", "P13647", "P08729", "P08727", "P12830")),
    ((1.0, 0.2, 0.15), ("P08575", "P07766", "P01732", "P01730", "P11836", "P34810")),
    ((0.85, 0.65, 0.1), ("P62736", "P08670", "P02452")),
)
"""Colour and the marker keys that are shown in it, the first that is there: nuclei blue (DNA,
histone H3); epithelium green (keratins, E-cadherin); immune cells red (CD45, CD3, CD8, CD4, CD20,
CD68); stroma yellow (smooth muscle actin, vimentin, collagen I)."""
_UPPER = 0.99
"""Quantile that is full brightness."""
_GAMMA = 0.7


def thumbnail(image: MultiplexImage, panel: Panel | None = None) -> bytes:
    """Make the picture.

    Parameters
    ----------
    image
        Raw counts or intensities.
    panel
        What its channels are; from their names by default. Where none is of the markers above, the
        first channels are shown.

    Returns
    -------
    bytes
        PNG, RGB, of 192 px on its longer side at the most.
    """
    import imagecodecs

    shown = _chosen(image, panel or Panel.from_names(image.channels))
    planes = _small(image, [channel for channel, _ in shown])
    picture = np.zeros((*planes.shape[1:], 3))
    for plane, (_, colour) in zip(planes, shown, strict=True):
        top = float(np.quantile(plane, _UPPER)) or float(plane.max())
        if top > 0:
            picture += np.clip(plane / top, 0, 1)[..., None] ** _GAMMA * np.array(colour)
    pixels = (255 * np.clip(picture, 0, 1)).round().astype(np.uint8)
    return bytes(imagecodecs.png_encode(pixels))


def _chosen(image: MultiplexImage, panel: Panel) -> list[tuple[int, tuple[float, float, float]]]:
    """Choose a channel for each colour."""
    keys = [panel[name].key if name in panel.names else None for name in image.channels]
    found = []
    for colour, markers in COLOURS:
        there = [keys.index(marker) for marker in markers if marker in keys]
        if there:
            found.append((there[0], colour))
    first = [(i, colour) for i, (colour, _) in zip(range(image.shape[0]), COLOURS, strict=False)]
    return found or first


def _small(image: MultiplexImage, channels: list[int]) -> NDArray[np.float64]:
    """Average some channels down: (C', y, x), NaN and what is negative as 0."""
    levels = [level for level in image.levels if max(level.shape[1:]) >= SIDE_PX]
    pixels = (levels[-1] if levels else image.pixels)[channels]
    step = math.ceil(max(pixels.shape[1:]) / SIDE_PX)
    steps = {1: min(step, pixels.shape[1]), 2: min(step, pixels.shape[2])}
    small = da.coarsen(np.mean, pixels, steps, trim_excess=True)
    values = np.asarray(small.compute(scheduler="threads"), dtype=np.float64)
    return np.maximum(np.nan_to_num(values, posinf=0), 0)
