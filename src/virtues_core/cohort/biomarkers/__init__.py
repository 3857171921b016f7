"""Clusters of cells that foretell an outcome, found in one cohort and carried to others."""

from virtues_core.cohort.biomarkers.discover import Discovery, discover
from virtues_core.cohort.biomarkers.discover_config import DiscoverConfig
from virtues_core.cohort.biomarkers.discover_results import results_of
from virtues_core.cohort.biomarkers.forest import SignatureForest
from virtues_core.cohort.biomarkers.forest_source import forests_of, train_forests
from virtues_core.cohort.biomarkers.interpret import Interpretation, interpret
from virtues_core.cohort.biomarkers.interpret_config import InterpretConfig
from virtues_core.cohort.biomarkers.transfer import Transfer, TransferConfig, transfer
from virtues_core.cohort.biomarkers.transfer_results import transfer_results

__all__ = [
    "DiscoverConfig",
    "Discovery",
    "InterpretConfig",
    "Interpretation",
    "SignatureForest",
    "Transfer",
    "TransferConfig",
    "discover",
    "forests_of",
    "interpret",
    "results_of",
    "train_forests",
    "transfer",
    "transfer_results",
]
