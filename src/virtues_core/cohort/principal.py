"""Standardised features and their principal components: where neighbours are searched for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

COMPONENTS = 50
"""Principal components that neighbours are searched for in."""
LEAST_ROWS = 3
"""A map or a graph of fewer says nothing."""


def standardised(features: NDArray[Any]) -> NDArray[np.float32]:
    """Give each column mean 0 and standard deviation 1; one that never changes becomes 0.

    Parameters
    ----------
    features
        (N, F).

    Raises
    ------
    InputError
        Not a table, fewer than three rows, or values that are not finite.
    """
    features = np.asarray(features, dtype=np.float32)
    if features.ndim != 2 or len(features) < LEAST_ROWS or not features.shape[1]:
        message = (
            f"expected features of {LEAST_ROWS} rows or more, found a table of {features.shape}. "
            "Choose an image with more cells."
        )
        raise InputError(message)
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features).all(axis=1)).sum())
        message = (
            f"expected finite features, found NaN or infinity in {bad} of {len(features)} rows. "
            "Leave those out, or embed the image again."
        )
        raise InputError(message)
    mean, scale = _scaling(features)
    return np.asarray((features - mean) / scale, dtype=np.float32)


def _scaling(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each column, the latter infinite where it never changes."""
    mean, std = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    still = std <= 1e-6 * np.maximum(1e-6, np.abs(mean))
    return mean, np.where(still, np.inf, std)


def principal(
    features: NDArray[Any], count: int = COMPONENTS, seed: int = 0
) -> NDArray[np.float32]:
    """Give the first principal components of standardised features.

    Parameters
    ----------
    features
        (N, F).
    count
        How many; fewer where F or N are less.
    seed
        Of the randomised solver, which large tables are given to.

    Returns
    -------
    numpy.ndarray
        (N, min(count, F, N - 1)).

    Raises
    ------
    InputError
        As `standardised`.
    """
    from sklearn.decomposition import PCA

    values = standardised(features)
    most = min(count, values.shape[1], len(values) - 1)
    return np.asarray(PCA(most, random_state=seed).fit_transform(values), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Axes:
    """Principal components of some rows, to lay others out by."""

    mean: NDArray[np.float32]
    """(F,) of those rows."""
    axes: NDArray[np.float32]
    """(F, D), the features' standard deviations divided out."""

    @classmethod
    def of(cls, features: NDArray[Any], count: int = COMPONENTS, seed: int = 0) -> "Axes":
        """Find them: for these rows they give what `principal` gives.

        Parameters
        ----------
        features, count, seed
            As `principal`.

        Raises
        ------
        InputError
            As `standardised`.
        """
        from sklearn.decomposition import PCA

        values = standardised(features)
        most = min(count, values.shape[1], len(values) - 1)
        found = PCA(most, random_state=seed).fit(values)
        mean, scale = _scaling(np.asarray(features, dtype=np.float32))
        axes = found.components_.T / scale[:, None]
        return cls(mean.astype(np.float32), axes.astype(np.float32))

    def place(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Lay rows (N, F) out, (N, D)."""
        return np.asarray((np.asarray(features, np.float32) - self.mean) @ self.axes, np.float32)
