"""Times and events of patients, checked once for all estimators, and what they can carry."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

Times = NDArray[np.float64]
Events = NDArray[np.bool_]
LEAST_EVENTS = 5
"""Events in each group below which no p-value is given: its distribution is not yet the one that
the test assumes."""


def checked(times: NDArray[Any], events: NDArray[Any]) -> tuple[Times, Events]:
    """Return follow-up times and events that an estimator can take.

    Parameters
    ----------
    times
        (P,) follow-up, any unit, 0 or more.
    events
        (P,) true or 1 where the event was seen, false or 0 where the patient was censored.

    Returns
    -------
    tuple
        (P,) float64 and (P,) bool.

    Raises
    ------
    InputError
        No patient, lengths that differ, times below 0 or not finite, events other than 0 and 1.
    """
    times = np.asarray(times, dtype=np.float64)
    found = np.asarray(events)
    if times.ndim != 1 or not len(times) or found.shape != times.shape:
        message = (
            f"expected one time and one event for each patient, found {times.shape} times and "
            f"{found.shape} events. Leave out patients that lack one."
        )
        raise InputError(message)
    bad = int((~(np.isfinite(times) & (times >= 0))).sum())
    if bad:
        message = (
            f"expected times of 0 or more, found {bad} of {len(times)} below 0 or missing. "
            "Correct them, or leave those patients out."
        )
        raise InputError(message)
    odd = int((~np.isin(found, (0, 1))).sum())
    if odd:
        message = (
            f"expected events of 0 (censored) or 1 (seen), found {odd} of {len(found)} with other "
            "values. Code them so, or leave those patients out."
        )
        raise InputError(message)
    return times, found.astype(bool)


def checked_groups(groups: NDArray[Any], patients: int) -> NDArray[Any]:
    """Return one group for each patient.

    Raises
    ------
    InputError
        Another number of them.
    """
    groups = np.asarray(groups)
    if groups.shape != (patients,):
        message = f"expected a group for each of {patients} patients, found {groups.shape}."
        raise InputError(message)
    return groups
