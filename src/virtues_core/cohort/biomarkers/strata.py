"""Ranks of signatures → a score of each patient → three strata of patients.

Source: the paper, Methods, "Transferring predictive virtual spatial biomarkers across datasets".
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

Direction = Literal["response", "non-response"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
Naming = Literal["score", "paper"]
NAMINGS: tuple[Naming, ...] = get_args(Naming)
HIGH_ABOVE = 2.0
LOW_BELOW = -1.0
_NAMES: dict[Naming, tuple[str, str, str]] = {
    "score": ("low score", "middle score", "high score"),
    "paper": ("low-risk", "medium-risk", "high-risk"),
}


def signature_score(ranks: NDArray[Any], directions: Sequence[Direction]) -> NDArray[np.int64]:
    """Give R, the sum of the ranks of response signatures less that of non-response signatures.

    Parameters
    ----------
    ranks
        (P, S) 0 to 3.
    directions
        Of the S signatures.

    Returns
    -------
    numpy.ndarray
        (P,); of two signatures each way it lies between -6 and 6. It is high in patients who have
        much of what went with response where the signatures were found.

    Raises
    ------
    InputError
        Another number of directions, or an unknown one.

    Examples
    --------
    >>> signature_score(np.array([[3, 2, 1], [0, 0, 2]]), ["response", "response", "non-response"])
    array([ 4, -2])
    """
    ranks = np.asarray(ranks)
    odd = sorted(set(directions) - set(DIRECTIONS))
    if odd or ranks.ndim != 2 or ranks.shape[1] != len(directions):
        message = (
            f"expected ranks of patients x signatures and for each signature one of "
            f"{', '.join(DIRECTIONS)}; found {ranks.shape} and {list(directions)!r}."
        )
        raise InputError(message)
    sign = np.array([1 if direction == "response" else -1 for direction in directions])
    return np.asarray(ranks.astype(np.int64) @ sign)


def strata(
    score: NDArray[Any], *, high_above: float = HIGH_ABOVE, low_below: float = LOW_BELOW
) -> NDArray[np.int64]:
    """Part patients by score: 0 low (R < -1), 1 middle, 2 high (R > 2).

    The paper has -1 < R < 2 in the middle, which leaves R = -1 and R = 2 with no stratum, though
    many patients have them. Here a score on a border is in the middle, so that the two extremes,
    which the log-rank test compares, are the paper's.

    Parameters
    ----------
    score
        (P,).
    high_above, low_below
        The borders.

    Raises
    ------
    InputError
        The lower border is above the upper one.

    Examples
    --------
    >>> strata(np.array([-2, -1, 0, 2, 3])).tolist()
    [0, 1, 1, 1, 2]
    """
    if not low_below <= high_above:
        message = (
            f"expected a border of the low stratum of {high_above:g} (the high one's) or less, "
            f"found {low_below:g}."
        )
        raise InputError(message)
    score = np.asarray(score)
    return 1 + (score > high_above).astype(np.int64) - (score < low_below)


def strata_names(naming: Naming) -> tuple[str, str, str]:
    """Name the strata from low to high.

    The paper calls a high R "high-risk". R counts what goes with response, and by the paper's main
    text the strata that it calls high-risk have more events (21 of 45 against 3 of 33), so that
    sign or label is the other way round in one of the two places. ``score`` promises nothing: the
    events of each stratum tell which one fares worse.

    Raises
    ------
    InputError
        There is no such naming.
    """
    if naming not in NAMINGS:
        message = f"expected names by one of {', '.join(NAMINGS)}, found {naming!r}."
        raise InputError(message)
    return _NAMES[naming]
