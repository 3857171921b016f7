"""Turns and flips of a crop."""

import numpy as np
from numpy.typing import NDArray


def random_turn(generator: np.random.Generator, crop: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn a square crop (C, S, S) by a random multiple of 90° and flip it half of the time."""
    crop = np.rot90(crop, int(generator.integers(4)), axes=(1, 2))
    if generator.random() < 0.5:
        crop = crop[:, :, ::-1]
    return np.ascontiguousarray(crop)
