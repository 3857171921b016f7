"""Tissue-level prediction: an outcome told by a tissue's cells or niches, by gated attention."""

from virtues_core.cohort.tissue_level.config import MilConfig
from virtues_core.cohort.tissue_level.mil import Encoder, TissueLevel, tissue_level
from virtues_core.cohort.tissue_level.model_file import MilModel, load_mil, save_mil
from virtues_core.cohort.tissue_level.predict import Prediction, predict
from virtues_core.cohort.tissue_level.results import results_of

__all__ = [
    "Encoder",
    "MilConfig",
    "MilModel",
    "Prediction",
    "TissueLevel",
    "load_mil",
    "predict",
    "results_of",
    "save_mil",
    "tissue_level",
]
