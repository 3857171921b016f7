"""How much of a cluster a patient has, in four steps: absent, or a tertile of those who have it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

HIGHEST = 3
"""The ranks are 0 to 3."""


def rank_borders(proportions: NDArray[Any]) -> NDArray[np.float64]:
    """Give the tertiles of the positive proportions of each cluster.

    Quantiles 1/3 and 2/3 with linear interpolation between neighbours, numpy's default.

    Source: the paper's Methods, "Identification of FM-based biomarkers".

    Parameters
    ----------
    proportions
        (P, K) share of each patient's cells that lies in each cluster, 0 to 1.

    Returns
    -------
    numpy.ndarray
        (2, K) upper borders of the ranks 1 and 2; infinite for a cluster that nobody has.

    Raises
    ------
    InputError
        Not a table of shares.

    Examples
    --------
    >>> rank_borders(np.array([[0.0], [0.1], [0.2], [0.3], [0.4]])).round(3).tolist()
    [[0.2], [0.3]]
    """
    values = np.sort(_checked(proportions).T, axis=1)  # (K, P): absent first
    clusters, patients = values.shape
    positive = (values > 0).sum(1)
    rows = np.arange(clusters)
    borders = np.full((2, clusters), np.inf)
    for border, share in zip(borders, (1 / 3, 2 / 3), strict=True):
        place = patients - positive + share * np.maximum(positive - 1, 0)
        below = np.minimum(place.astype(int), patients - 1)
        above = np.minimum(below + 1, patients - 1)
        low, high = values[rows, below], values[rows, above]
        border[:] = np.where(positive > 0, low + (place - below) * (high - low), np.inf)
    return borders


def ranks(
    proportions: NDArray[Any], borders: NDArray[np.float64] | None = None
) -> NDArray[np.int8]:
    """Rank proportions: 0 where a cluster is absent, else 1 to 3 by tertiles of the positive.

    Patients with the same proportion have the same rank, and one that lies on a border has the
    lower one: ties may therefore make the three unequal, and a cluster that a single patient has is
    of rank 1 there.

    Parameters
    ----------
    proportions
        (P, K).
    borders
        (2, K) of `rank_borders`, of other patients (those trained on); of these if not given.

    Returns
    -------
    numpy.ndarray
        (P, K) from 0 to 3.

    Raises
    ------
    InputError
        As `rank_borders`, or borders of other clusters.

    Examples
    --------
    >>> ranks(np.array([[0.0], [0.1], [0.2], [0.3]])).ravel().tolist()
    [0, 1, 2, 3]
    """
    values = _checked(proportions)
    if borders is None:
        borders = rank_borders(values)
    if borders.shape != (2, values.shape[1]):
        message = f"expected borders of 2 x {values.shape[1]}, found {borders.shape}."
        raise InputError(message)
    found = (values > 0).astype(np.int8)
    found += values > borders[0]
    found += values > borders[1]
    return found


def _checked(proportions: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(proportions, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        message = f"expected proportions of patients x clusters, found a table of {values.shape}."
        raise InputError(message)
    if not np.isfinite(values).all() or (values < 0).any() or (values > 1).any():
        message = (
            "expected proportions from 0 to 1, found others. Divide counts by the patient's cells."
        )
        raise InputError(message)
    return values
