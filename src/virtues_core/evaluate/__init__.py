"""How good a model is."""

from virtues_core.evaluate.reconstruction import (
    MarkerReport,
    ReconstructionReport,
    StrategyReport,
    evaluate_reconstruction,
)

__all__ = ["MarkerReport", "ReconstructionReport", "StrategyReport", "evaluate_reconstruction"]
