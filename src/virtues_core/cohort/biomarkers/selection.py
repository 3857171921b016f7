"""Which clusters are signatures: the best by AUROC with the outcome, and against it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.prediction import Outcome

HIGH = 2
"""The least rank that counts as a high presence of a cluster."""


@dataclass(frozen=True)
class Chosen:
    """Clusters by number, the best first."""

    response: tuple[int, ...]
    """Of those with a risk ratio above 1."""
    non_response: tuple[int, ...]
    """Of those with one below 1."""

    @property
    def all(self) -> tuple[int, ...]:
        """Both, response first."""
        return self.response + self.non_response


def directions(ranks: NDArray[np.int8], outcome: Outcome) -> NDArray[np.int64]:
    """Say whether the outcome is more frequent at high rank (> 1) than at low.

    Parameters
    ----------
    ranks
        (P, K).
    outcome
        (P,).

    Returns
    -------
    numpy.ndarray
        (K,) 1: risk ratio above 1; -1: below 1; 0: it is 1, or nobody is high, or nobody is low.
    """
    high = ranks >= HIGH
    exposed = high.sum(0)
    events = high[outcome == 1].sum(0)
    others, other_events = len(ranks) - exposed, outcome.sum() - events
    return np.asarray(np.sign(events * others - other_events * exposed))


def choose(
    aurocs: NDArray[Any], ranks: NDArray[np.int8], outcome: Outcome, each: int = 2
) -> Chosen:
    """Take the clusters of the highest AUROC, so many with and so many against the outcome.

    Clusters come as they are: two of neighbouring resolutions may hold nearly the same cells. Of
    equal AUROC the first is taken (lower resolution, then the larger cluster).

    Parameters
    ----------
    aurocs
        (K,) mean over the splits.
    ranks
        (P, K).
    outcome
        (P,).
    each
        How many of each direction, fewer where there are fewer.

    Examples
    --------
    >>> ranks = np.array([[0, 3], [1, 2], [2, 1], [3, 0]], np.int8)
    >>> choose(np.array([0.9, 0.8]), ranks, np.array([0, 0, 1, 1]))
    Chosen(response=(0,), non_response=(1,))
    """
    order = np.argsort(-aurocs, kind="stable")
    way = directions(ranks, outcome)[order]
    with_it, against = order[way > 0][:each], order[way < 0][:each]
    return Chosen(tuple(with_it.tolist()), tuple(against.tolist()))
