"""What is told of an evaluation of retrieval: labels shared with matches, against chance."""

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


def content(results: "Results") -> Content:
    """Say what a report of an evaluation tells.

    Parameters
    ----------
    results
        Of ``virtues db evaluate``.
    """
    tables, summary = results.tables, results.summary
    top = summary["settings"]["top"]
    figures = [_precision(tables["precision"], top), _differences(tables["against_chance"])]
    if "distances" in tables:
        figures.append(_distances(tables["distances"]))
    shown = {
        "precision": Table(
            f"Precision at {top}",
            f"Mean share of the {top} nearest tissues that share the label, and of as many drawn "
            "at random, with 95 % intervals (patients drawn).",
        ),
        "against_chance": Table(
            "Against tissues drawn at random",
            "The difference, with its interval, and McNemar's test of the cases. expected_random: "
            "what drawing gives in the mean over all draws.",
        ),
        "values": Table("Precision by value of the label"),
        "distances": Table(
            "Distances",
            "Of the query to its best match, and to a tissue drawn at random.",
        ),
        "matches": Table("Queries and their matches"),
    }
    return Content(
        "Retrieval of tissues",
        _headline(results),
        tuple(figures),
        {name: told for name, told in shown.items() if name in tables},
        _methods(summary),
    )


def _headline(results: "Results") -> tuple[str, ...]:
    summary, tables = results.summary, results.tables
    rows = tables["precision"].merge(tables["against_chance"], on="label").to_dict("records")
    told = [_told_label(row, summary["settings"]["top"]) for row in rows]
    for name, key in (("Cell type composition (L1)", "composition"), ("Pixels (SW2)", "pixels")):
        row = summary.get(key)
        if row:
            difference = with_interval(
                row["difference"], row["difference_lower"], row["difference_upper"]
            )
            told.append(
                f"{name}: best match {number(row['retrieved'])}, tissue at random "
                f"{number(row['random'])}; difference {difference}."
            )
    told.append(
        f"{number(summary['tissues'])} queries of {number(summary['patients'])} patients; "
        f"{summary['solved_share']:.0%} of the distances were solved for, the others are out by "
        "a proven bound."
    )
    return tuple(told)


def _told_label(row: dict[Any, Any], top: int) -> str:
    difference = with_interval(row["difference"], row["difference_lower"], row["difference_upper"])
    return (
        f"{row['label']}: mean precision at {top} {number(row['retrieved'])}, at random "
        f"{number(row['random'])}; difference {difference}; McNemar {p_value(row['p'])}."
    )


def _precision(table: "pd.DataFrame", top: int) -> Figure:
    def fill(figure: "Drawing") -> None:
        labels = [f"{name}, {way}" for name in table["label"] for way in ("matches", "at random")]
        both = {
            end: np.ravel(np.column_stack([table[f"retrieved{end}"], table[f"random{end}"]]))
            for end in ("", "_lower", "_upper")
        }
        draw.bars(
            figure.add_subplot(),
            labels,
            both[""],
            lower=both["_lower"].astype(float),
            upper=both["_upper"].astype(float),
            colors=[color(0), MUTED] * len(table),
            title=f"mean precision at {top}",
        )

    caption = "Share of matches with the label of the query; 95 % intervals draw patients."
    return Figure("precision", "Labels that matches share", caption, fill)


def _differences(table: "pd.DataFrame") -> Figure:
    def fill(figure: "Drawing") -> None:
        draw.intervals(
            figure.add_subplot(),
            [str(name) for name in table["label"]],
            table["difference"],
            table["difference_lower"].astype(float),
            table["difference_upper"].astype(float),
            reference=0,
            log=False,
            title="precision of matches - of tissues at random",
        )

    caption = "An interval that holds 0 is what chance could give."
    return Figure("difference", "More than chance", caption, fill)


def _distances(table: "pd.DataFrame") -> Figure:
    def fill(figure: "Drawing") -> None:
        panels = figure.subplots(len(table), 1, squeeze=False)[:, 0]
        for axes, row in zip(panels, table.to_dict("records"), strict=True):
            draw.bars(
                axes,
                ["best match", "at random"],
                [row["retrieved"], row["random"]],
                lower=np.array([row["retrieved_lower"], row["random_lower"]], float),
                upper=np.array([row["retrieved_upper"], row["random_upper"]], float),
                colors=[color(0), MUTED],
                title=str(row["measure"]),
            )

    caption = "Mean over queries; less is more alike. 95 % intervals draw patients."
    return Figure("distances", "How alike best matches are", caption, fill)


def _methods(summary: "dict[str, Any] | Any") -> str:
    settings = summary["settings"]
    stored = settings["database"]
    crops = "the central 4 × 4 tiles of 128 px"
    if stored["crops"] == "all":
        crops = "all tiles of 128 px with 30 % tissue or more"
    pixels = (
        f" (2) {settings['pixels']:,} pixels drawn of each image's central 512 px as vectors "
        "log(1 + value) of the markers that all images show, each marker standardised over all "
        f"pixels drawn: sliced 2-Wasserstein distance over {settings['projections']} directions."
        if settings["pixels"]
        else ""
    )
    return (
        f"Tissues are sets of niche tokens of {crops} by the checkpoint {stored['checkpoint']}. "
        "Each tissue was a query; the nearest tissues of other patients were found by the exact "
        "2-Wasserstein distance between the sets (POT, network simplex); tissues of the query's "
        f"own patient were never candidates. The {settings['top']} nearest were compared with as "
        "many drawn at random among the same candidates (seed "
        f"{settings['seed']}).\n\n"
        "McNemar's statistic is (n₁ - n₂)² / (n₁ + n₂), where n₁ cases (query and rank) share the "
        "label by retrieval alone and n₂ by the draw alone; p is of the chi-square distribution "
        "without continuity correction, or of the binomial one where fewer than 25 cases differ. "
        f"Intervals: percentiles of {settings['draws']:,} bootstrap draws of patients.\n\n"
        "Best matches were compared with the query by (1) the L1 distance of the shares of cell "
        f"types.{pixels}"
    )
