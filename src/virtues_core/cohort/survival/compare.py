"""Two risk groups of patients compared: curves, log-rank, mean survival, concordance, Cox."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.survival.concordance import Concordance, concordance
from virtues_core.cohort.survival.cox import CoxModel, cox
from virtues_core.cohort.survival.curves import LogRank, logrank
from virtues_core.cohort.survival.restricted import (
    RestrictedMean,
    restricted_mean,
    restricted_mean_difference,
)

if TYPE_CHECKING:
    import pandas as pd

RISK_TERM = "high risk"
"""Name of the risk groups among the terms of a Cox model."""


@dataclass(frozen=True)
class Comparison:
    """High against low risk, told in one way."""

    name: str
    """How risk was told: ``out of fold`` or ``on the data``."""
    logrank: LogRank
    """Its p-value knows nothing of how the groups were found."""
    concordance: Concordance
    high_mean: RestrictedMean | None
    """Mean survival of the high-risk group up to a horizon; None where a group is empty."""
    low_mean: RestrictedMean | None
    mean_difference: RestrictedMean | None
    """Low less high."""
    cox: CoxModel
    """Of the risk group and all covariates. The risk group has no p-value: Wald's knows nothing of
    the merge, by the survival of these patients or of folds that share most of theirs."""
    notes: tuple[str, ...]


def compare(
    name: str,
    times: NDArray[np.float64],
    events: NDArray[np.bool_],
    high: NDArray[np.bool_],
    covariates: "pd.DataFrame",
    *,
    horizon: float,
    bootstrap: int,
    seed: int,
) -> Comparison:
    """Compare the survival of patients of high and low risk.

    Parameters
    ----------
    name
        How risk was told.
    times, events
        (P,) follow-up, and whether the event was seen.
    high
        (P,) risk.
    covariates
        P rows that the Cox model is adjusted for; no column: risk alone.
    horizon
        Up to which mean survival is compared.
    bootstrap, seed
        As draws and seed of `concordance`.
    """
    notes = []
    test = logrank(times, events, np.where(high, "high risk", "low risk"))
    if test.p is None:
        notes.append(f"no p-value: {test.why_not}")
    high_mean = low_mean = apart = None
    if high.any() and not high.all() and horizon > 0:
        low_mean, high_mean = (restricted_mean(times[s], events[s], horizon) for s in (~high, high))
        apart = restricted_mean_difference(low_mean, high_mean)
    model = cox(times, events, covariates.assign(**{RISK_TERM: high.astype(float)}))
    terms = tuple(replace(t, p=np.nan) if t.name == RISK_TERM else t for t in model.terms)
    model = replace(model, terms=terms)
    if model.why_not:
        notes.append(f"no Cox model: {model.why_not}")
    notes += [f"Cox model: {text}" for text in model.notes]
    found = concordance(times, events, high, draws=bootstrap, seed=seed)
    return Comparison(name, test, found, high_mean, low_mean, apart, model, tuple(notes))


def signed_logrank(
    times: NDArray[np.float64],
    events: NDArray[np.bool_],
    high: NDArray[np.bool_],
    expected: NDArray[np.float64],
) -> float:
    """Give the log-rank statistic's root (statsmodels), positive where high risk fares worse.

    Parameters
    ----------
    times, events, high
        (P,) as in `compare`.
    expected
        (P,) of `expected_events`.

    Returns
    -------
    float
        0 where one of the groups is empty, or no event tells them apart.

    Examples
    --------
    >>> from virtues_core.cohort.survival import expected_events
    >>> times, events = np.arange(1.0, 21), np.ones(20, bool)
    >>> high = np.repeat([True, False], 10)
    >>> round(signed_logrank(times, events, high, expected_events(times, events)) ** 2, 2)
    21.84
    """
    from statsmodels.duration.survfunc import survdiff

    if high.all() or not high.any():
        return 0.0
    try:
        statistic, _ = survdiff(times, events, high)
    except np.linalg.LinAlgError:  # all events fall after one group's last follow-up
        return 0.0
    return float(np.sqrt(max(0.0, statistic)) * np.sign((events - expected)[high].sum()))
