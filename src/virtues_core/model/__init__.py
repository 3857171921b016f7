"""The model: its sizes, its parts, its checkpoints."""

from virtues_core.model.config import PRESETS, ModelConfig
from virtues_core.model.virtues import Output, VirTues, reconstruction_loss

__all__ = ["PRESETS", "ModelConfig", "Output", "VirTues", "reconstruction_loss"]
