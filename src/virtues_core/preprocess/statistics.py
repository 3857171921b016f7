"""Numbers that normalise intensities, measured over the tissue.

Source: the paper, Methods, "Dataset preprocessing".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.preprocess.intensity import check_counts, log_smooth


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and deviation of each channel of a dataset, after clipping, log1p and blur."""

    dataset: str
    channels: tuple[str, ...]
    """C names."""
    keys: tuple[str | None, ...]
    """C marker keys."""
    mean: NDArray[np.float32]
    """(C,), over the tissue of all images."""
    std: NDArray[np.float32]
    """(C,), above 0; 1 for a channel without any signal."""


def upper_quantiles(
    pixels: NDArray[Any], tissue: NDArray[np.bool_], q: float = 0.99
) -> NDArray[np.float32]:
    """Give the intensity to clip each channel of one image at.

    Parameters
    ----------
    pixels
        (C, Y, X) raw intensities.
    tissue
        (Y, X) True on tissue; where there is none the whole image counts.
    q
        Quantile over the tissue.

    Returns
    -------
    numpy.ndarray
        (C,) raw units. A sparse channel whose quantile is 0 is clipped at its maximum instead,
        so that its signal is not lost.
    """
    inside = pixels[:, tissue] if tissue.any() else pixels.reshape(len(pixels), -1)
    upper = np.quantile(inside, q, axis=1).astype(np.float32)
    return np.where(upper > 0, upper, inside.max(axis=1)).astype(np.float32)


def dataset_statistics(
    dataset: str,
    images: Iterable[tuple[NDArray[Any], NDArray[np.bool_]]],
    channels: tuple[str, ...],
    keys: tuple[str | None, ...],
) -> Statistics:
    """Measure a dataset, image by image.

    Parameters
    ----------
    dataset
        Its name.
    images
        Pairs of raw pixels (C, Y, X) and tissue (Y, X).
    channels, keys
        C names and marker keys.

    Raises
    ------
    InputError
        No image, or one with NaN or negative values.
    """
    total = np.zeros(len(channels))
    squares = np.zeros(len(channels))
    count = 0
    for pixels, tissue in images:
        check_counts(pixels, channels)
        values = log_smooth(pixels, upper_quantiles(pixels, tissue))
        inside = values[:, tissue] if tissue.any() else values.reshape(len(values), -1)
        total += inside.sum(axis=1, dtype=np.float64)
        squares += np.square(inside, dtype=np.float64).sum(axis=1)
        count += inside.shape[1]
    if not count:
        message = f"dataset {dataset!r} has no image to measure; expected one at least"
        raise InputError(message)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return Statistics(
        dataset,
        tuple(channels),
        tuple(keys),
        mean.astype(np.float32),
        np.where(std > 1e-6, std, 1).astype(np.float32),
    )
