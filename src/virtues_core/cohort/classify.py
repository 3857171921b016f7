"""Rows of features with labels → a classifier.

Source: the paper, Methods, "Cell-level tasks": a random forest for the transfer between cohorts, a
logistic regression for labels of the same cohort.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

Method = Literal["forest", "logistic"]
METHODS: tuple[Method, ...] = get_args(Method)
TREES = 100
DEPTH = 16
RIDGE = 1.0
"""λ, the weight of half the squared norm of the weights beside the summed log loss."""
ITERATIONS = 2000

Labels = NDArray[np.str_]


def check_method(name: str) -> Method:
    """Return a method by its name.

    Raises
    ------
    InputError
        There is none of that name.
    """
    for method in METHODS:
        if name == method:
            return method
    message = f"expected a method out of {', '.join(METHODS)}; found {name!r}."
    raise InputError(message)


def train(
    features: NDArray[np.float32],
    labels: Labels,
    method: Method,
    *,
    seed: int = 0,
    trees: int = TREES,
) -> Any:
    """Fit a classifier on labelled rows.

    ``forest``: trees of depth 16 at the most, Gini impurity, bootstrap samples, on as many rows
    of each class as the rarest has. ``logistic``: multinomial, fitted by L-BFGS, with the penalty
    λ/2 · ‖W‖² beside the log loss summed over rows, λ = 1; scikit-learn's ``C`` is 1/λ = 1. All
    rows count alike there, as in the paper. It is fitted on features of mean 0 and standard
    deviation 1 and takes them as they are; the paper says nothing of that, but λ = 1 means another
    penalty at each scale, and values that differ by 0.06 between cells, as those of tokens do, are
    penalised until little is left.

    Parameters
    ----------
    features
        (N, D), finite.
    labels
        (N,) class names.
    method
        As above.
    seed
        Draws the rows and the trees.
    trees
        Of a forest.

    Returns
    -------
    sklearn estimator
        With ``classes_`` (K,) and ``predict_proba``.

    Raises
    ------
    InputError
        Fewer than two classes, or features that are not finite.
    """
    check_features(features)
    if len(np.unique(labels)) < 2:
        message = (
            f"expected labels of two classes at the least, found {len(np.unique(labels))}: "
            f"{', '.join(np.unique(labels)) or 'none'}. Label cells of another class too."
        )
        raise InputError(message)
    if method == "forest":
        return _forest(features, labels, seed, trees)
    return _logistic(features, labels)


def _forest(features: NDArray[np.float32], labels: Labels, seed: int, trees: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    rows = balanced_rows(labels, seed=seed)
    forest = RandomForestClassifier(
        n_estimators=trees, max_depth=DEPTH, criterion="gini", bootstrap=True, random_state=seed
    )
    return forest.fit(features[rows], labels[rows])


def _logistic(features: NDArray[np.float32], labels: Labels) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale = np.where(scale > 0, scale, 1)
    probe = LogisticRegression(C=1 / RIDGE, solver="lbfgs", max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `converged` tells
        probe.fit((features - mean) / scale, labels)
    return unscaled(probe, mean, scale)


def unscaled(probe: Any, mean: NDArray[Any], scale: NDArray[Any]) -> Any:
    """Make a regression on (x - mean) / scale one on x itself, in place; it says the same."""
    probe.coef_ = probe.coef_ / scale
    probe.intercept_ = probe.intercept_ - probe.coef_ @ mean
    return probe


def converged(estimator: Any) -> bool:
    """Say whether the fit of a logistic regression ended before it ran out of iterations."""
    return int(np.max(getattr(estimator, "n_iter_", 0))) < ITERATIONS


def probabilities(estimator: Any, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability of each class: (N, K) in the order of ``estimator.classes_``."""
    check_features(features)
    if not len(features):
        return np.empty((0, len(estimator.classes_)), np.float32)
    return np.asarray(estimator.predict_proba(features), dtype=np.float32)


def balanced_rows(labels: Labels, *, seed: int = 0) -> NDArray[np.int64]:
    """Draw as many rows of each class as the rarest has; sorted positions.

    Examples
    --------
    >>> balanced_rows(np.array(["b", "a", "b"])).size
    2
    """
    rng = np.random.default_rng((seed, 0))
    names, counts = np.unique(labels, return_counts=True)
    drawn = [
        rng.choice(np.flatnonzero(labels == name), counts.min(), replace=False) for name in names
    ]
    return np.sort(np.concatenate(drawn))


def kept_out(groups: Sequence[str], fraction: float, *, seed: int = 0) -> NDArray[np.bool_]:
    """Choose whole groups (patients) to test on.

    Parameters
    ----------
    groups
        (N,) the patient of each row.
    fraction
        Of the patients, 0 to 1; one at the least is kept out, and one is not.
    seed
        Draws them.

    Returns
    -------
    numpy.ndarray
        (N,) True where the patient is kept out.

    Raises
    ------
    InputError
        Fewer than two patients, or no such share.
    """
    if not 0 <= fraction <= 1:
        message = f"expected a share of the patients from 0 to 1, found {fraction}."
        raise InputError(message)
    names = np.unique(np.asarray(groups))
    if len(names) < 2:
        message = (
            f"expected two patients at the least to keep one out, found {len(names)}. Give more "
            "of the cohort."
        )
        raise InputError(message)
    count = min(max(round(fraction * len(names)), 1), len(names) - 1)
    chosen = np.random.default_rng((seed, 1)).permutation(names)[:count]
    return np.isin(np.asarray(groups), chosen)


def check_features(features: NDArray[np.float32]) -> None:
    """Raise an InputError where features are not finite numbers (N, D)."""
    if features.ndim != 2 or not np.isfinite(features).all():
        message = (
            "expected finite features (cells, values), found "
            + (f"an array of shape {features.shape}" if features.ndim != 2 else "NaN or infinity")
            + ". Compute the tokens again with `virtues embed`."
        )
        raise InputError(message)
