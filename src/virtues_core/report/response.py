"""The report of a response: distances between times, barycentres, where they move."""

from typing import TYPE_CHECKING

import pandas as pd

from virtues_core.cohort.patients.results import Results
from virtues_core.report.draw import density_contours, short
from virtues_core.report.figure import INK, MUTED, Figure, color
from virtues_core.report.numbers import number, p_value
from virtues_core.report.page import Content, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

TABLES = {
    "comparisons": Table(
        "Responders against non-responders",
        "Mann–Whitney's test, two-sided, and adjusted for the pairs of times (Holm). A dash: fewer "
        "than five patients in a group.",
    ),
    "distances": Table(
        "Distance between a patient's cells at two times",
        "Low to high: 95 % interval of the draws of cells. Beside it that of the same cells dealt "
        "out to the times at random (shuffled), and what is beyond it (excess).",
    ),
    "displacements": Table(
        "Medians of the barycentres, and how they move",
        "Medians (x, y) and moves (dx, dy) with 95 % intervals over draws of patients. A dash: "
        "fewer than five patients at a time.",
    ),
}


def content(results: Results) -> Content:
    """Say what is told of a measured response."""
    pairs = results.summary["pairs"]
    return Content(
        title="Response between time points",
        headline=tuple(_sentence(pair, pairs) for pair in pairs),
        figures=(_distances(results), _barycentres(results)),
        tables={name: told for name, told in TABLES.items() if name in results.tables},
        methods=_methods(results),
    )


def adjusted(pair: "dict[str, object]", pairs: "list[dict[str, object]]") -> str:
    """Say what is left of a pair's p-value among several pairs; nothing where there is one."""
    if len(pairs) < 2 or "p_excess_holm" not in pair:
        return ""
    return f" ({p_value(pair['p_excess_holm'])} adjusted for {len(pairs)} pairs of times)"


def _sentence(pair: "dict[str, object]", pairs: "list[dict[str, object]]") -> str:
    told = (
        f"From {pair['from']} to {pair['to']} the cells of {pair['patients']} patients lie "
        f"{number(pair['median_excess'])} apart beyond what chance makes of the same cells dealt "
        f"out to the times at random (median; the distance itself is "
        f"{number(pair['median_distance'])})"
    )
    if "p_excess" in pair:
        told += (
            f"; responders against non-responders {p_value(pair['p_excess'])}"
            f"{adjusted(pair, pairs)}, AUC "
            f"{number(pair['auc_excess'])} (distance itself: {p_value(pair['p_distance'])})"
        )
    return f"{told}."


def _distances(results: Results) -> Figure:
    table = results.tables["distances"]
    pairs = list(table.groupby(["from", "to"], sort=False))

    def draw(figure: "Drawing") -> None:
        panels = figure.subplots(1, len(pairs), sharey=True, squeeze=False)[0]
        for axes, ((start, end), own) in zip(panels, pairs, strict=True):
            _one_pair(axes, own)
            axes.set_title(f"{short(start)} → {short(end)}")
        panels[0].set_ylabel("distance")

    return Figure(
        "distances",
        "Distance between times",
        "Each point is a patient, the bar the median of its group; grey: the same cells dealt out "
        "to "
        "the two times at random. Distances of few cells are larger; grey points show by how much.",
        draw,
        (max(3.4, min(6.8, 2.4 * len(pairs))), 3.6),
    )


def _one_pair(axes: "Axes", table: pd.DataFrame) -> None:
    groups = sorted(table["group"].fillna("").unique())
    for place, name in enumerate(groups):
        own = table[table["group"].fillna("") == name]
        spread = pd.Series(range(len(own)), index=own.index) % 9 / 36 - 0.11
        axes.plot(place + spread - 0.15, own["distance"], "o", color=color(place), markersize=4)
        axes.plot(place + spread + 0.25, own["shuffled"], "o", color=MUTED, markersize=3)
        axes.hlines(own["distance"].median(), place - 0.32, place + 0.02, color=INK)
    axes.set_xticks(
        range(len(groups)), [short(name or "no outcome") for name in groups], rotation=15
    )
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_ylim(bottom=0)


def _barycentres(results: Results) -> Figure:
    points = results.tables["barycentres"]
    times = results.summary["timepoints"]
    groups = list(dict.fromkeys(points["group"]))
    moves = results.tables.get("displacements", pd.DataFrame(columns=["group"]))

    def draw(figure: "Drawing") -> None:
        panels = figure.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
        for axes, group in zip(panels, groups, strict=True):
            own = points[points["group"] == group]
            for index, time in enumerate(times):
                places = own.loc[own["timepoint"].astype(str) == str(time), ["x", "y"]].to_numpy()
                axes.plot(*places.T, "o", color=color(index), markersize=2, alpha=0.35,
                          markeredgewidth=0)  # fmt: skip
                axes.plot([], [], "o", color=color(index), label=short(time))
                density_contours(axes, places, color(index))
            for move in moves[moves["group"] == group].to_dict("records"):
                axes.annotate(
                    "", (move["x"] + move["dx"], move["y"] + move["dy"]), (move["x"], move["y"]),
                    arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.6,
                                "shrinkA": 0, "shrinkB": 0},
                )  # fmt: skip
            axes.set_title(short(group))
            axes.set(xticks=[], yticks=[], aspect="equal")
        panels[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")

    return Figure(
        "barycentres",
        "Where the groups' cells lie, and move",
        f"{results.summary['settings']['points']} points of each group's Wasserstein barycentre in "
        f"the {results.summary['settings']['method'].upper()} plane, with contours around 50 % and "
        "90 % of them; arrows join the medians of consecutive times. Lengths in such a plane are "
        "no "
        "distances between tokens.",
        draw,
        (max(3.8, min(6.8, 3.1 * len(groups) + 0.6)), 3.4),
    )


def _methods(results: Results) -> str:
    own = results.summary["settings"]
    return (
        "For each patient and two times the entropy-regularised 2-Wasserstein distance was "
        "computed "
        "between the tokens of the cells of all tissues then and later, W² = Σ π (C − ε log π), "
        "where C are squared Euclidean distances and π is Sinkhorn's plan at ε = "
        f"{own['epsilon']:g} (POT; iterations stabilised in the logarithm and begun from the exact "
        f"plan). Of more than {own['cells']:,} cells at a time, {own['draws']} draws of so many "
        "were "
        "averaged; the interval is Student's over the draws and says nothing of other tissue of "
        "the "
        "patient. Distances between samples are larger than those between what is sampled: the "
        "same "
        "cells dealt out to the two times at random give the distance of no change (shuffled), and "
        "excess is sqrt(max(0, W² − shuffled²)).\n\n"
        f"One of {own['thin']} cells (at most {own['map_cells']:,} in all) was laid out in a plane "
        f"({own['method'].upper()}). For each group and time the free-support Wasserstein "
        "barycentre "
        f"of the patients' distributions was computed with {own['points']} points of equal weight "
        "(Cuturi and Doucet 2014). Displacements are differences of the medians of consecutive "
        f"times; their intervals are percentiles over {own['bootstrap']:,} draws of patients, for "
        "which a barycentre is one step of the algorithm from that of all."
    )
