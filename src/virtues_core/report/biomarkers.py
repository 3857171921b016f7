"""What is told of a discovery: the nested estimate first, then the paper's and chance beside it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from virtues_core.report import draw
from virtues_core.report.figure import INK, MUTED, Figure, color
from virtues_core.report.numbers import number, p_value, with_interval
from virtues_core.report.page import Content, Table
from virtues_core.report.signatures import (
    signature_figures,
    signature_methods,
    signature_tables,
)

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

    from virtues_core.cohort.patients.results import Results

    Drawing = matplotlib.figure.Figure

TABLES = {
    "signatures": Table(
        "Signatures",
        "auroc: alone, in cross-validation of the patients it was chosen by; risk_ratio: of the "
        "outcome at high rank (2, 3) over low, with its 95 % interval (lower, upper), which knows "
        "nothing of the choice; q: Mann–Whitney's p adjusted over all clusters "
        "(Benjamini–Hochberg); chosen: share of the nested splits that chose this very cluster, "
        "chosen_or_alike: or one of nearly the same cells, of which there are nearly_the_same.",
    ),
    "estimates": Table(
        "AUROC of each predictor",
        "Mean over the splits, with the 95 % interval over patients drawn anew, their scores as "
        "they are.",
    ),
    "comparisons": Table(
        "Against ratios of cells",
        "In the same splits. corrected_p: one-sided, with the variance that shared patients ask "
        "for (Nadeau and Bengio); independent_p: the paper's t-test, which takes repeated splits "
        "for independent and is too small. Both p-values of the paper's estimate are too small for "
        "another reason: its signatures were chosen by the patients judged.",
    ),
    "clusters": Table("All clusters that were looked at"),
    "patients": Table(
        "Patients",
        "Shares and ranks of the signatures, and the mean log-odds that were foretold of each "
        "while held out.",
    ),
}


def content(results: "Results") -> Content:
    """Say what a report of a discovery tells.

    Parameters
    ----------
    results
        Of ``virtues biomarkers discover``.
    """
    tables = results.tables
    figures = [_estimates(tables["estimates"])]
    if "permutations" in tables:
        figures += _chance(results)
    figures.append(_clusters(tables["clusters"], tables.get("signatures")))
    if "signatures" in tables:
        figures.append(_ranks(results))
    shown = {name: told for name, told in TABLES.items() if name in tables or name == "patients"}
    return Content(
        "Signatures of cells that foretell an outcome",
        _headline(results.summary),
        (*figures, *signature_figures(results)),
        shown | signature_tables(results),
        f"{_methods(results.summary)}\n\n{signature_methods(results.summary['settings'])}",
    )


def _headline(summary: Any) -> tuple[str, ...]:
    low, high = summary["auroc_nested_interval"]
    chance = summary["auroc_paper_by_chance"]
    paper = (
        f"The paper's estimate, AUROC {number(summary['auroc_paper'])}, is made on the patients "
        "that the signatures were chosen by"
    )
    if chance is not None:
        paper += f"; outcomes dealt out by chance give {number(chance)} in the same way"
    nested = "No nested estimate: there are too few patients of one outcome."
    if summary["auroc_nested"] is not None:
        nested = (
            "Signatures chosen by other patients foretell the outcome with AUROC "
            f"{with_interval(summary['auroc_nested'], low, high)}, "
            f"{p_value(summary['permutation_p'])} by permutation of the whole procedure."
        )
    return (
        nested,
        f"{paper}.",
        f"{summary['patients']:,} patients, {summary['events']:,} with the outcome; "
        f"{summary['cells_analysed']:,} cells in {summary['clusters']:,} clusters.",
    )


def _estimates(table: "pd.DataFrame") -> Figure:
    def fill(figure: "Drawing") -> None:
        draw.intervals(
            figure.add_subplot(), list(table["estimate"]), table["auroc"], table["lower"],
            table["upper"], reference=0.5, log=False, title="AUROC of held-out patients",
        )  # fmt: skip

    return Figure(
        "estimates", "How well the outcome is foretold",
        "Nested: signatures chosen by other patients. Paper: chosen by the patients judged, so it "
        "is too high. Ratios of cells are not chosen. 95 % intervals over patients; the line is "
        "chance.", fill, (6.4, 1.0 + 0.34 * len(table)),
    )  # fmt: skip


def _chance(results: "Results") -> list[Figure]:
    table, summary = results.tables["permutations"], results.summary
    told = {
        "nested": (
            summary["auroc_nested"],
            "What chance makes of the nested estimate",
            "Outcomes were dealt out to the patients anew and the whole procedure gone through: "
            "ranks, choice of clusters, joint model. It stays around 0.5.",
        ),
        "paper": (
            summary["auroc_paper"],
            "What chance makes of the paper's estimate",
            "The same permutations. Choosing and judging by the same patients lifts the AUROC "
            "where there is nothing to find.",
        ),
    }

    def fill(name: str) -> Any:
        return lambda figure: draw.chance(
            figure.add_subplot(), table[name], told[name][0], title="AUROC"
        )

    return [
        Figure(f"chance-{name}", title, caption, fill(name), (6.4, 2.6))
        for name, (_, title, caption) in told.items()
    ]


def _clusters(table: "pd.DataFrame", signatures: "pd.DataFrame | None") -> Figure:
    known = table[np.isfinite(table["log2_risk_ratio"].astype(float))]
    chosen = known[:0] if signatures is None else signatures

    def fill(figure: "Drawing") -> None:
        axes = figure.add_subplot()
        axes.plot(known["log2_risk_ratio"], known["auroc"], ".", color=MUTED, alpha=0.5, ms=4)
        for index, (_, row) in enumerate(chosen.iterrows()):
            axes.plot(
                row["log2_risk_ratio"], row["auroc"], "o", color=color(index), mec=INK,
                label=f"{row['signature']} ({number(int(row['cells']))} cells)",
            )  # fmt: skip
        axes.axvline(0, color=MUTED, lw=1, ls="--")
        axes.axhline(0.5, color=MUTED, lw=1, ls="--")
        axes.set(xlabel="log2 of the risk ratio at high rank", ylabel="AUROC alone")
        if len(chosen):
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")

    return Figure(
        "clusters", "All clusters, and those that were chosen",
        f"{len(known):,} of {len(table):,} clusters, those with a risk ratio. The best of many "
        "lie high by chance alone.", fill, (6.4, 3.4),
    )  # fmt: skip


def _ranks(results: "Results") -> Figure:
    patients = results.patients
    names = [str(name) for name in results.tables["signatures"]["signature"]]
    with_it = patients["outcome"].astype(int) == 1
    shares = np.full((len(names), 4), np.nan)
    for row, name in enumerate(names):
        for rank in range(4):
            own = with_it[patients[f"rank_{name}"] == rank]
            shares[row, rank] = own.mean() if len(own) else np.nan

    def fill(figure: "Drawing") -> None:
        draw.heat_map(
            figure, shares, names, ["absent", "1", "2", "3"],
            title="share of patients with the outcome", written=True,
        )  # fmt: skip

    return Figure(
        "ranks", "The outcome by rank of each signature",
        "Rank 0: absent; 1 to 3: thirds of the patients who have it. On the patients that the "
        "signatures were chosen by.", fill, (6.4, 1.4 + 0.4 * len(names)),
    )  # fmt: skip


def _methods(summary: Any) -> str:
    own = summary["settings"]
    permuted = (
        f"The p-value is the share of {own['permutations']:,} permutations of the outcome over "
        "patients, the one observed among them, whose nested estimate is as high; each went "
        "through ranks, choice and joint model again. "
        if own["permutations"]
        else ""
    )
    return (
        "Tokens of cells were standardised and laid out by 50 principal components; of up to "
        f"{own['most_cells']:,} cells, as many of each patient, a graph of {own['neighbours']} "
        "nearest neighbours (weights of UMAP) was parted by the Leiden algorithm at resolutions "
        f"{own['resolution_from']:g} to {own['resolution_to']:g} by {own['resolution_step']:g}; "
        "other cells joined the cluster of most of the five nearest. Clusters of fewer than "
        f"{own['cells_below']:,} cells were kept. No outcome was used so far. Each patient's share "
        "of cells in a cluster was ranked 0 (absent) to 3 by tertiles of the positive shares.\n\n"
        "As in the paper, each cluster's rank was scored by univariate logistic regression in "
        f"stratified {own['folds']}-fold cross-validation repeated {own['repeats']} times; the "
        f"{own['each']} clusters of highest mean AUROC with a risk ratio of the outcome at high "
        f"rank (above 1) over 1, and as many under 1, were taken, and a logistic regression on "
        f"their ranks (L2 penalty, C = 1) was judged in {own['folds']}-fold cross-validation "
        f"repeated {own['joint_repeats']} times. Clusters were taken as they come, even where two "
        "resolutions give nearly the same cells.\n\n"
        "The nested estimate chooses within the patients trained on: tertiles, scores by an inner "
        "cross-validation of the same kind, risk ratios, choice and joint model are made anew in "
        f"each of {own['folds']} folds, {own['nested_repeats']} times; clusters stay, for they "
        "know nothing of the outcome. The AUROC is taken within the patients of a fold and "
        "averaged over folds; scores pooled over folds would lie below 0.5 where nothing is to be "
        "found. "
        + permuted
        + "Intervals draw patients with replacement and leave their scores as they are. Nobody is "
        "on both sides of a split: all tissues of a patient count together.\n\n"
        "Clusters were tested one by one by Mann–Whitney's test of ranks, adjusted by Benjamini "
        "and Hochberg over all of them. Ratios of tumour cells to lymphocytes were judged in the "
        "same splits by univariate logistic regression; differences were tested by the paper's "
        "one-sided independent t-test over splits and by the corrected resampled t-test of Nadeau "
        "and Bengio (2003)."
    )
