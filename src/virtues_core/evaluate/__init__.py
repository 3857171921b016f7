"""How good a model is."""

from virtues_core.evaluate.encoders import EncodedCells, Encoder, MeanIntensities, VirTuesTokens
from virtues_core.evaluate.labelled import LabelledCohort, LabelledTissue
from virtues_core.evaluate.probes import ProbeReport, evaluate_cells, evaluate_transfer
from virtues_core.evaluate.reconstruction import (
    MarkerReport,
    ReconstructionReport,
    StrategyReport,
    evaluate_reconstruction,
)

__all__ = [
    "EncodedCells",
    "Encoder",
    "LabelledCohort",
    "LabelledTissue",
    "MarkerReport",
    "MeanIntensities",
    "ProbeReport",
    "ReconstructionReport",
    "StrategyReport",
    "VirTuesTokens",
    "evaluate_cells",
    "evaluate_reconstruction",
    "evaluate_transfer",
]
