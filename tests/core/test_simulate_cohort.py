"""A cohort's outcomes depend on the planted neighbourhood as strongly as asked for, or not."""

from dataclasses import replace

import numpy as np
import pytest

from virtues_core.errors import ConfigError, InputError
from virtues_core.simulate import Cohort, CohortConfig, simulate_cohort

SMALL = CohortConfig(patients=60, tissues_per_patient=1, size_px=192, seed=8)


def auroc(outcome: np.ndarray, score: np.ndarray) -> float:
    yes, no = score[outcome == 1][:, None], score[outcome == 0]
    return float((yes > no).mean() + (yes == no).mean() / 2)


def concordance(months: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    earlier = (months[:, None] < months) & (event[:, None] == 1)
    return float((earlier & (risk[:, None] > risk)).sum() / earlier.sum())


def neighbourhood(cohort: Cohort) -> np.ndarray:
    """Log ratio of the planted niches among each tissue's cells."""
    scores = []
    for name in cohort.tissues["tissue_id"]:
        niche = cohort.cells(name).cells["niche"]
        hub, suppressive = ((niche == n).mean() for n in ("immune_hub", "suppressive_niche"))
        scores.append(np.log(hub + 0.01) - np.log(suppressive + 0.01))
    return np.array(scores)


def test_a_strong_effect_shows_in_the_neighbourhood() -> None:
    score = neighbourhood(simulate_cohort(SMALL))
    strong = simulate_cohort(replace(SMALL, effect=3.0)).patients
    assert auroc(strong["response"].to_numpy(), score) > 0.8
    months, event = strong["survival_months"].to_numpy(), strong["event"].to_numpy()
    assert concordance(months, event, -score) > 0.7
    wrong = simulate_cohort(replace(SMALL, effect=-3.0)).patients
    assert auroc(wrong["response"].to_numpy(), score) < 0.2


def test_without_effect_outcomes_are_independent_of_the_tissue() -> None:
    response, risk = [], []
    for seed in range(60):
        cohort = simulate_cohort(replace(SMALL, effect=0.0, seed=seed))
        balance, patients = cohort.truth["balance"].to_numpy(), cohort.patients
        response.append(auroc(patients["response"].to_numpy(), balance))
        months, event = (patients[name].to_numpy() for name in ("survival_months", "event"))
        risk.append(concordance(months, event, -balance))
        assert np.allclose(cohort.truth["response_probability"], 0.4)
        assert np.allclose(cohort.truth["relative_hazard"], 1)
    assert np.mean(response) == pytest.approx(0.5, abs=0.03)
    assert np.mean(risk) == pytest.approx(0.5, abs=0.03)


def test_the_effect_is_the_log_odds_ratio_and_the_log_hazard_ratio() -> None:
    truth = simulate_cohort(replace(SMALL, effect=1.7)).truth
    odds = truth["response_probability"] / (1 - truth["response_probability"])
    slope = np.polyfit(truth["balance"], np.log(odds), 1)
    assert slope == pytest.approx([1.7, np.log(0.4 / 0.6)])
    assert np.polyfit(truth["balance"], np.log(truth["relative_hazard"]), 1)[0] == (
        pytest.approx(-1.7)
    )


def test_the_niche_follows_the_burden_and_nothing_else_follows_the_outcome() -> None:
    cohort = simulate_cohort(replace(SMALL, effect=3.0, patients=200))
    configs = [cohort.tissue_config(name) for name in cohort.tissues["tissue_id"]]
    hub = np.array([config.hub_fraction for config in configs])
    burden = cohort.truth["hub_burden"].to_numpy()
    assert (hub[burden < -0.9] == 0).all()
    assert np.corrcoef(np.log(hub[hub > 0]), burden[hub > 0])[0, 1] > 0.85
    response = cohort.patients["response"].to_numpy()
    for name in ("tumour_fraction", "lymphoid_fraction", "infiltration", "myeloid"):
        own = np.array([getattr(config, name) for config in configs])
        assert abs(auroc(response, own) - 0.5) < 0.12, name


def test_tables_fit_together() -> None:
    config = CohortConfig(
        datasets=("imc-tumour", "codex", "mibi"), patients=30, tissues_per_patient=2, seed=1
    )
    cohort = simulate_cohort(config)
    tissues, patients = cohort.tissues, cohort.patients
    assert len(cohort) == len(tissues) == 60
    assert tissues["tissue_id"].is_unique
    assert patients["patient_id"].is_unique
    assert (patients.groupby("dataset").size() == 10).all()
    assert (tissues.groupby("patient_id")["split"].nunique() == 1).all()
    shares = patients.groupby("dataset")["split"].value_counts(normalize=True).unstack()
    assert (shares["test"] == 0.2).all()
    assert set(tissues["modality"]) == {"imc", "codex", "mibi"}
    merged = tissues.merge(patients, on="patient_id", suffixes=("", "_p"))
    for column in ("response", "survival_months", "event", "age", "sex", "stage", "dataset"):
        assert (merged[column] == merged[f"{column}_p"]).all()
    assert patients["response"].isin([0, 1]).all()
    assert patients["event"].isin([0, 1]).all()
    assert (patients["survival_months"] > 0).all()
    none = simulate_cohort(replace(config, test_fraction=0.0)).patients
    assert set(none["split"]) == {"train"}


def test_censoring_and_response_rate_are_as_asked_for() -> None:
    many = replace(SMALL, patients=2000, effect=0.0)
    kept = simulate_cohort(replace(many, censored=0.0)).patients
    assert kept["event"].mean() > 0.95
    lost = simulate_cohort(replace(many, censored=0.5, response_rate=0.7)).patients
    assert lost["event"].mean() == pytest.approx(0.5, abs=0.07)
    assert lost["response"].mean() == pytest.approx(0.7, abs=0.04)


def test_on_treatment_hubs_grow_in_responders() -> None:
    cohort = simulate_cohort(replace(SMALL, timepoints=2, effect=1.0))
    assert list(cohort.tissues["timepoint"].unique()) == ["baseline", "on_treatment"]
    assert len(cohort) == 120
    share = [cohort.tissue_config(name).hub_fraction for name in cohort.tissues["tissue_id"]]
    table = cohort.tissues.assign(share=share)
    wide = table.pivot(index=["patient_id", "response"], columns="timepoint", values="share")
    change = (wide["on_treatment"] - wide["baseline"]).groupby("response").mean()
    assert change[1] > 0.02
    assert change[0] < 0.005


def test_tissues_are_reproducible_and_differ() -> None:
    config = replace(SMALL, patients=2, tissues_per_patient=2)
    cohort, again = simulate_cohort(config), simulate_cohort(config)
    assert cohort.tissues.equals(again.tissues)
    made = list(cohort)
    assert [tissue.name for tissue in made] == cohort.tissues["tissue_id"].tolist()
    repeated = again.tissue(made[2].name)
    assert np.array_equal(repeated.pixels, made[2].pixels)
    assert made[0].shape == (192, 192)
    assert not np.array_equal(made[0].cell_mask, made[1].cell_mask)
    other = simulate_cohort(replace(config, seed=9))
    assert not np.array_equal(other.tissue(made[0].name).cell_mask, made[0].cell_mask)


def test_batch_strength_reaches_the_images() -> None:
    config = replace(SMALL, patients=1)
    name = simulate_cohort(config).tissues["tissue_id"][0]
    with_batch = simulate_cohort(config).tissue(name)
    without = simulate_cohort(replace(config, batch_strength=0.0)).tissue(name)
    assert np.array_equal(with_batch.cell_mask, without.cell_mask)
    ratio = with_batch.pixels.mean(axis=(1, 2)) / without.pixels.mean(axis=(1, 2))
    assert np.log(ratio).std() > 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"datasets": ()}, "one at least"),
        ({"datasets": ("mibi", "mibi")}, "different datasets"),
        ({"datasets": ("he",)}, "out of imc-tumour"),
        ({"patients": 0}, "patients of 1 or more, found 0"),
        ({"patients": 1, "datasets": ("mibi", "codex")}, "patients of 2 or more"),
        ({"tissues_per_patient": 0}, "tissues_per_patient of 1"),
        ({"seed": -1}, "seed of 0 or more, found -1"),
        ({"size_px": 100}, "size_px of 128 or more, found 100"),
        ({"timepoints": 3}, "timepoints of 1 or 2, found 3"),
        ({"response_rate": 1.0}, "response_rate"),
        ({"response_rate": 0.0}, "response_rate above 0"),
        ({"censored": -0.1}, "censored from 0"),
        ({"test_fraction": 1.0}, "test_fraction"),
        ({"effect": float("nan")}, "finite effect"),
        ({"batch_strength": -1.0}, "batch_strength of 0 or more"),
    ],
)
def test_wrong_settings_are_refused_by_name(wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CohortConfig(**wrong)


def test_an_unknown_tissue_is_refused() -> None:
    with pytest.raises(InputError, match="found no 'T1'"):
        simulate_cohort(SMALL).tissue("T1")
