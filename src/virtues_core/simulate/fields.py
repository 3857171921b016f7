"""Smooth random fields on a pixel grid, the raw material of the tissue's architecture."""

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]

_BSPLINE_STD = 0.479  # of a cubic B-spline of white noise in two dimensions, averaged over phase


def _spline_weights(length: int, scale: float, offset: float) -> FloatImage:
    """Weights (length, knots) of cubic B-splines with one knot every `scale` pixels."""
    position = np.arange(length) / scale + offset
    knot = np.floor(position).astype(int)
    t = position - knot
    pieces = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    )
    weights = np.zeros((length, knot[-1] + 4), np.float32)
    np.put_along_axis(weights, knot[:, None] + np.arange(4), (pieces / 6).astype(np.float32), 1)
    return weights


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale_px: float, octaves: int = 1
) -> FloatImage:
    """Draw a smooth random field of mean 0 and variance about 1.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        (Y, X) in pixels.
    scale_px
        Distance over which the field changes.
    octaves
        How many fields are summed, each with half the scale and half the weight of the one before.

    Returns
    -------
    numpy.ndarray
        float32 (Y, X).
    """
    total = np.zeros(shape, np.float32)
    norm = 0.0
    for octave in range(octaves):
        scale, weight = scale_px / 2**octave, 0.5**octave
        offsets = rng.random(2)
        rows = _spline_weights(shape[0], scale, offsets[0])
        columns = _spline_weights(shape[1], scale, offsets[1])
        knots = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
        total += weight * (rows @ knots @ columns.T)
        norm += weight**2
    return np.asarray(total / np.float32(_BSPLINE_STD * np.sqrt(norm)), np.float32)


def streamline_noise(rng: np.random.Generator, angle: FloatImage, length_px: int) -> FloatImage:
    """Draw noise that is smeared along a field of directions, as fibres are.

    This is a line integral convolution: white noise averaged along the stream line through each
    pixel.

    Parameters
    ----------
    rng
        Source of randomness.
    angle
        (Y, X) direction in radians from the x axis.
    length_px
        Length of the fibres to either side.

    Returns
    -------
    numpy.ndarray
        float32 (Y, X), mean 0, variance 1.
    """
    height, width = angle.shape
    noise = rng.standard_normal(angle.shape, dtype=np.float32)
    cosine, sine = np.cos(angle).ravel(), np.sin(angle).ravel()
    total = noise.ravel().copy()
    flat_noise = noise.ravel()
    start_y, start_x = (grid.astype(np.float32).ravel() for grid in np.indices(angle.shape))
    for sign in (1.0, -1.0):
        y, x = start_y.copy(), start_x.copy()
        at = np.arange(angle.size)
        for _ in range(length_px):
            x += np.float32(sign) * cosine[at]
            y += np.float32(sign) * sine[at]
            column = np.clip(x + 0.5, 0, width - 1).astype(np.int32)
            row = np.clip(y + 0.5, 0, height - 1).astype(np.int32)
            at = row * width + column
            total += flat_noise[at]
    total -= total.mean()
    scaled = total / (total.std() + np.float32(1e-6))
    return np.asarray(scaled.reshape(angle.shape), np.float32)
