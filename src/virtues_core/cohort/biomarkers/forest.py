"""A forest that tells the cells of a signature, so that it can be found in another cohort.

Source: the paper, Methods, "Transferring predictive virtual spatial biomarkers across datasets":
200 trees, Gini, bootstrap, depth 16 at the most, balanced by down-sampling the majority, 20 % of
the cells held out.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort import classify
from virtues_core.cohort.annotate import Classifier
from virtues_core.cohort.biomarkers.strata import Direction
from virtues_core.cohort.patients import CellTables, Seen
from virtues_core.errors import InputError

TREES = 200
HELD_OUT = 0.2
"""Of the cells, or of the patients."""
LEAST_CELLS = 10
"""Of fewer nothing can be learnt or measured."""
LEAST_PATIENTS = 5
"""With fewer a fifth of them is none; then patients are not held out."""
MOST_CELLS = 50_000
"""Drawn of a signature's cells, and of the others; more are not read."""
INSIDE, OUTSIDE = "inside", "outside"


@dataclass(frozen=True)
class ForestScores:
    """How well a forest tells cells that were held out."""

    held_out: Literal["patients", "cells"]
    """``patients``: cells of other patients than those trained on. ``cells``: others of the same
    patients, as in the paper; neighbours share the patches of their tokens, so it is optimistic."""
    members: int
    """Cells of the signature held out."""
    others: int
    """Other cells held out."""
    precision: float
    """Share of those it calls members that are, as common as they are in the cohort."""
    precision_balanced: float
    """The same where as many others as members are shown."""
    recall: float
    """Share of members that it finds."""
    auroc: float


@dataclass(frozen=True, eq=False)
class SignatureForest:
    """What tells the cells of one signature."""

    name: str
    direction: Direction
    classifier: Classifier
    """With the classes `INSIDE` and `OUTSIDE`."""
    scores: tuple[ForestScores, ...]
    """By patients first, where there were enough."""
    share: float
    """Of the cells of the cohort that it was found in."""
    seen: Seen
    """The patients whom it was chosen by."""

    def probability(self, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the share of trees that call each of N cells (N, D) a member: (N,)."""
        found = classify.probabilities(self.classifier.estimator, tokens)
        return found[:, self.classifier.classes.index(INSIDE)]


def train_forest(
    cells: CellTables,
    member: NDArray[np.bool_],
    patients: NDArray[np.integer],
    name: str,
    direction: Direction,
    *,
    seen: Seen,
    seed: int = 0,
) -> SignatureForest:
    """Learn to tell the cells of a signature from all others.

    The forest that is given is the paper's: it has seen four fifths of the cells, of all patients.
    Another one is fitted on the cells of four fifths of the patients, only to be scored on the
    others: that is how well it may do on patients that it never saw.

    Parameters
    ----------
    cells
        Tables of N cells.
    member
        (N,) whether a cell belongs to the signature.
    patients
        (N,) number of each cell's patient; below 0 of cells that were not looked at, which are
        left out.
    name, direction
        Of the signature.
    seen
        Whom it was chosen by.
    seed
        Draws cells, patients and trees.

    Raises
    ------
    InputError
        Fewer than ten cells in the signature, or outside it; tokens that are not finite.
    """
    used = patients >= 0
    rng = np.random.default_rng((seed, 2))
    rows, counts = [], []
    for mask, what in ((member & used, "in"), (~member & used, "outside")):
        found = np.flatnonzero(mask)
        if len(found) < LEAST_CELLS:
            message = (
                f"expected {LEAST_CELLS} cells or more {what} signature {name!r} to learn it, "
                f"found {len(found)}. Choose another signature."
            )
            raise InputError(message)
        rows.append(np.sort(rng.choice(found, min(MOST_CELLS, len(found)), replace=False)))
        counts.append(len(found))
    chosen = np.concatenate(rows)
    features, inside = cells.take(chosen), member[chosen]
    weight = np.where(inside, counts[0] / len(rows[0]), counts[1] / len(rows[1]))
    by_cell = _fifth_of_each(inside, rng)
    scores = []
    apart = _patients_apart(inside, patients[chosen], seed)
    if apart is not None:
        other = _fit(features[~apart], inside[~apart], seed)
        scores.append(_score(other, features[apart], inside[apart], weight[apart], "patients"))
    forest = _fit(features[~by_cell], inside[~by_cell], seed)
    scores.append(_score(forest, features[by_cell], inside[by_cell], weight[by_cell], "cells"))
    trained = ~by_cell
    classifier = Classifier(
        estimator=forest,
        method="forest",
        label=name,
        classes=tuple(map(str, forest.classes_)),
        level="cell",
        checkpoint=cells.files[0].made_with.checkpoint,
        signature=cells.signature,
        panel=cells.marker_keys,
        width=cells.dim,
        cells={INSIDE: int(inside[trained].sum()), OUTSIDE: int((~inside[trained]).sum())},
    )
    share = counts[0] / sum(counts)
    return SignatureForest(name, direction, classifier, tuple(scores), share, seen)


def _fit(features: NDArray[np.float32], inside: NDArray[np.bool_], seed: int) -> Any:
    labels = np.where(inside, INSIDE, OUTSIDE)
    return classify.train(features, labels, "forest", seed=seed, trees=TREES)


def _fifth_of_each(inside: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Hold out a fifth of the members and of the others."""
    out = np.zeros(len(inside), bool)
    for kind in (True, False):
        rows = rng.permutation(np.flatnonzero(inside == kind))
        out[rows[: max(1, round(HELD_OUT * len(rows)))]] = True
    return out


def _patients_apart(
    inside: NDArray[np.bool_], patients: NDArray[np.integer], seed: int
) -> NDArray[np.bool_] | None:
    """Hold out the cells of a fifth of the patients who have the signature, and of the others.

    None where too few have it, or one side would lack members or others.
    """
    having = np.unique(patients[inside])
    if len(having) < LEAST_PATIENTS:
        return None
    out = np.zeros(len(inside), bool)
    for names in (having, np.setdiff1d(patients, having)):
        if len(names) > 1:
            chosen = names[classify.kept_out(names.astype(str).tolist(), HELD_OUT, seed=seed)]
            out |= np.isin(patients, chosen)
    kinds = [np.unique(inside[side]).size for side in (out, ~out)]
    return out if min(kinds) == 2 else None


def _score(
    forest: Any,
    features: NDArray[np.float32],
    inside: NDArray[np.bool_],
    weight: NDArray[np.float64],
    held_out: Literal["patients", "cells"],
) -> ForestScores:
    """Score held-out cells; `weight` says how many cells each stands for."""
    from sklearn.metrics import precision_score, recall_score, roc_auc_score

    found = classify.probabilities(forest, features)[:, list(forest.classes_).index(INSIDE)]
    called = found > 0.5
    even = np.where(inside, 1 / inside.sum(), 1 / (~inside).sum())

    def precision(weights: NDArray[np.float64]) -> float:
        return float(precision_score(inside, called, sample_weight=weights, zero_division=0))

    return ForestScores(
        held_out=held_out,
        members=int(inside.sum()),
        others=int((~inside).sum()),
        precision=precision(weight),
        precision_balanced=precision(even),
        recall=float(recall_score(inside, called)),
        auroc=float(roc_auc_score(inside, found)),
    )
