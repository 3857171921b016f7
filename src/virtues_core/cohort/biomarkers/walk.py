"""Tissue by tissue: who is next to whom, and where signatures are densest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.interpret_config import InterpretConfig
from virtues_core.cohort.biomarkers.neighbours import count_neighbours, neighbour_pairs
from virtues_core.cohort.biomarkers.regions import Box, densest_box
from virtues_core.cohort.patients import PatientCells

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Tissues:
    """What was gathered tissue by tissue of S signatures, P patients and K types."""

    neighbours: NDArray[np.int64]
    """(S, P, 2, K, K) as `count_neighbours`."""
    own: NDArray[np.int64]
    """(S, 2) neighbours of a signature's cells: all, and those that belong to it."""
    counts: NDArray[np.int64]
    """(S,) tissues that have it."""
    boxes: tuple[tuple[int, str, int, Box], ...]
    """Signature, tissue, patient, and the densest box there."""
    placeless: int
    """Cells without a place."""


def walk_tissues(
    joined: PatientCells,
    inside: NDArray[np.bool_],
    types: NDArray[np.int32],
    kinds: int,
    config: InterpretConfig,
    progress: Progress | None = None,
) -> Tissues:
    """Go through the tissues once, with the neighbours of one at a time in memory.

    Parameters
    ----------
    joined
        N cells and their patients; those of no patient are left out.
    inside
        (S, N) the cells of each signature.
    types
        (N,) number of each cell's type, -1 where unknown.
    kinds
        K types.
    config
        Who is a neighbour, and how large a region is.
    progress
        Called with tissues done, tissues in all, and what is done.
    """
    many = len(inside)
    neighbours = np.zeros((many, len(joined.patients), 2, kinds, kinds), np.int64)
    own, counts = np.zeros((many, 2), np.int64), np.zeros(many, np.int64)
    boxes: list[tuple[int, str, int, Box]] = []
    placeless = 0
    table = joined.cells.cells
    all_places = table[["x_um", "y_um"]].to_numpy(np.float64)
    parts = list(_parts(joined))
    for done, (name, patient, rows) in enumerate(parts):
        counts += inside[:, rows].any(axis=1)
        placed = rows[np.isfinite(all_places[rows]).all(axis=1)]
        placeless += len(rows) - len(placed)
        places, within = all_places[placed], inside[:, placed]
        pairs = neighbour_pairs(places, radius_um=config.radius_um, nearest=config.nearest)
        if kinds:
            neighbours[:, patient] += count_neighbours(pairs, types[placed], within, kinds)
        of_centre = within[:, pairs[:, 0]]
        own[:, 0] += of_centre.sum(axis=1)
        own[:, 1] += (of_centre & within[:, pairs[:, 1]]).sum(axis=1)
        for s, members in enumerate(within):
            box = densest_box(places, members, config.region_um)
            if box is not None:
                boxes.append((s, name, patient, box))
        if progress is not None:
            progress(done + 1, len(parts), "tissue")
    return Tissues(neighbours, own, counts, tuple(boxes), placeless)


def _parts(joined: PatientCells) -> Iterator[tuple[str, int, NDArray[np.int64]]]:
    """Give each tissue, its patient and its rows; a tissue of several patients in several parts."""
    tissue = joined.cells.cells["tissue_id"].astype("category").cat
    names, count = tissue.categories, len(joined.patients)
    rows = np.flatnonzero(joined.codes >= 0)
    part = tissue.codes.to_numpy().astype(np.int64)[rows] * count + joined.codes[rows]
    order = np.argsort(part, kind="stable")
    found, first = np.unique(part[order], return_index=True)
    for number, own in zip(found, np.split(rows[order], first[1:]), strict=True):
        yield str(names[number // count]), int(number % count), own
