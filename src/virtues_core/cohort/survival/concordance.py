"""Harrell's concordance index with an interval over patients."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.survival.curves import LEVEL
from virtues_core.cohort.survival.times import checked
from virtues_core.errors import InputError


@dataclass(frozen=True)
class Concordance:
    """How often, of two patients, the one with the higher risk has the event first."""

    value: float
    """0.5 is chance, 1 always; equal risks count a half. NaN where no two can be compared."""
    lower: float
    """Of the 95 % interval; NaN without draws."""
    upper: float
    draws: int
    """Of patients with replacement, that the interval is made of."""


def concordance(
    times: NDArray[Any], events: NDArray[Any], risk: NDArray[Any], *, draws: int = 0, seed: int = 0
) -> Concordance:
    """Score risks against survival (Harrell's index by lifelines).

    The interval is the middle 95 % of the index over patients drawn with replacement, their risks
    as they are: what another set of patients would change, not what another fit would.

    Parameters
    ----------
    times
        (P,) follow-up.
    events
        (P,) whether the event was seen.
    risk
        (P,) higher is worse; any scale.
    draws
        For the interval; 0 leaves it out.
    seed
        Of the draws.

    Raises
    ------
    InputError
        As `checked`, or risks that are missing or of another number.

    Examples
    --------
    >>> concordance(np.array([1.0, 2, 3]), np.ones(3), np.array([2, 2, 1])).value
    0.8333333333333334
    """
    times, events = checked(times, events)
    risk = np.asarray(risk, dtype=np.float64)
    if risk.shape != times.shape or not np.isfinite(risk).all():
        message = (
            f"expected a finite risk for each of {len(times)} patients, found {risk.shape} with "
            f"{int((~np.isfinite(risk)).sum())} missing. Leave those patients out."
        )
        raise InputError(message)
    rng = np.random.default_rng(seed)
    found = [
        _index(times[chosen], events[chosen], risk[chosen])
        for chosen in (rng.integers(len(times), size=len(times)) for _ in range(draws))
    ]
    known = [value for value in found if np.isfinite(value)]
    edges = (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)
    lower, upper = np.quantile(known, edges) if known else (np.nan, np.nan)
    return Concordance(_index(times, events, risk), float(lower), float(upper), draws)


def _index(times: NDArray[Any], events: NDArray[Any], risk: NDArray[Any]) -> float:
    from lifelines.utils import concordance_index

    try:
        return float(concordance_index(times, -risk, events))
    except ZeroDivisionError:  # no two patients can be compared
        return float("nan")
