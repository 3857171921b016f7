"""Clusters of a cohort's cells at several resolutions, found without the outcome.

The graph of neighbours takes time with the square of the cells, so that of large cohorts a sample
is clustered, as many cells of each patient, and each other cell joins the cluster that most of the
sample's cells nearest to it are in. That takes time in proportion to the cells, holds no more
tokens than the sample's, and no patient with many cells rules the clusters.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort import space
from virtues_core.cohort.patients.proportions import counts
from virtues_core.cohort.principal import Axes
from virtues_core.errors import InputError

Progress = Callable[[int, int, str], None]
Take = Callable[[NDArray[np.int64]], NDArray[np.float32]]
Batches = Callable[[], Iterable[tuple[slice, NDArray[np.float32]]]]
VOTES = 5
"""Cells of the sample that say which cluster another cell joins."""
ABSENT = -1
"""Cluster of a cell that is of no patient."""
SURELY = 2.0
"""Times the limit that all clusters of a sample must be estimated at to end the search early."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """K clusters of N cells that are small enough."""

    labels: NDArray[np.int32]
    """(N, R) cluster of each cell at each resolution, `ABSENT` of cells of other patients."""
    resolutions: NDArray[np.float64]
    """(R,)."""
    column: NDArray[np.int64]
    """(K,) place of the cluster's resolution."""
    number: NDArray[np.int64]
    """(K,) its number there."""
    cells: NDArray[np.int64]
    """(K,) how many it has."""
    proportions: NDArray[np.float64]
    """(P, K) share of each patient's cells."""
    found: int
    """Clusters of any size, over all resolutions."""
    median_cells: float
    """Half of these have fewer cells."""
    sampled: int
    """Cells that the graph was made of."""

    def name(self, cluster: int) -> str:
        """Name a cluster by its resolution and its number there."""
        return f"{self.resolutions[self.column[cluster]]:.4g}/{self.number[cluster]}"

    def members(self, cluster: int) -> NDArray[np.bool_]:
        """(N,) the cells of a cluster."""
        return np.asarray(self.labels[:, self.column[cluster]] == self.number[cluster])


def even_sample(codes: NDArray[Any], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Draw cells, as many of each patient as can be; all of those who have fewer.

    Parameters
    ----------
    codes
        (N,) number of each cell's patient; cells below 0 are left out.
    most
        How many cells.
    seed
        Of the draw.

    Returns
    -------
    numpy.ndarray
        (S,) rows, ascending; S is ``most`` or all there are.

    Examples
    --------
    >>> codes = np.array([0, 1, 1, 1, 1, -1])
    >>> np.bincount(codes[even_sample(codes, 3)]).tolist()
    [1, 2]
    """
    rows = np.flatnonzero(codes >= 0)
    if len(rows) <= most:
        return rows
    rng = np.random.default_rng(seed)
    rows = rng.permutation(rows)
    order = np.argsort(codes[rows], kind="stable")
    first = np.searchsorted(codes[rows][order], codes[rows][order])
    turn = np.empty(len(rows), np.int64)
    turn[order] = np.arange(len(rows)) - first  # the how-many-th of its patient
    return np.sort(rows[np.argsort(turn, kind="stable")[:most]])


def partitions(
    take: Take,
    batches: Batches,
    codes: NDArray[Any],
    resolutions: NDArray[np.float64],
    *,
    most: int = 100_000,
    below: int | None = None,
    neighbours: int = space.NEIGHBOURS,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[NDArray[np.int32], int]:
    """Part cells into clusters at each resolution (Leiden), the highest first.

    Parameters
    ----------
    take
        Gives tokens (S, D) of rows.
    batches
        Goes through tokens of all N rows, slice by slice.
    codes
        (N,) number of each cell's patient; cells below 0 are left out.
    resolutions
        (R,).
    most
        Cells that are clustered; the others join them.
    below
        Of `keep_small`, where that will follow: after the highest resolution it ends, where no
        cluster of that comes near to being small enough.
    neighbours
        Of each cell in the graph, itself among them.
    seed
        Of the sample, the components and the clusters.
    progress
        Told how many are done, of how many, of what.

    Returns
    -------
    tuple
        (N, R) clusters, and how many cells they were found from.

    Raises
    ------
    InputError
        Fewer than three cells; tokens that are not finite; a resolution not above 0; all clusters
        far too large.
    """
    told = progress or (lambda done, total, what: None)
    sample = even_sample(codes, most, seed)
    told(0, len(sample), "neighbours of cell")
    tokens = take(sample)
    axes = Axes.of(tokens, seed=seed)
    points = axes.place(tokens)
    del tokens
    graph = space.point_graph(
        points, count=neighbours, progress=lambda at, of: told(at, of, "neighbours of cell")
    )
    labels = np.full((len(codes), len(resolutions)), ABSENT, np.int32)
    for done, column in enumerate(np.argsort(-resolutions), start=1):
        groups = space.leiden(graph, resolution=float(resolutions[column]), seed=seed)
        if done == 1 and below is not None:
            _foresee(groups, sample, codes, below)
        labels[sample, column] = groups
        told(done, len(resolutions), "resolution")
    del graph
    others = np.asarray(codes) >= 0
    others[sample] = False
    if others.any():
        _join(batches, axes, points, labels, sample, others, told)
    return labels, len(sample)


def _foresee(
    groups: NDArray[np.int64], sample: NDArray[np.int64], codes: NDArray[Any], below: int
) -> None:
    """End where the clusters (S,) of the highest resolution are all far too large.

    A cell of the sample stands for as many as its patient has for each that was drawn. Lower
    resolutions give larger clusters.
    """
    patients = int(codes.max()) + 1
    there = np.bincount(codes[codes >= 0], minlength=patients)
    drawn = np.bincount(codes[sample], minlength=patients)
    weights = (there / np.maximum(1, drawn))[codes[sample]]
    sizes = np.bincount(groups, weights)
    if sizes.min() >= SURELY * below:
        raise _none_small(sizes, below, " at the highest resolution")


def _none_small(sizes: NDArray[Any], below: int, where: str = "") -> InputError:
    """Say that no cluster is small enough, and what would be."""
    middle = float(np.median(sizes))
    digits = 10 ** max(0, int(np.log10(middle)) - 1)
    message = (
        f"expected clusters of fewer than {below:,} cells, found none among {len(sizes):,}{where}: "
        f"the smallest has {sizes.min():,.0f} cells, half have {middle:,.0f} or fewer. Take larger "
        f"ones (--cells-below {int(middle // digits + 1) * digits}), or higher resolutions "
        "(--resolution-to)."
    )
    return InputError(message)


def _join(
    batches: Batches,
    axes: Axes,
    points: NDArray[np.float32],
    labels: NDArray[np.int32],
    sample: NDArray[np.int64],
    others: NDArray[np.bool_],
    told: Progress,
) -> None:
    """Put other cells into the clusters of the sample's cells that are nearest to them."""
    from sklearn.neighbors import NearestNeighbors

    known = labels[sample]
    search = NearestNeighbors(n_neighbors=min(VOTES, len(sample)), algorithm="brute").fit(points)
    done, total = 0, int(others.sum())
    for part, tokens in batches():
        rows = np.flatnonzero(others[part])
        if len(rows):
            placed = axes.place(tokens[rows])
            if not np.isfinite(placed).all():
                message = (
                    "expected finite tokens, found NaN or infinity in some cells. Leave those out, "
                    "or embed their image again."
                )
                raise InputError(message)
            nearest = search.kneighbors(placed, return_distance=False)
            labels[part.start + rows] = _vote(known[nearest])
            done += len(rows)
            told(done, total, "cell")


def _vote(near: NDArray[np.int32]) -> NDArray[np.int32]:
    """Most frequent of the V clusters (n, V, R), of equally frequent ones the nearest."""
    votes = np.stack([(near == near[:, [v]]).sum(1) for v in range(near.shape[1])], axis=1)
    return np.take_along_axis(near, votes.argmax(1)[:, None], axis=1)[:, 0]


def keep_small(
    labels: NDArray[np.int32],
    sampled: int,
    resolutions: NDArray[np.float64],
    codes: NDArray[Any],
    patients: int,
    *,
    below: int = 2000,
) -> Clusters:
    """Keep the clusters of few cells and say how much of each patient lies in them.

    Parameters
    ----------
    labels, sampled
        Of `partitions`.
    resolutions
        (R,).
    codes
        (N,) number of each cell's patient.
    patients
        P.
    below
        Clusters of fewer cells are kept.

    Raises
    ------
    InputError
        No cluster is small enough.
    """
    total = np.bincount(codes[codes >= 0], minlength=patients)
    columns, numbers, cells, shares, sizes = [], [], [], [], []
    for column in range(len(resolutions)):
        groups = labels[:, column]
        by_patient = counts(groups, codes, int(groups.max()) + 1, patients)
        size = by_patient.sum(0)
        small = np.flatnonzero((size > 0) & (size < below))
        sizes.append(size[size > 0])
        columns.append(np.full(len(small), column))
        numbers.append(small)
        cells.append(size[small])
        shares.append(by_patient[:, small] / total[:, None])
    found = np.concatenate(sizes)
    if not sum(map(len, numbers)):
        raise _none_small(found, below)
    return Clusters(
        labels=labels,
        resolutions=np.asarray(resolutions, float),
        column=np.concatenate(columns),
        number=np.concatenate(numbers),
        cells=np.concatenate(cells),
        proportions=np.concatenate(shares, axis=1),
        found=len(found),
        median_cells=float(np.median(found)),
        sampled=sampled,
    )


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Give the Jaccard index of two sets of cells: those in both over those in either.

    Examples
    --------
    >>> overlap(np.array([True, True, False]), np.array([True, False, False]))
    0.5
    """
    either = int((first | second).sum())
    return int((first & second).sum()) / either if either else 0.0
