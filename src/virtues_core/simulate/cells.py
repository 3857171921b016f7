"""Cells of a simulated tissue: where they lie, of what type, their shapes and their states."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtues_core.simulate.biology import (
    CELL_TYPES,
    NICHES,
    SPACING_UM,
    STATES,
    cell_shapes,
    composition,
    type_index,
)
from virtues_core.simulate.config import TissueConfig
from virtues_core.simulate.fields import FloatImage, smooth_noise
from virtues_core.simulate.layout import HUB, T_ZONE, TUMOUR, VESSEL, Layout

_LUMEN_CELLS = 0.0012  # chance that a candidate in a vessel's lumen is kept (a blood cell)


@dataclass(frozen=True)
class Cells:
    """N cells; arrays (N,) unless said otherwise, lengths in µm."""

    y: FloatImage
    x: FloatImage
    types: NDArray[np.uint8]
    """Positions in `CELL_TYPES`."""
    niches: NDArray[np.uint8]
    """Positions in `NICHES`."""
    long: FloatImage
    """Half of the long axis."""
    short: FloatImage
    """Half of the short axis."""
    angle: FloatImage
    """Direction of the long axis, radians from the x axis."""
    states: FloatImage
    """(N, len(STATES)), 0 to 1."""

    def take(self, keep: NDArray[np.integer]) -> "Cells":
        """Return the chosen cells, in the order given."""
        return Cells(
            y=self.y[keep],
            x=self.x[keep],
            types=self.types[keep],
            niches=self.niches[keep],
            long=self.long[keep],
            short=self.short[keep],
            angle=self.angle[keep],
            states=self.states[keep],
        )


def draw_cells(rng: np.random.Generator, layout: Layout, config: TissueConfig) -> Cells:
    """Place cells at the density of each niche and give them types, sizes and states."""
    y, x = _place(rng, layout)
    row, column = y.astype(int), x.astype(int)
    niches = layout.niches[row, column]
    types = _draw_types(rng, layout, config, row, column)
    shapes = cell_shapes()
    size = rng.lognormal(0, 0.09, len(y))
    stretch = rng.lognormal(0, 0.10, len(y))
    long, short = shapes.long_um[types] * size * stretch, shapes.short_um[types] * size / stretch
    angle = layout.angle[row, column] + rng.normal(0, 0.25, len(y))
    round_cell = shapes.long_um[types] < 2 * shapes.short_um[types]
    angle = np.where(round_cell, rng.uniform(0, np.pi, len(y)), angle)
    states = _draw_states(rng, layout, config, np.stack([y, x], 1), types)
    return Cells(
        y=y,
        x=x,
        types=types,
        niches=niches,
        long=long.astype(np.float32),
        short=short.astype(np.float32),
        angle=angle.astype(np.float32),
        states=states,
    )


def _spacing(layout: Layout) -> FloatImage:
    spacing = SPACING_UM.astype(np.float32)[layout.niches]
    muscle = (layout.niches == VESSEL) & (layout.wall_distance > 3)
    spacing[muscle] = 6.5
    return np.asarray(spacing, np.float32)


def _place(rng: np.random.Generator, layout: Layout) -> tuple[FloatImage, FloatImage]:
    """Draw a Poisson-disc pattern whose least distance varies over the tissue."""
    spacing = _spacing(layout)
    spacing *= np.exp(0.07 * smooth_noise(rng, spacing.shape, 40))
    chance = 4.5 * 0.7 / spacing**2
    chance[~layout.tissue] = 0
    lumen = layout.wall_distance < 0.3
    chance[lumen] = _LUMEN_CELLS
    chosen = np.flatnonzero(rng.random(spacing.shape, dtype=np.float32) < chance)
    rng.shuffle(chosen)
    row, column = np.divmod(chosen, spacing.shape[1])
    points = np.stack([row, column], 1) + rng.random((len(chosen), 2))
    kept = points[_thin(points, spacing.ravel()[chosen])]
    row_limit, column_limit = spacing.shape[0] - 0.001, spacing.shape[1] - 0.001
    y = np.minimum(kept[:, 0], row_limit).astype(np.float32)
    return y, np.minimum(kept[:, 1], column_limit).astype(np.float32)


def _thin(points: NDArray[np.float64], radius: FloatImage) -> NDArray[np.bool_]:
    """Keep a maximal set of points that are no closer than their radii; earlier points win.

    In each round every point that has no earlier neighbour left is kept and its neighbours go.
    """
    if len(points) == 0:
        return np.zeros(0, bool)
    pairs = cKDTree(points).query_pairs(float(radius.max()), output_type="ndarray")
    first, second = pairs.min(axis=1), pairs.max(axis=1)
    gap = points[first] - points[second]
    least = (radius[first] + radius[second]) / 2
    close = (gap**2).sum(1) < least**2
    first, second = first[close], second[close]
    kept = np.zeros(len(points), bool)
    alive = np.ones(len(points), bool)
    while alive.any():
        blocked = np.zeros(len(points), bool)
        blocked[second] = True
        new = alive & ~blocked
        kept |= new
        alive &= blocked
        alive[second[new[first]]] = False
        going = alive[first] & alive[second]
        first, second = first[going], second[going]
    return kept


def _draw_types(
    rng: np.random.Generator,
    layout: Layout,
    config: TissueConfig,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Draw each cell's type from its niche's composition, types clustering softly in space."""
    niches = layout.niches[row, column]
    table = composition()
    scale = np.ones(len(CELL_TYPES))
    lymphocytes = ("CD4_T", "CD8_T", "Treg", "B", "plasma", "NK")
    scale[[type_index(name) for name in lymphocytes]] = config.infiltration
    scale[[type_index(n) for n in ("macrophage", "M2_macrophage", "neutrophil")]] = config.myeloid
    loose = np.isin(np.arange(len(NICHES)), (TUMOUR, TUMOUR + 1, TUMOUR + 2))
    table[loose] *= scale
    score = np.log(table[niches] + 1e-9)
    for index in range(len(CELL_TYPES)):
        score[:, index] += 0.7 * smooth_noise(rng, layout.niches.shape, 35)[row, column]
    types = np.argmax(score + rng.gumbel(size=score.shape), axis=1).astype(np.uint8)
    wall, muscle = layout.wall_distance[row, column], layout.wall_thickness[row, column]
    vessel = niches == VESSEL
    types[vessel & (wall < 3)] = type_index("endothelial")
    types[vessel & (wall >= 3) & (wall < muscle + 1)] = type_index("smooth_muscle")
    blood = rng.choice([type_index(n) for n in ("neutrophil", "CD4_T", "macrophage")], len(types))
    return np.where(wall < 0.3, blood, types).astype(np.uint8)


def _draw_states(
    rng: np.random.Generator,
    layout: Layout,
    config: TissueConfig,
    points: FloatImage,
    types: NDArray[np.uint8],
) -> FloatImage:
    """Grade the states of each cell from its type, its place and its neighbours: (N, S)."""
    row, column = points[:, 0].astype(int), points[:, 1].astype(int)
    niches, depth = layout.niches[row, column], layout.tumour_depth[row, column]
    chance = rng.random(len(types))
    names = np.array(CELL_TYPES)[types]
    tumour = names == "tumour"
    patchy = smooth_noise(rng, layout.niches.shape, 45)[row, column]
    state = dict.fromkeys(STATES, np.zeros(len(types)))
    dividing = config.proliferation * np.exp(0.5 * patchy - np.maximum(depth, 0) / 90)
    dividing = np.where(tumour, dividing, np.where(niches == HUB, 0.08, 0.02))
    quiet = np.isin(names, ("fibroblast", "smooth_muscle", "neutrophil", "plasma", "mast"))
    state["proliferating"] = np.where(
        chance < dividing * ~quiet, rng.uniform(0.5, 1, len(types)), 0
    )
    killer, helper = names == "CD8_T", names == "CD4_T"
    usual = np.select([niches == HUB, niches == TUMOUR, niches == T_ZONE], [0.85, 0.55, 0.04], 0.15)
    active = (chance < usual) & (killer | (helper & (rng.random(len(types)) < 0.6)))
    state["activated"] = active * rng.uniform(0.4, 1, len(types))
    deep = 1 / (1 + np.exp(-(depth.clip(-99, 999) - 42 - 10 * patchy) / 7))
    state["hypoxic"] = tumour * deep * rng.uniform(0.6, 1, len(types))
    state["interferon"] = _interferon(rng, points, types, killer)
    rim = np.exp(-np.maximum(depth, 0) / 9) / (1 + np.exp(-3 * (patchy - 0.6)))
    state["mesenchymal"] = tumour * rim * rng.uniform(0.3, 1, len(types))
    state["germinal"] = layout.germinal[row, column] & (names == "B")
    return np.stack([state[name] for name in STATES], axis=1).astype(np.float32)


def _interferon(
    rng: np.random.Generator,
    points: FloatImage,
    types: NDArray[np.uint8],
    killer: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Grade the response of tumour, myeloid and stromal cells to the CD8 T cells around them."""
    response = np.zeros(len(types))
    able = np.isin(
        np.array(CELL_TYPES)[types],
        ("tumour", "macrophage", "M2_macrophage", "dendritic", "endothelial"),
    )
    if killer.any() and able.any():
        tree = cKDTree(points[killer])
        near = tree.query_ball_point(points[able], 22.0, return_length=True)
        response[able] = (1 - np.exp(-near / 4)) * rng.uniform(0.5, 1, int(able.sum()))
    return response
