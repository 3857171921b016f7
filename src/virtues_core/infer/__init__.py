"""One image: hide, paint back, say how good and how sure."""

from virtues_core.infer.calibration import calibrate, calibrate_folder
from virtues_core.infer.inpaint import inpaint
from virtues_core.infer.masks import STRATEGIES, Strategy
from virtues_core.infer.predict import Cancelled, Runner
from virtues_core.infer.prepare import PreparedImage, prepare_image
from virtues_core.infer.request import InpaintRequest, InpaintResult, MarkerScore, TileDone

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
