"""Intervals that hold the truth for a stated share of pixels, fitted on tissue with known truth.

Ion counts are skewed and mostly zero, and errors grow with the value. So the interval is not
symmetric and not of one width: over bins of the predicted value, and within each over thirds of
the spread between repeats, the quantiles of the truth are tabulated; between bins they are
interpolated. One factor then widens all of them so that on held-out images the share is right
(split conformal prediction, Vovk et al. 2005, with images as the groups).

Values are in model units, which place a marker's mean at 0 whatever the instrument's background:
a marker seen by several instruments has one table. A bound below the model units of a count of 0,
the floor, is that floor, where sparse markers have their point mass.

A marker that few images show borrows from all markers (`fit_intervals`, ``others``): they count as
much as `BORROWED` images of its own, in the table and in the factor.
"""

from dataclasses import dataclass, fields, replace
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
BORROWED = 2
"""Images of its own that all markers together count as, for each marker."""
MOST_FOLDS = 6
"""Parts, of whole images, that are held out in turn at the most."""
_AT_FLOOR = 1e-3
_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class Sample:
    """Pixels with known truth; all (P,), model units."""

    prediction: NDArray[np.float32]
    spread: NDArray[np.float32]
    truth: NDArray[np.float32]
    floor: NDArray[np.float32]
    """Model units of a count of 0, for the marker and image that each pixel is from."""
    group: NDArray[np.int64]
    """Which image each pixel is from."""

    def take(self, chosen: NDArray[Any]) -> "Sample":
        """Return some of the pixels."""
        return Sample(*(getattr(self, field.name)[chosen] for field in fields(Sample)))

    def thin(self, most: int, generator: np.random.Generator) -> "Sample":
        """Return ``most`` pixels drawn at random; all where there are no more."""
        if self.truth.size <= most:
            return self
        return self.take(generator.choice(self.truth.size, most, replace=False))

    @classmethod
    def join(cls, parts: list["Sample"]) -> "Sample":
        """Put samples together."""
        names = [field.name for field in fields(Sample)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


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
        self,
        prediction: NDArray[np.floating[Any]],
        spread: NDArray[np.floating[Any]],
        floor: float | NDArray[np.floating[Any]],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return lower and upper bound, of the shape of the prediction, model units.

        Parameters
        ----------
        prediction, spread
            (…) model units.
        floor
            Model units of a count of 0; no bound is lower.
        """
        raw = self._raw(np.asarray(prediction, np.float64), np.asarray(spread, np.float64))
        return _widened(raw, self.scale, floor)

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
            result.append(value + beyond)
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


def fit_intervals(
    sample: Sample,
    *,
    others: Sample | None = None,
    others_scale: float = 1.0,
    level: float = LEVEL,
    seed: int = 0,
) -> IntervalTable | None:
    """Fit a table on pixels with known truth.

    The widening factor is found by leaving out the images in turn: tables fitted on the others
    must hold ``level`` of the pixels left out, over all images together. With one image, and no
    ``others``, the table must hold them of its own.

    Parameters
    ----------
    sample
        Pixels with known truth.
    others
        Pixels of all markers, as many as of `BORROWED` images: they join every table.
    others_scale
        The factor over all markers; weighs as much as so many images in the geometric mean.
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
    sample = sample.thin(MOST_PIXELS, np.random.default_rng(seed))
    extra = [] if others is None else [others]
    table = _tabulate(Sample.join([sample, *extra]), level)
    images, image = np.unique(sample.group, return_inverse=True)
    held = []
    for fold in range(min(len(images), MOST_FOLDS)):
        out = image % MOST_FOLDS == fold
        rest = Sample.join([sample.take(~out), *extra])
        if rest.truth.size >= LEAST_PIXELS:
            held.append((_tabulate(rest, level), sample.take(out)))
    scale = _scale(held or [(table, sample)], level)
    if others is not None:
        weight = len(images) / (len(images) + BORROWED)
        scale = float(scale**weight * others_scale ** (1 - weight))
    return replace(table, scale=scale)


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
    """Lower bound, median and upper bound; what equals the lower bound is within."""
    low = float(np.quantile(truth, (1 - level) / 2))
    below = float((truth < low - _SAME).mean())
    high = float(np.quantile(truth, min(1.0, below + level)))
    return low, float(np.median(truth)), high


def _widened(
    raw: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    scale: float,
    floor: float | NDArray[np.floating[Any]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Widen lower, median and upper quantile by a factor, and rest what is lower on the floor."""
    low, middle, high = raw
    lower = middle - scale * (middle - low)
    upper = middle + scale * (high - middle)
    lower = np.where(lower <= floor + _AT_FLOOR, floor, lower)
    upper = np.maximum(np.maximum(upper, lower), floor + _AT_FLOOR)
    return lower.astype(np.float32), upper.astype(np.float32)


def _scale(held: list[tuple[IntervalTable, Sample]], level: float) -> float:
    """Find the factor at which held-out images are covered as stated, by bisection."""
    raws = [
        (table._raw(s.prediction.astype(np.float64), s.spread.astype(np.float64)), s)
        for table, s in held
    ]
    total = sum(sample.truth.size for _, sample in raws)

    def share(scale: float) -> float:
        hit = 0.0
        for raw, sample in raws:
            lower, upper = _widened(raw, scale, sample.floor)
            hit += coverage(lower, upper, sample.truth) * sample.truth.size
        return hit / total

    low, high = 0.25, 4.0
    for _ in range(14):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if share(middle) >= level else (middle, high)
    return high
