"""Which cells lie next to which, and whether they do so more in one set of cells than outside it.

The paper compares "the proportion of neighboring cell types, separately for cells that belong to
the cluster and for those that do not" by proportion z-tests (Methods, "Identification of FM-based
biomarkers"; Fig. 5g). It does not say who is a neighbour; here that is whoever is nearer than a
radius, or one of the k nearest, within the tissue.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

ANY = "any cell"
"""Stands for cells of all types, as the centre of a neighbourhood."""
LEAST_PATIENTS = 6
"""Fewer cannot reach p < 0.05 in a two-sided signed-rank test."""
_MOST_EXACT = 50


def neighbour_pairs(
    places_um: NDArray[Any], *, radius_um: float, nearest: int = 0
) -> NDArray[np.int64]:
    """Pair each cell of a tissue with its neighbours.

    Parameters
    ----------
    places_um
        (N, 2) centres (x, y), µm, finite.
    radius_um
        Cells no farther than this are neighbours, µm.
    nearest
        If above 0, the neighbours are instead so many nearest cells, however far.

    Returns
    -------
    numpy.ndarray
        (E, 2) rows (centre, neighbour); within a radius each pair of cells stands both ways round.

    Examples
    --------
    >>> neighbour_pairs(np.array([[0, 0], [10, 0], [50, 0]]), radius_um=20).tolist()
    [[0, 1], [1, 0]]
    >>> neighbour_pairs(np.array([[0, 0], [10, 0], [50, 0]]), radius_um=20, nearest=1).tolist()
    [[0, 1], [1, 0], [2, 1]]
    """
    from scipy.spatial import cKDTree

    count = len(places_um)
    if count < 2:
        return np.empty((0, 2), np.int64)
    tree = cKDTree(places_um)
    if not nearest:
        pairs = tree.query_pairs(radius_um, output_type="ndarray")
        both = np.concatenate([pairs, pairs[:, ::-1]])
        return np.asarray(both[np.lexsort(both.T[::-1])], np.int64)
    reach = min(nearest, count - 1)
    found = tree.query(places_um, k=reach + 1)[1]
    itself = found == np.arange(count)[:, None]
    itself[~itself.any(1), -1] = True  # many cells at one place: none is found as its own nearest
    centre = np.repeat(np.arange(count), reach)
    return np.column_stack([centre, found[~itself]]).astype(np.int64)


def count_neighbours(
    pairs: NDArray[np.int64], types: NDArray[Any], inside: NDArray[np.bool_], kinds: int
) -> NDArray[np.int64]:
    """Count the neighbours of each type that centres of each type have, inside a set and outside.

    Parameters
    ----------
    pairs
        (E, 2) of `neighbour_pairs`.
    types
        (N,) number of each cell's type, -1 where unknown: such cells are not counted.
    inside
        (S, N) whether a cell belongs to each of S sets. The centre decides; its neighbours may be
        of either side.
    kinds
        K types.

    Returns
    -------
    numpy.ndarray
        (S, 2, K, K) set, outside or inside, type of the centre, type of the neighbour.
    """
    centre, other = types[pairs[:, 0]], types[pairs[:, 1]]
    known = (centre >= 0) & (other >= 0)
    cell = (centre[known].astype(np.int64) * kinds) + other[known]
    places = pairs[known, 0]
    counts = [
        np.bincount(cell + within[places] * kinds**2, minlength=2 * kinds**2) for within in inside
    ]
    return np.asarray(counts, np.int64).reshape(len(inside), 2, kinds, kinds)


def compare_neighbours(
    counts: NDArray[np.int64], types: tuple[str, ...], signature: str
) -> "pd.DataFrame":
    """Compare the neighbours of cells inside a set with those of cells outside it.

    Two tests stand side by side. The paper's takes every pair of neighbours for an observation of
    its own (two-sample z-test of proportions, pooled variance, two-sided). Cells of one patient
    are alike, so that its p-values are far too small. The other takes a patient for one
    observation: the difference of the two proportions in each patient who has such centres on both
    sides, by Wilcoxon's signed-rank test (two-sided).

    Parameters
    ----------
    counts
        (P, 2, K, K) of P patients: outside or inside, type of the centre, type of the neighbour.
    types
        K names.
    signature
        Name of the set.

    Returns
    -------
    pandas.DataFrame
        One row a type of centre (first `ANY`) and type of neighbour: signature, cell_type,
        neighbour, inside and outside (shares of the neighbours), change_percent,
        neighbours_inside and neighbours_outside (how many in all), z, z_p, patients, difference
        (median over patients), patient_p. A test that says nothing is NaN: no such centre on one
        side, nothing to differ, fewer than six patients.
    """
    import pandas as pd

    of_any = counts.sum(axis=2, keepdims=True)
    counts = np.concatenate([of_any, counts], axis=2)  # (P, 2, 1 + K, K)
    rows = [
        {"signature": signature, "cell_type": name, "neighbour": types[b]}
        | _compared(counts[:, :, a, b], counts[:, :, a].sum(axis=-1))
        for a, name in enumerate((ANY, *types))
        for b in range(len(types))
    ]
    return pd.DataFrame(rows)


def _compared(hits: NDArray[np.int64], all_: NDArray[np.int64]) -> dict[str, Any]:
    """Compare one type of neighbour; (P, 2) of P patients, outside and inside."""
    (out_hits, in_hits), (out_all, in_all) = hits.sum(axis=0), all_.sum(axis=0)
    inside = in_hits / in_all if in_all else np.nan
    outside = out_hits / out_all if out_all else np.nan
    z, p = proportions_z(int(in_hits), int(in_all), int(out_hits), int(out_all))
    both = (all_ > 0).all(axis=1)
    shares = hits[both] / all_[both]
    difference = shares[:, 1] - shares[:, 0]
    return {
        "inside": inside,
        "outside": outside,
        "change_percent": 100 * (inside / outside - 1) if outside and in_all else np.nan,
        "neighbours_inside": int(in_all),
        "neighbours_outside": int(out_all),
        "z": z,
        "z_p": p,
        "patients": int(both.sum()),
        "difference": float(np.median(difference)) if both.any() else np.nan,
        "patient_p": signed_rank(difference),
    }


def proportions_z(hits: int, of: int, hits_2: int, of_2: int) -> tuple[float, float]:
    """Give z and the two-sided p that two proportions are one (pooled variance); statsmodels.

    NaN where one has no observations, or both are 0 or both 1.

    Examples
    --------
    >>> z, p = proportions_z(30, 100, 15, 100)
    >>> round(z, 3), round(p, 4)
    (2.54, 0.0111)
    """
    from statsmodels.stats.proportion import proportions_ztest

    if not of or not of_2 or hits + hits_2 in {0, of + of_2}:
        return np.nan, np.nan
    z, p = proportions_ztest([hits, hits_2], [of, of_2])
    return float(z), float(p)


def signed_rank(differences: NDArray[np.float64]) -> float:
    """Give the two-sided p of Wilcoxon's signed-rank test; NaN of fewer than six, or all 0.

    Zeros are ranked and their ranks divided ("zsplit"), so that patients without a difference speak
    against one. Exact up to 50 patients without ties, else by the normal approximation.

    Examples
    --------
    >>> round(signed_rank(np.array([1, 2, 3, 4, 5, 6.0])), 5)
    0.03125
    """
    from scipy.stats import wilcoxon

    if len(differences) < LEAST_PATIENTS or not differences.any():
        return np.nan
    sizes = np.abs(differences)
    exact = len(sizes) <= _MOST_EXACT and sizes.all() and len(np.unique(sizes)) == len(sizes)
    method = "exact" if exact else "approx"
    return float(wilcoxon(differences, zero_method="zsplit", method=method).pvalue)


def false_discovery(p: NDArray[Any]) -> NDArray[np.float64]:
    """Adjust p-values by Benjamini and Hochberg 1995; those that are NaN stay so, and count not.

    Examples
    --------
    >>> false_discovery(np.array([0.01, np.nan, 0.04, 0.02])).tolist()
    [0.03, nan, 0.04, 0.03]
    """
    from scipy.stats import false_discovery_control

    p = np.asarray(p, float)
    adjusted = np.full(len(p), np.nan)
    told = np.isfinite(p)
    if told.any():
        adjusted[told] = false_discovery_control(p[told])
    return adjusted


def check_neighbourhood(radius_um: float, nearest: int) -> None:
    """Refuse a neighbourhood that no cell could have.

    Raises
    ------
    ConfigError
        A radius that is not above 0, or fewer than 0 nearest cells.
    """
    if not (np.isfinite(radius_um) and radius_um > 0):
        message = f"radius_um: expected a length above 0 µm, such as 20, found {radius_um!r}."
        raise ConfigError(message)
    if nearest < 0:
        message = f"nearest: expected 0 (by radius) or more, found {nearest!r}."
        raise ConfigError(message)
