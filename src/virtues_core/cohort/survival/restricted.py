"""Restricted mean survival: the mean time without the event up to a horizon, and differences."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.survival.curves import LEVEL, survival_curve
from virtues_core.cohort.survival.times import checked
from virtues_core.errors import InputError


@dataclass(frozen=True)
class RestrictedMean:
    """Mean time without the event until a horizon, or a difference of two; in the unit of time."""

    value: float
    lower: float
    """Of the 95 % interval."""
    upper: float
    standard_error: float
    horizon: float


def restricted_mean(times: NDArray[Any], events: NDArray[Any], horizon: float) -> RestrictedMean:
    """Give the area under the Kaplan–Meier curve up to a horizon, with its 95 % interval.

    The area is lifelines'. Its variance, which lifelines does not have, is Greenwood's carried
    through the integral: the sum over event times t ≤ τ of d A(t)² / (n (n − d)), where A(t) is
    the area between t and τ, n patients were at risk and d had the event. Source: Royston and
    Parmar 2013, "Restricted mean survival time", BMC Medical Research Methodology 13:152.

    Parameters
    ----------
    times
        (P,) follow-up.
    events
        (P,) whether the event was seen.
    horizon
        τ, in the unit of ``times``; no longer than the longest follow-up.

    Raises
    ------
    InputError
        As `checked`; a horizon that is not above 0 or lies after the last follow-up.

    Examples
    --------
    >>> found = restricted_mean(np.array([1.0, 2, 3, 4]), np.ones(4), horizon=3)
    >>> found.value, round(found.standard_error, 4)
    (2.25, 0.4146)
    """
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    times, events = checked(times, events)
    if not 0 < horizon <= times.max():
        message = (
            f"expected a horizon above 0 and up to the last follow-up of each group, "
            f"{times.max():g}, found {horizon:g}. Choose a shorter one."
        )
        raise InputError(message)
    fitted = KaplanMeierFitter().fit(times, events)
    mean = float(restricted_mean_survival_time(fitted, t=horizon))
    return _with_interval(mean, _standard_error(times, events, horizon), horizon)


def restricted_mean_difference(first: RestrictedMean, second: RestrictedMean) -> RestrictedMean:
    """Give the first restricted mean less the second, of groups that share no patient.

    Raises
    ------
    InputError
        Their horizons differ.
    """
    if first.horizon != second.horizon:
        message = (
            f"expected restricted means up to one horizon, found {first.horizon:g} and "
            f"{second.horizon:g}. Compute both up to the shorter one."
        )
        raise InputError(message)
    error = float(np.hypot(first.standard_error, second.standard_error))
    return _with_interval(first.value - second.value, error, first.horizon)


def _standard_error(times: NDArray[np.float64], events: NDArray[np.bool_], horizon: float) -> float:
    curve = survival_curve(times, events)
    within = curve.times < horizon
    steps = np.diff(np.append(curve.times[within], horizon)) * curve.survival[within]
    area = np.cumsum(steps[::-1])[::-1]  # from each time to the horizon
    n, d = curve.at_risk[within], curve.events[within]
    left = np.maximum(n - d, 1)  # where all of them have the event the area is 0
    return float(np.sqrt(np.sum(d * area**2 / (np.maximum(n, 1) * left))))


def _with_interval(value: float, error: float, horizon: float) -> RestrictedMean:
    from scipy.stats import norm

    wide = float(norm.ppf(0.5 + LEVEL / 2)) * error
    return RestrictedMean(value, value - wide, value + wide, error, float(horizon))
