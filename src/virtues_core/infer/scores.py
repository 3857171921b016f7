"""How good a reconstruction is: correlation and positivity, over masked pixels only.

Source: the paper, Methods, "Masked reconstructions": Pearson's correlation between reconstruction
and truth, and the F1 score of positivity thresholded at the mean intensity of the marker, "only
for the masked tokens' pixels".
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class PairSums:
    """Sums over pixel pairs, from which Pearson's correlation follows; pixels can be added."""

    n: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    def add(self, x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> None:
        """Add pairs; both of the same size."""
        a = np.asarray(x, np.float64).ravel()
        b = np.asarray(y, np.float64).ravel()
        self.n += a.size
        self.x += float(a.sum())
        self.y += float(b.sum())
        self.xx += float(a @ a)
        self.yy += float(b @ b)
        self.xy += float(a @ b)

    @property
    def pearson(self) -> float:
        """Correlation, −1 to 1; NaN where one side is the same everywhere or there is no pair."""
        if self.n == 0:
            return math.nan
        var_x = self.xx - self.x**2 / self.n
        var_y = self.yy - self.y**2 / self.n
        if var_x <= 1e-9 * max(self.xx, 1e-12) or var_y <= 1e-9 * max(self.yy, 1e-12):
            return math.nan
        r = (self.xy - self.x * self.y / self.n) / math.sqrt(var_x * var_y)
        return min(1.0, max(-1.0, r))


@dataclass
class PositivityCounts:
    """Pixels found positive rightly and wrongly, from which the F1 score follows."""

    true: int = 0
    """Positive in both."""
    false: int = 0
    """Positive in the prediction only."""
    missed: int = 0
    """Positive in the truth only."""

    def add(
        self,
        prediction: NDArray[np.floating[Any]],
        truth: NDArray[np.floating[Any]],
        threshold: float,
    ) -> None:
        """Add pixels; positive is what lies above the threshold."""
        found, real = prediction > threshold, truth > threshold
        self.true += int((found & real).sum())
        self.false += int((found & ~real).sum())
        self.missed += int((~found & real).sum())

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), 0 to 1; NaN where nothing is positive in either."""
        total = 2 * self.true + self.false + self.missed
        return 2 * self.true / total if total else math.nan


def pearson(x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> float:
    """Pearson's correlation of two arrays of one size; NaN where one is constant.

    Examples
    --------
    >>> pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 7.0])).__round__(4)
    0.9934
    """
    sums = PairSums()
    sums.add(x, y)
    return sums.pearson


def positivity_f1(
    prediction: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]], threshold: float
) -> float:
    """F1 score of what is above a threshold in the prediction, against the truth.

    Examples
    --------
    >>> positivity_f1(np.array([0.0, 2.0, 2.0, 2.0]), np.array([0.0, 2.0, 2.0, 0.0]), 1.0)
    0.8
    """
    counts = PositivityCounts()
    counts.add(prediction, truth, threshold)
    return counts.f1


def mean_defined(values: list[float]) -> float:
    """Mean of the values that are not NaN; NaN where none is."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def fisher(r: float) -> float:
    """Fisher's z of a correlation, atanh(r), with r within ± 0.999; NaN for NaN.

    Source: Fisher 1915; differences of z mean the same for weak and strong correlations.
    """
    return math.atanh(min(0.999, max(-0.999, r))) if not math.isnan(r) else math.nan


def mean_pearson(correlations: list[float]) -> float:
    """Mean of correlations, taken in Fisher's z, of those that are not NaN; NaN where none is.

    Examples
    --------
    >>> round(mean_pearson([0.2, 0.9, math.nan]), 3)
    0.684
    """
    return math.tanh(mean_defined([fisher(r) for r in correlations]))
