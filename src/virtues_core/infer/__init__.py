"""One image: hide, paint back, say how good and how sure.

What runs the model is imported when it is first asked for, so that a window can hold requests and
results without PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from virtues_core.infer.request import (
    STRATEGIES,
    InpaintRequest,
    InpaintResult,
    MarkerScore,
    Strategy,
    TileDone,
)

if TYPE_CHECKING:
    from virtues_core.infer.ablation import MarkerAblation, ablate_markers
    from virtues_core.infer.attention import MarkerImportance, marker_importance
    from virtues_core.infer.cache import checkpoint_signature
    from virtues_core.infer.calibration import calibrate, calibrate_folder
    from virtues_core.infer.embedding import embed
    from virtues_core.infer.inpainting import inpaint
    from virtues_core.infer.predict import Cancelled, Runner
    from virtues_core.infer.prepare import PreparedImage, prepare_image
    from virtues_core.infer.rollout import Rollout, rollout_from
    from virtues_core.infer.segment import Segmentation, segment_cells
    from virtues_core.infer.token_table import Embedding, EmbedRequest
    from virtues_core.infer.tokens import cell_tokens

_HOMES = {
    "EmbedRequest": "token_table",
    "Embedding": "token_table",
    "cell_tokens": "tokens",
    "checkpoint_signature": "cache",
    "embed": "embedding",
    "MarkerAblation": "ablation",
    "ablate_markers": "ablation",
    "MarkerImportance": "attention",
    "marker_importance": "attention",
    "calibrate": "calibration",
    "calibrate_folder": "calibration",
    "inpaint": "inpainting",
    "Cancelled": "predict",
    "Runner": "predict",
    "PreparedImage": "prepare",
    "prepare_image": "prepare",
    "Rollout": "rollout",
    "rollout_from": "rollout",
    "Segmentation": "segment",
    "segment_cells": "segment",
}

__all__ = [
    "STRATEGIES",
    "Cancelled",
    "EmbedRequest",
    "Embedding",
    "InpaintRequest",
    "InpaintResult",
    "MarkerAblation",
    "MarkerImportance",
    "MarkerScore",
    "PreparedImage",
    "Rollout",
    "Runner",
    "Segmentation",
    "Strategy",
    "TileDone",
    "ablate_markers",
    "calibrate",
    "calibrate_folder",
    "cell_tokens",
    "checkpoint_signature",
    "embed",
    "inpaint",
    "marker_importance",
    "prepare_image",
    "rollout_from",
    "segment_cells",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
