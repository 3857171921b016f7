"""How well ranks foretell an outcome of patients who were not trained on.

All takes P patients, an outcome (P,) of 0 and 1, and splits as masks of the patients held out
(F, P): who is not held out is trained on. A row is a patient, so no patient is on both sides.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.ranks import HIGHEST
from virtues_core.errors import InputError

Outcome = NDArray[np.int64]
Masks = NDArray[np.bool_]
Array = NDArray[np.float64]


def check_outcome(outcome: NDArray[Any], least: int) -> Outcome:
    """Return an outcome of 0 and 1 that both occur often enough.

    Raises
    ------
    InputError
        Other values, or fewer than ``least`` patients of one outcome.
    """
    values = np.asarray(outcome)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        message = "expected an outcome of 0 or 1 for each patient, found other values."
        raise InputError(message)
    events = int(values.sum())
    if min(events, len(values) - events) < least:
        message = (
            f"expected {least} patients or more of each outcome, found {events} with and "
            f"{len(values) - events} without it. Add patients, or take fewer folds."
        )
        raise InputError(message)
    return values.astype(np.int64)


def splits(outcome: NDArray[Any], folds: int, repeats: int, seed: int = 0) -> Masks:
    """Part patients into folds with about the same share of the outcome, several times.

    Parameters
    ----------
    outcome
        (P,) 0 or 1.
    folds
        Of one partition; each is held out once.
    repeats
        Partitions.
    seed
        Of the partitions.

    Returns
    -------
    numpy.ndarray
        (repeats · folds, P) True where a patient is held out.

    Raises
    ------
    InputError
        Fewer than ``folds`` patients of one outcome, so that a fold would lack it.
    """
    from sklearn.model_selection import RepeatedStratifiedKFold

    values = check_outcome(outcome, folds)
    parts = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
    held_out = np.zeros((folds * repeats, len(values)), bool)
    for row, (_, test) in zip(held_out, parts.split(values, values), strict=True):
        row[test] = True
    return held_out


def rank_aurocs(ranks: NDArray[np.int8], outcome: Outcome, held_out: Masks) -> Array:
    r"""Score each cluster's rank alone, by univariate logistic regression on those trained on.

    No regression is fitted, for its answer is known. A logistic regression on one predictor x gives
    a score w x + b, so the held-out patients are ordered by sign(w) · x and their AUROC is that of
    x, or one less it, or 0.5 at w = 0. And sign(w) is that of the covariance of x and the outcome y
    among the patients trained on: the profile of the log-likelihood, the best over b for each w, is
    concave, with or without an L2 penalty on w; at w = 0 the best b gives everybody the mean of y,
    and the derivative there is Σ (yᵢ − ȳ) xᵢ = n · cov(x, y), while the penalty's is 0. So the
    maximum lies on the side of its sign, at infinity where the classes separate.

    The AUROC of a rank is the area under the line through its four points (trapezoids), ties
    counting one half.

    Source: the paper's Methods, "Identification of FM-based biomarkers".

    Parameters
    ----------
    ranks
        (P, K) 0 to 3.
    outcome
        (P,) 0 or 1.
    held_out
        (F, P).

    Returns
    -------
    numpy.ndarray
        (F, K) AUROC of each cluster on the patients held out in each split.

    Examples
    --------
    >>> outcome = np.array([0, 1, 0, 1])
    >>> held_out = np.array([[True, True, False, False]])
    >>> rank_aurocs(np.array([[0], [1], [2], [3]], np.int8), outcome, held_out).tolist()
    [[1.0]]
    """
    patients, clusters = ranks.shape
    above = np.concatenate([ranks >= step for step in range(1, HIGHEST + 1)], axis=1)
    above = above.astype(np.float32)  # (P, 3 K); counts are whole numbers, exact in float32
    case, control = outcome == 1, outcome == 0
    with_it = _by_step((held_out & case).astype(np.float32) @ above, clusters)
    without = _by_step((held_out & control).astype(np.float32) @ above, clusters)
    cases = (held_out & case).sum(1)[:, None].astype(float)
    controls = (held_out & control).sum(1)[:, None].astype(float)

    area = np.zeros((len(held_out), clusters))
    right_y, right_x = np.ones_like(area), np.ones_like(area)
    for hits, alarms in zip(with_it, without, strict=True):
        left_y, left_x = hits / cases, alarms / controls
        area += (right_x - left_x) * (right_y + left_y) / 2
        right_y, right_x = left_y, left_x
    area += right_x * right_y / 2

    all_with = _by_step(case.astype(np.float32)[None] @ above, clusters).sum(0)
    all_without = _by_step(control.astype(np.float32)[None] @ above, clusters).sum(0)
    product = all_with - with_it.sum(0)
    total = product + all_without - without.sum(0)
    trained = patients - cases - controls
    slope = np.sign(trained * product - (case.sum() - cases) * total)
    return np.asarray(0.5 + slope * (area - 0.5))


def _by_step(counts: NDArray[np.float32], clusters: int) -> Array:
    """(F, 3 K) as (3, F, K)."""
    return counts.reshape(len(counts), HIGHEST, clusters).transpose(1, 0, 2).astype(np.float64)


def value_scores(values: NDArray[Any], outcome: Outcome, held_out: Masks) -> Array:
    """Score patients by one predictor of any values, by the reasoning of `rank_aurocs`.

    Parameters
    ----------
    values
        (P,) finite.
    outcome, held_out
        As `rank_aurocs`.

    Returns
    -------
    numpy.ndarray
        (F, P) scores of those held out, in the order of a regression's; nan of the others.
    """
    found = np.full(held_out.shape, np.nan)
    for row, test in zip(found, held_out, strict=True):
        x, y = values[~test], outcome[~test]
        slope = np.sign(((x - x.mean()) * (y - y.mean())).sum())
        row[test] = slope * values[test]
    return found


def joint_scores(ranks: NDArray[Any], outcome: Outcome, trained: Masks) -> Array:
    """Fit a logistic regression on several ranks and give the log-odds of everybody.

    scikit-learn's regression as it comes (L2 penalty, C = 1), for the paper tells of no other.

    Parameters
    ----------
    ranks
        (P, S).
    outcome
        (P,).
    trained
        (P,) who is trained on.

    Returns
    -------
    numpy.ndarray
        (P,) log-odds; 0 for all where there is nothing to predict from.
    """
    from sklearn.linear_model import LogisticRegression

    if not ranks.shape[1]:
        return np.zeros(len(ranks))
    model = LogisticRegression(solver="newton-cholesky")
    values = ranks.astype(np.float64)
    model.fit(values[trained], outcome[trained])
    return np.asarray(model.decision_function(values))


def held_out_scores(ranks: NDArray[Any], outcome: Outcome, held_out: Masks) -> Array:
    """Score patients by several ranks together, by multivariate logistic regression.

    Parameters
    ----------
    ranks
        (P, S) of the signatures chosen.
    outcome, held_out
        As `rank_aurocs`.

    Returns
    -------
    numpy.ndarray
        (F, P) log-odds of those held out; nan of the others.
    """
    found = np.full(held_out.shape, np.nan)
    for row, test in zip(found, held_out, strict=True):
        row[test] = joint_scores(ranks, outcome, ~test)[test]
    return found


def score_aurocs(scores: Array, outcome: Outcome) -> Array:
    """Give the AUROC of each split, (F,), of scores (F, P) of the patients held out."""
    held_out = np.isfinite(scores)
    return np.array(
        [
            concordance(row[test], outcome[test]).mean()
            for row, test in zip(scores, held_out, strict=True)
        ]
    )


def concordance(scores: NDArray[Any], outcome: Outcome) -> Array:
    """Say of each patient with the outcome and each without it whether their order is right.

    Parameters
    ----------
    scores, outcome
        (P,).

    Returns
    -------
    numpy.ndarray
        (with, without): 1 where the former scores higher, 0.5 where both score alike, else 0. Its
        mean is the AUROC.

    Examples
    --------
    >>> concordance(np.array([0.2, 0.5, 0.5]), np.array([0, 1, 0])).tolist()
    [[1.0, 0.5]]
    """
    difference = scores[outcome == 1][:, None] - scores[outcome == 0][None]
    return np.asarray((np.sign(difference) + 1) / 2)
