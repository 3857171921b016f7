"""What `interpret` says of S signatures, each as a table."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.composition import compose, standardised_means
from virtues_core.cohort.biomarkers.neighbours import compare_neighbours, false_discovery
from virtues_core.cohort.biomarkers.regions import Box
from virtues_core.cohort.biomarkers.walk import Tissues
from virtues_core.cohort.patients import PatientCells

if TYPE_CHECKING:
    import pandas as pd


def sizes_table(
    joined: PatientCells, names: tuple[str, ...], inside: NDArray[np.bool_], tissues: Tissues
) -> "pd.DataFrame":
    """Say how many cells there are, and in how many patients."""
    import pandas as pd

    total = int((joined.codes >= 0).sum())
    own = tissues.own[:, 1] / np.where(tissues.own[:, 0], tissues.own[:, 0], np.nan)
    return pd.DataFrame(
        {
            "signature": list(names),
            "cells": inside.sum(axis=1),
            "share": inside.sum(axis=1) / max(1, total),
            "patients": [len(np.unique(joined.codes[row])) for row in inside],
            "in_tissues": tissues.counts,
            "own_neighbours": own,
        }
    )


def composition_table(
    joined: PatientCells,
    names: tuple[str, ...],
    inside: NDArray[np.bool_],
    types: NDArray[np.int32],
    kinds: tuple[str, ...],
    seed: int,
) -> "pd.DataFrame":
    """Say which types the cells are of, against the cohort."""
    import pandas as pd

    if not kinds:
        return pd.DataFrame()
    typed = (types >= 0) & (joined.codes >= 0)

    def by_patient(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        cell = joined.codes[rows].astype(np.int64) * len(kinds) + types[rows]
        counts = np.bincount(cell, minlength=len(joined.patients) * len(kinds))
        return counts.reshape(len(joined.patients), len(kinds))

    found = compose(
        np.stack([by_patient(row & typed) for row in inside]), by_patient(typed), seed=seed
    )
    table = _long(names, "cell_type", kinds)
    table["cells"] = found.counts.ravel()
    table["share"] = found.shares.ravel()
    table["cohort_share"] = np.tile(found.cohort, len(names))
    table["change_percent"] = 100 * (found.shares / found.cohort - 1).ravel()
    some = np.isfinite(found.log2_change)
    for name, values in (
        ("log2_change", found.log2_change),
        ("lower", found.lower),
        ("upper", found.upper),
    ):
        table[name] = np.where(some, values, np.nan).ravel()
    return table


def markers_table(
    joined: PatientCells,
    names: tuple[str, ...],
    inside: NDArray[np.bool_],
    seed: int,
    notes: list[str],
) -> "pd.DataFrame":
    """Say how bright each shared marker is; intensities are streamed."""
    import pandas as pd

    markers = joined.cells.markers
    if not markers:
        notes.append("the tables share no marker: no marker profile can be said")
        return pd.DataFrame()
    sums = _sums(joined, inside)
    patients = len(joined.patients)
    found = standardised_means(
        sums[2:],
        np.stack([np.bincount(joined.codes[row], minlength=patients) for row in inside]),
        sums[0],
        sums[1],
        np.bincount(joined.codes[joined.codes >= 0], minlength=patients),
        seed=seed,
    )
    table = _long(names, "marker", markers)
    table["mean"] = found.values.ravel()
    table["lower"], table["upper"] = found.lower.ravel(), found.upper.ravel()
    return table


def _sums(joined: PatientCells, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sum log intensities by patient: (2 + S, P, C) of all, of their squares, of each signature."""
    patients = len(joined.patients)
    sums = np.zeros((2 + len(inside), patients, len(joined.cells.markers)))
    for rows, read in joined.cells.batches(features="intensities"):
        kept = joined.codes[rows] >= 0
        codes, values = joined.codes[rows][kept], read[kept].astype(np.float64)
        sums += _by_patient(values, codes, inside[:, rows][:, kept], patients)
    return sums


def _by_patient(
    values: NDArray[np.float64],
    codes: NDArray[np.integer],
    inside: NDArray[np.bool_],
    patients: int,
) -> NDArray[np.float64]:
    """Sum (n, C) values of the cells of some patients; as `_sums`."""
    from scipy.sparse import csr_matrix

    def summed(chosen: NDArray[np.bool_], of: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = np.flatnonzero(chosen)
        ones = np.ones(len(rows))
        shape = (patients, len(codes))
        return np.asarray(csr_matrix((ones, (codes[rows], rows)), shape=shape) @ of)

    everyone = np.ones(len(codes), bool)
    return np.stack(
        [summed(everyone, values), summed(everyone, values**2)]
        + [summed(row, values) for row in inside]
    )


def neighbours_table(
    names: tuple[str, ...], tissues: Tissues, kinds: tuple[str, ...]
) -> "pd.DataFrame":
    """Compare neighbours inside with those outside; adjusted over all comparisons."""
    import pandas as pd

    if not kinds or not tissues.neighbours.any():
        return pd.DataFrame()
    table = pd.concat(
        [compare_neighbours(tissues.neighbours[s], kinds, name) for s, name in enumerate(names)],
        ignore_index=True,
    )
    for test in ("z", "patient"):
        table[f"{test}_q"] = false_discovery(table[f"{test}_p"].to_numpy())
    return table.sort_values(["patient_p", "z_p"], kind="stable", ignore_index=True)


def regions_table(
    joined: PatientCells, names: tuple[str, ...], tissues: Tissues, most: int
) -> "pd.DataFrame":
    """List the densest region of each of a few patients."""
    import pandas as pd

    rows = []
    for s, signature in enumerate(names):
        boxes = sorted((b for b in tissues.boxes if b[0] == s), key=lambda b: -b[3].inside)
        seen: set[int] = set()
        for _, tissue, patient, box in boxes:
            if patient in seen or len(seen) == most:
                continue
            seen.add(patient)
            rows.append(
                {
                    "signature": signature,
                    "rank": len(seen),
                    "tissue_id": tissue,
                    "patient_id": joined.patients[patient],
                }
                | _corners(box, joined.cells.pixel_um.get(tissue))
                | {"cells_inside": box.inside, "cells": box.cells}
            )
    return pd.DataFrame(rows)


def _corners(box: Box, pixel_um: tuple[float, float] | None) -> dict[str, float]:
    y, x = pixel_um or (np.nan, np.nan)
    ends = {
        "y0": (box.y_um, y),
        "x0": (box.x_um, x),
        "y1": (box.y_um + box.side_um, y),
        "x1": (box.x_um + box.side_um, x),
    }
    um = {f"{name}_um": max(0.0, end) for name, (end, _) in ends.items()}
    return um | {f"{name}_px": round(max(0.0, end) / size, 1) for name, (end, size) in ends.items()}


def _long(names: tuple[str, ...], column: str, values: tuple[str, ...]) -> "pd.DataFrame":
    """One row a signature and value."""
    import pandas as pd

    return pd.DataFrame(
        {"signature": np.repeat(names, len(values)), column: np.tile(values, len(names))}
    )
