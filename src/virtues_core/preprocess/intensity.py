"""Counts to model units and back.

The order is that of the VirTues paper (Methods, "Dataset preprocessing"): clip each channel of an
image at its 99th percentile over the tissue, log(1 + x), Gaussian blur (kernel 3, σ 1), subtract
the mean and divide by the standard deviation that the channel has over its dataset's tissue.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from virtues_core.errors import InputError

_EDGE = float(np.exp(-0.5))
BLUR_KERNEL = np.array([_EDGE, 1.0, _EDGE]) / (1.0 + 2.0 * _EDGE)
"""One axis of the Gaussian blur: three taps, σ 1 px, sum 1."""


def check_counts(pixels: NDArray[Any], channels: Sequence[str] | None = None) -> None:
    """Refuse pixels that cannot be counts or intensities.

    Parameters
    ----------
    pixels
        (C, Y, X) raw units.
    channels
        C names for the message; their positions by default.

    Raises
    ------
    InputError
        A channel holds NaN, infinite or negative values; the message names each such channel.
    """
    if pixels.ndim != 3:
        message = f"expected pixels of shape (channel, y, x), found shape {pixels.shape}"
        raise InputError(message)
    if pixels.dtype.kind in "ub":
        return
    faults = []
    for c, plane in enumerate(pixels):
        name = repr(channels[c]) if channels is not None else f"number {c}"
        if not np.isfinite(plane).all():
            bad = int(plane.size - np.isfinite(plane).sum())
            faults.append(f"channel {name} has {bad} pixels that are NaN or infinite")
        elif float(plane.min()) < 0:
            faults.append(
                f"channel {name} has {int((plane < 0).sum())} negative pixels "
                f"(lowest {float(plane.min()):g})"
            )
    if faults:
        message = (
            f"expected raw counts or intensities of 0 or more, found: {'; '.join(faults)}. "
            "Give the image before background subtraction or normalisation, or set those pixels "
            "to 0 first."
        )
        raise InputError(message)


def upper_quantiles(
    pixels: NDArray[Any],
    tissue: NDArray[np.bool_],
    q: float = 0.99,
    *,
    channels: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Return the value at which each channel is clipped.

    Parameters
    ----------
    pixels
        (C, Y, X) raw units, 0 or more.
    tissue
        (Y, X); only True pixels count. Where none is True, all do.
    q
        The quantile, 0 to 1.
    channels
        C names for error messages.

    Returns
    -------
    numpy.ndarray
        (C,) float32, raw units. A sparse channel whose quantile is 0 is clipped at its maximum
        over the tissue instead, so that its signal is not lost.

    Raises
    ------
    InputError
        NaN or negative pixels, or a tissue mask of another size.
    """
    check_counts(pixels, channels)
    tissue = whole_if_empty(pixels, tissue)
    upper = []
    for plane in pixels:
        inside = plane[tissue]
        upper.append(np.quantile(inside, q) or inside.max())
    return np.array(upper, dtype=np.float32)


def log_intensities(pixels: NDArray[Any], upper: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Clip, take log(1 + x) and blur; statistics are taken of these.

    Parameters
    ----------
    pixels
        (C, Y, X) raw units.
    upper
        (C,) where to clip, raw units.

    Returns
    -------
    numpy.ndarray
        (C, Y, X) float32, log(1 + counts).
    """
    out = np.empty(pixels.shape, dtype=np.float32)
    for c, plane in enumerate(pixels):
        logged = np.log1p(np.minimum(plane.astype(np.float32), np.float32(upper[c])))
        rows = ndimage.correlate1d(logged, BLUR_KERNEL, axis=0, mode="mirror")
        out[c] = ndimage.correlate1d(rows, BLUR_KERNEL, axis=1, mode="mirror")
    return out


def normalise(
    pixels: NDArray[Any],
    upper: NDArray[np.floating[Any]],
    mean: NDArray[np.floating[Any]],
    std: NDArray[np.floating[Any]],
) -> NDArray[np.float32]:
    """Turn counts into what the model sees.

    Parameters
    ----------
    pixels
        (C, Y, X) raw units, 0 or more.
    upper
        (C,) where this image is clipped, raw units (`upper_quantiles`).
    mean, std
        (C,) of log(1 + clipped, blurred counts) over the dataset's tissue.

    Returns
    -------
    numpy.ndarray
        (C, Y, X) float32, model units. A channel whose ``std`` is 0 is divided by 1.

    Raises
    ------
    InputError
        NaN or negative pixels.
    """
    check_counts(pixels)
    out = log_intensities(pixels, upper)
    out -= np.asarray(mean, np.float32)[:, None, None]
    out /= safe_std(std)[:, None, None]
    return out


def to_counts(
    values: NDArray[np.floating[Any]],
    mean: NDArray[np.floating[Any]],
    std: NDArray[np.floating[Any]],
) -> NDArray[np.float32]:
    """Map model units back to counts (of the clipped, blurred image).

    Parameters
    ----------
    values
        (C, Y, X) model units.
    mean, std
        (C,) as given to `normalise`.

    Returns
    -------
    numpy.ndarray
        (C, Y, X) float32, raw units, 0 or more.
    """
    logged = np.asarray(values, np.float32) * safe_std(std)[:, None, None]
    logged += np.asarray(mean, np.float32)[:, None, None]
    return np.asarray(np.expm1(np.maximum(logged, 0.0)), dtype=np.float32)


def safe_std(std: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return ``std`` as float32 with 1 in place of 0, for channels without any contrast."""
    std = np.asarray(std, np.float32)
    return np.where(std > 0, std, np.float32(1.0)).astype(np.float32)


def whole_if_empty(pixels: NDArray[Any], tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Check a tissue mask against its image; an empty one stands for the whole image.

    Raises
    ------
    InputError
        The mask has another size.
    """
    if tissue.shape != pixels.shape[1:]:
        message = (
            f"expected a tissue mask of the image's size {pixels.shape[1:]} (y, x), "
            f"found {tissue.shape}. Make the mask for this image."
        )
        raise InputError(message)
    tissue = tissue.astype(bool, copy=False)
    return tissue if tissue.any() else np.ones_like(tissue)
