"""What signatures are, in a report: types, markers, neighbours; for discovery and for transfer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from virtues_core.cohort.biomarkers.neighbours import ANY
from virtues_core.cohort.patients.results import Results
from virtues_core.report.draw import heat_map, shares, short
from virtues_core.report.figure import MUTED, Figure, color
from virtues_core.report.page import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

COHORT = "all cells"
MOST_NEIGHBOURS = 5
"""The most frequent, as in the paper's figure."""
_SURE = 0.05
TABLES = {
    "signature_sizes": Table(
        "Size of the signatures",
        "How many cells each has, in how many patients and tissues; own_neighbours: share of its "
        "cells' neighbours that belong to it too.",
    ),
    "signature_composition": Table(
        "Cell types of the signatures against the cohort",
        "Change in percent and as log2, with 95 % intervals over patients drawn with replacement. "
        "No log2 where a signature has none.",
    ),
    "signature_neighbours": Table(
        "Neighbours of cells inside a signature and outside it",
        "By type of the cell. z_p takes each pair of neighbours for an observation of its own, as "
        "in the paper: cells of one patient are alike, so it is far too small. patient_p is "
        "Wilcoxon's signed-rank test over patients, where six or more have such cells on both "
        "sides. z_q and patient_q: adjusted (Benjamini–Hochberg).",
    ),
    "signature_regions": Table(
        "Example regions",
        "Where each signature is densest, in a few patients: squares in µm and in pixels of the "
        "image.",
    ),
}


def signature_figures(results: Results) -> tuple[Figure, ...]:
    """Draw the tables of an `Interpretation` that an analysis folder has."""
    drawn = {
        "signature_composition": (_composition, _changes),
        "signature_markers": (_markers,),
        "signature_neighbours": (_neighbours,),
    }
    return tuple(
        make(results.tables[name])
        for name, makers in drawn.items()
        if name in results.tables
        for make in makers
    )


def signature_tables(results: Results) -> dict[str, Table]:
    """Give the tables of an `Interpretation` that are shown, and what is told of them."""
    return {name: told for name, told in TABLES.items() if name in results.tables}


def signature_methods(settings: Mapping[str, Any]) -> str:
    """Say how signatures were looked at; ``radius_um`` and ``nearest`` of the settings."""
    nearest, radius = int(settings.get("nearest", 0)), float(settings.get("radius_um", 20.0))
    who = f"the {nearest} nearest cells" if nearest else f"cells within {radius:g} µm"
    return (
        "Each signature's composition by cell type was compared with that of all cells of the "
        "cohort, and its mean marker intensities (log(1 + x), standardised over all cells); "
        "intervals are percentiles of 1,000 draws of patients with replacement. Neighbours of a "
        f"cell are {who} in its tissue. For each type of cell the proportions of neighbouring "
        "types inside the signature and outside it were compared by two-sample z-tests over pairs "
        "of cells, as in the paper, and by Wilcoxon signed-rank tests over patients; both were "
        "adjusted over all comparisons by Benjamini and Hochberg. A signature that was chosen on "
        "these patients differs from the cohort by choice: the tests say how, not that it matters."
    )


def _wide(table: pd.DataFrame, column: str, values: str) -> pd.DataFrame:
    """One row a signature, columns in order of appearance."""
    order = list(dict.fromkeys(table[column]))
    wide = table.pivot_table(index="signature", columns=column, values=values, dropna=False,
                             observed=False)  # fmt: skip
    return wide.reindex(index=list(dict.fromkeys(table["signature"])), columns=order)


def _composition(table: pd.DataFrame) -> Figure:
    wide = _wide(table, "cell_type", "share")
    cohort = table.drop_duplicates("cell_type").set_index("cell_type")["cohort_share"]
    both = pd.concat([wide, cohort.to_frame(COHORT).T])
    both = both[both.sum().sort_values(ascending=False).index]

    def draw(figure: "Drawing") -> None:
        shares(figure.add_subplot(), both, title="share of cells")

    return Figure(
        "signature-composition",
        "Cell types of the signatures",
        "Share of each cell type among the cells of a signature, and among all cells of the "
        "cohort.",
        draw,
        (6.8, max(2.6, 0.4 * len(both) + 0.16 * len(both.columns) + 0.6)),
    )


def _changes(table: pd.DataFrame) -> Figure:
    wide = _wide(table, "cell_type", "log2_change")

    def draw(figure: "Drawing") -> None:
        names = list(map(str, wide.columns))
        title = "log2 of the ratio"
        heat_map(figure, wide, list(map(str, wide.index)), names, title=title, centred=True)

    return Figure(
        "signature-changes",
        "Cell types against the cohort",
        "1 means twice as common in the signature as in the cohort, -1 half as common; white: the "
        "signature has none. Intervals are in the table.",
        draw,
        _of_heat(wide),
    )


def _markers(table: pd.DataFrame) -> Figure:
    wide = _wide(table, "marker", "mean")

    def draw(figure: "Drawing") -> None:
        title = "standard deviations"
        heat_map(figure, wide, list(map(str, wide.index)), list(map(str, wide.columns)),
                 title=title, centred=True)  # fmt: skip

    return Figure(
        "signature-markers",
        "Markers of the signatures",
        "Mean intensity of the cells of a signature, from the mean of all cells of the cohort. "
        "Markers that all tables share; differences between stainings are in them.",
        draw,
        _of_heat(wide),
    )


def _of_heat(wide: pd.DataFrame) -> tuple[float, float]:
    return 6.8, max(2.4, 0.35 * len(wide) + 1.6)


def _neighbours(table: pd.DataFrame) -> Figure:
    own = table[table["cell_type"] == ANY]
    names = list(dict.fromkeys(own["signature"]))
    columns = min(2, len(names))
    rows = -(-len(names) // columns)

    def draw(figure: "Drawing") -> None:
        panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
        for index, (axes, name) in enumerate(zip(panels, names, strict=False)):
            part = own[own["signature"] == name]
            _around(axes, part, index)
            axes.set_title(short(name))
        for axes in panels[len(names) :]:
            axes.set_visible(False)

    return Figure(
        "signature-neighbours",
        "Who lies around the cells of a signature",
        f"The {MOST_NEIGHBOURS} most frequent types among the neighbours of the signature's cells "
        "(coloured), and their share among the neighbours of all other cells (grey). Filled: the "
        "difference holds between patients (signed-rank test, adjusted, below 0.05); open: it was "
        "not shown, or there are fewer than six patients.",
        draw,
        (6.8, 0.9 + 1.7 * rows),
    )


def _around(axes: "Axes", table: pd.DataFrame, index: int) -> None:
    first = table.sort_values("inside", ascending=False).iloc[:MOST_NEIGHBOURS]
    places = np.arange(len(first))
    sure = (first["patient_q"] < _SURE).to_numpy()
    axes.hlines(places, first["outside"], first["inside"], color=MUTED, lw=1)
    axes.plot(first["outside"], places, "|", color=MUTED, markersize=10, markeredgewidth=2)
    for filled in (True, False):
        part = first[sure == filled]
        face = color(index) if filled else "white"
        axes.plot(part["inside"], places[sure == filled], "o", color=color(index),
                  markerfacecolor=face, markersize=6)  # fmt: skip
    axes.set_yticks(places, [short(name) for name in first["neighbour"]])
    axes.set_ylim(len(first) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("share of neighbours")
