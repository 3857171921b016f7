"""The space of tokens (or of mean intensities): neighbours, a map of it, clusters, their profiles.

All takes features (N, F), one row a cell, niche or tissue, and goes the usual way of single-cell
analysis: standardised features → principal components → a graph of nearest neighbours, from which
both the map (UMAP; McInnes et al. 2018) and the clusters (Leiden; Traag et al. 2019, "From Louvain
to Leiden: guaranteeing well-connected communities") are made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.classify import Labels
from virtues_core.cohort.principal import principal, standardised
from virtues_core.cohort.table import signed_log
from virtues_core.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Method = Literal["umap", "pca"]
METHODS: tuple[Method, ...] = get_args(Method)
Features = Literal["tokens", "intensities"]
FEATURES: tuple[Features, ...] = get_args(Features)
NEIGHBOURS = 15
"""Nearest neighbours of each row, itself among them."""
_SEARCHED = 8192
"""Rows whose neighbours are searched for at once."""
MIN_DISTANCE = 0.5
"""How close UMAP puts neighbours; spread 1."""


@dataclass(frozen=True, eq=False)
class Profiles:
    """Of K clusters, how bright each of C markers is."""

    names: tuple[str, ...]
    """Of the clusters."""
    markers: tuple[str, ...]
    values: NDArray[np.float32]
    """(K, C) mean over a cluster's rows of the standardised intensity: 0 is the mean of all rows,
    1 a standard deviation above it."""
    counts: NDArray[np.int64]
    """(K,) rows."""


def check_features(name: str) -> Features:
    """Return the features of this name.

    Raises
    ------
    InputError
        There are none; the message lists them.
    """
    for known in FEATURES:
        if name == known:
            return known
    message = f"expected features among {', '.join(FEATURES)}, found {name!r}."
    raise InputError(message)


def neighbour_graph(
    features: NDArray[Any], *, count: int = NEIGHBOURS, seed: int = 0
) -> "csr_matrix":
    """Join each row with its nearest, by weights from 0 to 1 as UMAP defines them.

    Neighbours are those in the principal components, found exactly: time grows with N².

    Parameters
    ----------
    features
        (N, F).
    count
        Nearest neighbours of each row, itself among them; fewer where rows are few.
    seed
        Of the principal components.

    Returns
    -------
    scipy.sparse.csr_matrix
        (N, N) symmetric, float32.

    Raises
    ------
    InputError
        As `standardised`, or fewer than two neighbours are asked for.
    """
    if count < 2:
        message = f"expected 2 neighbours or more, the row itself among them, found {count}."
        raise InputError(message)
    return point_graph(principal(features, seed=seed), count=count)


def point_graph(
    points: NDArray[np.float32],
    *,
    count: int = NEIGHBOURS,
    progress: Callable[[int, int], None] | None = None,
) -> "csr_matrix":
    """Join each row with its nearest as `neighbour_graph` does, of rows laid out already.

    Parameters
    ----------
    points
        (N, D).
    count
        As there.
    progress
        Told how many rows' neighbours are found, of how many.

    Returns
    -------
    scipy.sparse.csr_matrix
        (N, N).
    """
    count = min(count, len(points))
    indices, distances = _nearest(points, count, progress)
    graph, _, _ = _umap_learn().fuzzy_simplicial_set(
        points, count, None, "euclidean", knn_indices=indices, knn_dists=distances
    )
    graph = graph.tocsr()
    graph.sort_indices()
    return graph


def project(
    features: NDArray[Any],
    method: Method = "umap",
    *,
    seed: int = 0,
    graph: "csr_matrix | None" = None,
) -> NDArray[np.float32]:
    """Lay rows out in a plane.

    Parameters
    ----------
    features
        (N, F).
    method
        ``pca``: the first two principal components; ``umap``: neighbours come to lie side by side.
    seed
        Of all that is drawn; the same seed gives the same map.
    graph
        Of `neighbour_graph`, where it is at hand; made here otherwise. Not needed for ``pca``.

    Returns
    -------
    numpy.ndarray
        (N, 2), without unit.

    Raises
    ------
    InputError
        As `standardised`; another method; a graph of other rows.
    """
    if method not in METHODS:
        message = f"expected a method among umap, pca, found {method!r}."
        raise InputError(message)
    if method == "pca":
        found = principal(features, 2, seed=seed)
        return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))
    points = principal(features, seed=seed)
    graph = neighbour_graph(features, seed=seed) if graph is None else graph
    if graph.shape[0] != len(points):
        message = f"expected a graph of {len(points)} rows, found one of {graph.shape[0]}."
        raise InputError(message)
    return _umap(points, graph, seed)


def leiden(graph: "csr_matrix", *, resolution: float = 1.0, seed: int = 0) -> NDArray[np.int64]:
    """Part rows into clusters that are more joined within than chance would have it (modularity).

    Parameters
    ----------
    graph
        (N, N) of `neighbour_graph`.
    resolution
        Above 0; more gives more and smaller clusters.
    seed
        Of the order in which rows are moved.

    Returns
    -------
    numpy.ndarray
        (N,) number of each row's cluster, from 0; the largest cluster is 0.

    Raises
    ------
    InputError
        The resolution is not above 0.
    """
    if not (np.isfinite(resolution) and resolution > 0):
        message = f"expected a resolution above 0, such as 1.0, found {resolution!r}."
        raise InputError(message)
    import graspologic_native

    rows = graph.shape[0]
    _, found = graspologic_native.leiden_csr(
        graph.indptr.astype(np.int64),
        graph.indices.astype(np.int32),
        graph.data.astype(np.float64),
        rows,
        resolution=float(resolution),
        seed=seed,
    )
    lone = len(found)  # rows without neighbours are in no community: each is its own
    labels = np.array([found.get(row, lone + row) for row in range(rows)], dtype=np.int64)
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.asarray(rank[numbers])


def marker_profiles(
    intensities: NDArray[Any], markers: Sequence[str], clusters: Labels | NDArray[Any]
) -> Profiles:
    """Say how bright each marker is in each cluster.

    Parameters
    ----------
    intensities
        (N, C) mean intensities, raw units; standardised here, after `signed_log`.
    markers
        C names.
    clusters
        (N,) name or number of each row's cluster.

    Returns
    -------
    Profiles
        Clusters in the order of their numbers, or their names.

    Raises
    ------
    InputError
        As `standardised`, or lengths that differ.
    """
    values = standardised(signed_log(intensities))
    clusters = np.asarray(clusters)
    if values.shape != (len(clusters), len(markers)):
        message = (
            f"expected intensities of {len(clusters)} rows and {len(markers)} markers, found "
            f"{values.shape}."
        )
        raise InputError(message)
    names, rows, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), len(markers)))
    np.add.at(sums, rows, values)
    means = (sums / counts[:, None]).astype(np.float32)
    return Profiles(tuple(map(str, names.tolist())), tuple(markers), means, counts)


def _nearest(
    points: NDArray[np.float32],
    count: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Nearest rows (N, count), the row itself first, and how far they are."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points)
    indices = np.empty((len(points), count), np.int64)
    distances = np.zeros((len(points), count), np.float32)
    for start in range(0, len(points), _SEARCHED):
        rows = np.arange(start, min(start + _SEARCHED, len(points)))
        far, near = search.kneighbors(points[rows])
        own = near == rows[:, None]
        own[~own.any(1), -1] = True  # not found where many rows lie on it
        indices[rows] = np.column_stack([rows, near[~own].reshape(len(rows), -1)])
        distances[rows, 1:] = far[~own].reshape(len(rows), -1)
        if progress is not None:
            progress(int(rows[-1]) + 1, len(points))
    return indices, distances


def _umap_learn() -> ModuleType:
    """Import UMAP; it warns where TensorFlow is absent, which nothing here needs."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)
        import umap.umap_

    return umap.umap_  # type: ignore[no-any-return]


def _umap(points: NDArray[np.float32], graph: "csr_matrix", seed: int) -> NDArray[np.float32]:
    """Optimise UMAP's layout of a graph, begun from the first two principal components.

    They keep what is far apart in its place (Kobak and Linderman 2021) and, unlike the spectral
    layout that UMAP begins with otherwise, take no time where rows are many.
    """
    umap = _umap_learn()
    a, b = umap.find_ab_params(1.0, MIN_DISTANCE)
    found, _ = umap.simplicial_set_embedding(
        np.pad(points, ((0, 0), (0, max(0, 2 - points.shape[1])))),
        graph,
        n_components=2,
        initial_alpha=1.0,
        a=a,
        b=b,
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=None,  # as many as UMAP takes for so many rows
        init="pca",
        random_state=np.random.RandomState(seed),
        metric="euclidean",
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
    )
    return np.asarray(found, dtype=np.float32)
