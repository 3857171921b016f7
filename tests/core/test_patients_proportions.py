"""Composition of patients."""

import numpy as np
import pytest

from virtues_core.cohort.patients import counts, proportions
from virtues_core.errors import InputError

GROUPS = np.array([0, 2, 2, 1, 0, -1])
CODES = np.array([1, 1, 1, 0, -1, 0])


def test_cells_of_no_group_and_of_no_patient_are_not_counted() -> None:
    assert counts(GROUPS, CODES, 3, 2).tolist() == [[0, 1, 0], [1, 0, 2]]


def test_shares_sum_to_one_and_agree_with_a_table_of_counts() -> None:
    rng = np.random.default_rng(0)
    groups, codes = rng.integers(0, 7, 900), rng.integers(0, 5, 900)
    found = proportions(groups, codes, 7, 5)
    assert np.allclose(found.sum(1), 1, atol=1e-15)
    assert found[3, 2] == np.mean(groups[codes == 3] == 2)


@pytest.mark.parametrize(
    ("groups", "codes", "said"),
    [
        (GROUPS[:5], CODES, "shapes"),
        (GROUPS + 1, CODES, "group below 3, found 3"),
        (GROUPS, CODES + 1, "patient below 2, found 2"),
    ],
)
def test_refusals(groups: np.ndarray, codes: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        counts(groups, codes, 3, 2)


def test_a_patient_without_cells_has_no_composition() -> None:
    with pytest.raises(InputError, match="all 3 patients, found none of 1"):
        proportions(GROUPS, CODES, 3, 3)
