"""Risk ratios of two-by-two tables with 95 % intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.survival.curves import LEVEL
from virtues_core.errors import InputError


@dataclass(frozen=True)
class RiskRatio:
    """How much more often something is there in one group of patients than in the others."""

    ratio: float
    """Share of the group over share of the others; NaN where it is in nobody or in everybody."""
    lower: float
    """Of the 95 % interval."""
    upper: float
    present: int
    """Patients of the group that have it."""
    patients: int
    """Of the group."""
    present_others: int
    patients_others: int
    corrected: bool = False
    """Whether a half was added to each count, for one of them was 0."""
    why_not: str = ""
    """Why there is no ratio."""


def risk_ratio(present: NDArray[Any], group: NDArray[Any]) -> RiskRatio:
    """Compare how often something is there in a group of patients and in the others.

    The interval is normal on the logarithm of the ratio (Katz et al. 1978, "Obtaining confidence
    intervals for the risk ratio in cohort studies"), by statsmodels; where a count is 0, a half is
    added to each of the four. Paper: Methods, "Tissue structure-based risk stratification".

    Parameters
    ----------
    present
        (P,) bool, whether the patient has it.
    group
        (P,) bool, whether the patient is of the group.

    Raises
    ------
    InputError
        Lengths that differ.

    Examples
    --------
    >>> present = np.repeat([True, False, True, False], [30, 10, 10, 30])
    >>> found = risk_ratio(present, np.repeat([True, False], 40))
    >>> round(found.ratio, 3), round(found.lower, 3), round(found.upper, 3)
    (3.0, 1.704, 5.283)
    """
    from statsmodels.stats.contingency_tables import Table2x2

    present, group = np.asarray(present), np.asarray(group)
    if present.ndim != 1 or present.shape != group.shape:
        message = f"expected two columns of one length, found {present.shape} and {group.shape}."
        raise InputError(message)
    present, group = present.astype(bool), group.astype(bool)
    table = np.array(
        [[(present & side).sum(), (~present & side).sum()] for side in (group, ~group)]
    )
    counts = (int(table[0, 0]), int(table[0].sum()), int(table[1, 0]), int(table[1].sum()))
    if (why_not := _why_not(table)) != "":
        return RiskRatio(np.nan, np.nan, np.nan, *counts, why_not=why_not)
    corrected = bool((table == 0).any())  # statsmodels would move the zeros alone
    found = Table2x2(table + 0.5 if corrected else table)
    lower, upper = found.riskratio_confint(alpha=1 - LEVEL)
    return RiskRatio(float(found.riskratio), float(lower), float(upper), *counts, corrected)


def _why_not(table: NDArray[np.int64]) -> str:
    if not table.sum(axis=1).all():
        return "all patients are of one group"
    if not table[:, 0].any():
        return "it is in no patient"
    if not table[:, 1].any():
        return "it is in every patient"
    return ""
