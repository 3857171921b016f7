"""What the cells of a set are, against the cohort: types and markers, with intervals by patients.

Source: the paper, Methods, "Identification of FM-based biomarkers", and Suppl. Fig. 22 (relative
changes of cell type proportions). Intervals: Efron and Tibshirani 1993, percentiles; patients are
drawn with replacement, for cells of one patient are alike.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
LEAST_PATIENTS = 3
"""Intervals by fewer say nothing of how patients differ."""
_ENDS = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class Composition:
    """Of S sets of cells, how many are of each of K types."""

    counts: NDArray[np.int64]
    """(S, K) cells."""
    shares: NDArray[np.float64]
    """(S, K); NaN of a set without cells."""
    cohort: NDArray[np.float64]
    """(K,) shares of all cells."""
    log2_change: NDArray[np.float64]
    """(S, K) log2(share in the set / share in the cohort); -inf where a set has none."""
    lower: NDArray[np.float64]
    """(S, K) of its 95 % interval; NaN with fewer than three patients."""
    upper: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MarkerMeans:
    """Of S sets of cells, how bright each of C markers is."""

    values: NDArray[np.float64]
    """(S, C) mean of the standardised intensity: 0 is the cohort's mean, 1 a standard deviation of
    its cells above it; 0 of a marker that never changes, NaN of a set without cells."""
    lower: NDArray[np.float64]
    """(S, C) of its 95 % interval; NaN with fewer than three patients."""
    upper: NDArray[np.float64]


def compose(
    inside: NDArray[np.integer], cohort: NDArray[np.integer], *, seed: int = 0
) -> Composition:
    """Compare the composition of sets of cells with that of the cohort they are of.

    Parameters
    ----------
    inside
        (S, P, K) cells of each set, patient and type.
    cohort
        (P, K) all cells of known type.
    seed
        Draws the patients of the intervals.

    Examples
    --------
    >>> found = compose(np.array([[[8, 0], [8, 0]]]), np.array([[10, 10], [10, 10]]))
    >>> found.shares.tolist(), found.log2_change.tolist()
    ([[1.0, 0.0]], [[1.0, -inf]])
    """
    counts = inside.sum(axis=1)
    shares, of_all = _shares(counts), _shares(cohort.sum(axis=0))
    change = _log2_ratio(shares, of_all)
    draws = patient_draws(len(cohort), seed)
    if draws is None:
        lower = upper = np.full(change.shape, np.nan)
    else:
        drawn = _shares(np.einsum("bp,spk->sbk", draws, inside))
        lower, upper = _interval(_log2_ratio(drawn, _shares(draws @ cohort)), axis=1)
    return Composition(counts, shares, of_all, change, lower, upper)


def standardised_means(
    sums: NDArray[np.float64],
    sizes: NDArray[np.integer],
    of_all: NDArray[np.float64],
    squares: NDArray[np.float64],
    all_sizes: NDArray[np.integer],
    *,
    seed: int = 0,
) -> MarkerMeans:
    """Give mean standardised intensities of sets of cells from sums by patient.

    Parameters
    ----------
    sums
        (S, P, C) of the intensities of each set's cells.
    sizes
        (S, P) cells of each set.
    of_all, squares
        (P, C) of the intensities of all cells, and of their squares.
    all_sizes
        (P,) all cells.
    seed
        Draws the patients of the intervals; mean and standard deviation are drawn with them.

    Examples
    --------
    >>> values = np.array([[1.0], [3.0]])  # one cell of each of two patients; the set is the second
    >>> found = standardised_means(
    ...     values[None] * [[0], [1]], np.array([[0, 1]]), values, values**2, np.array([1, 1])
    ... )
    >>> found.values.tolist()
    [[1.0]]
    """

    def means(weights: NDArray[Any]) -> NDArray[np.float64]:
        """(B, P) draws → (S, B, C)."""
        count = (weights @ all_sizes)[:, None]
        mean = weights @ of_all / count
        spread = np.sqrt(np.maximum(weights @ squares / count - mean**2, 0))
        still = spread <= 1e-6 * np.maximum(1e-6, np.abs(mean))
        size = np.einsum("bp,sp->sb", weights, sizes)[..., None]
        inside = np.einsum("bp,spc->sbc", weights, sums) / np.where(size > 0, size, np.nan)
        return np.asarray((inside - mean) / np.where(still, np.inf, spread))

    values = means(np.ones((1, len(all_sizes))))[:, 0]
    draws = patient_draws(len(all_sizes), seed)
    if draws is None:
        return MarkerMeans(values, np.full(values.shape, np.nan), np.full(values.shape, np.nan))
    return MarkerMeans(values, *_interval(means(draws), axis=1))


def patient_draws(patients: int, seed: int) -> NDArray[np.int64] | None:
    """Draw patients with replacement: (1000, P) how often each; None of fewer than three."""
    if patients < LEAST_PATIENTS:
        return None
    rng = np.random.default_rng(seed)
    return rng.multinomial(patients, np.full(patients, 1 / patients), size=DRAWS)


def _shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Shares along the last axis; NaN where nothing was counted."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.asarray(counts / np.where(total > 0, total, np.nan))


def _log2_ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):  # log2 of 0 is -inf; 0 of 0 is NaN
        return np.asarray(np.log2(part) - np.log2(whole))


def _interval(
    drawn: NDArray[np.float64], axis: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the ends of the 95 % interval; values that were drawn, for -inf has no middle.

    Draws in which a set has no cells are NaN, and left out; where all are, so are the ends.
    """
    empty = np.isnan(drawn).all(axis=axis)
    filled = np.where(np.expand_dims(empty, axis), 0.0, drawn)
    lower, upper = np.nanquantile(filled, _ENDS, axis=axis, method="inverted_cdf")
    return np.where(empty, np.nan, lower), np.where(empty, np.nan, upper)
