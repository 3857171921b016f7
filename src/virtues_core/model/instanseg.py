"""InstanSeg's loss and post-processing of instance channels: its own package, an extra.

Source: Goldsborough et al. 2024, "InstanSeg: an embedding-based instance segmentation algorithm".
"""

import warnings
from typing import Any

import torch

from virtues_core.errors import InputError
from virtues_core.model.segmentation_head import PixelClassifier

CROP_PX = 64
"""Side of the window around a seed in which its cell's pixels are looked for, as published."""


def instanseg(classifier: PixelClassifier, device: torch.device | str) -> Any:
    """Give InstanSeg's processor of five instance channels, with this pixel classifier.

    The channels of a pixel are two offsets, two spreads and a seed value: where to find the
    middle of its cell, and how deep within the cell it is.

    Raises
    ------
    InputError
        The package is not installed.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of TorchScript, which it compiles with
            from instanseg.utils.loss.instanseg_loss import InstanSeg
    except ImportError as error:
        message = (
            "expected the package instanseg-torch, which separates cells, found it missing "
            f"({error}). Install it: pip install 'napari-virtues[segment]'."
        )
        raise InputError(message) from error
    processor = InstanSeg(n_sigma=2, device=str(device), window_size=CROP_PX)
    processor.pixel_classifier = classifier
    return processor
