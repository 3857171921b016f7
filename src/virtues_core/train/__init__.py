"""Training: what is hidden, where crops come from, the recipe and the loop."""

from virtues_core.train.config import MaskingConfig, TrainConfig

__all__ = ["MaskingConfig", "TrainConfig"]
