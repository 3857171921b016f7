"""The model: its sizes, its parts, its checkpoints.

What needs PyTorch is imported when it is first asked for, so that a window can hold sizes and
recipes without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from virtues_core.model.config import PRESETS, ModelConfig

if TYPE_CHECKING:
    from virtues_core.model.checkpoint import (
        Checkpoint,
        demo_checkpoint,
        load_checkpoint,
        save_checkpoint,
    )
    from virtues_core.model.head_file import Head, load_head, save_head
    from virtues_core.model.segmentation_head import SegmentationHead
    from virtues_core.model.virtues import Output, VirTues, reconstruction_loss

_HOMES = {
    "Checkpoint": "checkpoint",
    "demo_checkpoint": "checkpoint",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
    "Head": "head_file",
    "load_head": "head_file",
    "save_head": "head_file",
    "SegmentationHead": "segmentation_head",
    "Output": "virtues",
    "VirTues": "virtues",
    "reconstruction_loss": "virtues",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
