"""Groups of patients merged to high and low risk by their survival, and what that costs.

Merging looks at survival, so that the curves of merged groups on the same patients are chosen to
differ. The paper does so ("Survival analysis reveals that two groups correspond to higher-risk
patients and two to lower-risk; we merge them accordingly"). Beside it stands the merge out of
fold: the risk of a patient is told by the survival of patients in other folds alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.survival.curves import expected_events, surplus
from virtues_core.cohort.survival.times import checked, checked_groups
from virtues_core.errors import InputError

Groups = NDArray[np.int64]
_TINY = 1e-9
"""Events beyond those expected that are rounding."""


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Risk of each patient, told by others."""

    high: NDArray[np.bool_]
    """(P,) whether the patient's group had more events than expected in the other folds."""
    fold: NDArray[np.int64]
    """(P,) the patient's own, from 0."""
    merges: NDArray[np.bool_]
    """(folds, K) which groups were of high risk where each fold was left out."""


def merge_on_data(times: NDArray[Any], events: NDArray[Any], groups: Groups) -> NDArray[np.bool_]:
    """Tell which groups are of high risk: those with more events than expected.

    Expected are those of the log-rank test, one hazard for all. What is compared on the same
    patients afterwards was chosen to differ.

    Parameters
    ----------
    times
        (P,) follow-up.
    events
        (P,) whether the event was seen.
    groups
        (P,) number of each patient's group, from 0.

    Returns
    -------
    numpy.ndarray
        (K,) bool; K is the largest number plus one. A group without patients is of low risk.

    Raises
    ------
    InputError
        As `checked`, or lengths that differ.

    Examples
    --------
    >>> merge_on_data(np.arange(1.0, 7), np.ones(6), np.array([0, 0, 1, 2, 2, 1])).tolist()
    [True, False, False]
    """
    times, events = checked(times, events)
    groups = checked_groups(groups, len(times))
    return surplus(events, expected_events(times, events), groups, int(groups.max()) + 1) > _TINY


def merge_out_of_fold(
    times: NDArray[Any], events: NDArray[Any], groups: Groups, *, folds: int = 5, seed: int = 0
) -> OutOfFold:
    """Tell each patient's risk from the survival of patients in the other folds.

    Folds are by patient, with about as many events in each. In each, groups are merged as
    `merge_on_data` does, by the other folds alone; the patients left out get the risk of their
    group.

    Parameters
    ----------
    times, events, groups
        (P,) as in `merge_on_data`. Groups must not have been found by survival.
    folds
        2 or more.
    seed
        Of the split.

    Raises
    ------
    InputError
        As `merge_on_data`, or more folds than patients.
    """
    times, events = checked(times, events)
    groups = checked_groups(groups, len(times))
    fold = split(events, folds, seed)
    surpluses = [_training(times, events, fold != k) for k in range(folds)]
    return _told_by_others(surpluses, fold, groups, int(groups.max()) + 1)


def permuted(
    times: NDArray[Any],
    events: NDArray[Any],
    groups: Groups,
    statistic: Callable[[NDArray[np.bool_]], float],
    *,
    folds: int = 5,
    draws: int = 1000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Repeat the merge out of fold with groups dealt anew to patients: what chance makes of it.

    Groups know nothing of survival, so that without an effect each dealing is as likely as the
    one that was found; the merging is done anew in each, so that its freedom is counted in.
    Training sets of folds overlap, which the chi-squared distribution knows nothing of (Simon et
    al. 2011, "Using cross-validation to evaluate predictive accuracy of survival risk classifiers
    based on high-dimensional data").

    Parameters
    ----------
    times, events, groups, folds, seed
        As in `merge_out_of_fold`.
    statistic
        From (P,) high risk to a number, larger = the risk says more.
    draws
        How often.
    progress
        Called with the number of draws that are done.

    Returns
    -------
    numpy.ndarray
        (draws,) statistics.
    """
    times, events = checked(times, events)
    groups = checked_groups(groups, len(times))
    fold = split(events, folds, seed)
    surpluses = [_training(times, events, fold != k) for k in range(folds)]
    rng = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    found = np.empty(draws)
    for i in range(draws):
        dealt = rng.permutation(groups)
        found[i] = statistic(_told_by_others(surpluses, fold, dealt, count).high)
        if progress is not None:
            progress(i + 1)
    return found


def p_of(statistic: float, permutations: NDArray[np.float64]) -> float:
    """Give the share of permutations that do as well, the observed one among them."""
    as_good = int((permutations >= statistic - 1e-12).sum())
    return (1 + as_good) / (1 + len(permutations))


def split(events: NDArray[np.bool_], folds: int, seed: int) -> NDArray[np.int64]:
    """Deal patients to folds, those with and without events evenly: (P,) from 0.

    Raises
    ------
    InputError
        Fewer than two folds, or fewer patients than folds.
    """
    if not 2 <= folds <= len(events):
        message = (
            f"expected 2 folds or more, and a patient for each, found {folds} folds and "
            f"{len(events)} patients. Choose fewer folds, or give more patients."
        )
        raise InputError(message)
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(np.flatnonzero(events == side)) for side in (1, 0)])
    fold = np.empty(len(events), np.int64)
    fold[order] = np.arange(len(events)) % folds
    return fold


def _training(
    times: NDArray[np.float64], events: NDArray[np.bool_], training: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Events less expected of each training patient, 0 of the others: nothing of theirs is seen."""
    beyond = np.zeros(len(times))
    beyond[training] = events[training] - expected_events(times[training], events[training])
    return beyond


def _told_by_others(
    surpluses: list[NDArray[np.float64]], fold: NDArray[np.int64], groups: Groups, count: int
) -> OutOfFold:
    merges = np.stack([np.bincount(groups, weights=s, minlength=count) > _TINY for s in surpluses])
    return OutOfFold(merges[fold, groups], fold, merges)
