"""The average distribution of a group's cells in a plane, and where it moves between two times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

POINTS = 500
"""Of a barycentre, as in the paper."""
ITERATIONS = 50
"""At the most; groups of tens of patients take 10 to 20."""
STILL = 1e-3
"""It ends when its points move less than this share of the cells' spread, root mean square."""


@dataclass(frozen=True, eq=False)
class Barycentre:
    """The Wasserstein barycentre of a group's patients at one time."""

    points: NDArray[np.float64]
    """(M, 2), each of weight 1/M."""
    carried: NDArray[np.float64]
    """(P, M, 2): where the optimal plan to each patient's cells carries each point, on average.
    Their mean over the patients is the barycentre again."""

    @property
    def median(self) -> NDArray[np.float64]:
        """(2,) median of either coordinate."""
        return np.asarray(np.median(self.points, axis=0))


def barycentre(
    measures: Sequence[NDArray[np.floating]], *, points: int = POINTS, seed: int = 0
) -> Barycentre:
    """Average the distributions of patients: arg min over b of Σ_i W_0²(b, a_i).

    Free support, uniform weights (Cuturi and Doucet 2014, algorithm 2; `ot`'s
    `free_support_barycenter`), begun with cells drawn evenly from all patients. Source: the paper,
    Methods, "Quantifying treatment responses" (which prints Σ W_0; the barycentre is that of W_0²).

    Parameters
    ----------
    measures
        P arrays (n_i, 2): the cells of each patient in the plane. Each patient weighs the same.
    points
        M.
    seed
        Draws where the points begin.

    Raises
    ------
    InputError
        No patient, one without cells, places that are not finite, or fewer than one point.

    Examples
    --------
    >>> low, high = np.zeros((3, 2)), np.full((5, 2), 4.0)
    >>> barycentre([low, high], points=2).points.tolist()
    [[2.0, 2.0], [2.0, 2.0]]
    """
    import ot

    clouds = [np.asarray(measure, np.float64) for measure in measures]
    shaped = all(cloud.ndim == 2 and cloud.shape[1] == 2 and len(cloud) for cloud in clouds)
    if not clouds or not shaped or points < 1 or not all(np.isfinite(c).all() for c in clouds):
        message = (
            "expected patients with finite places (cells, 2) of one cell or more each, and one "
            "point "
            f"or more, found {[cloud.shape for cloud in clouds][:5]} and {points} points."
        )
        raise InputError(message)
    rng = np.random.default_rng((seed, 1))
    start = np.stack(
        [clouds[i][rng.integers(len(clouds[i]))] for i in rng.integers(len(clouds), size=points)]
    )
    weights = [np.full(len(cloud), 1 / len(cloud)) for cloud in clouds]
    spread = float(np.mean([cloud.var(axis=0).sum() for cloud in clouds]))
    found = ot.lp.free_support_barycenter(
        clouds, weights, start, numItermax=ITERATIONS, stopThr=points * spread * STILL**2
    )
    each = np.full(points, 1 / points)
    carried = np.stack(
        [
            points * ot.emd(each, weight, ot.dist(found, cloud)) @ cloud
            for cloud, weight in zip(clouds, weights, strict=True)
        ]
    )
    return Barycentre(carried.mean(axis=0), carried)


@dataclass(frozen=True)
class Displacement:
    """From one time to the next, where the middle of a group's cells moves in the plane."""

    start: tuple[float, float]
    """Median of the barycentre at the first time."""
    vector: tuple[float, float]
    """Median at the second time less that at the first."""
    low: tuple[float, float] | None
    high: tuple[float, float] | None
    """95 % percentile interval of either coordinate over draws of patients; None of fewer than
    five patients at either time."""
    patients: tuple[int, int]
    """At either time."""


LEAST_PATIENTS = 5
"""Of fewer nothing is said beyond the value itself."""


def displacement(
    before: Mapping[str, int],
    after: Mapping[str, int],
    first: Barycentre,
    second: Barycentre,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Displacement:
    """Subtract medians of two barycentres, Δ = med(b_t2) − med(b_t1), and draw patients anew.

    Source: the paper, Methods, "Quantifying treatment responses". The interval is the percentile
    bootstrap over patients (Efron and Tibshirani 1993), a patient drawn for both times at once. The
    barycentre of drawn patients is taken as the mean of where the whole group's points are carried
    to in them: one step of the algorithm, and exact where patients differ by shifts.

    Parameters
    ----------
    before, after
        Patient → row in ``carried`` of the first and the second barycentre.
    first, second
        Of `barycentre`.
    draws
        Of patients.
    seed
        Draws them.
    """
    start, end = first.median, second.median
    low = high = None
    if min(len(before), len(after)) >= LEAST_PATIENTS and draws > 0:
        rng = np.random.default_rng((seed, 2))
        everyone = sorted({*before, *after})
        moved = []
        for _ in range(draws):
            drawn = [everyone[i] for i in rng.integers(len(everyone), size=len(everyone))]
            rows = [[own[p] for p in drawn if p in own] for own in (before, after)]
            if not all(rows):
                continue  # nobody of one time: no difference to tell
            middle = [
                np.median(time.carried[own].mean(axis=0), axis=0)
                for time, own in zip((first, second), rows, strict=True)
            ]
            moved.append(middle[1] - middle[0])
        if moved:
            low, high = (_pair(q) for q in np.quantile(moved, [0.025, 0.975], axis=0))
    return Displacement(_pair(start), _pair(end - start), low, high, (len(before), len(after)))


def _pair(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values[0]), float(values[1])
