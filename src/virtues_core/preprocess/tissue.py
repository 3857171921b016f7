"""Where the tissue is.

Source: the paper, Methods, "Dataset curation": Otsu's threshold, then holes filled.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

CLOSE_PX = 2.0
"""σ of the blur before the threshold: single pixels of noise are not tissue."""


def tissue_mask(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """Find the tissue of an image.

    Parameters
    ----------
    pixels
        (C, Y, X) raw intensities, 0 or more.

    Returns
    -------
    numpy.ndarray
        (Y, X) True on tissue. All True where the image is one flat value.
    """
    total = np.zeros(pixels.shape[1:], np.float32)
    for plane in pixels:
        values = np.log1p(np.maximum(plane, 0).astype(np.float32))
        top = float(values.max())
        if top > 0:
            total += values / top
    total = ndimage.gaussian_filter(total, CLOSE_PX)
    if total.max() - total.min() < 1e-6:
        return np.ones(total.shape, bool)
    return np.asarray(ndimage.binary_fill_holes(total > threshold_otsu(total)), bool)
