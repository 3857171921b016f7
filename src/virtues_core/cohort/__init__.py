"""Many images: types of cells, niches and tissues learnt from labels."""

from virtues_core.cohort.annotate import (
    Annotation,
    Classifier,
    Fitted,
    annotate,
    fit_classifier,
    score_annotation,
    write_annotation,
)
from virtues_core.cohort.classifier_file import load_classifier, save_classifier
from virtues_core.cohort.classify import METHODS, Method, check_method
from virtues_core.cohort.clicking import (
    ClickRound,
    SimulatedClicker,
    TokenSpace,
    Typed,
    classifier_of_clicks,
    click_rounds,
    least_sure,
    type_all,
)
from virtues_core.cohort.scores import CalibrationBin, ClassScore, TypingScores, score
from virtues_core.cohort.table import UNSURE, log_intensities, read_table, write_table

__all__ = [
    "METHODS",
    "UNSURE",
    "Annotation",
    "CalibrationBin",
    "ClassScore",
    "Classifier",
    "ClickRound",
    "Fitted",
    "Method",
    "SimulatedClicker",
    "TokenSpace",
    "Typed",
    "TypingScores",
    "annotate",
    "check_method",
    "classifier_of_clicks",
    "click_rounds",
    "fit_classifier",
    "least_sure",
    "load_classifier",
    "log_intensities",
    "read_table",
    "save_classifier",
    "score",
    "score_annotation",
    "type_all",
    "write_annotation",
    "write_table",
]
