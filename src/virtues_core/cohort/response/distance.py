"""How far a patient's cells move between two times: optimal transport between sets of tokens."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

EPSILON = 1e-3
"""Weight of the entropy, in units of a squared distance between tokens; as in the paper."""
ITERATIONS = 1000
TOLERANCE = 5e-3
"""Mass, of 1 in all, that a plan may have elsewhere than the cells do."""
_ABSORB = 1e200
"""Scalings above this go into the potentials: at POT's 1,000 that happens in each iteration."""


@dataclass(frozen=True)
class Transport:
    """The plan that carries one set of cells into another, summed up."""

    distance: float
    """W_ε as the paper prints it: sqrt(⟨π, C⟩ − ε Σ π log π), in units of token distance."""
    transport: float
    """sqrt(⟨π, C⟩): root mean square of how far a cell is carried, without the entropy."""
    exact: float
    """W_0, the same without regularisation: not above ``transport``, but for what is misplaced."""
    scale: float
    """Mean squared distance of a cell of one set to one of the other, what ε is to be set
    against."""
    misplaced: float
    """Mass (of 1) by which the plan's rows and columns are off; 0 when the iterations converged."""

    @property
    def converged(self) -> bool:
        """Whether the plan has each cell where it is, to `TOLERANCE`."""
        return self.misplaced <= TOLERANCE


def wasserstein(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    *,
    epsilon: float = EPSILON,
    iterations: int = ITERATIONS,
) -> Transport:
    """Measure the entropy-regularised 2-Wasserstein distance between two sets of cells.

    The plan π minimises ⟨π, C⟩ + ε Σ π log π over the plans whose rows and columns are uniform,
    with C_ij = ‖a_i − b_j‖² (Cuturi 2013); the value is that of the paper, Methods, "Quantifying
    treatment responses", W_ε² = Σ π (C − ε log π) at this π. (The paper prints that sum as what is
    minimised; it is concave in π, so that its minimiser would be a corner, not Sinkhorn's plan.)
    For sets of n cells ε adds at most ε log n² to the square.

    Sinkhorn's iterations start from the exact plan's potentials (`ot.emd`), stabilised in the
    logarithm (Schmitzer 2016): from anywhere else they do not converge in thousands at ε = 1e-3.
    The exact cost bounds the answer: W_0² ≤ ⟨π, C⟩ ≤ W_0² + ε log min(n_a, n_b).

    Parameters
    ----------
    a, b
        (N1, D) and (N2, D) tokens. Memory grows with N1 · N2.
    epsilon
        Above 0, in units of squared token distance.
    iterations
        At the most.

    Returns
    -------
    Transport
        The distance, with the exact one beside it; whether it converged.

    Raises
    ------
    InputError
        An empty set, another number of columns, values that are not finite, or no such ε.

    Examples
    --------
    >>> a = np.array([[0.0, 0.0], [5.0, 0.0]])
    >>> found = wasserstein(a, a + [0.0, 2.0])
    >>> round(found.exact, 6), round(found.transport, 6)
    (2.0, 2.0)
    """
    import ot

    if not (math.isfinite(epsilon) and epsilon > 0):
        message = f"expected an epsilon above 0, such as {EPSILON:g}, found {epsilon!r}."
        raise InputError(message)
    a, b = _checked(a, b)
    rows, columns = (np.full(len(side), 1 / len(side)) for side in (a, b))
    cost = np.asarray(ot.dist(a, b), dtype=np.float64)
    exact, start = ot.emd(rows, columns, cost, log=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `converged` tells, by what came of it
        plan = ot.bregman.sinkhorn_stabilized(
            rows,
            columns,
            cost,
            epsilon,
            numItermax=iterations,
            tau=_ABSORB,
            stopThr=TOLERANCE / math.sqrt(len(b)),  # of the Euclidean norm, at most 1/√n of it
            warmstart=(start["u"], start["v"]),
        )
    misplaced = float(np.abs(plan.sum(1) - rows).sum() + np.abs(plan.sum(0) - columns).sum())
    if not misplaced < 1:  # overflowed: the exact plan is what ε this small comes to
        plan, misplaced = exact, math.inf
    carried = float((plan * cost).sum())
    held = plan[plan > 0]
    entropy = -float((held * np.log(held)).sum())
    return Transport(
        distance=math.sqrt(max(0.0, carried + epsilon * entropy)),
        transport=math.sqrt(max(0.0, carried)),
        exact=math.sqrt(max(0.0, float((exact * cost).sum()))),
        scale=float(cost.mean()),
        misplaced=misplaced,
    )


@dataclass(frozen=True)
class RepeatedTransport:
    """A distance between large sets, from draws of cells of them."""

    distance: float
    """Mean of `Transport.distance` over the draws."""
    low: float
    high: float
    """95 % interval of that mean by Student's t over the draws: what drawing adds, and not what
    another piece of tissue would. Equal to ``distance`` where all cells were used."""
    shuffled: float
    """Mean distance when the same cells are dealt out to the two times at random: so far apart
    are two draws of one population, for samples of n cells of many dimensions lie apart."""
    transport: float
    exact: float
    scale: float
    """Means over the draws of those of `Transport`."""
    cells: tuple[int, int]
    """Cells of either set in a draw."""
    draws: int
    """1 where all cells were used."""
    converged: int
    """Draws whose iterations converged."""


def repeated_wasserstein(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    *,
    cells: int,
    draws: int,
    epsilon: float = EPSILON,
    seed: int = 0,
) -> RepeatedTransport:
    """Measure `wasserstein` between draws of cells, so that time and memory do not grow with them.

    The distance between samples is larger than that between what they are drawn from, the more so
    the fewer cells there are; ``shuffled`` has the same bias.

    Parameters
    ----------
    a, b
        (N1, D), (N2, D) tokens to draw from, without replacement.
    cells
        Of each set in a draw, at the most.
    draws
        How often; once where no set has more than ``cells``.
    epsilon
        As `wasserstein`.
    seed
        Draws the cells.

    Raises
    ------
    InputError
        As `wasserstein`; or fewer than one cell or draw.
    """
    from scipy.stats import t

    if cells < 1 or draws < 1:
        message = f"expected one cell and one draw or more, found {cells} and {draws}."
        raise InputError(message)
    a, b = _checked(a, b)
    rng = np.random.default_rng((seed, 0))
    n_a, n_b = min(cells, len(a)), min(cells, len(b))
    times = draws if max(len(a), len(b)) > cells else 1
    orders = rng.permutation(len(a)), rng.permutation(len(b))
    found, dealt = [], []
    for draw in range(times):
        one = a[np.take(orders[0], np.arange(draw * n_a, (draw + 1) * n_a), mode="wrap")]
        other = b[np.take(orders[1], np.arange(draw * n_b, (draw + 1) * n_b), mode="wrap")]
        found.append(wasserstein(one, other, epsilon=epsilon))
        both = rng.permutation(np.concatenate([one, other]))
        dealt.append(wasserstein(both[:n_a], both[n_a:], epsilon=epsilon).distance)
    values = np.array([one.distance for one in found])
    half = 0.0
    if times > 1:
        half = float(t.ppf(0.975, times - 1) * values.std(ddof=1) / math.sqrt(times))
    return RepeatedTransport(
        distance=float(values.mean()),
        low=float(values.mean()) - half,
        high=float(values.mean()) + half,
        shuffled=float(np.mean(dealt)),
        transport=float(np.mean([one.transport for one in found])),
        exact=float(np.mean([one.exact for one in found])),
        scale=float(np.mean([one.scale for one in found])),
        cells=(n_a, n_b),
        draws=times,
        converged=sum(one.converged for one in found),
    )


def _checked(
    first: NDArray[np.floating], second: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a: NDArray[np.float64] = np.asarray(first, np.float64)
    b: NDArray[np.float64] = np.asarray(second, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        message = (
            "expected two tables of tokens (cells, values) of one width, with a cell in each, "
            f"found {a.shape} and {b.shape}."
        )
        raise InputError(message)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        message = "expected finite tokens, found NaN or infinity. Embed the images again."
        raise InputError(message)
    return a, b
