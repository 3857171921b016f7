"""2-Wasserstein distance of sets of niche tokens, lower bounds that are proven, exact search.

Source: the paper, Methods, "Information retrieval". A tissue is a set of N tokens of equal weight;
the distance of two tissues is ::

    W2(a, b) = sqrt( min over π of Σ_ij π_ij ‖a_i - b_j‖² ),    π 1 = 1/N,  πᵀ 1 = 1/M

where sizes N and M may differ. The optimum is found by POT's network simplex; a candidate is left
out only where a lower bound of its distance is above a distance that is already there, so that the
answer is that of solving every candidate.
"""

import bisect
import math
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

Tokens = NDArray[np.floating]
_STEPS = 10**8
"""Steps of the network simplex at the most: more than any two sets of tissue niches take."""
_FAR = 64.0
"""Times the variance of tokens that the square of their mean may be before they are moved to it:
then rounding is under 1 % of the variance."""
_TOKENS_AT_ONCE = 1024
"""Tokens read together at the most, where one tissue has no more: so they stay in the cache."""


@dataclass(frozen=True)
class Nearest:
    """The nearest of n candidates."""

    positions: tuple[int, ...]
    """Which, the nearest first; among equally far ones the first."""
    distances: tuple[float, ...]
    """W2 of each."""
    candidates: int
    """n."""
    compared: int
    """Candidates whose tokens were looked at; all others are out by the bound of their moments."""
    solved: int
    """Candidates whose distance was solved for; all others are out by a bound."""


def wasserstein(a: Tokens, b: Tokens) -> float:
    """Compute the exact 2-Wasserstein distance between two sets of equally weighted tokens.

    Parameters
    ----------
    a
        (N, D).
    b
        (M, D).

    Raises
    ------
    InputError
        A set is empty, not finite, or of another width.

    Examples
    --------
    Two points move by 1 and by 2:

    >>> round(wasserstein(np.array([[0.0], [10.0]]), np.array([[12.0], [1.0]])), 6)
    1.581139
    """
    from scipy.spatial.distance import cdist

    a, b = check_tokens(a), check_tokens(b)
    if a.shape[1] != b.shape[1]:
        message = (
            f"expected two sets of tokens of one width, found {a.shape[1]} and {b.shape[1]} "
            "values. Compare tokens of one checkpoint."
        )
        raise InputError(message)
    with warnings.catch_warnings():  # a solution that is not optimal is none
        warnings.simplefilter("error", UserWarning)
        cost = float(
            optimal_transport().emd2(
                np.full(len(a), 1 / len(a)),
                np.full(len(b), 1 / len(b)),
                cdist(a, b, "sqeuclidean"),
                numItermax=_STEPS,
                center_dual=False,
                check_marginals=False,
            )
        )
    return math.sqrt(max(cost, 0.0))


def optimal_transport() -> ModuleType:
    """Import POT without its bridges: it would import each of PyTorch, JAX, … that is installed."""
    off = [f"POT_BACKEND_DISABLE_{name}" for name in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW")]
    ours = [name for name in off if "ot" not in sys.modules and name not in os.environ]
    os.environ.update(dict.fromkeys(ours, "1"))
    try:
        import ot
    finally:
        for name in ours:
            os.environ.pop(name, None)
    module: ModuleType = ot
    return module


def check_tokens(tokens: Tokens) -> NDArray[np.float64]:
    """Return tokens (N, D) as 64-bit numbers.

    Raises
    ------
    InputError
        Not (N, D) with N and D of 1 or more, or not finite.
    """
    found = np.asarray(tokens, dtype=np.float64)
    if found.ndim != 2 or not found.size or not np.isfinite(found).all():
        what = f"shape {found.shape}" + (" with NaN or infinity" if found.ndim == 2 else "")
        message = f"expected niche tokens (N, D), finite, one or more, found {what}."
        raise InputError(message)
    return found


def moments(tokens: Tokens) -> NDArray[np.float32]:
    """Give the mean and the standard deviation of each of the D values of tokens (N, D): (2 D,)."""
    values = np.asarray(tokens, dtype=np.float64)
    return np.concatenate([values.mean(axis=0), values.std(axis=0)]).astype(np.float32)


def moment_bounds(query: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Bound distances from below by the distance of means and of standard deviations.

    Proof. Let X and Y be coupled by any π. Of each coordinate d, with means m, m' and standard
    deviations s, s': E(X_d - Y_d)² = (m_d - m'_d)² + E(X°_d - Y°_d)², where ° is centred, and by
    the triangle inequality in L² the last term is (s_d - s'_d)² or more, whatever π is. Summed
    over d: W2² ≥ ‖m - m'‖² + ‖s - s'‖².

    Parameters
    ----------
    query
        (2 D,) as `moments` gives them.
    others
        (n, 2 D) of n candidates.

    Returns
    -------
    numpy.ndarray
        (n,) float64, each W2 or less: lowered by more than rounding can have added.

    Examples
    --------
    A mean that is 3 away, and tokens that spread by 4 more:

    >>> moment_bounds(np.float32([0, 1]), np.float32([[3, 5]])).round(4)
    array([5.])
    """
    difference = others - query
    apart = np.sqrt(np.einsum("ij,ij->i", difference, difference).astype(np.float64))
    allowance = 2**-22 * float(np.linalg.norm(query)) + _rounding(len(query)) * apart
    return np.asarray(np.maximum(apart - allowance, 0))


def costs_below(query: Tokens, tokens: Tokens) -> NDArray[np.float32]:
    """Bound squared distances of tokens from below.

    Any origin gives true bounds, and the mean of the query small numbers, which round less. To move
    all tokens there takes a pass over them, so it is done only where they lie far away.

    Parameters
    ----------
    query
        (N, D).
    tokens
        (M, D), of one set or of several one below the other.

    Returns
    -------
    numpy.ndarray
        (M, N) float32, each ‖tokens_i - query_j‖² or less: lowered by more than rounding can have
        added.
    """
    origin = np.asarray(query, np.float64).mean(axis=0).astype(np.float32)
    a, b = query.astype(np.float32), tokens.astype(np.float32, copy=False)
    if np.dot(origin, origin) > _FAR * np.square(query - origin).sum(axis=1).mean():
        a, b = (query - origin).astype(np.float32), b - origin
    squares = np.einsum("ij,ij->i", b, b)[:, None] + np.einsum("ij,ij->i", a, a)
    costs = np.float32(1 - _rounding(a.shape[1])) * squares - 2 * (b @ a.T)
    np.maximum(costs, 0, out=costs)
    found: NDArray[np.float32] = costs
    return found


def neighbour_bounds(costs: NDArray[np.float32], sizes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Bound distances from below by the way of each token to its nearest one.

    Proof. Σ_ij π_ij c_ij ≥ Σ_i min_j c_ij Σ_j π_ij = (1/N) Σ_i min_j c_ij for every π, and the same
    with rows and columns exchanged. So W2² is no less than the larger of the two means.

    Parameters
    ----------
    costs
        (Σ M_i, N) by `costs_below`, of n sets one below the other.
    sizes
        (n,) the M_i.

    Returns
    -------
    numpy.ndarray
        (n,) float64, each W2 or less.

    Examples
    --------
    >>> costs = costs_below(np.array([[0.0], [1.0]]), np.array([[1.0], [4.0]]))
    >>> neighbour_bounds(costs, np.array([2])).round(4)
    array([2.1213])
    """
    starts = np.cumsum(sizes) - sizes
    outward = np.minimum.reduceat(costs, starts, axis=0).mean(axis=1, dtype=np.float64)
    homeward = np.add.reduceat(costs.min(axis=1).astype(np.float64), starts) / sizes
    return np.asarray(np.sqrt(np.maximum(outward, homeward)))


def assignment_bound(costs: NDArray[np.float32]) -> float:
    """Bound a distance from below by the cheapest transport at costs that are too low.

    Proof. A transport costs no less than it would at lower costs. Of sets of equally many tokens
    the cheapest one is an assignment (Birkhoff), which is found several times faster than a
    transport, and than the costs to the last digit.

    Parameters
    ----------
    costs
        (M, N) by `costs_below`, of one set.

    Returns
    -------
    float
        W2 or less; 0 unless M = N.
    """
    from scipy.optimize import linear_sum_assignment

    if costs.shape[0] != costs.shape[1]:
        return 0.0
    total = float(costs[linear_sum_assignment(costs)].sum(dtype=np.float64))
    return math.sqrt(total / len(costs)) * (1 - 1e-9)


def _rounding(dim: int) -> float:
    """Give the share by which a sum of so many squares or products of 32-bit numbers may err."""
    return 2 * (dim + 8) * 2.0**-24


def nearest_sets(
    query: Tokens,
    bounds: NDArray[np.float64],
    sizes: NDArray[np.int64],
    read: Callable[[NDArray[np.intp]], Tokens],
    top: int,
    *,
    look: Callable[[int, int], None] | None = None,
) -> Nearest:
    """Find the nearest sets exactly, reading tokens in the order of the bounds.

    Candidates come in ascending order of a first bound; tokens of some of them are read and bounded
    again (`neighbour_bounds`, `assignment_bound`), and what may still be nearer than the best so
    far is solved for (`wasserstein`). All that is left is farther than the k-th best once the next
    bound is.

    Parameters
    ----------
    query
        (N, D).
    bounds
        (n,) lower bound of each candidate's distance, such as `moment_bounds`.
    sizes
        (n,) number of tokens of each.
    read
        Positions (k,) among the candidates → their tokens one below the other (Σ M_i, D).
    top
        How many; fewer candidates give fewer.
    look
        Called with how many candidates are decided, of how many.

    Raises
    ------
    InputError
        ``top`` is under 1, or tokens do not fit.
    """
    if top < 1:
        message = f"expected 1 or more nearest tissues, found {top}."
        raise InputError(message)
    order = np.argsort(bounds, kind="stable")
    best: list[tuple[float, int]] = []
    start, solved = 0, 0
    while start < len(order):
        part = order[start : start + _TOKENS_AT_ONCE]
        part = part[bounds[part] <= _reach(best, top)]
        if not len(part):
            break
        part = part[: max(1, np.searchsorted(sizes[part].cumsum(), _TOKENS_AT_ONCE, "right"))]
        tokens = read(part)
        costs, ends = costs_below(query, tokens), sizes[part].cumsum()
        closer = np.maximum(bounds[part], neighbour_bounds(costs, sizes[part]))
        for i in np.argsort(closer, kind="stable").tolist():
            if closer[i] > _reach(best, top):
                break
            own = slice(ends[i] - sizes[part[i]], ends[i])
            if assignment_bound(costs[own]) > _reach(best, top):
                continue
            bisect.insort(best, (wasserstein(query, tokens[own]), int(part[i])))
            del best[top:]
            solved += 1
        start += len(part)
        if look is not None:
            look(min(start, len(order)), len(order))
    distances, positions = zip(*best, strict=True) if best else ((), ())
    return Nearest(positions, distances, len(order), start, solved)


def _reach(best: list[tuple[float, int]], top: int) -> float:
    """Distance above which nothing changes the best any more."""
    return best[-1][0] if len(best) == top else math.inf
