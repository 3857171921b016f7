"""The architecture of a simulated tissue: where its niches, vessels and fibres lie."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from virtues_core.simulate.biology import NICHES
from virtues_core.simulate.config import TissueConfig
from virtues_core.simulate.fields import FloatImage, smooth_noise

(
    BACKGROUND, TUMOUR, STROMA, MARGIN, VESSEL, FOLLICLE, T_ZONE, HUB, SUPPRESSIVE,
) = range(len(NICHES))  # fmt: skip

_MARGIN_UM = 22.0
_FAR = np.float32(1e4)


@dataclass(frozen=True)
class Layout:
    """Where things are; every array is (Y, X), 1 µm per pixel."""

    tissue: NDArray[np.bool_]
    """True where there is tissue (the inside of vessels counts as tissue)."""
    niches: NDArray[np.uint8]
    """Positions in `NICHES`."""
    tumour_depth: FloatImage
    """Distance from the border of the tumour nests in µm, positive inside."""
    wall_distance: FloatImage
    """Distance from the inner surface of the nearest vessel in µm, negative in its lumen."""
    wall_thickness: FloatImage
    """Thickness in µm of the muscle of the nearest vessel; 0 for capillaries."""
    angle: FloatImage
    """Direction of elongated cells and fibres, radians from the x axis."""
    germinal: NDArray[np.bool_]
    """True in germinal centres."""


def draw_layout(rng: np.random.Generator, shape: tuple[int, int], config: TissueConfig) -> Layout:
    """Draw the architecture of one tissue.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        (Y, X) in px of 1 µm.
    config
        How much there is of what.
    """
    tissue = _draw_tissue(rng, shape, config)
    depth = _signed_depth(_draw_nests(rng, shape, tissue, config))
    niches = np.where(depth > 0, TUMOUR, STROMA).astype(np.uint8)
    niches[(depth <= 0) & (depth > -_MARGIN_UM)] = MARGIN
    germinal = _draw_aggregates(rng, niches, depth, tissue, config)
    wall, thickness, vessel_angle = _draw_vessels(rng, niches, tissue, config)
    cuff = (wall < thickness + 9) & (niches == TUMOUR)
    niches[cuff] = STROMA
    niches[wall < thickness + 3] = VESSEL
    _draw_planted(rng, niches, depth, tissue, config)
    niches[~tissue] = BACKGROUND
    near_vessel = wall < thickness + 8
    angle = np.where(near_vessel, vessel_angle, _fibre_angle(rng, shape, depth))
    return Layout(
        tissue=tissue,
        niches=niches,
        tumour_depth=np.where(cuff, np.float32(-1), depth).astype(np.float32),
        wall_distance=wall,
        wall_thickness=thickness,
        angle=angle.astype(np.float32),
        germinal=germinal & (niches == FOLLICLE),
    )


def _top(field: FloatImage, allowed: NDArray[np.bool_], pixels: float) -> NDArray[np.bool_]:
    """Mark the `pixels` highest values of a field among the allowed ones."""
    values = field[allowed]
    count = min(round(pixels), values.size)
    if count == 0:
        return np.zeros(field.shape, bool)
    threshold = np.partition(values, values.size - count)[values.size - count]
    return np.asarray(allowed & (field >= threshold))


def _draw_tissue(
    rng: np.random.Generator, shape: tuple[int, int], config: TissueConfig
) -> NDArray[np.bool_]:
    everything = np.ones(shape, bool)
    if config.tissue_fraction >= 1:
        return everything
    y, x = np.indices(shape, np.float32)
    side = rng.uniform(0, 2 * np.pi)
    slope = np.cos(side) * (x / shape[1]) + np.sin(side) * (y / shape[0])
    edge = slope * 4 + 0.35 * smooth_noise(rng, shape, 70, octaves=4)
    return _top(edge.astype(np.float32), everything, config.tissue_fraction * edge.size)


def _draw_nests(
    rng: np.random.Generator,
    shape: tuple[int, int],
    tissue: NDArray[np.bool_],
    config: TissueConfig,
) -> NDArray[np.bool_]:
    field = smooth_noise(rng, shape, config.nest_scale_um, octaves=3)
    field += 0.06 * smooth_noise(rng, shape, 9)
    nests = _top(field, tissue, config.tumour_fraction * tissue.sum())
    return np.asarray(ndimage.binary_opening(nests, iterations=2))


def _signed_depth(inside: NDArray[np.bool_]) -> FloatImage:
    if not inside.any():
        return np.full(inside.shape, -_FAR, np.float32)
    depth = -ndimage.distance_transform_edt(~inside).astype(np.float32)
    if inside.all():
        return np.full(inside.shape, _FAR, np.float32)
    within = ndimage.distance_transform_edt(inside)
    return np.asarray(np.where(inside, within, depth), np.float32)


def _draw_aggregates(
    rng: np.random.Generator,
    niches: NDArray[np.uint8],
    depth: FloatImage,
    tissue: NDArray[np.bool_],
    config: TissueConfig,
) -> NDArray[np.bool_]:
    """Put lymphoid aggregates into the stroma: a B-cell core in a T-cell zone."""
    shape = niches.shape
    germinal = np.zeros(shape, bool)
    wanted = config.lymphoid_fraction * tissue.sum()
    ripple = 0.16 * smooth_noise(rng, shape, 28, octaves=2)
    y, x = np.indices(shape, np.float32)
    free = tissue & (depth < -6)
    for _ in range(40):
        if wanted < 600 or not free.any():
            break
        radius = min(rng.uniform(0.7, 1.3) * config.aggregate_radius_um, np.sqrt(wanted / np.pi))
        roomy = free & (depth < -0.8 * radius)
        choice = np.flatnonzero(roomy if roomy.any() else free)
        centre_y, centre_x = np.unravel_index(rng.choice(choice), shape)
        turn, squash = rng.uniform(0, np.pi), rng.uniform(1, 1.4)
        along = (x - centre_x) * np.cos(turn) + (y - centre_y) * np.sin(turn)
        across = (y - centre_y) * np.cos(turn) - (x - centre_x) * np.sin(turn)
        distance = np.hypot(along / squash, across * squash) / radius + ripple
        zone = (distance < 1) & free
        shift = rng.uniform(-0.12, 0.12)
        core = (distance + shift * across / radius < 0.62) & free
        niches[zone], niches[core] = T_ZONE, FOLLICLE
        if radius > 35:
            germinal |= (distance + shift < 0.3) & core
        free &= distance > 1.15
        wanted -= zone.sum()
    return germinal


def _vessel_courses(
    rng: np.random.Generator, niches: NDArray[np.uint8], tissue: NDArray[np.bool_], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatImage, FloatImage]:
    """Rows and columns of points on the axes of vessels, with lumen radius and muscle there."""
    shape = niches.shape
    weight = np.where((niches == STROMA) | (niches == MARGIN), 1.0, 0.0)
    weight[(niches == T_ZONE)] = 0.5
    weight[~tissue] = 0
    if weight.sum() == 0:
        weight = tissue.astype(float)
    start = rng.choice(niches.size, size=count, p=(weight / weight.sum()).ravel())
    large = rng.random(count) < 0.24
    radius = np.where(large, rng.uniform(6, 13, count), rng.uniform(2.5, 4.5, count))
    muscle = np.where(large, rng.uniform(5, 9, count), 0.0)
    along = rng.random(count) < 0.4
    length = np.where(along, rng.uniform(40, 110, count), radius * rng.uniform(0.1, 1.2, count))
    step = np.linspace(-0.5, 0.5, 240)[None]
    heading = rng.uniform(0, 2 * np.pi, (count, 1)) + rng.uniform(-2, 2, (count, 1)) * step
    moves = (length / step.size)[:, None]
    row = (start // shape[1])[:, None] + np.cumsum(np.sin(heading) * moves, axis=1)
    column = (start % shape[1])[:, None] + np.cumsum(np.cos(heading) * moves, axis=1)
    row, column = np.round(row).astype(int), np.round(column).astype(int)
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    spread = np.broadcast_to(radius[:, None], row.shape)[inside].astype(np.float32)
    thick = np.broadcast_to(muscle[:, None], row.shape)[inside].astype(np.float32)
    return row[inside], column[inside], spread, thick


def _draw_vessels(
    rng: np.random.Generator,
    niches: NDArray[np.uint8],
    tissue: NDArray[np.bool_],
    config: TissueConfig,
) -> tuple[FloatImage, FloatImage, FloatImage]:
    """Distance from vessel lumens, muscle thickness, and the direction along their walls."""
    shape = niches.shape
    count = int(rng.poisson(config.vessels_per_mm2 * tissue.sum() * 1e-6))
    if count == 0:
        zero = np.zeros(shape, np.float32)
        return np.full(shape, _FAR, np.float32), zero, zero
    row, column, radius, muscle = _vessel_courses(rng, niches, tissue, count)
    off_axis = np.ones(shape, bool)
    off_axis[row, column] = False
    radius_at, muscle_at = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    radius_at[row, column], muscle_at[row, column] = radius, muscle
    distance, nearest = ndimage.distance_transform_edt(off_axis, return_indices=True)
    wall = distance.astype(np.float32) - radius_at[tuple(nearest)]
    wall += 0.9 * smooth_noise(rng, shape, 8)
    smoothed = ndimage.gaussian_filter(wall, 1.5)
    gradient_y, gradient_x = np.gradient(smoothed)
    return wall, muscle_at[tuple(nearest)], np.arctan2(gradient_x, -gradient_y)


def _draw_planted(
    rng: np.random.Generator,
    niches: NDArray[np.uint8],
    depth: FloatImage,
    tissue: NDArray[np.bool_],
    config: TissueConfig,
) -> None:
    """Put the two neighbourhoods that outcomes can depend on into the stroma near the tumour."""
    near = np.exp(np.minimum(depth, 0) / 60)
    for niche, fraction in ((HUB, config.hub_fraction), (SUPPRESSIVE, config.suppressive_fraction)):
        field = smooth_noise(rng, niches.shape, 30, octaves=2) + 0.8 * near.astype(np.float32)
        room = tissue & ((niches == STROMA) | (niches == MARGIN))
        wanted = min(fraction * tissue.sum(), 0.45 * room.sum())
        niches[_top(field, room, wanted)] = niche


def _fibre_angle(rng: np.random.Generator, shape: tuple[int, int], depth: FloatImage) -> FloatImage:
    """Directions that run around the nests and swirl between them."""
    potential = 40 * smooth_noise(rng, shape, 130) + 9 * smooth_noise(rng, shape, 40)
    if -_FAR < depth.min() < 0 < depth.max() < _FAR:
        around = np.exp(-np.abs(depth) / 30)
        potential += ndimage.gaussian_filter(depth, 3) * around * 3
    gradient_y, gradient_x = np.gradient(potential)
    return np.asarray(np.arctan2(gradient_x, -gradient_y), np.float32)
