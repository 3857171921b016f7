"""Raw intensities ↔ what the model sees.

Source: the paper, Methods, "Dataset preprocessing": clip at the 99th percentile, log1p, Gaussian
blur (kernel 3, σ 1), standardise.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from virtues_core.errors import InputError

_WEIGHTS = np.exp(-0.5 * np.array([-1.0, 0.0, 1.0]) ** 2)
BLUR = (_WEIGHTS / _WEIGHTS.sum()).astype(np.float32)
"""The Gaussian kernel, 3 values, σ = 1 px."""


def check_counts(pixels: NDArray[Any], channels: Sequence[str]) -> None:
    """Refuse NaN, infinite and negative intensities, naming the channel.

    Raises
    ------
    InputError
        What was found, in which channel.
    """
    if np.issubdtype(pixels.dtype, np.unsignedinteger):
        return
    for name, plane in zip(channels, pixels, strict=True):
        if not np.isfinite(plane).all():
            found = "NaN or infinite values"
        elif plane.min() < 0:
            found = f"negative values (lowest {plane.min():g})"
        else:
            continue
        message = (
            f"channel {name!r}: expected intensities of 0 or more, found {found}. Is the image "
            "normalised already, or a difference? Open the raw intensities, or leave it out."
        )
        raise InputError(message)


def log_smooth(pixels: NDArray[Any], upper: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip at ``upper`` (C,), take log(1 + x) and blur: (C, Y, X) float32."""
    clipped = np.minimum(pixels.astype(np.float32), upper[:, None, None])
    values = np.log1p(clipped, out=clipped)
    for axis in (1, 2):
        values = ndimage.correlate1d(values, BLUR, axis=axis, mode="reflect")
    return values


def normalise(
    pixels: NDArray[Any],
    upper: NDArray[np.float32],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Turn raw intensities into model input.

    Parameters
    ----------
    pixels
        (C, Y, X) raw intensities, 0 or more.
    upper
        (C,) where to clip, raw units (`upper_quantiles` of this image).
    mean, std
        (C,) of the dataset, after log1p and blur.

    Returns
    -------
    numpy.ndarray
        (C, Y, X) float32, mean 0 and deviation 1 over the dataset's tissue.
    """
    values = log_smooth(pixels, upper)
    values -= mean[:, None, None]
    values /= std[:, None, None]
    return values


def to_counts(
    values: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Turn model units back into intensities: exp(value · std + mean) − 1, 0 at the least.

    The blur stays in: these are intensities of the smoothed, clipped image.
    """
    counts = np.expm1(values * std[:, None, None] + mean[:, None, None])
    return np.maximum(counts, 0).astype(np.float32)
