"""Survival estimators against lifelines and scikit-survival on real data sets."""

from collections.abc import Callable
from typing import Any

import lifelines
import numpy as np
import pandas as pd
import pytest
from lifelines import datasets
from lifelines.statistics import multivariate_logrank_test, proportional_hazard_test
from lifelines.utils import restricted_mean_survival_time
from sksurv.compare import compare_survival
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_censored
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv
from statsmodels.stats.contingency_tables import Table2x2

from virtues_core.cohort.survival import (
    concordance,
    cox,
    expected_events,
    logrank,
    restricted_mean,
    restricted_mean_difference,
    risk_ratio,
    survival_curve,
)
from virtues_core.errors import InputError

SETS: dict[str, tuple[Callable[[], pd.DataFrame], str, str, str]] = {
    "rossi": (datasets.load_rossi, "week", "arrest", "prio"),
    "lung": (datasets.load_lung, "time", "status", "ph.ecog"),
    "gbsg2": (datasets.load_gbsg2, "time", "cens", "pnodes"),
    "larynx": (datasets.load_larynx, "time", "death", "age"),
}
"""How it is loaded; columns of time, event, and a number that patients are parted by."""


@pytest.fixture(params=SETS)
def real(request: pytest.FixtureRequest) -> tuple[Any, Any, Any, pd.DataFrame]:
    """Times, events, scores and all numeric covariates of a data set."""
    load, time, event, score = SETS[request.param]
    table = load().dropna()
    covariates = table.drop(columns=[time, event]).select_dtypes("number")
    times, events = table[time].to_numpy(float), table[event].to_numpy()
    return times, events, table[score].to_numpy(float), covariates


def test_curves_and_bands_agree(real):
    times, events, *_ = real
    found = survival_curve(times, events)
    at, survival, band = kaplan_meier_estimator(events == 1, times, conf_type="log-log")
    place = np.searchsorted(found.times, at)
    np.testing.assert_allclose(found.survival[place], survival, atol=1e-6)
    np.testing.assert_allclose(found.lower[place], band[0], atol=1e-6)
    np.testing.assert_allclose(found.upper[place], band[1], atol=1e-6)
    own = lifelines.KaplanMeierFitter().fit(times, events)
    assert found.median == own.median_survival_time_
    assert (found.times[0], found.survival[0]) == (0, 1)
    assert (found.events.sum(), found.censored.sum()) == (events.sum(), (1 - events).sum())
    when = [0, np.median(times), times.max(), times.max() + 1]
    assert found.remaining(when).tolist() == [int((times >= t).sum()) for t in when]


def test_logrank_of_two_and_of_more_groups_agrees(real):
    times, events, score, _ = real
    outcome = Surv.from_arrays(events == 1, times)
    for groups in (score > np.median(score), np.digitize(score, np.quantile(score, [0.4, 0.8]))):
        found = logrank(times, events, groups)
        expected, p = compare_survival(outcome, groups)
        own = multivariate_logrank_test(times, groups, events)
        np.testing.assert_allclose(found.statistic, expected, rtol=1e-6)
        np.testing.assert_allclose([found.p, found.p], [p, own.p_value], rtol=1e-6)
        assert found.degrees == len(np.unique(groups)) - 1


def test_events_beyond_those_expected_are_what_logrank_compares(real):
    times, events, score, _ = real
    group = score > np.median(score)
    expected = expected_events(times, events)
    np.testing.assert_allclose(expected.sum(), events.sum())
    _, _, table, _ = compare_survival(
        Surv.from_arrays(events == 1, times), group, return_stats=True
    )
    np.testing.assert_allclose(expected[group].sum(), table.loc[True, "expected"], rtol=1e-6)


def test_concordance_agrees_and_lies_in_its_interval(real):
    times, events, score, _ = real
    found = concordance(times, events, score, draws=60, seed=1)
    expected = concordance_index_censored(events == 1, times, score)[0]
    np.testing.assert_allclose(found.value, expected, atol=1e-6)
    assert found.lower < found.value < found.upper
    assert found == concordance(times, events, score, draws=60, seed=1)
    np.testing.assert_allclose(concordance(times, events, -score).value, 1 - found.value)


def test_cox_agrees(real):
    times, events, _, covariates = real
    found = cox(times, events, covariates)
    ratios = [term.hazard_ratio for term in found.terms]
    oracle = CoxPHSurvivalAnalysis(ties="efron", tol=1e-12).fit(
        covariates.to_numpy(float), Surv.from_arrays(events == 1, times)
    )
    np.testing.assert_allclose(np.log(ratios), oracle.coef_, atol=1e-6)
    table = covariates.assign(T=times, E=events)
    own = lifelines.CoxPHFitter().fit(table, "T", "E")
    np.testing.assert_allclose([t.p for t in found.terms], own.summary["p"], atol=1e-4)
    bounds = np.exp(own.confidence_intervals_.to_numpy())
    np.testing.assert_allclose([(t.lower, t.upper) for t in found.terms], bounds, rtol=1e-4)
    checked = proportional_hazard_test(own, table, time_transform="rank").p_value
    np.testing.assert_allclose([t.proportional_p for t in found.terms], checked, atol=1e-3)
    assert (found.patients, found.events) == (len(times), events.sum())


def test_restricted_means_are_lifelines_and_their_error_that_of_the_mean_without_censoring(real):
    times, events, score, _ = real
    horizon = float(np.quantile(times, 0.7))
    found = restricted_mean(times, events, horizon)
    own = lifelines.KaplanMeierFitter().fit(times, events)
    np.testing.assert_allclose(found.value, restricted_mean_survival_time(own, t=horizon))
    all_seen = restricted_mean(times, np.ones(len(times)), horizon)
    short = np.minimum(times, horizon)
    np.testing.assert_allclose(all_seen.value, short.mean())
    np.testing.assert_allclose(all_seen.standard_error, short.std() / np.sqrt(len(short)))
    high = score > np.median(score)
    parts = [restricted_mean(times[s], events[s], horizon) for s in (high, ~high)]
    apart = restricted_mean_difference(*parts)
    np.testing.assert_allclose(apart.value, parts[0].value - parts[1].value)
    np.testing.assert_allclose((apart.upper - apart.lower) / 2 / 1.959964, apart.standard_error)


def test_the_error_of_a_restricted_mean_with_censoring_is_that_of_patients_drawn_anew():
    table = datasets.load_lung().dropna()
    times, events = table["time"].to_numpy(float), table["status"].to_numpy()
    rng = np.random.default_rng(0)
    drawn = [
        restricted_mean(times[chosen], events[chosen], 600).value
        for chosen in (rng.integers(len(times), size=len(times)) for _ in range(150))
    ]
    error = restricted_mean(times, events, 600).standard_error
    np.testing.assert_allclose(error, np.std(drawn), rtol=0.2)  # 150 draws tell 6 %


def test_risk_ratios_are_those_of_the_table():
    present = np.repeat([1, 0, 1, 0], [30, 10, 10, 30]).astype(bool)
    group = np.repeat([True, False], 40)
    found = risk_ratio(present, group)
    own = Table2x2([[30, 10], [10, 30]])
    expected = (own.riskratio, *own.riskratio_confint())
    np.testing.assert_allclose((found.ratio, found.lower, found.upper), expected)
    assert (found.present, found.patients, found.present_others, found.patients_others) == (
        30, 40, 10, 40,
    )  # fmt: skip
    other_side = risk_ratio(present, ~group)
    np.testing.assert_allclose(other_side.ratio, 1 / found.ratio)
    corner = risk_ratio(np.r_[True, [False] * 19], np.repeat([False, True], 10))
    assert corner.corrected
    np.testing.assert_allclose(corner.ratio, (0.5 / 11) / (1.5 / 11))


@pytest.mark.parametrize(
    ("present", "group", "said"),
    [
        ([0, 0, 0, 0], [0, 0, 1, 1], "in no patient"),
        ([1, 1, 1, 1], [0, 0, 1, 1], "in every patient"),
        ([1, 0, 1, 0], [1, 1, 1, 1], "one group"),
    ],
)
def test_a_risk_ratio_of_nothing_is_none(present, group, said):
    found = risk_ratio(np.array(present), np.array(group))
    assert said in found.why_not
    assert np.isnan([found.ratio, found.lower, found.upper]).all()


def test_too_few_events_have_no_p_value():
    times = np.arange(1.0, 21)
    events = np.r_[np.ones(14), np.zeros(6)]
    groups = np.repeat(["early", "late"], 10)
    found = logrank(times, events, groups)
    assert found.p is None
    assert np.isfinite(found.statistic)
    assert found.why_not == "a p-value needs 5 events in each group; late has 4"
    assert "one group" in logrank(times, events, np.zeros(20)).why_not
    assert "censored" in logrank(times, np.zeros(20), groups).why_not
    assert "5 events, found 0" in cox(times, np.zeros(20), pd.DataFrame({"x": times})).why_not
    assert np.isnan(concordance(times, np.zeros(20), times, draws=2).value)
    assert survival_curve(times, np.zeros(20)).median == np.inf


def simulated(hazard: Any, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    event, censored = rng.exponential(1 / hazard), rng.exponential(2, len(hazard))
    return np.minimum(event, censored), event <= censored


def test_cox_says_what_it_cannot_tell():
    rng = np.random.default_rng(1)
    grade = np.repeat(["1", "2", "3"], [100, 70, 30])
    age = rng.normal(60, 9, 200)
    times, events = simulated(np.where(grade == "3", 3.0, 1.0))
    covariates = pd.DataFrame({"grade": grade, "age": age, "centre": 1})
    covariates.loc[[3, 7], "age"] = np.nan
    found = cox(times, events, covariates)
    assert [term.name for term in found.terms] == ["grade: 2", "grade: 3", "age"]
    assert found.terms[1].lower < 3 < found.terms[1].upper
    assert found.terms[2].lower < 1 < found.terms[2].upper
    assert "2 patients were left out for want of a covariate: age (2)" in found.notes
    assert "centre is the same in all patients and was left out" in found.notes
    assert found.patients == 198

    never = events & (grade != "3")
    assert "no event where grade: 3 = 1" in cox(times, never, covariates).why_not
    twice = pd.DataFrame({"age": age, "years": 2 * age})
    assert "did not converge" in cox(times, events, twice).why_not
    telling = pd.DataFrame({"score": -np.argsort(np.argsort(times)).astype(float)})
    assert "did not converge" in cox(times, np.ones(200), telling).why_not
    early = pd.DataFrame(
        {"stage": np.where(times < np.quantile(times, 0.1), "IV", "I"), "age": age}
    )
    assert "stage: IV separates" in cox(times, np.ones(200), early).why_not
    nobody = cox(times, events, pd.DataFrame({"age": np.full(200, np.nan)}))
    assert (nobody.patients, nobody.why_not) == (0, "a Cox model needs 5 events, found 0")
    assert "no covariate varies" in cox(times, events, covariates[["centre"]]).why_not
    few = cox(times[:12], events[:12], pd.DataFrame({"age": age[:12], "z": times[::-1][:12]}))
    assert any("narrower" in note for note in few.notes)


def test_cox_has_no_p_value_of_a_category_with_few_events():
    rng = np.random.default_rng(3)
    stage = np.repeat(["I", "II"], [190, 10])
    times = rng.exponential(1, 200)
    events = np.arange(200) % 2 == 0
    events[194:] = False
    found = cox(times, events, pd.DataFrame({"stage": stage, "age": rng.normal(size=200)}))
    rare, age = found.terms
    assert int(events[stage == "II"].sum()) == 2
    assert np.isnan(rare.p)
    assert rare.lower < rare.hazard_ratio < rare.upper
    assert age.p > 0
    assert any("no p-value of stage: II: fewer than 5 events with it" in n for n in found.notes)


def test_cox_has_no_p_value_against_a_category_with_few_events():
    rng = np.random.default_rng(4)
    stage = np.repeat(["I", "II", "III"], [100, 60, 40])  # compared with I, the most frequent
    times = rng.exponential(1, 200)
    events = np.arange(200) >= 97
    found = cox(times, events, pd.DataFrame({"stage": stage, "age": rng.normal(size=200)}))
    assert int(events[stage == "I"].sum()) == 3
    assert [np.isnan(term.p) for term in found.terms] == [True, True, False]
    assert any("no p-value of stage: II, stage: III" in note for note in found.notes)


def test_the_check_of_proportional_hazards_finds_what_is_not():
    rng = np.random.default_rng(2)
    exposed = rng.integers(0, 2, 400).astype(bool)
    same, _ = simulated(np.where(exposed, 2.0, 1.0))
    crossing = np.where(exposed, rng.weibull(0.5, 400), rng.weibull(3, 400))
    table = pd.DataFrame({"exposed": exposed})
    proportional, crossed = (cox(t, np.ones(400), table) for t in (same, crossing))
    assert not proportional.notes
    assert crossed.terms[0].proportional_p < 1e-3
    assert "exposed changes with time" in crossed.notes[0]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda t, e: survival_curve(t, e[:3]), "one time and one event"),
        (lambda t, e: survival_curve(t[:0], e[:0]), "one time and one event"),
        (lambda t, e: survival_curve(t - 2, e), "found 1 of 4 below 0"),
        (lambda t, e: survival_curve(t * np.nan, e), "found 4 of 4"),
        (lambda t, e: survival_curve(t, e * 2), "events of 0"),
        (lambda t, e: logrank(t, e, e[:2]), "a group for each of 4"),
        (lambda t, e: restricted_mean(t, e, 0), "a horizon above 0"),
        (lambda t, e: restricted_mean(t, e, 5), "last follow-up of each group, 4, found 5"),
        (lambda t, e: concordance(t, e, t[:2]), "a finite risk for each of 4"),
        (lambda t, e: concordance(t, e, t * np.nan), "with 4 missing"),
        (lambda t, e: cox(t, e, pd.DataFrame(index=range(4))), "Name a column"),
        (lambda t, e: risk_ratio(t, e[:2]), "two columns of one length"),
        (
            lambda t, e: restricted_mean_difference(
                restricted_mean(t, e, 2), restricted_mean(t, e, 3)
            ),
            "one horizon, found 2 and 3",
        ),
    ],
)
def test_what_cannot_be_done_is_said(call, said):
    with pytest.raises(InputError, match=said):
        call(np.arange(1.0, 5), np.ones(4))
