"""How good a model is."""

from virtues_core.evaluate.bootstrap import F1Intervals, bootstrap_f1
from virtues_core.evaluate.camae import CAMAE, CAMAEConfig, load_camae, save_camae, train_camae
from virtues_core.evaluate.camae_cells import CAMAETokens, camae_crops
from virtues_core.evaluate.encoders import EncodedCells, Encoder, MeanIntensities, VirTuesTokens
from virtues_core.evaluate.kronos import KronosTokens, load_kronos
from virtues_core.evaluate.labelled import (
    LabelledCohort,
    LabelledTissue,
    NicheCohort,
    niches_of,
)
from virtues_core.evaluate.probes import ProbeReport, evaluate_cells, evaluate_transfer
from virtues_core.evaluate.reconstruction import (
    MarkerReport,
    ReconstructionReport,
    StrategyReport,
    evaluate_reconstruction,
)
from virtues_core.evaluate.resnet import ResNetNiches, load_resnet
from virtues_core.evaluate.scaling import ForwardCost, ScalingRequest, measure_scaling

__all__ = [
    "CAMAE",
    "CAMAEConfig",
    "CAMAETokens",
    "EncodedCells",
    "Encoder",
    "F1Intervals",
    "ForwardCost",
    "KronosTokens",
    "LabelledCohort",
    "LabelledTissue",
    "MarkerReport",
    "MeanIntensities",
    "NicheCohort",
    "ProbeReport",
    "ReconstructionReport",
    "ResNetNiches",
    "ScalingRequest",
    "StrategyReport",
    "VirTuesTokens",
    "bootstrap_f1",
    "camae_crops",
    "evaluate_cells",
    "evaluate_reconstruction",
    "evaluate_transfer",
    "load_camae",
    "load_kronos",
    "load_resnet",
    "measure_scaling",
    "niches_of",
    "save_camae",
    "train_camae",
]
