"""The report of a transfer: whether the score orders patients, survival of strata, signatures."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from virtues_core.cohort.biomarkers.strata import strata_names
from virtues_core.cohort.patients.results import Results
from virtues_core.report.draw import intervals, shares, survival_curves
from virtues_core.report.figure import Figure
from virtues_core.report.numbers import number, p_value, with_interval
from virtues_core.report.page import Content, Table
from virtues_core.report.signatures import (
    signature_figures,
    signature_methods,
    signature_tables,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

TABLES = {
    "strata": Table("Strata", "Patients of each, those with follow-up, and their events."),
    "concordances": Table(
        "Concordance with survival",
        "How often, of two patients who can be compared, the one with more of the score lives "
        "longer (of ratios: with less); 0.5 is chance. 95 % intervals draw patients anew.",
    ),
    "hazards": Table(
        "Cox models of the score, alone and beside covariates",
        "Hazard ratio of one unit of R more, below 1 where more goes with longer life. A small "
        "proportional_p: the ratio changes with time.",
    ),
    "forests": Table(
        "Forests on held-out cells of the cohort they were fitted on",
        "Patients: of patients that the forest never saw; that is the honest row. Cells: of the "
        "same patients, as in the paper. Precision: as common as members are; "
        "precision_balanced: with as many others as members.",
    ),
    "labels": Table("Cells of each signature by the values of a clinical column"),
}


def content(results: Results) -> Content:
    """Say what is told of a transfer."""
    tables = {name: told for name, told in TABLES.items() if name in results.tables}
    figures = [_survival(results), _concordance(results)]
    if "labels" in results.tables:
        figures.append(_labels(results.tables["labels"], str(results.summary["settings"]["by"])))
    return Content(
        title="Signatures carried to another cohort",
        headline=_headline(results),
        figures=(*figures, *signature_figures(results)),
        tables=tables | signature_tables(results),
        methods=f"{_methods(results)}\n\n{signature_methods(results.summary['settings'])}",
    )


def _headline(results: Results) -> tuple[str, ...]:
    summary = results.summary
    low, high = summary["concordance_interval"]
    told = [
        "Concordance of the signature score R with survival: "
        f"{with_interval(summary['concordance'], low, high)}; 0.5 is chance, and above it patients "
        "with more of the response signatures live longer."
    ]
    first, _, last = summary["strata"]
    counted = "; ".join(
        f"{one['stratum']}: {number(one['events'])} events among {number(one['followed'])} patients"
        for one in (first, last)
    )
    if summary["logrank_p"] is None:
        told.append(f"{counted}. No p-value: {summary['why_no_p']}.")
    else:
        told.append(f"{counted}; log-rank test {p_value(summary['logrank_p'])}.")
    for one in summary["signatures"]:
        told.append(_signature(one))
    return tuple(told)


def _signature(one: dict[str, Any]) -> str:
    score = one["held_out"]
    whose = "other patients" if score["held_out"] == "patients" else "the same patients"
    return (
        f"{one['name']} ({one['direction']}): {number(one['cells'])} cells here "
        f"({number(100 * one['share'], 2)} %, {number(100 * one['share_where_found'], 2)} % where "
        f"it was found); its forest told cells of {whose} there with AUROC "
        f"{number(score['auroc'])}, precision {number(score['precision'])}, recall "
        f"{number(score['recall'])}."
    )


def _survival(results: Results) -> Figure:
    curves = results.tables["curves"]
    unit = str(results.summary["columns"]["time"])

    def draw(figure: "Drawing") -> None:
        survival_curves(figure, curves, by="stratum", time=unit)

    return Figure(
        "survival",
        "Survival by stratum",
        "Kaplan–Meier estimates with 95 % bands. Borders and score were fixed before survival was "
        "looked at; the test compares the two extremes.",
        draw,
        (6.4, 4.6),
    )


def _concordance(results: Results) -> Figure:
    table = results.tables["concordances"]

    def draw(figure: "Drawing") -> None:
        intervals(
            figure.add_subplot(), list(table["score"].astype(str)), table["concordance"],
            table["lower"], table["upper"], reference=0.5, log=False, title="concordance",
        )  # fmt: skip

    return Figure(
        "concordance",
        "Concordance with survival",
        "With 95 % intervals over patients; the dashed line is chance. Ratios are of tumour cells "
        "to lymphocytes, by tertile, and count the other way: fewer tumour cells, longer life.",
        draw,
        (6.4, 1.2 + 0.4 * len(table)),
    )


def _labels(table: pd.DataFrame, column: str) -> Figure:
    wide = table.pivot_table(index="signature", columns="value", values="share", sort=False)
    cohort = table.drop_duplicates("value").set_index("value")["cohort_share"]
    both = pd.concat([wide, cohort.to_frame("all cells").T])

    def draw(figure: "Drawing") -> None:
        shares(figure.add_subplot(), both, title=f"share of cells by {column}")

    return Figure(
        "labels",
        f"Signatures by {column}",
        "Share of each signature's cells that is of patients with each value; a patient with many "
        "cells weighs more.",
        draw,
        (6.8, 1.4 + 0.4 * len(both)),
    )


def _methods(results: Results) -> str:
    own = results.summary["settings"]
    low, middle, high = strata_names(own["names"])
    return (
        "For each signature a random forest (200 trees, Gini, bootstrap, depth 16 at the most) was "
        "fitted on tokens of the cohort that it was found in, on as many other cells as members, "
        "with a fifth of the cells held out; another forest of the same kind was fitted without a "
        "fifth of the patients and scored on those. A cell of this cohort is a member where more "
        "than half of the trees say so. Shares of a patient's cells were ranked 0 (absent) to 3 "
        "(tertiles of the positive, of these patients). R is the sum of the ranks of response "
        f"signatures less that of non-response signatures. Strata are {high} (R > "
        f"{own['high_above']:g}), {low} (R < {own['low_below']:g}) and {middle}, to which scores "
        "on a border belong: the paper leaves them out. The paper calls R > 2 high-risk and R < -1 "
        "low-risk, although R counts what went with response; which stratum fares worse is told "
        "here by its events.\n\n"
        "High and low stratum were compared by a log-rank test, where both have five events or "
        "more. Concordance is Harrell's, of R and of the strata, with percentiles of "
        f"{own['draws']:,} draws of patients; beside it ratios of tumour cells to CD4 T, CD8 T and "
        "B cells by tertile. Cox models (ties by Efron, scaled Schoenfeld residuals) say whether R "
        "goes with survival beyond the covariates; they alone were fitted to these patients."
    )
