"""From cells to pixels: the label image and maps of nuclei, membranes, cytoplasm and fibres."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from virtues_core.simulate.biology import cell_shapes
from virtues_core.simulate.cells import Cells
from virtues_core.simulate.fields import FloatImage, smooth_noise, streamline_noise
from virtues_core.simulate.layout import MARGIN, STROMA, SUPPRESSIVE, VESSEL, Layout

_LEAST_PX = 10  # a cell that is left with fewer pixels is not there


def draw_labels(
    rng: np.random.Generator, cells: Cells, shape: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Give every pixel to the cell whose ellipse it lies deepest in.

    Parameters
    ----------
    rng
        Source of randomness, for irregular outlines.
    cells
        N cells.
    shape
        (Y, X) in px.

    Returns
    -------
    labels
        int32 (Y, X), 0 between cells, else 1 … K, each label one connected piece.
    kept
        (K,) which cell each label is; cells squeezed out by others are missing.
    """
    wobble = (smooth_noise(rng, shape, 5) * 0.9, smooth_noise(rng, shape, 5) * 0.9)
    best = np.full(shape[0] * shape[1], np.iinfo(np.int64).max, np.int64)
    half = np.ceil(np.maximum(cells.long, cells.short) + 1).astype(int)
    for low, high in ((0, 8), (8, 12), (12, 64)):
        group = np.flatnonzero((half > low) & (half <= high))
        if len(group):
            _stamp(best, cells, group, int(half[group].max()), wobble)
    owner = (best & 0xFFFFF).reshape(shape) + 1
    labels = np.where(best.reshape(shape) == np.iinfo(np.int64).max, 0, owner)
    return _tidy(labels.astype(np.int32), len(cells.y))


def _stamp(
    best: NDArray[np.int64],
    cells: Cells,
    group: NDArray[np.int64],
    half: int,
    wobble: tuple[FloatImage, FloatImage],
) -> None:
    """Lower `best`, (distance, cell) in one number, where a cell of the group is nearer."""
    height, width = wobble[0].shape
    reach = np.arange(-half, half + 1)
    row = cells.y[group].astype(int)[:, None, None] + reach[None, :, None]
    column = cells.x[group].astype(int)[:, None, None] + reach[None, None, :]
    row, column = np.broadcast_arrays(row, column)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    which = np.broadcast_to(group[:, None, None], row.shape)[inside]
    pixel = (row * width + column)[inside]
    y = row[inside] + 0.5 + wobble[0].ravel()[pixel] - cells.y[which]
    x = column[inside] + 0.5 + wobble[1].ravel()[pixel] - cells.x[which]
    cosine, sine = np.cos(cells.angle)[which], np.sin(cells.angle)[which]
    along = (x * cosine + y * sine) / cells.long[which]
    across = (y * cosine - x * sine) / cells.short[which]
    distance = along**2 + across**2
    covered = distance < 1
    key = (distance[covered] * 2**30).astype(np.int64) << 20 | which[covered]
    np.minimum.at(best, pixel[covered], key)


def _tidy(labels: NDArray[np.int32], count: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Keep the largest piece of each cell, drop cells of a few pixels, number the rest from 1."""
    pieces: NDArray[np.int64] = measure.label(  # type: ignore[no-untyped-call]
        labels, connectivity=1, background=0
    )
    area = np.bincount(pieces.ravel())
    cell_of = np.zeros(len(area), np.int64)
    cell_of[pieces.ravel()] = labels.ravel()
    area[0] = 0
    order = np.argsort(area, kind="stable")
    largest = np.zeros(count + 1, np.int64)
    largest[cell_of[order]] = order
    largest[0] = 0
    kept = np.flatnonzero(area[largest] >= _LEAST_PX)
    number = np.zeros(len(area), np.int32)
    number[largest[kept]] = np.arange(1, len(kept) + 1)
    return number[pieces], kept - 1


@dataclass(frozen=True)
class StainMaps:
    """How strongly each part of the tissue takes a stain, float32 (Y, X), about 0 to 1."""

    compartments: dict[str, FloatImage]
    """nuclear, membrane, cytoplasm, granule: to be multiplied by the cell's level."""
    fibre: FloatImage
    """Collagen fibres between cells."""
    basement: FloatImage
    """Basement membrane around nests and vessels."""
    texture: FloatImage
    """Fine unevenness of stains, mean 1."""


def draw_stain_maps(
    rng: np.random.Generator, labels: NDArray[np.int32], cells: Cells, layout: Layout
) -> StainMaps:
    """Draw where in and between the cells each kind of stain lies.

    Parameters
    ----------
    rng
        Source of randomness.
    labels
        int32 (Y, X), 1 … K, in the order of `cells`.
    cells
        K cells.
    layout
        The architecture they lie in.
    """
    inside = labels > 0
    nucleus = _nuclei(rng, labels, cells)
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differs = np.diff(labels, axis=axis) != 0
        pad = ((0, 1), (0, 0)) if axis == 0 else ((0, 0), (0, 1))
        edge |= np.pad(differs, pad) | np.pad(differs, tuple(p[::-1] for p in pad))
    texture = np.exp(0.22 * smooth_noise(rng, labels.shape, 1.6) - 0.024)
    specks = np.maximum(smooth_noise(rng, labels.shape, 1.7) + 0.2, 0) ** 1.5
    membrane = np.where(edge, 1.0, 0.38 - 0.16 * nucleus) * inside
    cytoplasm = (1 - 0.8 * nucleus) * inside
    compartments = {
        "nuclear": nucleus * texture,
        "membrane": membrane,
        "cytoplasm": cytoplasm,
        "granule": cytoplasm * specks * 1.5,
    }
    return StainMaps(
        compartments={name: part.astype(np.float32) for name, part in compartments.items()},
        fibre=_fibres(rng, inside, layout),
        basement=_basement(rng, layout),
        texture=texture.astype(np.float32),
    )


def _nuclei(rng: np.random.Generator, labels: NDArray[np.int32], cells: Cells) -> FloatImage:
    """Soft-edged nuclei, each within its own cell."""
    shapes = cell_shapes()
    count = len(cells.y)
    direction = rng.uniform(0, 2 * np.pi, count)
    offset = shapes.eccentric[cells.types] * cells.short * rng.uniform(0.4, 1, count)
    missing = rng.random(count) < 0.04  # the section misses some nuclei
    long = cells.long * shapes.nucleus_long[cells.types]
    short = cells.short * shapes.nucleus[cells.types]
    table = np.zeros((count + 1, 6), np.float32)
    table[1:, 0] = cells.y + offset * np.sin(direction)
    table[1:, 1] = cells.x + offset * np.cos(direction)
    table[1:, 2], table[1:, 3] = np.cos(cells.angle), np.sin(cells.angle)
    table[1:, 4], table[1:, 5] = long, np.where(missing, 0.3, 1.0) * short
    row, column = np.nonzero(labels)
    of_pixel = table[labels[row, column]]
    y, x = row + np.float32(0.5) - of_pixel[:, 0], column + np.float32(0.5) - of_pixel[:, 1]
    along = (x * of_pixel[:, 2] + y * of_pixel[:, 3]) / of_pixel[:, 4]
    across = (y * of_pixel[:, 2] - x * of_pixel[:, 3]) / of_pixel[:, 5]
    depth = (1 - np.hypot(along, across)) * np.sqrt(of_pixel[:, 4] * of_pixel[:, 5])
    nucleus = np.zeros(labels.shape, np.float32)
    nucleus[row, column] = 1 / (1 + np.exp(-4 * depth.clip(-8, 8)))
    return nucleus


def _fibres(rng: np.random.Generator, inside: NDArray[np.bool_], layout: Layout) -> FloatImage:
    amount = np.array([0.0, 0.02, 1.0, 0.9, 0.6, 0.03, 0.08, 0.3, 0.7], np.float32)
    weight = ndimage.gaussian_filter(amount[layout.niches], 2.0)
    weight *= np.exp(0.5 * smooth_noise(rng, inside.shape, 50))
    muscle = (layout.wall_distance < layout.wall_thickness + 2) | (layout.wall_distance < 1)
    weight = np.where(muscle, 0.05, weight)
    wavy = layout.angle + np.float32(0.25) * smooth_noise(rng, inside.shape, 16)
    streak = streamline_noise(rng, wavy, 14)
    strand = np.maximum(streak + 0.35, 0) ** 1.4
    covered = ndimage.gaussian_filter(inside.astype(np.float32), 0.7)
    return np.asarray(weight * strand * (1 - 0.65 * covered) * 0.6, np.float32)


def _basement(rng: np.random.Generator, layout: Layout) -> FloatImage:
    around_nests = np.exp(-((layout.tumour_depth + 1) ** 2) / 3)
    outer = layout.wall_distance - np.maximum(layout.wall_thickness, 2.5)
    around_vessels = np.where(layout.wall_distance > 1, np.exp(-(outer**2) / 4), 0)
    stroma = np.isin(layout.niches, (STROMA, MARGIN, SUPPRESSIVE, VESSEL))
    gaps = 1 / (1 + np.exp(-3 * (smooth_noise(rng, layout.niches.shape, 18) + 0.8)))
    sheet = np.maximum(around_nests * gaps, around_vessels) + 0.06 * stroma
    return np.asarray(sheet * layout.tissue, np.float32)
