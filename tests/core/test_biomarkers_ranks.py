"""Ranks, univariate and joint prediction, choice of signatures: held to scikit-learn."""

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from virtues_core.cohort.biomarkers.compare import corrected_p, independent_p
from virtues_core.cohort.biomarkers.nested import least_patients
from virtues_core.cohort.biomarkers.prediction import (
    check_outcome,
    held_out_scores,
    rank_aurocs,
    score_aurocs,
    splits,
    value_scores,
)
from virtues_core.cohort.biomarkers.ranks import rank_borders, ranks
from virtues_core.cohort.biomarkers.selection import choose, directions
from virtues_core.errors import InputError


def proportions(patients: int, clusters: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.gamma(0.5, size=(patients, clusters)) * (rng.random((patients, clusters)) < 0.7)
    return values / np.maximum(values.sum(1, keepdims=True), 1e-9)


def test_ranks_are_tertiles_of_the_positive():
    values = proportions(50, 8)
    borders = rank_borders(values)
    for k in range(8):
        positive = values[values[:, k] > 0, k]
        np.testing.assert_allclose(borders[:, k], np.quantile(positive, [1 / 3, 2 / 3]))
        found = ranks(values)[:, k]
        assert ((found == 0) == (values[:, k] == 0)).all()
        assert abs((found == 1).sum() - (found == 3).sum()) <= 1


def test_ties_have_one_rank_and_nobody_has_an_absent_cluster():
    values = np.array([[0.2, 0.0, 0.1], [0.2, 0.0, 0.0], [0.2, 0.0, 0.0], [0.5, 0.0, 0.0]])
    assert ranks(values).T.tolist() == [[1, 1, 1, 3], [0, 0, 0, 0], [1, 0, 0, 0]]


def test_ranks_of_others_go_by_the_borders_given():
    borders = rank_borders(np.array([[0.1], [0.2], [0.3]]))
    assert ranks(np.array([[0.9], [0.05], [0.0]]), borders).ravel().tolist() == [3, 1, 0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros(3), "patients x clusters"),
        (np.array([[1.5]]), "from 0 to 1"),
        (np.array([[np.nan]]), "from 0 to 1"),
    ],
)
def test_what_is_no_proportion_is_refused(values, said):
    with pytest.raises(InputError, match=said):
        ranks(values)


def test_folds_hold_each_patient_out_once_and_keep_the_share_of_the_outcome():
    outcome = (np.arange(41) % 3 == 0).astype(int)
    held_out = splits(outcome, 4, 3, seed=1)
    assert held_out.shape == (12, 41)
    assert (held_out.reshape(3, 4, 41).sum(1) == 1).all()
    assert {int(outcome[test].sum()) for test in held_out} <= {3, 4}
    assert (splits(outcome, 4, 3, seed=1) == held_out).all()
    assert (splits(outcome, 4, 3, seed=2) != held_out).any()


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ([0, 1, 2, 1], "0 or 1"),
        ([0, 0, 0, 1, 1], "2 with and 3 without"),
        ([0, 0, 0, 0], "0 with and 4 without"),
    ],
)
def test_an_outcome_that_cannot_be_parted_is_refused(outcome, said):
    with pytest.raises(InputError, match=said):
        check_outcome(np.array(outcome), 3)


def test_the_univariate_auroc_is_that_of_a_logistic_regression():
    outcome = (np.random.default_rng(3).random(60) < 0.4).astype(int)
    values = ranks(proportions(60, 30, seed=4))
    held_out = splits(outcome, 4, 2)
    found = rank_aurocs(values, outcome, held_out)
    compared = 0
    for test, row in zip(held_out, found, strict=True):
        for k in range(30):
            x = values[:, [k]].astype(float)
            model = LogisticRegression().fit(x[~test], outcome[~test])
            if abs(model.coef_[0, 0]) < 1e-4:  # a slope of 0, which the solver misses by rounding
                assert row[k] == 0.5
                continue
            compared += 1
            expected = roc_auc_score(outcome[test], model.decision_function(x[test]))
            assert row[k] == pytest.approx(expected, abs=1e-12)
    assert compared > 200
    by_value = value_scores(values[:, 0].astype(float), outcome, held_out)
    np.testing.assert_allclose(score_aurocs(by_value, outcome), found[:, 0])


def test_the_joint_auroc_is_that_of_a_logistic_regression():
    outcome = (np.random.default_rng(3).random(60) < 0.4).astype(int)
    values = ranks(proportions(60, 4))
    held_out = splits(outcome, 4, 1)
    expected = []
    for test in held_out:
        model = LogisticRegression(tol=1e-8).fit(values[~test], outcome[~test])
        expected.append(roc_auc_score(outcome[test], model.decision_function(values[test])))
    scores = held_out_scores(values, outcome, held_out)
    assert (np.isfinite(scores) == held_out).all()
    np.testing.assert_allclose(score_aurocs(scores, outcome), expected)
    nothing = held_out_scores(values[:, :0], outcome, held_out)
    assert (score_aurocs(nothing, outcome) == 0.5).all()


def test_the_best_of_either_direction_are_chosen():
    outcome = np.array([0, 0, 0, 1, 1, 1])
    columns = [[3, 3, 3, 0, 0, 0], [0, 0, 1, 1, 3, 3], [0, 0, 0, 3, 3, 3], [1, 1, 1, 1, 1, 1],
               [0, 3, 3, 0, 3, 3], [3, 2, 1, 1, 0, 0]]  # fmt: skip
    values = np.array(columns, np.int8).T
    assert directions(values, outcome).tolist() == [-1, 1, 1, 0, 0, -1]
    chosen = choose(np.array([0.7, 0.8, 0.9, 1.0, 1.0, 0.6]), values, outcome)
    assert chosen.response == (2, 1)
    assert chosen.non_response == (0, 5)
    assert choose(np.ones(6), values, outcome, each=1).all == (1, 0)


def test_aurocs_are_compared_as_scipy_does_and_corrected_for_shared_patients():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.7, 0.1, 40), rng.normal(0.65, 0.1, 40)
    expected = ttest_ind(first, second, alternative="greater").pvalue
    assert independent_p(first, second) == pytest.approx(expected)
    held_out = splits(np.arange(40) % 2, 4, 10)
    assert corrected_p(first, second, held_out) > ttest_rel(
        first, second, alternative="greater"
    ).pvalue  # fmt: skip
    assert corrected_p(second, first, held_out) > 0.5
    same = np.full(40, 0.7)
    assert np.isnan(independent_p(same, same + 1e-12))
    assert np.isnan(corrected_p(same, same - 0.1, held_out))


def test_as_few_patients_as_nested_splits_take():
    for folds in (2, 3, 4, 5):
        least = least_patients(folds)
        outcome = np.repeat([0, 1], [least, 4 * least])
        for test in splits(outcome, folds, 3):
            splits(outcome[~test], folds, 1)
        fewer = np.repeat([0, 1], [least - 1, 4 * least])
        with pytest.raises(InputError):
            for test in splits(fewer, folds, 3):
                splits(fewer[~test], folds, 1)
