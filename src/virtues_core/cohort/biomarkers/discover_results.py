"""What a discovery leaves in its folder: tables, linked plots, headline numbers."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.compare import corrected_p, independent_p
from virtues_core.cohort.biomarkers.discover import ALIKE, Discovery
from virtues_core.cohort.biomarkers.nested import patient_interval, permutation_p
from virtues_core.cohort.biomarkers.prediction import Array, score_aurocs
from virtues_core.cohort.biomarkers.selection import HIGH, directions
from virtues_core.cohort.patients.results import LinkedPlot, Results, cells_of, origin
from virtues_core.cohort.survival import risk_ratio

if TYPE_CHECKING:
    import pandas as pd

NESTED, PAPER = "nested", "paper"
WAYS = {1: "response", -1: "non-response", 0: ""}
PLOTS = (
    LinkedPlot(
        "clusters", "Clusters: AUROC alone against risk ratio", "points", "clusters",
        "log2_risk_ratio", "auroc", "direction", "signature", "log2 of the risk ratio",
        "AUROC alone, in cross-validation",
    ),
    LinkedPlot(
        "scores", "Patients by what was foretold of them when held out", "points", "patients",
        "held_out_score", "cells", "outcome", "patient_id", "mean log-odds when held out", "cells",
    ),
    LinkedPlot(
        "estimates", "AUROC, the nested estimate first", "bars", "estimates", "estimate", "auroc",
        "", "", "", "AUROC",
    ),
)  # fmt: skip


def results_of(found: Discovery, command: str = "") -> Results:
    """Put a discovery into tables.

    Parameters
    ----------
    found
        By `discover`.
    command
        What a person types to have it again.
    """
    clusters = _clusters(found)
    estimates = _estimates(found)
    tables = {
        "estimates": estimates,
        "signatures": _signatures(found, clusters),
        "comparisons": _comparisons(found),
        "clusters": clusters,
        "permutations": _permutations(found),
    }
    plots = PLOTS if found.nested is not None else (PLOTS[0], PLOTS[2])
    told = {} if found.interpretation is None else found.interpretation.tables
    return Results(
        "biomarkers",
        _summary(found, tables) | origin(found.joined, found.config, command),
        _patients(found),
        cells_of(found.joined, **_memberships(found)),
        {name: table for name, table in (tables | told).items() if len(table)},
        plots,
        found.notes,
    )


def _summary(found: Discovery, tables: "dict[str, pd.DataFrame]") -> dict[str, Any]:
    estimates = {str(row["estimate"]): row for row in tables["estimates"].to_dict("records")}
    paper = float(score_aurocs(found.paper, found.outcome).mean())
    summary: dict[str, Any] = {
        "auroc_nested": None,
        "auroc_nested_interval": [None, None],
        "permutation_p": None,
        "auroc_paper": paper,
        "auroc_paper_by_chance": None,
        "permutation_p_paper": None,
        "signatures": [
            {
                "name": row["signature"],
                "direction": row["direction"],
                "auroc": row["auroc"],
                "risk_ratio": row["risk_ratio"],
                "ci": [row["lower"], row["upper"]],
                "resolution": row["resolution"],
                "cells": row["cells"],
                "q": row["q"],
            }
            for row in tables["signatures"].to_dict("records")
        ],
        "patients": len(found.outcome),
        "events": int(found.outcome.sum()),
        "clusters": len(found.clusters.cells),
        "cells_analysed": int((found.joined.codes >= 0).sum()),
    }
    if found.nested is not None:
        row = estimates[NESTED]
        summary["auroc_nested"] = found.nested.auroc
        summary["auroc_nested_interval"] = [row["lower"], row["upper"]]
        if found.null is not None:
            summary["permutation_p"] = permutation_p(found.nested.auroc, found.null.nested)
            summary["permutation_p_paper"] = permutation_p(paper, found.null.paper)
            summary["auroc_paper_by_chance"] = float(found.null.paper.mean())
    return summary


def _estimates(found: Discovery) -> "pd.DataFrame":
    """Give a row a predictor: estimate, auroc, lower, upper, chosen_on."""
    rows = [] if found.nested is None else [_estimate(found, NESTED, found.nested.scores)]
    rows.append(_estimate(found, PAPER, found.paper, "the patients judged"))
    for name, (scores, nested) in found.baselines.items():
        rows.append(_estimate(found, name, scores if nested is None else nested, "not chosen"))
    return _frame(rows)


def _estimate(
    found: Discovery, name: str, scores: Array, chosen: str = "other patients"
) -> dict[str, Any]:
    low, high = patient_interval(scores, found.outcome, seed=found.config.seed)
    auroc = float(score_aurocs(scores, found.outcome).mean())
    return {"estimate": name, "auroc": auroc, "lower": low, "upper": high, "chosen_on": chosen}


def _clusters(found: Discovery) -> "pd.DataFrame":
    """Give a row a cluster."""
    clusters = found.clusters
    signature = np.full(len(clusters.cells), "", object)
    for name, k in found.names.items():
        signature[k] = name
    risks = [
        risk_ratio(found.outcome == 1, found.ranks[:, k] >= HIGH) for k in range(len(signature))
    ]
    ratio = np.array([risk.ratio for risk in risks])
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.log2(ratio)
    rows = {
        "cluster": [clusters.name(k) for k in range(len(signature))],
        "resolution": clusters.resolutions[clusters.column],
        "number": clusters.number,
        "signature": signature,
        "direction": [WAYS[int(way)] for way in directions(found.ranks, found.outcome)],
        "cells": clusters.cells,
        "patients": (found.ranks > 0).sum(0),
        "auroc": found.aurocs,
        "risk_ratio": ratio,
        "lower": [risk.lower for risk in risks],
        "upper": [risk.upper for risk in risks],
        "log2_risk_ratio": logarithm,
        "p": found.p,
        "q": found.q,
        "chosen": _times_chosen(found),
    }
    return _frame(rows)


def _times_chosen(found: Discovery) -> Array:
    """Share of the nested splits in which each cluster was chosen; nan without them."""
    if found.nested is None:
        return np.full(len(found.aurocs), np.nan)
    chosen = [k for choice in found.nested.chosen for k in choice.all]
    return np.bincount(chosen, minlength=len(found.aurocs)) / len(found.nested.chosen)


def _signatures(found: Discovery, clusters: "pd.DataFrame") -> "pd.DataFrame":
    """Give a row a signature, as `_clusters` and how many clusters are nearly the same cells."""
    order = list(found.names.values())
    table = clusters.iloc[order].reset_index(drop=True)
    alike = [_alike(found, k) for k in order]
    table["nearly_the_same"] = [int(near.sum()) - 1 for near in alike]
    table["chosen_or_alike"] = [_chosen_among(found, near) for near in alike]
    first = table.pop("signature")
    table.insert(0, "signature", first)
    return table


def _alike(found: Discovery, cluster: int) -> NDArray[np.bool_]:
    """(K,) the clusters that have nearly the same cells, itself among them."""
    clusters = found.clusters
    own = clusters.members(cluster)
    shared = np.zeros(len(clusters.cells))
    for column in range(len(clusters.resolutions)):
        here = clusters.column == column
        most = int(clusters.labels[:, column].max()) + 1
        times = np.bincount(clusters.labels[own, column], minlength=most)
        shared[here] = times[clusters.number[here]]
    either = clusters.cells + int(own.sum()) - shared
    return np.asarray(shared / either >= ALIKE)


def _chosen_among(found: Discovery, alike: NDArray[np.bool_]) -> float:
    if found.nested is None:
        return float("nan")
    chosen = found.nested.chosen
    return sum(bool(alike[list(choice.all)].any()) for choice in chosen) / len(chosen)


def _comparisons(found: Discovery) -> "pd.DataFrame":
    """Set both estimates against the ratios of cells, and test the differences."""
    rows = []
    tested = found.nested is not None
    for name, (by_paper, by_nested) in found.baselines.items():
        pairs = [(PAPER, found.paper, by_paper)]
        if found.nested is not None and by_nested is not None:
            pairs.insert(0, (NESTED, found.nested.scores, by_nested))
        for estimate, own, other in pairs:
            first, second = (score_aurocs(scores, found.outcome) for scores in (own, other))
            rows.append(
                {
                    "estimate": estimate,
                    "against": name,
                    "auroc": first.mean(),
                    "auroc_against": second.mean(),
                    "difference": first.mean() - second.mean(),
                    "corrected_p": corrected_p(first, second, np.isfinite(own))
                    if tested
                    else np.nan,
                    "independent_p": independent_p(first, second) if tested else np.nan,
                }
            )
    return _frame(rows)


def _permutations(found: Discovery) -> "pd.DataFrame":
    if found.null is None:
        return _frame([])
    return _frame({NESTED: found.null.nested, PAPER: found.null.paper})


def _patients(found: Discovery) -> "pd.DataFrame":
    """Give a row a patient: outcome, score when held out, share and rank of each signature."""
    table = found.joined.patient_rows().assign(outcome=found.outcome)
    if found.nested is not None:
        table["held_out_score"] = np.nanmean(found.nested.scores, axis=0)
    for name, k in found.names.items():
        table[f"share_{name}"] = found.clusters.proportions[:, k]
        table[f"rank_{name}"] = found.ranks[:, k]
    return table


def _memberships(found: Discovery) -> dict[str, Any]:
    """Of each cell: whether it is of each signature, of which first, its clusters."""
    import pandas as pd

    clusters = found.clusters
    members = {name: clusters.members(k) for name, k in found.names.items()}
    first = np.full(len(clusters.labels), -1, np.int8)
    for place, own in reversed(list(enumerate(members.values()))):
        first[own] = place
    named = pd.Categorical.from_codes(first, pd.Index(list(members), dtype=object))
    small = np.int16 if clusters.labels.max() < 2**15 else np.int32
    by_resolution = {
        f"leiden_{resolution:.4g}": clusters.labels[:, column].astype(small)
        for column, resolution in enumerate(clusters.resolutions)
    }
    return members | {"signature": named} | by_resolution


def _frame(rows: Any) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows)
