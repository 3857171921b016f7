"""How good a model is."""

from virtues_core.evaluate.camae import CAMAE, CAMAEConfig, load_camae, save_camae, train_camae
from virtues_core.evaluate.camae_cells import CAMAETokens, camae_crops
from virtues_core.evaluate.encoders import EncodedCells, Encoder, MeanIntensities, VirTuesTokens
from virtues_core.evaluate.labelled import LabelledCohort, LabelledTissue
from virtues_core.evaluate.probes import ProbeReport, evaluate_cells, evaluate_transfer
from virtues_core.evaluate.reconstruction import (
    MarkerReport,
    ReconstructionReport,
    StrategyReport,
    evaluate_reconstruction,
)
from virtues_core.evaluate.scaling import ForwardCost, ScalingRequest, measure_scaling

__all__ = [
    "CAMAE",
    "CAMAEConfig",
    "CAMAETokens",
    "EncodedCells",
    "Encoder",
    "ForwardCost",
    "LabelledCohort",
    "LabelledTissue",
    "MarkerReport",
    "MeanIntensities",
    "ProbeReport",
    "ReconstructionReport",
    "ScalingRequest",
    "StrategyReport",
    "VirTuesTokens",
    "camae_crops",
    "evaluate_cells",
    "evaluate_reconstruction",
    "evaluate_transfer",
    "load_camae",
    "measure_scaling",
    "save_camae",
    "train_camae",
]
