"""What is hidden from the model, in patches.

Source: the paper, Methods, "Masked reconstructions": independent masking draws a ratio of 60 to
100 % for each channel and that many of its patches; niche masking draws one ratio and hides the
same patches in all channels; marker masking hides one channel whole.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.request import Strategy
from virtues_core.train.masking import hide_patches

RATIO = (0.6, 1.0)
"""Range of the fraction of patches hidden, in independent and niche masking."""
FURTHER = 0.25
"""Fraction of what is visible that a repeat hides besides, for the uncertainty."""


def draw_patches(
    generator: np.random.Generator,
    strategy: Strategy,
    channels: int,
    grid: tuple[int, int],
    hidden: Sequence[int] = (),
) -> NDArray[np.bool_]:
    """Draw what one strategy hides.

    Parameters
    ----------
    generator
        Source of chance.
    strategy
        Which.
    channels
        C.
    grid
        (h, w) in patches.
    hidden
        Channels that marker masking hides.

    Returns
    -------
    numpy.ndarray
        (C, h, w) bool, True = hidden.
    """
    if strategy == "marker":
        mask = np.zeros((channels, *grid), dtype=bool)
        mask[list(hidden)] = True
        return mask
    if strategy == "niche":
        same = hide_patches(generator, generator.uniform(*RATIO, 1), grid)
        return np.broadcast_to(same, (channels, *grid)).copy()
    return hide_patches(generator, generator.uniform(*RATIO, channels), grid)


def hide_more(
    generator: np.random.Generator,
    mask: NDArray[np.bool_],
    strategy: Strategy,
    hidden: Sequence[int] = (),
) -> NDArray[np.bool_]:
    """Hide a quarter of what is visible besides: one visible subset for the uncertainty.

    Under marker masking whole other channels go (one stays at the least), else patches.

    Parameters
    ----------
    generator
        Source of chance.
    mask
        (C, h, w) bool, True = hidden already.
    strategy
        Which masking it is.
    hidden
        Channels that marker masking hides.
    """
    if strategy != "marker":
        return mask | (generator.random(mask.shape) < FURTHER)
    others = [c for c in range(len(mask)) if c not in set(hidden)]
    if not others:  # the hidden channels are hidden in a region only: nothing else to take away
        return mask | (generator.random(mask.shape) < FURTHER)
    gone = generator.random(len(others)) < FURTHER
    if gone.all():
        gone[generator.integers(len(others))] = False
    more = mask.copy()
    more[[c for c, is_gone in zip(others, gone, strict=True) if is_gone]] = True
    return more


def draw_parts(generator: np.random.Generator, channels: int) -> list[list[int]]:
    """Part the channels at random: hide one part after another, and each is hidden once.

    Given that a channel is hidden, each other is hidden with it with the probability `FURTHER`, as
    `hide_more` hides them: one visible subset serves all the channels that it hides.

    Parameters
    ----------
    generator
        Source of chance.
    channels
        C, 2 or more; no part holds all of them.

    Returns
    -------
    list
        Positions of each part's channels.
    """
    parts = round(1 / FURTHER)
    drawn = generator.integers(parts, size=channels)
    if (drawn == drawn[0]).all():  # something has to stay visible
        drawn[generator.integers(channels)] = (drawn[0] + 1) % parts
    return [np.flatnonzero(drawn == part).tolist() for part in np.unique(drawn)]


def to_pixels(mask: NDArray[np.bool_], patch_px: int) -> NDArray[np.bool_]:
    """Widen a mask in patches (…, h, w) to pixels (…, h · p, w · p)."""
    return mask.repeat(patch_px, axis=-2).repeat(patch_px, axis=-1)


def patches_at(
    patches: NDArray[np.bool_], window: tuple[slice, slice], patch_px: int
) -> NDArray[np.bool_]:
    """Widen a mask in patches (C, h, w) to the pixels of a window of it: (C, y, x)."""
    rows, columns = (np.arange(part.start, part.stop) // patch_px for part in window)
    return patches[:, rows[:, None], columns]


def to_patches(region: NDArray[np.bool_], patch_px: int) -> NDArray[np.bool_]:
    """Say which patches a region of pixels (Y, X) touches: (⌈Y/p⌉, ⌈X/p⌉)."""
    height, width = region.shape
    padded = np.pad(region, ((0, -height % patch_px), (0, -width % patch_px)))
    rows, columns = padded.shape[0] // patch_px, padded.shape[1] // patch_px
    touched = padded.reshape(rows, patch_px, columns, patch_px).any(axis=(1, 3))
    return np.asarray(touched, dtype=bool)
