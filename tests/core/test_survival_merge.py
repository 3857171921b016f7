"""Groups merged by survival: on the data, out of fold, and by chance."""

import numpy as np
import pytest

from virtues_core.cohort.survival import (
    concordance,
    logrank,
    merge_on_data,
    merge_out_of_fold,
    p_of,
    permuted,
)
from virtues_core.cohort.survival.merge import split
from virtues_core.errors import InputError


def patients(effect: float, seed: int = 0, count: int = 160):
    """Times and events of four groups; the odd ones have ``effect`` times the hazard."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 4, count)
    event = rng.exponential(1 / np.where(groups % 2, effect, 1.0))
    censored = rng.exponential(1.5, count)
    return np.minimum(event, censored), event <= censored, groups


def test_planted_risk_is_found_by_both():
    times, events, groups = patients(4.0)
    assert merge_on_data(times, events, groups).tolist() == [False, True, False, True]
    found = merge_out_of_fold(times, events, groups)
    np.testing.assert_array_equal(found.merges, [[False, True, False, True]] * 5)
    np.testing.assert_array_equal(found.high, groups % 2 == 1)
    assert logrank(times, events, found.high).p < 1e-6
    assert concordance(times, events, found.high).value > 0.62


def test_patients_are_told_by_others_alone():
    """A leak: where a fold's own survival is the effect, no other fold may tell it."""
    times, events, groups = patients(1.0, seed=3)
    fold = merge_out_of_fold(times, events, groups, seed=5).fold
    before, used = merge_on_data(times, events, groups), 0
    for own in range(5):
        leaked = times.copy()
        odd = (groups % 2 == 1) & (fold == own)
        leaked[odd] = 1e-3 * (1 + np.arange(odd.sum()))
        leaked[(groups % 2 == 0) & (fold == own)] += 100
        found = _told(leaked, events, groups, fold, own)
        np.testing.assert_array_equal(found, _told(times, events, groups, fold, own))
        used += (merge_on_data(leaked, events, groups) != before).any()
    assert used >= 3  # where a merge that sees the fold takes the leak up


def _told(times, events, groups, fold, own):
    """Risk of one fold's patients; the split goes by events alone, which stay as they are."""
    found = merge_out_of_fold(times, events, groups, seed=5)
    np.testing.assert_array_equal(found.fold, fold)
    return found.high[fold == own]


def test_noise_looks_like_risk_on_the_data_and_not_out_of_fold():
    rng = np.random.default_rng(0)
    on_data, out_of_fold = [], []
    for seed in range(40):
        times, events, _ = patients(1.0, seed=seed, count=80)
        groups = rng.integers(0, 8, 80)
        high = merge_on_data(times, events, groups)[groups]
        on_data.append(concordance(times, events, high).value)
        told = merge_out_of_fold(times, events, groups, seed=seed).high
        out_of_fold.append(concordance(times, events, told).value)
    assert np.mean(on_data) > 0.56
    assert abs(np.mean(out_of_fold) - 0.5) < 0.03  # its standard error is 0.01


def test_chance_is_counted_in():
    def statistic(times, events):
        return lambda high: concordance(times, events, high).value

    counted = []
    for effect, expected in ((4.0, 0.02), (1.0, None)):
        times, events, groups = patients(effect, seed=2)
        told = statistic(times, events)
        drawn = permuted(times, events, groups, told, draws=60, seed=1, progress=counted.append)
        p = p_of(told(merge_out_of_fold(times, events, groups, seed=1).high), drawn)
        assert (p <= expected) if expected else (0.05 < p <= 1)
        again = permuted(times, events, groups, told, draws=60, seed=1)
        np.testing.assert_array_equal(drawn, again)
    assert counted[:60] == list(range(1, 61))
    assert p_of(1.0, np.zeros(99)) == 0.01
    assert p_of(0.0, np.zeros(99)) == 1.0


def test_folds_part_all_patients_with_as_many_events():
    events = np.r_[np.ones(13), np.zeros(30)].astype(bool)
    fold = split(events, 5, seed=0)
    assert np.bincount(fold).tolist() == [9, 9, 9, 8, 8]
    assert set(np.bincount(fold[events]).tolist()) == {2, 3}
    assert (fold != split(events, 5, seed=1)).any()


def test_a_group_that_others_do_not_know_is_of_low_risk():
    times, events = np.arange(1.0, 11), np.ones(10)
    groups = np.r_[np.zeros(9, int), 3]
    assert not merge_on_data(times, events, groups)[[1, 2, 3]].any()
    assert not merge_out_of_fold(times, events, groups).merges[:, 1:3].any()
    with pytest.raises(InputError, match="a patient for each, found 11 folds and 10"):
        merge_out_of_fold(times, events, groups, folds=11)
    with pytest.raises(InputError, match="2 folds or more"):
        merge_out_of_fold(times, events, groups, folds=1)
    with pytest.raises(InputError, match="a group for each of 10"):
        merge_on_data(times, events, groups[:3])
