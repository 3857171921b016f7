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
    from virtues_core.infer.calibration import calibrate, calibrate_folder
    from virtues_core.infer.inpainting import inpaint
    from virtues_core.infer.predict import Cancelled, Runner
    from virtues_core.infer.prepare import PreparedImage, prepare_image

_HOMES = {
    "calibrate": "calibration",
    "calibrate_folder": "calibration",
    "inpaint": "inpainting",
    "Cancelled": "predict",
    "Runner": "predict",
    "PreparedImage": "prepare",
    "prepare_image": "prepare",
}

__all__ = [
    "STRATEGIES",
    "Cancelled",
    "InpaintRequest",
    "InpaintResult",
    "MarkerScore",
    "PreparedImage",
    "Runner",
    "Strategy",
    "TileDone",
    "calibrate",
    "calibrate_folder",
    "inpaint",
    "prepare_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
