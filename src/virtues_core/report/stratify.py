"""What is told of a stratification: risk out of fold first, then as in the paper."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from virtues_core.report import draw
from virtues_core.report.figure import MUTED, Figure, color
from virtues_core.report.numbers import number, p_value, with_interval
from virtues_core.report.page import Content, Table

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

    from virtues_core.cohort.patients.results import Results

    Drawing = matplotlib.figure.Figure

MOST_STATES = 12
"""On either side of the figure of states."""
_VARIED = {
    "seed": "other seeds of the states",
    "groups": "other numbers of groups",
    "folds": "other splits into folds",
}
TABLES = {
    "comparisons": Table(
        "Ways to tell risk",
        "Log-rank tests, and concordance with the 95 % interval over patients drawn anew, their "
        "risk as it is.",
    ),
    "mean_survival": Table(
        "Mean survival", "Up to the horizon, in the unit of time, with 95 % intervals."
    ),
    "groups": Table(
        "Groups of patients",
        "Found without survival; more events than expected make the risk high, in all patients "
        "(on data) or in the other folds.",
    ),
    "cox": Table(
        "Cox models of risk and covariates",
        "The interval of high risk takes the groups as given: out of fold it is too narrow, for "
        "folds share most of their patients; on the data it says nothing, for the groups were "
        "chosen to differ. High risk has no p-value here: out of fold that is the permutations'. "
        "proportional_p: small where the ratio changes.",
    ),
    "structures": Table(
        "Risk ratios of structures",
        "How much more often a structure is in patients of high risk; survival alone: patients "
        "who died or were censored early, without regard to tissue.",
    ),
    "stability": Table(
        "The analysis made another way", "Adjusted Rand index with the groups reported."
    ),
    "states": Table(
        "States of cells", "Mean share in patients of high and low risk (out of fold)."
    ),
    "patients": Table("Patients"),
}


def content(results: "Results") -> Content:
    """Say what a report of a stratification tells.

    Parameters
    ----------
    results
        Of ``virtues stratify``.
    """
    tables = results.tables
    figures = [
        _curves(tables["survival"], "risk", results),
        _chance(results),
        _curves(tables["survival_on_data"], "risk_on_data", results),
        _curves(tables["survival_by_group"], "group", results),
        _cox(tables["cox"]),
        *_structures(tables.get("structures")),
        _stability(tables["stability"]),
        _states(tables["states"]),
        _cells(results),
        *_structure_maps(results),
        _patients(results),
    ]
    return Content(
        "Risk groups from the states of cells",
        _headline(results),
        tuple(figure for figure in figures if figure is not None),
        {name: told for name, told in TABLES.items() if name in tables or name == "patients"},
        _methods(results.summary),
    )


def _headline(results: "Results") -> tuple[str, ...]:
    summary, stability = results.summary, results.tables["stability"]
    low, high = summary["concordance_interval"]
    splits = stability.loc[stability["varied"] == "folds", "concordance"]
    on_data = summary["chosen_on_data"]
    told = f"log-rank {p_value(summary['logrank_p'])} by permutation"
    if summary["logrank_p"] is None:
        told = "no p-value, for a risk group has too few events"
    return (
        f"Risk told by other patients: {told}, concordance "
        f"{with_interval(summary['concordance'], low, high)}; with other splits into folds "
        f"{number(splits.min())} to {number(splits.max())}.",
        f"The {len(summary['groups'])} groups, not merged and found without survival: log-rank "
        f"{p_value(summary['groups_logrank_p'])}.",
        f"Risk chosen on the data, as in the paper: log-rank {p_value(on_data['logrank_p'])}, "
        f"concordance {number(on_data['concordance'])}. The groups were merged so that they "
        "differ in these very patients: this p-value is no evidence.",
        f"{summary['patients']:,} patients, {summary['events']:,} with the event, "
        f"{summary['cells_analysed']:,} cells.",
    )


def _curves(table: "pd.DataFrame", by: str, results: "Results") -> Figure:
    title, caption = {
        "risk": (
            "Survival by risk, told by other patients",
            "Each patient's risk is that of the group, judged in the other folds alone.",
        ),
        "risk_on_data": (
            "Survival by risk, chosen on the data (paper)",
            "The groups were merged by the survival of these patients: curves like these come "
            "apart also where tissue tells nothing.",
        ),
        "group": (
            "Survival by group",
            "Groups of patients of like composition, found without survival.",
        ),
    }[by]
    named = table.astype({by: str})
    named[by] = ("group " if by == "group" else "") + named[by] + ("" if by == "group" else " risk")
    column = results.summary.get("columns", {}).get("time") or "time"

    def fill(figure: "Drawing") -> None:
        draw.survival_curves(figure, named, by=by, time=f"time ({column})")

    return Figure(
        f"survival-{by.replace('_', '-')}", title,
        f"{caption} Kaplan–Meier with 95 % bands at each time by itself; marks: censored.", fill,
    )  # fmt: skip


def _chance(results: "Results") -> Figure:
    drawn = results.tables["permutations"]["statistic"]
    observed = float(results.summary["logrank_signed_root"])

    def fill(figure: "Drawing") -> None:
        draw.chance(
            figure.add_subplot(), drawn, observed,
            title="root of the log-rank statistic, above 0: high risk fares worse",
        )  # fmt: skip

    return Figure(
        "chance", "What chance makes of it",
        "The groups were dealt anew to the patients and merged out of fold each time. The p-value "
        "is the share that did as well.", fill, (6.4, 2.8),
    )  # fmt: skip


def _cox(table: "pd.DataFrame") -> Figure | None:
    own = table[(table["told"] == "out of fold") & table["hazard_ratio"].notna()]
    if own.empty:
        return None
    return _intervals(
        "cox", "Hazard ratios, risk told by other patients", own["term"], own, "hazard_ratio",
        "hazard ratio",
        "Cox model of all terms together, 95 % intervals; categories against the most frequent. "
        "The interval of high risk takes the groups as given, so that it is too narrow.",
    )  # fmt: skip


def _structures(table: "pd.DataFrame | None") -> list[Figure]:
    if table is None:
        return []
    own = table[table["told"] == "out of fold"]
    return [
        _intervals(
            "structures", "Tissue structures in patients of high risk", own["structure"], own,
            "ratio", "risk ratio",
            "Above 1: more often in patients of high risk, told by other patients; 95 % intervals. "
            "A dash: in nobody, or in everybody.",
        )
    ]  # fmt: skip


def _intervals(
    name: str, title: str, labels: Any, table: "pd.DataFrame", value: str, axis: str, caption: str
) -> Figure:
    def fill(figure: "Drawing") -> None:
        draw.intervals(
            figure.add_subplot(), list(labels), table[value], table["lower"], table["upper"],
            title=f"{axis} (95 % interval)",
        )  # fmt: skip

    return Figure(name, title, caption, fill, (6.4, 1.0 + 0.32 * len(table)))


def _stability(table: "pd.DataFrame") -> Figure:
    def fill(figure: "Drawing") -> None:
        axes = figure.add_subplot()
        axes.axhline(0.5, color=MUTED, ls="--", lw=1)
        for index, (varied, title) in enumerate(_VARIED.items()):
            own = table[table["varied"] == varied]
            axes.plot(
                own["adjusted_rand"], own["concordance"], "osD"[index], color=color(index),
                label=f"{title} ({len(own)})", alpha=0.8,
            )  # fmt: skip
        axes.set(xlabel="adjusted Rand index with the groups reported", ylabel="concordance")
        axes.set_xlim(right=1.03)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")

    return Figure(
        "stability", "What hangs on seeds, groups and folds",
        "Each point is the whole analysis made another way, its concordance out of fold; the line "
        "is chance. Points far apart: do not believe one of them.", fill, (6.4, 3.2),
    )  # fmt: skip


def _states(table: "pd.DataFrame") -> Figure | None:
    known = table[table["log2_ratio"].notna()]
    if known.empty:
        return None
    lowest = min(MOST_STATES, max(0, len(known) - MOST_STATES))
    chosen = np.r_[: min(MOST_STATES, len(known)), len(known) - lowest : len(known)]
    shown = known.take(chosen)
    kinds = [f" ({kind})" for kind in shown["cell_type"]] if "cell_type" in shown else None
    labels = [f"state {state}" for state in shown["state"]]

    def fill(figure: "Drawing") -> None:
        draw.bars(
            figure.add_subplot(),
            [a + b for a, b in zip(labels, kinds or [""] * len(labels), strict=True)],
            shown["log2_ratio"],
            colors=[color(0) if value > 0 else color(1) for value in shown["log2_ratio"]],
            title="log2 of mean share in high over low risk",
        )

    return Figure(
        "states", "States that part the risk groups",
        f"{len(shown)} of {len(table)} states, with their commonest cell type where it is known. "
        "Shares only: no test was made of each.", fill, (6.4, 1.0 + 0.22 * len(shown)),
    )  # fmt: skip


def _cells(results: "Results") -> Figure:
    table = results.tables["map_cells"]
    return _plane(
        "cells", "Cells by their tokens", table, (table["risk"].astype(str) + " risk"),
        f"{len(table):,} of {results.summary['cells_analysed']:,} cells, coloured by their "
        "patient's risk; contours around 50 % and 90 % of the cells.",
    )  # fmt: skip


def _structure_maps(results: "Results") -> list[Figure]:
    """Where cells of structures lie, for each column of cells that tells of them."""
    table = results.tables["map_cells"]
    names = [c for c in results.summary["settings"]["structures"] if c in table]
    found = []
    for index, name in enumerate(names):
        named = table[name].fillna("").astype(str)
        found.append(
            _plane(
                f"structures-{index + 1}", f"Cells by {name}", table,
                named.where(named != "", "none"),
                "The same cells, coloured by structure; contours as above.",
            )
        )  # fmt: skip
    return found


def _patients(results: "Results") -> Figure:
    table = results.tables["map_patients"]
    return _plane(
        "patients", "Patients by composition", table, "group " + table["group"].astype(str),
        "Each point a patient, laid out by the shares of states.", contours=False,
    )  # fmt: skip


def _plane(
    name: str,
    title: str,
    table: "pd.DataFrame",
    groups: "pd.Series[Any]",
    caption: str,
    *,
    contours: bool = True,
) -> Figure:
    def fill(figure: "Drawing") -> None:
        axes = figure.add_subplot()
        draw.points(axes, table["x"], table["y"], groups.to_numpy(), contours=contours)
        axes.set(xticks=[], yticks=[])

    drawing: Callable[[Any], None] = fill
    return Figure(name, title, caption, drawing)


def _methods(summary: Any) -> str:
    own = summary["settings"]
    adjusted = summary.get("columns", {}).get("covariates") or []
    extra = f", adjusted for {', '.join(adjusted)}" if adjusted else ""
    layout = "UMAP" if own["layout"] == "umap" else "principal components"
    return (
        f"Tokens of cells were parted into {own['states']} states by k-means, found among up to "
        f"{own['fit_cells']:,} cells; all cells were given the nearest. Each patient is the share "
        f"of each state among the patient's cells of all tissues; patients were parted into "
        f"{own['groups']} groups by k-means of these. No survival was used so far.\n\n"
        "A group is of high risk where it has more events than the log-rank test expects. Out of "
        f"fold this is judged in {own['folds']} folds of patients by the other folds alone; on "
        "the data, as in the paper, in all patients at once. The p-value out of fold is the share "
        f"of {own['permutations']:,} permutations, the one observed among them, in each of which "
        "the groups are dealt anew to the patients and merged again, with a log-rank statistic as "
        "large in the same direction.\n\n"
        "Curves are Kaplan–Meier estimates with bands by the log(−log) transform; mean survival "
        "up to a horizon has Greenwood's variance; concordance is Harrell's with the middle 95 % "
        f"of {own['bootstrap']} draws of patients; hazard ratios are Cox's with Efron's ties"
        f"{extra}, checked by scaled Schoenfeld residuals against the rank of time; risk ratios "
        f"have Katz' interval. A structure is there with {own['structure_cells']} of its cells. "
        "No p-value is given where a group, or a category of the Cox model, has fewer than five "
        "events.\n\n"
        f"To see what hangs on choices, the analysis was made with {own['seeds']} seeds of the "
        f"states, with other numbers of groups and with other folds. Maps: {layout}."
    )
