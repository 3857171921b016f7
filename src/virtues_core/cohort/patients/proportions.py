"""Groups of cells → how much of each a patient has."""

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError


def counts(
    groups: NDArray[np.integer],
    patient_codes: NDArray[np.integer],
    n_groups: int,
    n_patients: int,
) -> NDArray[np.int64]:
    """Count the cells of each group (state, cluster, type) in each patient.

    Parameters
    ----------
    groups
        (N,) group of each cell, 0 to K - 1; below 0 for cells of none, which are not counted.
    patient_codes
        (N,) patient of each cell, 0 to P - 1; below 0 for cells of others, which are not counted.
    n_groups
        K.
    n_patients
        P.

    Returns
    -------
    numpy.ndarray
        (P, K).

    Raises
    ------
    InputError
        Lengths differ, or a number is above its range.

    Examples
    --------
    >>> counts(np.array([0, 1, 1, 0]), np.array([0, 0, 0, -1]), 2, 1)
    array([[1, 2]])
    """
    groups, patient_codes = np.asarray(groups), np.asarray(patient_codes)
    if groups.shape != patient_codes.shape or groups.ndim != 1:
        message = (
            "expected one group and one patient for each cell, found arrays of shapes "
            f"{groups.shape} and {patient_codes.shape}."
        )
        raise InputError(message)
    for what, codes, end in (("group", groups, n_groups), ("patient", patient_codes, n_patients)):
        if codes.size and codes.max() >= end:
            message = f"expected numbers of a {what} below {end}, found {codes.max()}."
            raise InputError(message)
    own = (groups >= 0) & (patient_codes >= 0)
    places = patient_codes[own].astype(np.int64) * n_groups + groups[own]
    return np.bincount(places, minlength=n_patients * n_groups).reshape(n_patients, n_groups)


def proportions(
    groups: NDArray[np.integer],
    patient_codes: NDArray[np.integer],
    n_groups: int,
    n_patients: int,
) -> NDArray[np.float64]:
    """Give the share of each group among the cells of each patient.

    Takes what `counts` takes; all tissues of a patient count together, cell by cell.

    Returns
    -------
    numpy.ndarray
        (P, K), rows sum to 1.

    Raises
    ------
    InputError
        As `counts`, and of a patient without cells, which has no composition.

    Examples
    --------
    >>> proportions(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 0]), 2, 2).round(2).tolist()
    [[0.67, 0.33], [0.0, 1.0]]
    """
    found = counts(groups, patient_codes, n_groups, n_patients)
    totals = found.sum(axis=1, keepdims=True)
    if (totals == 0).any():
        message = (
            f"expected cells of all {n_patients} patients, found none of "
            f"{int((totals == 0).sum())}. Leave patients without cells out."
        )
        raise InputError(message)
    return np.asarray(found / totals, dtype=np.float64)
