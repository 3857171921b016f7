"""How sure an F1 is: patients drawn anew, with replacement."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.classify import Labels

DRAWS = 1000
LEAST_PATIENTS = 3
"""Fewer say nothing of how patients differ."""
_ENDS = (0.025, 0.975)


@dataclass(frozen=True)
class F1Intervals:
    """95 % intervals of F1, (low, high)."""

    macro: tuple[float, float]
    classes: dict[str, tuple[float, float]]
    patients: int
    """That were drawn from."""


def bootstrap_f1(
    labels: Labels, types: Labels, patients: Labels, *, seed: int = 0
) -> F1Intervals | None:
    """Draw the patients that a classifier was tested on 1,000 times with replacement.

    Cells of one patient are alike, so that patients are drawn, not cells. The classifier stays as
    it is: what another training would change is not in here. In a draw that lacks a class, that
    class is not in the mean.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", percentile intervals.

    Parameters
    ----------
    labels, types
        (N,) what the cells are, and what they were taken for.
    patients
        (N,) whose they are.
    seed
        Draws the patients.

    Returns
    -------
    F1Intervals or None
        None of fewer than three patients.

    Examples
    --------
    >>> a = np.array(["x", "y"] * 3)
    >>> bootstrap_f1(a, a, np.array(["p", "p", "q", "q", "r", "r"])).macro
    (1.0, 1.0)
    """
    names, whose = np.unique(patients, return_inverse=True)
    if len(names) < LEAST_PATIENTS:
        return None
    classes = np.unique(labels)
    counts = np.stack(
        [
            [np.bincount(whose[chosen], minlength=len(names)) for chosen in (is_it, taken, both)]
            for is_it, taken, both in (
                (labels == c, types == c, (labels == c) & (types == c)) for c in classes
            )
        ]
    )  # (classes, 3, patients)
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=DRAWS
    )
    support, called, right = np.moveaxis(counts @ draws.T, 1, 0)  # (classes, draws) each
    f1 = np.where(support > 0, 2 * right / np.maximum(support + called, 1), np.nan)
    return F1Intervals(
        _interval(np.nanmean(f1, axis=0)),
        {str(name): _interval(values) for name, values in zip(classes, f1, strict=True)},
        len(names),
    )


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanquantile(values, _ENDS)
    return float(low), float(high)
