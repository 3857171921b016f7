"""The simple ways that a model has to beat: mean of the visible, best other marker, ridge."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PENALTY = 1e-3
"""Ridge penalty, as a fraction of the regressors' mean variance."""


def mean_of_visible(pixels: NDArray[np.float32], masked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill each channel with the mean of its visible pixels.

    Source: the paper, Methods, "Masked reconstructions".

    Parameters
    ----------
    pixels
        (C, Y, X) model units.
    masked
        (C, Y, X) True = hidden.

    Returns
    -------
    numpy.ndarray
        (C, Y, X) float32; NaN for a channel of which nothing is visible.
    """
    visible = ~masked
    count = visible.sum(axis=(1, 2))
    total = np.where(visible, pixels, 0).sum(axis=(1, 2), dtype=np.float64)
    mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    filled = np.broadcast_to(mean[:, None, None], pixels.shape)
    return np.ascontiguousarray(filled, dtype=np.float32)


class Gram:
    """Sums of products of variables over pixels: all that linear regression needs to know.

    Parameters
    ----------
    size
        V, how many variables.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.matrix = np.zeros((size + 1, size + 1))

    def add(self, rows: NDArray[np.floating[Any]]) -> None:
        """Add pixels: (V, P) one row a variable, in the order of the variables."""
        step = 1 << 16
        for start in range(0, rows.shape[1], step):
            part = rows[:, start : start + step].astype(np.float64)
            with_one = np.vstack([np.ones((1, part.shape[1])), part])
            self.matrix += with_one @ with_one.T

    def __add__(self, other: "Gram") -> "Gram":
        total = Gram(self.size)
        total.matrix = self.matrix + other.matrix
        return total

    @property
    def n(self) -> int:
        """Pixels added."""
        return int(self.matrix[0, 0])

    def covariance(self) -> NDArray[np.float64]:
        """(V, V) covariances."""
        mean = self.matrix[0, 1:] / max(self.n, 1)
        return self.matrix[1:, 1:] / max(self.n, 1) - np.outer(mean, mean)

    def correlation(self, i: int, j: int) -> float:
        """Pearson's correlation of two variables; NaN where one is constant."""
        cov = self.covariance()
        var = cov[i, i] * cov[j, j]
        if min(cov[i, i], cov[j, j]) <= 1e-9:
            return math.nan
        return float(np.clip(cov[i, j] / math.sqrt(var), -1, 1))


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear model, pixel by pixel: target = intercept + Σ weight · regressor."""

    regressors: tuple[int, ...]
    """Positions of the regressors among the variables."""
    weights: NDArray[np.floating[Any]]
    """One a regressor."""
    intercept: float

    def predict(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Predict the target: (V, …) variables → (…) float32."""
        total = np.full(rows.shape[1:], self.intercept, dtype=np.float32)
        for weight, position in zip(self.weights, self.regressors, strict=True):
            total += np.float32(weight) * rows[position]
        return total


def fit_ridge(
    gram: Gram, target: int, regressors: Sequence[int], penalty: float = PENALTY
) -> Ridge:
    """Fit ridge regression of one variable on others.

    Source: Hoerl and Kennard 1970, w = (S + λ I)⁻¹ s with S the covariance of the regressors, s
    that with the target, λ = ``penalty`` · mean variance.

    Parameters
    ----------
    gram
        Sums over the pixels to fit on.
    target, regressors
        Positions among the variables.
    penalty
        λ as a fraction of the regressors' mean variance.
    """
    at = list(regressors)
    cov = gram.covariance()
    inner = cov[np.ix_(at, at)]
    shrink = penalty * max(float(np.trace(inner)) / max(len(at), 1), 1e-6)
    weights = np.linalg.solve(inner + shrink * np.eye(len(at)), cov[at, target])
    mean = gram.matrix[0, 1:] / max(gram.n, 1)
    return Ridge(tuple(at), weights, float(mean[target] - weights @ mean[at]))


def best_other(gram: Gram, target: int, others: Sequence[int]) -> tuple[int | None, float]:
    """Find the variable that correlates most with the target.

    Source: the paper, Methods, "Masked reconstructions".

    Returns
    -------
    tuple
        Its position and its correlation; None and NaN where no other varies.
    """
    found = [(gram.correlation(target, other), other) for other in others]
    defined = [(r, other) for r, other in found if not math.isnan(r)]
    if not defined:
        return None, math.nan
    r, other = max(defined)
    return other, r
