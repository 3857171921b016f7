"""The model: its sizes, its parts, its checkpoints."""

from virtues_core.model.checkpoint import (
    Checkpoint,
    demo_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from virtues_core.model.config import PRESETS, ModelConfig
from virtues_core.model.head_file import Head, load_head, save_head
from virtues_core.model.segmentation_head import SegmentationHead
from virtues_core.model.virtues import Output, VirTues, reconstruction_loss

__all__ = [
    "PRESETS",
    "Checkpoint",
    "Head",
    "ModelConfig",
    "Output",
    "SegmentationHead",
    "VirTues",
    "demo_checkpoint",
    "load_checkpoint",
    "load_head",
    "reconstruction_loss",
    "save_checkpoint",
    "save_head",
]
