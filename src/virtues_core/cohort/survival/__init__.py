"""Survival of patients: curves, tests, models, and groups that differ in it.

All times are follow-up in one unit, the clinical table's; events are true where the event was
seen. Estimators are those of lifelines and statsmodels, with what a reviewer asks for around them.
"""

from virtues_core.cohort.survival.concordance import Concordance, concordance
from virtues_core.cohort.survival.cox import CoxModel, CoxTerm, cox
from virtues_core.cohort.survival.curves import (
    LogRank,
    SurvivalCurve,
    curve_table,
    expected_events,
    logrank,
    survival_curve,
)
from virtues_core.cohort.survival.merge import (
    OutOfFold,
    merge_on_data,
    merge_out_of_fold,
    p_of,
    permuted,
)
from virtues_core.cohort.survival.restricted import (
    RestrictedMean,
    restricted_mean,
    restricted_mean_difference,
)
from virtues_core.cohort.survival.risk import RiskRatio, risk_ratio
from virtues_core.cohort.survival.stratify import Run, Stratification, stratify
from virtues_core.cohort.survival.stratify_config import StratifyConfig
from virtues_core.cohort.survival.stratify_results import results_of
from virtues_core.cohort.survival.structures import Structure, structures_of
from virtues_core.cohort.survival.times import LEAST_EVENTS

__all__ = [
    "LEAST_EVENTS",
    "Concordance",
    "CoxModel",
    "CoxTerm",
    "LogRank",
    "OutOfFold",
    "RestrictedMean",
    "RiskRatio",
    "Run",
    "Stratification",
    "StratifyConfig",
    "Structure",
    "SurvivalCurve",
    "concordance",
    "cox",
    "curve_table",
    "expected_events",
    "logrank",
    "merge_on_data",
    "merge_out_of_fold",
    "p_of",
    "permuted",
    "restricted_mean",
    "restricted_mean_difference",
    "results_of",
    "risk_ratio",
    "stratify",
    "structures_of",
    "survival_curve",
]
