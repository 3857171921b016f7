"""Clusters of cells that foretell an outcome, found in one cohort and carried to others."""

from virtues_core.cohort.biomarkers.discover import Discovery, discover
from virtues_core.cohort.biomarkers.discover_config import DiscoverConfig
from virtues_core.cohort.biomarkers.discover_results import results_of

__all__ = ["DiscoverConfig", "Discovery", "discover", "results_of"]
