"""Where the tissue is."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from virtues_core.preprocess.intensity import check_counts, log_intensities

SMOOTH_SIGMA_PX = 2.0
"""Smoothing before the threshold, so that single ion counts do not decide."""


def tissue_mask(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """Find the tissue: Otsu's threshold on the mean of the normalised channels, holes filled.

    Each channel is clipped at its 99th percentile over the whole image, log(1 + x) is taken, it is
    blurred and scaled to 0 … 1, so that no channel weighs more than another. An image without
    contrast is tissue throughout.

    Parameters
    ----------
    pixels
        (C, Y, X) raw units, 0 or more.

    Returns
    -------
    numpy.ndarray
        (Y, X) bool, True = tissue.

    Raises
    ------
    InputError
        NaN or negative pixels.
    """
    from skimage.filters import threshold_otsu

    check_counts(pixels)
    mean = np.zeros(pixels.shape[1:], dtype=np.float32)
    for plane in pixels:
        upper = np.array([np.quantile(plane, 0.99)])
        top = float(np.log1p(upper[0]))
        if top > 0:
            mean += log_intensities(plane[None], upper)[0] / np.float32(top)
    smooth = ndimage.gaussian_filter(mean, SMOOTH_SIGMA_PX)
    if float(smooth.max() - smooth.min()) <= 1e-6:
        return np.ones(smooth.shape, dtype=bool)
    above = smooth > threshold_otsu(smooth)  # type: ignore[no-untyped-call]
    return np.asarray(ndimage.binary_fill_holes(above), dtype=bool)
