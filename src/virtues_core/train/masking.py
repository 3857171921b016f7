"""Masks for training: which patches of which channels the model must paint."""

import math

import numpy as np
from numpy.typing import NDArray

from virtues_core.train.config import MaskingConfig


def draw_mask(
    generator: np.random.Generator, channels: int, grid: tuple[int, int], config: MaskingConfig
) -> NDArray[np.bool_]:
    """Draw the mask of one sample.

    Source: the paper, Methods, "Masking"; marker and niche masking as in "Masked
    reconstructions".

    Parameters
    ----------
    generator
        Source of chance.
    channels
        C.
    grid
        (H, W) in patches.
    config
        Strategies and ratios.

    Returns
    -------
    numpy.ndarray
        (C, H, W) bool, True = masked.
    """
    weights = np.array([config.independent, config.marker, config.niche], float)
    strategy = generator.choice(3, p=weights / weights.sum())
    if strategy == 2:
        mask = hide_patches(generator, generator.uniform(*config.ratio, 1), grid)
        return np.broadcast_to(mask, (channels, *grid)).copy()
    if strategy == 0:
        return hide_patches(generator, generator.uniform(*config.ratio, channels), grid)
    ratios = generator.uniform(*config.marker_others, channels)
    hidden = max(1, round(generator.uniform(*config.marker_fraction) * channels))
    ratios[generator.permutation(channels)[:hidden]] = 1
    return hide_patches(generator, ratios, grid)


def hide_patches(
    generator: np.random.Generator, ratios: NDArray[np.float64], grid: tuple[int, int]
) -> NDArray[np.bool_]:
    """Hide ⌈ratio · H · W⌉ patches, drawn uniformly, in each channel: (C, H, W) bool."""
    positions = grid[0] * grid[1]
    rank = generator.random((len(ratios), positions)).argsort(axis=1).argsort(axis=1)
    count = np.array([math.ceil(ratio * positions) for ratio in ratios])
    return (rank < count[:, None]).reshape(len(ratios), *grid)
