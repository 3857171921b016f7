"""What a signature is: which cells, how bright, among whom, and where to see it.

A signature is a set of cells, found by clustering or carried over from another cohort. Source: the
paper, Methods, "Identification of FM-based biomarkers", last paragraph; Fig. 5f, g; Suppl. Fig. 22.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.interpret_config import InterpretConfig
from virtues_core.cohort.biomarkers.signature_tables import (
    composition_table,
    markers_table,
    neighbours_table,
    regions_table,
    sizes_table,
)
from virtues_core.cohort.biomarkers.walk import Progress, walk_tissues
from virtues_core.cohort.patients import PatientCells
from virtues_core.cohort.table import known_labels
from virtues_core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MOST_TYPES = 30
"""The rarer of more types are taken together."""
OTHER = "other types"


@dataclass(frozen=True, eq=False)
class Interpretation:
    """What was found of S signatures, as tables."""

    sizes: "pd.DataFrame"
    """One row a signature: signature, cells, share (of the cohort's cells), patients and
    in_tissues (that have it), own_neighbours (share of its cells' neighbours that belong to it
    too)."""
    composition: "pd.DataFrame"
    """One row a signature and cell type: signature, cell_type, cells, share, cohort_share,
    change_percent, log2_change (NaN where it has none) with lower and upper (95 %, patients
    drawn)."""
    markers: "pd.DataFrame"
    """One row a signature and marker: signature, marker, mean (in standard deviations of the
    cohort's cells from its mean, after log(1 + x)) with lower and upper."""
    neighbours: "pd.DataFrame"
    """As `compare_neighbours` gives it, with z_q and patient_q (Benjamini-Hochberg over all); the
    surest between patients first."""
    regions: "pd.DataFrame"
    """One row an example: signature, rank, tissue_id, patient_id, y0_um, x0_um, y1_um, x1_um,
    y0_px, x0_px, y1_px, x1_px (NaN where the pixel size is not known), cells_inside, cells."""
    notes: tuple[str, ...] = ()

    @property
    def tables(self) -> "dict[str, pd.DataFrame]":
        """Those that have rows, by the name under which an analysis folder keeps them."""
        found = {
            "signature_sizes": self.sizes,
            "signature_composition": self.composition,
            "signature_markers": self.markers,
            "signature_neighbours": self.neighbours,
            "signature_regions": self.regions,
        }
        return {name: table for name, table in found.items() if len(table)}


def interpret(
    joined: PatientCells,
    members: Mapping[str, NDArray[np.bool_]],
    config: InterpretConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Interpretation:
    """Say what the cells of some signatures are.

    Cells of patients that the analysis is not of are left out. What cannot be said is in the
    notes: composition and neighbours need cell types, neighbours and regions need places.

    Parameters
    ----------
    joined
        N cells and their patients.
    members
        Of each signature, (N,) whether a cell belongs to it. They may overlap.
    config
        Neighbourhood, regions, seed.
    progress
        Called with tissues done, tissues in all, and what is done.

    Raises
    ------
    InputError
        No signature, or one that is not of N truth values.
    """
    config = config or InterpretConfig()
    names, inside = _stacked(members, len(joined.codes))
    inside &= joined.codes >= 0
    notes = [f"{name} has no cells here" for name, row in zip(names, inside, strict=True)
             if not row.any()]  # fmt: skip
    types, kinds = _types(joined, notes)
    tissues = walk_tissues(joined, inside, types, len(kinds), config, progress)
    if tissues.placeless:
        notes.append(f"{tissues.placeless:,} cells have no place: no neighbours and no region")
    return Interpretation(
        sizes=sizes_table(joined, names, inside, tissues),
        composition=composition_table(joined, names, inside, types, kinds, config.seed),
        markers=markers_table(joined, names, inside, config.seed, notes),
        neighbours=neighbours_table(names, tissues, kinds),
        regions=regions_table(joined, names, tissues, config.regions),
        notes=tuple(notes),
    )


def _stacked(
    members: Mapping[str, NDArray[np.bool_]], cells: int
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Give names and (S, N) truth values."""
    if not members:
        message = "expected one signature at the least, found none."
        raise InputError(message)
    rows = {name: np.asarray(row) for name, row in members.items()}
    for name, row in rows.items():
        if row.shape != (cells,) or row.dtype != bool:
            message = (
                f"expected {cells} truth values of signature {name!r}, one a cell, found "
                f"{row.dtype} of shape {row.shape}."
            )
            raise InputError(message)
    return tuple(rows), np.stack(list(rows.values()))


def cell_types(joined: PatientCells) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Give the number of the type of each cell of the analysis, the commonest first.

    Returns
    -------
    numbers
        (N,) -1 where no type is known, and for cells of other patients.
    names
        K; none where the tables have no types.
    """
    table = joined.cells.cells
    none = np.full(len(table), -1, np.int32)
    if "cell_type" not in table:
        return none, ()
    column = table["cell_type"].astype("category")
    names, known = known_labels(column.cat.categories.to_series())
    numbers = column.cat.codes.to_numpy()
    usable = np.append(known, False)[numbers] & (joined.codes >= 0)
    counts = np.bincount(numbers[usable], minlength=len(names))
    order = [i for i in np.argsort(-counts, kind="stable") if counts[i]]
    place = np.full(len(names) + 1, -1, np.int32)
    place[order] = np.arange(len(order))
    return np.where(usable, place[numbers], np.int32(-1)), tuple(str(names[i]) for i in order)


def _types(joined: PatientCells, notes: list[str]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """As `cell_types`, the rarest taken together, and what is lacking noted."""
    numbers, names = cell_types(joined)
    if not names:
        notes.append("no cell has a type: no composition and no neighbours can be said")
        return numbers, ()
    untyped = int((joined.codes >= 0).sum() - (numbers >= 0).sum())
    if untyped:
        notes.append(f"{untyped:,} cells have no type and count in no composition")
    if len(names) > MOST_TYPES:
        notes.append(f"the rarest {len(names) - MOST_TYPES} cell types are taken together")
        return np.minimum(numbers, MOST_TYPES), (*names[:MOST_TYPES], OTHER)
    return numbers, names
