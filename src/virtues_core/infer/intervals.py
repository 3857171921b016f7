"""Intervals that hold the truth for a stated share of pixels, fitted on tissue with known truth.

Ion counts are skewed and mostly zero, and errors grow with the value. So the interval is not
symmetric and not of one width: over bins of the predicted value, and within each over thirds of
the spread between repeats, the quantiles of the truth are tabulated; between bins they are
interpolated. One factor then widens all of them so that on held-out images the share is right
(split conformal prediction, Vovk et al. 2005, with images as the groups).

Values are heights above the floor: model units minus those of a count of 0. There the truth has
its point mass at 0 for every channel, and a lower bound may rest on it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.8
"""Share of pixels whose truth the interval shall hold."""
BINS = 10
"""Bins of the predicted value, each with as many pixels."""
SPREADS = 3
"""Classes of spread within a bin, each with as many pixels."""
MOST_PIXELS = 200_000
"""Pixels that a table is fitted on at the most, drawn at random from all."""
LEAST_PIXELS = 2_000
"""Fewer are too few for a table."""
_AT_FLOOR = 1e-3


@dataclass(frozen=True, eq=False)
class Sample:
    """Pixels with known truth; all (P,), heights above the floor."""

    prediction: NDArray[np.float32]
    spread: NDArray[np.float32]
    truth: NDArray[np.float32]
    group: NDArray[np.int64]
    """Which image each pixel is from."""

    def take(self, chosen: NDArray[Any]) -> "Sample":
        """Return some of the pixels."""
        return Sample(
            self.prediction[chosen], self.spread[chosen], self.truth[chosen], self.group[chosen]
        )

    @classmethod
    def join(cls, parts: list["Sample"]) -> "Sample":
        """Put samples together."""
        return cls(
            np.concatenate([part.prediction for part in parts]),
            np.concatenate([part.spread for part in parts]),
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.group for part in parts]),
        )


@dataclass(frozen=True, eq=False)
class IntervalTable:
    """Quantiles of the truth, by predicted value and spread."""

    centres: NDArray[np.float64]
    """(B,) predicted value in the middle of each bin, rising."""
    edges: NDArray[np.float64]
    """(S − 1, B) spreads that part the classes."""
    lower: NDArray[np.float64]
    """(S, B)."""
    median: NDArray[np.float64]
    """(S, B)."""
    upper: NDArray[np.float64]
    """(S, B)."""
    scale: float = 1.0
    """Widens (or narrows) the distance of the bounds from the median."""

    def bounds(
        self, prediction: NDArray[np.floating[Any]], spread: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return lower and upper bound, of the shape of the prediction, heights above the floor."""
        p = np.asarray(prediction, np.float64)
        low, middle, high = self._raw(p, np.asarray(spread, np.float64))
        lower = middle - self.scale * (middle - low)
        upper = middle + self.scale * (high - middle)
        lower = np.where(lower <= _AT_FLOOR, 0.0, lower)
        upper = np.maximum(np.maximum(upper, lower), _AT_FLOOR)
        return lower.astype(np.float32), upper.astype(np.float32)

    def _raw(
        self, p: NDArray[np.float64], spread: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        inside = np.clip(p, self.centres[0], self.centres[-1])
        beyond = p - inside  # outside of the table the bounds keep their distance
        kind = np.zeros(p.shape, dtype=np.int64)
        for edge in self.edges:
            kind += spread > np.interp(inside, self.centres, edge)
        result = []
        for curves in (self.lower, self.median, self.upper):
            value = np.empty(p.shape)
            for s, curve in enumerate(curves):
                here = kind == s
                value[here] = np.interp(inside[here], self.centres, curve)
            result.append(np.maximum(value + beyond, 0.0))
        return result[0], result[1], result[2]

    def to_dict(self) -> dict[str, Any]:
        """Give the table as plain lists, fit for JSON."""
        arrays = ("centres", "edges", "lower", "median", "upper")
        table: dict[str, Any] = {name: np.round(getattr(self, name), 4).tolist() for name in arrays}
        return table | {"scale": round(self.scale, 4)}

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "IntervalTable":
        """Read what `to_dict` gave."""
        arrays = ("centres", "edges", "lower", "median", "upper")
        read = {name: np.asarray(table[name], np.float64) for name in arrays}
        return cls(**read, scale=float(table["scale"]))


def fit_intervals(sample: Sample, *, level: float = LEVEL, seed: int = 0) -> IntervalTable | None:
    """Fit a table on pixels with known truth.

    The widening factor is found by leaving out each image in turn: tables fitted on the others
    must hold ``level`` of its pixels, over all images together. With one image the table must hold
    them of its own.

    Parameters
    ----------
    sample
        Pixels with known truth.
    level
        Share of pixels to hold.
    seed
        Draws the pixels where there are more than `MOST_PIXELS`.

    Returns
    -------
    IntervalTable or None
        None where there are fewer than `LEAST_PIXELS`.
    """
    if sample.truth.size < LEAST_PIXELS:
        return None
    if sample.truth.size > MOST_PIXELS:
        generator = np.random.default_rng(seed)
        sample = sample.take(generator.choice(sample.truth.size, MOST_PIXELS, replace=False))
    table = _tabulate(sample, level)
    held = []
    for group in np.unique(sample.group):
        inside = sample.group == group
        rest, left = sample.take(~inside), sample.take(inside)
        if rest.truth.size >= LEAST_PIXELS:
            held.append((_tabulate(rest, level), left))
    return _with_scale(table, _scale(held or [(table, sample)], level))


def coverage(
    lower: NDArray[np.floating[Any]],
    upper: NDArray[np.floating[Any]],
    truth: NDArray[np.floating[Any]],
) -> float:
    """Share of pixels whose truth is within the bounds, ends included; NaN without pixels."""
    if truth.size == 0:
        return float("nan")
    return float(((lower <= truth) & (truth <= upper)).mean())


def _tabulate(sample: Sample, level: float) -> IntervalTable:
    order = np.argsort(sample.prediction, kind="stable")
    centres: list[float] = []
    columns: list[NDArray[np.float64]] = []
    edges: list[NDArray[np.float64]] = []
    for members in np.array_split(order, BINS):
        centre = float(np.median(sample.prediction[members]))
        if centres and centre <= centres[-1]:
            continue  # many equal predictions: the bin before speaks for them
        by_spread = members[np.argsort(sample.spread[members], kind="stable")]
        classes = np.array_split(by_spread, SPREADS)
        centres.append(centre)
        edges.append(np.array([sample.spread[part].max() for part in classes[:-1]], np.float64))
        columns.append(np.array([_quantiles(sample.truth[part], level) for part in classes]))
    table = np.stack(columns, axis=-1)  # (S, 3, B)
    return IntervalTable(
        centres=np.array(centres),
        edges=np.stack(edges, axis=-1),
        lower=table[:, 0],
        median=table[:, 1],
        upper=table[:, 2],
    )


def _quantiles(truth: NDArray[np.float32], level: float) -> tuple[float, float, float]:
    """Lower bound, median and upper bound; where many pixels are 0, the lower bound is 0."""
    low = float(np.quantile(truth, (1 - level) / 2))
    below = float((truth < low).mean()) if low > _AT_FLOOR else 0.0
    high = float(np.quantile(truth, min(1.0, below + level)))
    return low, float(np.median(truth)), high


def _scale(held: list[tuple[IntervalTable, Sample]], level: float) -> float:
    """Find the factor at which held-out images are covered as stated, by bisection."""
    total = sum(sample.truth.size for _, sample in held)

    def share(scale: float) -> float:
        hit = 0.0
        for table, sample in held:
            lower, upper = _with_scale(table, scale).bounds(sample.prediction, sample.spread)
            hit += coverage(lower, upper, sample.truth) * sample.truth.size
        return hit / total

    low, high = 0.25, 4.0
    for _ in range(14):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if share(middle) >= level else (middle, high)
    return high


def _with_scale(table: IntervalTable, scale: float) -> IntervalTable:
    return IntervalTable(table.centres, table.edges, table.lower, table.median, table.upper, scale)
