"""The report of a tissue-level prediction: how well an outcome is told on patients kept out."""

from typing import TYPE_CHECKING

import numpy as np

from virtues_core.cohort.patients.results import Results
from virtues_core.cohort.tissue_level.results import told
from virtues_core.report.draw import heat_map, short
from virtues_core.report.figure import INK, MUTED, Figure, color
from virtues_core.report.numbers import number, p_value
from virtues_core.report.page import Content, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

TABLES = {
    "encoders": Table(
        "Macro F1 of each description of the tissues",
        "Mean, least and most of the runs; of what the runs say together, with a 90 % interval "
        "over draws of patients; by chance (predictions dealt out anew); p: one-sided "
        "Mann–Whitney test over the runs that the tokens are better.",
    ),
    "classes": Table(
        "Tissues by class",
        "The tokens' runs together: how many tissues, and what they were taken for.",
    ),
    "tissues": Table(
        "Each tissue",
        "Told by trainings that had not seen its patient: mean probability, and the least and "
        "most that a run says.",
    ),
}


def content(results: Results) -> Content:
    """Say what is told of a tissue-level prediction."""
    summary = results.summary
    headline = [f"{summary['outcome']}, {told(dict(summary))}."]
    for name, other in summary["comparators"].items():
        headline.append(
            f"By {name}: macro F1 {number(other['macro_f1'])}; that the tokens are better, "
            f"{p_value(other['p'])} over runs of training on the same patients, which says nothing "
            "of other patients."
        )
    return Content(
        title=f"Tissue-level prediction of {summary['outcome']}",
        headline=tuple(headline),
        figures=(_runs(results), _confusion(results), _probabilities(results)),
        tables=TABLES,
        methods=_methods(results),
    )


def _runs(results: Results) -> Figure:
    table = results.tables["runs"]
    names = list(dict.fromkeys(table["encoder"]))
    chance = results.tables["encoders"].set_index("encoder")["chance"]

    def draw(figure: "Drawing") -> None:
        axes = figure.add_subplot()
        for place, name in enumerate(names):
            own = table.loc[table["encoder"] == name, "macro_f1"]
            spread = np.linspace(-0.12, 0.12, len(own)) if len(own) > 1 else [0.0]
            axes.plot(place + np.asarray(spread), own, "o", color=color(place), markersize=5)
            axes.hlines(own.mean(), place - 0.25, place + 0.25, color=INK)
            axes.hlines(chance[name], place - 0.25, place + 0.25, color=MUTED, linestyle="--")
        axes.set_xticks(range(len(names)), [short(name) for name in names])
        axes.set(ylim=(0, 1.03), xlim=(-0.5, len(names) - 0.5), ylabel="macro F1")

    return Figure(
        "runs",
        "How well, on patients kept out",
        "Each point is a run with seeds of its own, the bar their mean; dashed: by chance. Runs "
        "are "
        "of the same patients, so that their spread is that of training alone.",
        draw,
        (max(3.4, 1.4 * len(names) + 1), 3.4),
    )


def _confusion(results: Results) -> Figure:
    table = results.tables["classes"]
    names = [str(name) for name in table["class"]]
    counts = table[[f"told_{name}" for name in names]].to_numpy(float)

    def draw(figure: "Drawing") -> None:
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes = heat_map(figure, shares, names, names, title="share of the class", written=True)
        axes.set(xlabel="told", ylabel="true")

    return Figure(
        "confusion",
        "What classes are taken for",
        "Rows are true classes, columns what the runs together say; each row sums to 1.",
        draw,
        (max(3.6, 0.7 * len(names) + 2.4), max(2.8, 0.6 * len(names) + 1.6)),
    )


def _probabilities(results: Results) -> Figure:
    table = results.tables["tissues"]
    names = results.summary["classes"]
    last = names[-1]

    def draw(figure: "Drawing") -> None:
        axes = figure.add_subplot()
        for place, name in enumerate(names):
            own = table[table["label"].astype(str) == name].sort_values(f"p_{last}")
            x = place + np.linspace(-0.35, 0.35, len(own)) if len(own) > 1 else [place]
            axes.vlines(x, own[f"least_{last}"], own[f"most_{last}"], color=MUTED, linewidth=1)
            axes.plot(x, own[f"p_{last}"], "o", color=color(place), markersize=4)
        axes.set_xticks(range(len(names)), [short(name) for name in names])
        axes.set(ylim=(-0.02, 1.02), ylabel=f"probability of {short(last)}")

    return Figure(
        "probabilities",
        f"Probability of {last} by true class",
        "Each point is a tissue, told by trainings that had not seen its patient; grey: from the "
        "least to the most that a run says.",
        draw,
        (max(3.8, 1.6 * len(names) + 0.8), 3.4),
    )


def _methods(results: Results) -> str:
    summary = results.summary
    own = summary["settings"]
    tested = (
        f"on the patients that the column {own['split']} says to test on"
        if own["split"]
        else f"by cross-validation over {int(results.tables['tissues']['fold'].max()) + 1} folds "
        "of patients, classes dealt evenly"
    )
    return (
        f"Each tissue was taken as the set of its {summary['level']} tokens and told by gated "
        f"attention (Ilse et al. 2018) with {own['heads']} heads of width {own['hidden']}, joined "
        "and "
        "projected to the classes. Tokens were standardised by those trained on. Training: Adam at "
        f"{own['learning_rate']:g}, {own['batch_size']} tissues a step, cross-entropy, at most "
        f"{own['epochs']} epochs, ended after {own['patience']} without a lower loss on "
        f"{own['validation']:.0%} of the training patients, whose best weights were kept; at most "
        f"{own['instances']:,} instances of a tissue. It was tested {tested}, in {own['runs']} "
        "runs "
        "with first weights, orders and validation patients of their own. No patient was on two "
        "sides of any split.\n\n"
        "Macro F1 is over tissues, each class counting alike. Comparators were trained and tested "
        "on "
        "the same tissues in the same folds; p-values are of one-sided Mann–Whitney tests over the "
        "runs. Attention is the mean over heads and runs, as a multiple of an even share; it shows "
        "where a model looked, not what causes an outcome."
    )
