"""Cells → states (k-means) → composition of patients → groups of patients (k-means).

Paper: Methods, "Tissue structure-based risk stratification". Nothing here sees survival.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients.cells import BATCH_ROWS, CellTables
from virtues_core.errors import InputError

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

Progress = Callable[[int, int, str], None]
GROUP_STARTS = 10
"""Starts of the k-means of patients, of which the best is kept: patients are few."""


def fit_states(
    tokens: NDArray[np.float32],
    count: int,
    seeds: Sequence[int],
    progress: Progress | None = None,
) -> "list[KMeans]":
    """Find states among tokens, once for each seed (k-means, scikit-learn).

    Parameters
    ----------
    tokens
        (n, D) of the cells that states are found among, as they are: distances between tokens
        are those of the paper.
    count
        States, K.
    seeds
        Of the start.
    progress
        Called with fits done, of how many, and a word.

    Raises
    ------
    InputError
        Fewer cells than states.
    """
    from sklearn.cluster import KMeans

    if len(tokens) < count:
        message = (
            f"expected as many cells as states, found {len(tokens):,} cells for {count} states. "
            "Choose fewer states, or give more tables."
        )
        raise InputError(message)
    found = []
    for seed in seeds:
        found.append(_quietly(KMeans(count, n_init=1, random_state=seed), tokens))
        if progress is not None:
            progress(len(found), len(seeds), "states found for seed")
    return found


def assign_states(
    cells: CellTables, models: "Sequence[KMeans]", progress: Progress | None = None
) -> NDArray[np.int16]:
    """Give all cells the nearest state of each model, reading tokens piece by piece.

    Parameters
    ----------
    cells
        N cells.
    models
        M of `fit_states`.
    progress
        Called with cells done, of how many, and a word.

    Returns
    -------
    numpy.ndarray
        (M, N) number of the state, from 0.
    """
    found = np.empty((len(models), len(cells)), np.int16)
    for place, tokens in cells.batches(BATCH_ROWS):
        for own, model in zip(found, models, strict=True):
            own[place] = model.predict(tokens)
        if progress is not None:
            progress(place.stop, len(cells), "cell")
    return found


def patient_groups(composition: NDArray[np.float64], count: int, seed: int) -> NDArray[np.int64]:
    """Group patients by their composition (k-means, scikit-learn).

    Parameters
    ----------
    composition
        (P, K) rows sum to 1.
    count
        Groups.
    seed
        Of the starts.

    Returns
    -------
    numpy.ndarray
        (P,) number of the group; 0 is the largest.

    Raises
    ------
    InputError
        Fewer patients of different composition than groups.
    """
    from sklearn.cluster import KMeans

    distinct = len(np.unique(composition.round(9), axis=0))
    if distinct < count:
        message = (
            f"expected {count} patients of different composition for {count} groups, found "
            f"{distinct}. Choose fewer groups, or more states."
        )
        raise InputError(message)
    model = KMeans(count, n_init=GROUP_STARTS, random_state=seed)
    labels = _quietly(model, composition).labels_
    order = np.argsort(-np.bincount(labels, minlength=count), kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    return np.asarray(rank[labels])


def _quietly(model: "KMeans", values: NDArray[Any]) -> "KMeans":
    """Fit; that values repeat, so that some centre has none, is no news to a reader."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Number of distinct clusters", ConvergenceWarning)
        return model.fit(values)
