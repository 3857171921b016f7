"""From a segmentation head's maps to instances: InstanSeg's post-processing, block by block."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from virtues_core.infer.planes import Canvas, Window, windows
from virtues_core.model.instanseg import CROP_PX, instanseg
from virtues_core.model.segmentation_head import PixelClassifier

BLOCK_PX = 256
"""Side of the blocks whose cells are found at once."""
MARGIN_PX = 48
"""How far a block looks beyond itself: more than the width of a cell."""
LEAST_PX = 15
"""Smaller instances are dropped, as published."""
_SEEDS = 10**6
"""InstanSeg gives up above this number; blocks never have so many."""


def find_instances(maps: Canvas, channels: int, classifier: PixelClassifier) -> NDArray[np.int32]:
    """Separate the cells of an image.

    The image is gone through in blocks of 256 px, each seen with 48 px around it; a cell belongs
    to the block that its centre lies in, so that none is cut or counted twice at the border.

    Parameters
    ----------
    maps
        (K, Y, X) logits of a segmentation head.
    channels
        How many of them, the first ones, are instance channels.
    classifier
        The head's pixel classifier.

    Returns
    -------
    numpy.ndarray
        (Y, X) int32 labels 1 … N, 0 = background.

    Raises
    ------
    InputError
        InstanSeg is not installed.
    """
    device = next(classifier.parameters()).device
    processor = instanseg(classifier, device)
    height, width = maps.shape[1:]
    labels = np.zeros((height, width), np.int32)
    count = 0
    for core in windows((height, width), (BLOCK_PX, BLOCK_PX)):
        seen = _widened(core, (height, width))
        stack = np.stack([maps.get(k, seen) for k in range(channels)])
        found = _post_process(processor, torch.from_numpy(stack).to(device))
        kept = _owned(found, seen, core)
        here = labels[seen]
        free = (here == 0) & (kept > 0)
        here[free] = kept[free] + count
        count += int(kept.max(initial=0))
    return _tidy(labels)


def _widened(core: Window, shape: tuple[int, int]) -> Window:
    rows, columns = (
        slice(max(0, part.start - MARGIN_PX), min(size, part.stop + MARGIN_PX))
        for part, size in zip(core, shape, strict=True)
    )
    return rows, columns


def _post_process(processor: Any, stack: torch.Tensor) -> NDArray[np.int64]:
    """Run InstanSeg on the instance channels (5, h, w) of one block: (h, w) labels."""
    with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
        labels = processor.postprocessing(
            stack, window_size=CROP_PX, cleanup_fragments=True, max_seeds=_SEEDS
        )
    return np.asarray(labels.cpu().numpy(), np.int64).reshape(stack.shape[1:])


def _owned(labels: NDArray[np.int64], seen: Window, core: Window) -> NDArray[np.int64]:
    """Keep the labels whose centre is in the core of the block, numbered from 1."""
    names, index = np.unique(labels, return_inverse=True)
    index = index.reshape(labels.shape)
    area = np.bincount(index.ravel(), minlength=len(names))
    inside = names > 0
    for axis, (part, own) in enumerate(zip(seen, core, strict=True)):
        place = np.ogrid[: labels.shape[0], : labels.shape[1]][axis] + part.start
        total = np.bincount(
            index.ravel(), np.broadcast_to(place, labels.shape).ravel(), minlength=len(names)
        )
        centre = np.rint(total / area)
        inside &= (own.start <= centre) & (centre < own.stop)
    number = np.zeros(len(names), np.int64)
    number[inside] = np.arange(1, inside.sum() + 1)
    return number[index]


def _tidy(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Drop what is too small to be a cell, and number the rest from 1 without gaps."""
    area = np.bincount(labels.ravel())
    kept = area >= LEAST_PX
    kept[0] = False
    number = np.zeros(len(area), np.int32)
    number[kept] = np.arange(1, kept.sum() + 1)
    return number[labels]
