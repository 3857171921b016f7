"""Survival curves of groups: Kaplan–Meier with bands, patients at risk, the log-rank test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.survival.times import (
    LEAST_EVENTS,
    Events,
    Times,
    checked,
    checked_groups,
)

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
"""Of all bands and intervals."""


@dataclass(frozen=True, eq=False)
class SurvivalCurve:
    """Kaplan–Meier estimate of one group, a step function that begins at time 0 with 1."""

    times: Times
    """(M,) 0 and each time at which a patient had the event or was censored, ascending."""
    survival: NDArray[np.float64]
    """(M,) share without the event from that time on until the next."""
    lower: NDArray[np.float64]
    """(M,) of the 95 % band, at each time by itself."""
    upper: NDArray[np.float64]
    """(M,)."""
    at_risk: NDArray[np.int64]
    """(M,) patients still followed just before the time."""
    events: NDArray[np.int64]
    """(M,) at the time."""
    censored: NDArray[np.int64]
    """(M,) at the time: where a plot has its marks."""

    @property
    def median(self) -> float:
        """Time at which the curve falls to a half or below; infinite where it does not."""
        below = np.flatnonzero(self.survival <= 0.5)
        return float(self.times[below[0]]) if len(below) else float("inf")

    def remaining(self, times: Sequence[float] | Times) -> NDArray[np.int64]:
        """Count the patients still followed just before each of some times: an at-risk table."""
        first = np.searchsorted(self.times, np.asarray(times, dtype=np.float64), side="left")
        left = np.append(self.at_risk, 0)
        return np.asarray(left[first], dtype=np.int64)


@dataclass(frozen=True)
class LogRank:
    """Whether groups differ in survival."""

    statistic: float
    """Chi-squared; NaN where the test cannot be made."""
    degrees: int
    """Of freedom: groups less one."""
    p: float | None
    """None where a group has too few events for it to be honest."""
    why_not: str = ""
    """Why there is no p."""


def survival_curve(times: NDArray[Any], events: NDArray[Any]) -> SurvivalCurve:
    """Estimate the survival of one group by Kaplan and Meier (lifelines).

    The band is Greenwood's variance on the log(−log) scale, for each time by itself, as
    Kalbfleisch and Prentice 2002, "The statistical analysis of failure time data", 1.4.1. Paper:
    Methods, "Tissue structure-based risk stratification".

    Parameters
    ----------
    times
        (P,) follow-up, any unit.
    events
        (P,) whether the event was seen.

    Raises
    ------
    InputError
        As `checked`.

    Examples
    --------
    >>> found = survival_curve(np.array([1.0, 2, 2, 4]), np.array([1, 1, 0, 1]))
    >>> found.times.tolist(), found.survival.round(3).tolist()
    ([0.0, 1.0, 2.0, 4.0], [1.0, 0.75, 0.5, 0.0])
    >>> found.remaining([0, 2, 5]).tolist()
    [4, 3, 0]
    """
    from lifelines import KaplanMeierFitter

    times, events = checked(times, events)
    fitted = KaplanMeierFitter(alpha=1 - LEVEL).fit(times, events)
    table = fitted.event_table
    bands = fitted.confidence_interval_.to_numpy(dtype=np.float64)
    at_risk = table["at_risk"].to_numpy(dtype=np.int64)
    return SurvivalCurve(
        table.index.to_numpy(dtype=np.float64),
        fitted.survival_function_.iloc[:, 0].to_numpy(dtype=np.float64),
        bands[:, 0],
        bands[:, 1],
        at_risk,
        table["observed"].to_numpy(dtype=np.int64),
        table["censored"].to_numpy(dtype=np.int64),
    )


def curve_table(
    times: NDArray[Any], events: NDArray[Any], groups: NDArray[Any], by: str = "group"
) -> "pd.DataFrame":
    """Give the curves of groups as one table, sorted by group and time.

    Parameters
    ----------
    times, events, groups
        (P,) as in `logrank`.
    by
        Name of the column of groups.

    Returns
    -------
    pandas.DataFrame
        Columns ``by``, time, survival, lower, upper, at_risk, events, censored: those of
        `SurvivalCurve`.

    Raises
    ------
    InputError
        As `checked`, or lengths that differ.
    """
    import pandas as pd

    times, events = checked(times, events)
    groups = checked_groups(groups, len(times))
    tables = []
    for name in np.unique(groups):
        curve = survival_curve(times[groups == name], events[groups == name])
        tables.append(
            pd.DataFrame(
                {
                    by: name,
                    "time": curve.times,
                    "survival": curve.survival,
                    "lower": curve.lower,
                    "upper": curve.upper,
                    "at_risk": curve.at_risk,
                    "events": curve.events,
                    "censored": curve.censored,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def logrank(times: NDArray[Any], events: NDArray[Any], groups: NDArray[Any]) -> LogRank:
    """Test whether groups have one survival (log-rank, lifelines).

    Parameters
    ----------
    times
        (P,) follow-up.
    events
        (P,) whether the event was seen.
    groups
        (P,) name or number of each patient's group.

    Returns
    -------
    LogRank
        Without p where there are fewer than two groups, or one of them has fewer than five events.

    Raises
    ------
    InputError
        As `checked`, or lengths that differ.

    Examples
    --------
    >>> times, groups = np.arange(1.0, 21), np.repeat([0, 1], 10)
    >>> found = logrank(times, np.ones(20), groups)
    >>> round(found.statistic, 2), found.p < 1e-4
    (21.84, True)
    """
    from lifelines.statistics import multivariate_logrank_test

    times, events = checked(times, events)
    groups = checked_groups(groups, len(times))
    names = np.unique(groups)
    if len(names) < 2:
        return LogRank(float("nan"), 0, None, f"there is one group alone ({names[0]})")
    if not events.any():
        return LogRank(float("nan"), len(names) - 1, None, "all patients are censored")
    found = multivariate_logrank_test(times, groups, events)
    statistic, degrees = float(found.test_statistic), len(names) - 1
    few = [
        f"{name} has {int(events[groups == name].sum())}"
        for name in names
        if events[groups == name].sum() < LEAST_EVENTS
    ]
    if few:
        why = f"a p-value needs {LEAST_EVENTS} events in each group; {', '.join(few)}"
        return LogRank(statistic, degrees, None, why)
    return LogRank(statistic, degrees, float(found.p_value))


def expected_events(times: NDArray[Any], events: NDArray[Any]) -> NDArray[np.float64]:
    """Give the events expected of each patient, were the hazard the same for all.

    It is the Nelson–Aalen cumulative hazard of all patients at each one's follow-up; summed over a
    group it is what the log-rank test expects there, and over all it is the number of events.

    Parameters
    ----------
    times
        (P,) follow-up.
    events
        (P,) whether the event was seen.

    Returns
    -------
    numpy.ndarray
        (P,) 0 or more.

    Raises
    ------
    InputError
        As `checked`.

    Examples
    --------
    >>> expected_events(np.array([1.0, 2, 3]), np.array([1, 0, 1])).round(3).tolist()
    [0.333, 0.333, 1.333]
    """
    from lifelines import NelsonAalenFitter

    times, events = checked(times, events)
    fitted = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(times, events)
    hazard = fitted.cumulative_hazard_
    place = np.searchsorted(hazard.index.to_numpy(), times, side="right") - 1
    return np.asarray(hazard.iloc[:, 0].to_numpy(dtype=np.float64)[place])


def surplus(
    events: Events, expected: NDArray[np.float64], groups: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Sum observed less expected events over each of ``count`` groups, numbered from 0."""
    found = np.bincount(groups, weights=events - expected, minlength=count)
    return np.asarray(found, dtype=np.float64)
