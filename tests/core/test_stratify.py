"""Stratification: planted survival is found, noise is not; what cannot be said is said."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines.statistics import multivariate_logrank_test
from lifelines.utils import concordance_index
from sklearn.metrics import adjusted_rand_score
from stratify_samples import COLUMNS, cohort, joined

from virtues_core.cohort.patients import Columns
from virtues_core.cohort.patients.results import read_results, write_results
from virtues_core.cohort.survival import (
    Stratification,
    StratifyConfig,
    results_of,
    stratify,
    structures_of,
)
from virtues_core.cohort.survival.states import assign_states, fit_states, patient_groups
from virtues_core.errors import ConfigError, InputError

SMALL = {
    "states": 6, "groups": 2, "other_groups": (3,), "permutations": 99, "bootstrap": 30,
    "seeds": 2, "layout": "pca", "layout_cells": 200,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def found(folder: Path) -> Stratification:
    config = StratifyConfig(structures=("niche", "necrosis"), structure_cells=10, **SMALL)
    return stratify(joined(folder, obs=("niche",)), config)


def bad(found: Stratification) -> np.ndarray:
    """Who was given the larger hazard: every other patient."""
    return np.arange(len(found.times)) % 2 == 0


def test_planted_risk_is_found_out_of_fold(found: Stratification) -> None:
    assert (found.out_of_fold.high == bad(found)).mean() > 0.95
    assert found.logrank_p == 0.01  # none of 99 permutations does as well
    honest = found.comparisons[0]
    assert honest.concordance.lower > 0.55
    assert honest.mean_difference is not None
    assert honest.mean_difference.lower > 0
    (risk,) = (term for term in honest.cox.terms if term.name == "high risk")
    assert risk.lower > 1
    assert np.isnan(risk.p)  # Wald's knows nothing of the merge
    assert {term.name.split(":")[0] for term in honest.cox.terms} == {"age", "grade", "high risk"}


def test_numbers_are_those_of_the_table_of_patients(found: Stratification) -> None:
    made = results_of(found, "virtues stratify …")
    patients, summary = made.patients, made.summary
    test = multivariate_logrank_test(patients["time"], patients["risk"], patients["event"])
    np.testing.assert_allclose(summary["logrank_statistic"], test.test_statistic, rtol=1e-6)
    np.testing.assert_allclose(summary["logrank_signed_root"] ** 2, test.test_statistic, rtol=1e-6)
    scored = concordance_index(patients["time"], -(patients["risk"] == "high"), patients["event"])
    np.testing.assert_allclose(summary["concordance"], scored, atol=1e-6)
    on_data = multivariate_logrank_test(
        patients["time"], patients["risk_on_data"], patients["event"]
    )
    np.testing.assert_allclose(summary["chosen_on_data"]["logrank_p"], on_data.p_value, rtol=1e-6)
    assert [group["patients"] for group in summary["groups"]] == [
        int((patients["group"] == number).sum()) for number in (1, 2)
    ]
    assert sum(group["expected_events"] for group in summary["groups"]) == pytest.approx(
        patients["event"].sum()
    )
    last = made.tables["survival"].groupby("risk")["events"].sum()
    assert last.to_dict() == patients.groupby("risk")["event"].sum().to_dict()


def test_composition_is_of_all_cells_by_their_nearest_state(found: Stratification) -> None:
    tokens = np.concatenate([t for _, t in found.joined.cells.batches(500)])
    centres = np.stack([tokens[found.states == k].mean(0) for k in range(6)])
    nearest = np.linalg.norm(tokens[:, None] - centres, axis=-1).argmin(1)
    assert (nearest == found.states).mean() > 0.99
    kinds = found.joined.cells.cells["cell_type"]
    assert adjusted_rand_score(kinds, found.states) > 0.6  # one start: a kind in two states
    own = found.joined.codes == 7
    shares = np.bincount(found.states[own], minlength=6) / own.sum()
    np.testing.assert_allclose(found.composition[7], shares)
    table = results_of(found).tables["states"]
    assert table.iloc[0]["cell_type"] == "kind 0"
    assert table["cells"].sum() == len(tokens)
    assert table.iloc[0]["log2_ratio"] > 1


def test_structures_are_more_often_in_patients_of_high_risk(found: Stratification) -> None:
    table = results_of(found).tables["structures"].set_index(["structure", "told"])
    hypoxic = table.loc[("niche: hypoxic", "out of fold")]
    assert hypoxic["lower"] > 1
    assert hypoxic["present_high"] > 25
    necrosis = table.loc[("necrosis", "out of fold")]
    assert necrosis["lower"] < 1 < necrosis["upper"]
    alone = table.loc[("niche: hypoxic", "survival alone")]
    early = found.times < np.median(found.times[~found.events])
    assert alone["patients_high"] == int((found.events | early).sum())


def test_the_folder_is_whole_and_leads_back_to_cells(found: Stratification, tmp_path: Path) -> None:
    write_results(results_of(found), tmp_path / "out")
    made = read_results(tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert {"logrank_p", "groups", "concordance"} <= set(summary)
    assert summary["settings"]["states"] == 6
    cells = made.read_cells()
    assert len(cells) == 2400
    assert cells["state"].between(0, 5).all()
    assert len(made.tables["map_cells"]) == 200
    assert set(made.patients) >= {"patient_id", "tissues", "group", "risk", "risk_on_data"}
    for plot in made.plots:
        table = made.tables[plot.table]
        assert {plot.x, plot.y} <= set(table)
        if plot.link and plot.link != "state":
            assert set(table[plot.link].astype(str)) <= set(made.patients[plot.link].astype(str))


def test_other_ways_are_told(found: Stratification) -> None:
    varied = [run.varied for run in found.runs]
    assert (varied.count("seed"), varied.count("groups"), varied.count("folds")) == (2, 1, 5)
    assert found.runs[0].adjusted_rand == 1.0
    assert found.runs[0].concordance == found.comparisons[0].concordance.value
    three = next(run for run in found.runs if run.varied == "groups")
    assert (three.groups, three.adjusted_rand < 1) == (3, True)


def test_equal_seeds_give_equal_results_and_progress_is_told(folder: Path) -> None:
    told: list[tuple[int, int, str]] = []
    config = StratifyConfig(**(SMALL | {"fit_cells": 500, "seed": 4}))

    def made() -> Stratification:
        return stratify(joined(folder), config, progress=lambda *args: told.append(args))

    first, second = made(), made()
    np.testing.assert_array_equal(first.states, second.states)
    np.testing.assert_array_equal(first.permutations, second.permutations)
    np.testing.assert_array_equal(first.cell_places, second.cell_places)
    assert first.runs == second.runs
    assert {what for *_, what in told} == {
        "states found for seed", "cell", "permutation", "stability run",
    }  # fmt: skip
    assert all(done <= total for done, total, _ in told)
    assert any("500 of 2,400 cells" in note for note in first.notes)


def test_noise_is_no_risk(tmp_path: Path) -> None:
    part = stratify(joined(cohort(tmp_path, hazard=1.0, seed=1)), StratifyConfig(**SMALL))
    assert part.logrank_p is not None
    assert part.logrank_p > 0.05
    assert part.comparisons[0].concordance.lower < 0.5
    if part.signed_root <= 0:
        assert any("fared no worse" in note for note in part.notes)


def clinic(folder: Path, change: object) -> None:
    """Change the clinical table of a cohort."""
    table = pd.read_csv(folder / "clinical.csv", dtype={"patient": str})
    change(table)  # type: ignore[operator]
    table.to_csv(folder / "clinical.csv", index=False)


def test_a_group_with_few_events_has_no_p_value(tmp_path: Path) -> None:
    def spare(table: pd.DataFrame) -> None:
        table.loc[table.index % 2 == 1, "died"] = 0
        table.loc[1, "died"] = 1
        table.loc[[4, 6], "months"] = np.nan

    clinic(cohort(tmp_path), spare)
    part = stratify(joined(tmp_path), StratifyConfig(**SMALL, horizon=5000.0))
    assert part.logrank_p is None
    assert len(part.times) == 58
    said = " ".join(part.notes)
    assert "2 patients without time or event: P004, P006" in said
    assert "no p-value: a p-value needs 5 events in each group; low risk has 1" in said
    assert "mean survival is compared up to" in said
    summary = results_of(part).summary
    assert summary["logrank_p"] is None
    assert np.isfinite(summary["logrank_statistic"])


def test_patients_by_tissue_and_a_group_of_one(tmp_path: Path) -> None:
    def change(table: pd.DataFrame) -> None:
        table["tissue"] = table["patient"] + "-A"

    clinic(cohort(tmp_path, patients=12, cells=30), change)
    columns = Columns("patient", tissue="tissue", time="months", event="died")
    part = stratify(
        joined(tmp_path, columns), StratifyConfig(**(SMALL | {"groups": 9, "folds": 3}))
    )
    assert any("has one patient" in note for note in part.notes)
    assert results_of(part).patients["tissues"].tolist()[0] == "P000-A"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"states": 5000}, "2,400 cells for 5000 states"),
        ({"groups": 70}, "70 patients or more"),
        ({"folds": 61}, "61 patients or more"),
        ({"structures": ("wings",)}, "'wings' in neither"),
        ({"structures": ("died",)}, "'died', by which risk is told"),
        ({"structures": ("cell_id",)}, "found 40 different"),
    ],
)
def test_refusals(folder: Path, settings: dict[str, object], said: str, monkeypatch) -> None:
    monkeypatch.setattr("virtues_core.cohort.survival.structures.MOST_CATEGORIES", 30)
    with pytest.raises(InputError, match=said):
        stratify(joined(folder), StratifyConfig(**(SMALL | settings)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"states": 1}, "states: expected a whole number of at least 2"),
        ({"states": 40_000}, "states: expected a whole number up to"),
        ({"groups": 2.5}, "groups"),
        ({"permutations": 0}, "permutations: expected a whole number of at least 19"),
        ({"other_groups": (1,)}, "other_groups"),
        ({"structures": ("",)}, "structures"),
        ({"horizon": -1}, "horizon"),
        ({"horizon": True}, "horizon"),
        ({"layout": "tsne"}, "layout: expected umap or pca"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        StratifyConfig(**settings)


def test_states_and_groups_of_values_that_repeat() -> None:
    same = np.zeros((30, 4), np.float32)
    (model,) = fit_states(same, 3, [0])
    assert model.cluster_centers_.shape == (3, 4)
    with pytest.raises(InputError, match="composition for 2 groups, found 1"):
        patient_groups(np.full((9, 4), 0.25), 2, seed=0)
    shares = np.repeat(np.eye(3), [2, 5, 3], axis=0)
    assert patient_groups(shares, 3, seed=0).tolist() == [2] * 2 + [0] * 5 + [1] * 3


def test_all_seeds_are_assigned_in_one_reading(folder: Path) -> None:
    cells = joined(folder, COLUMNS).cells
    models = fit_states(cells.take(np.arange(300)), 6, [0, 1])
    both = assign_states(cells, models)
    for each, model in zip(both, models, strict=True):
        np.testing.assert_array_equal(each, model.predict(cells.take(np.arange(len(cells)))))


def test_structures_of_names_of_marks_and_of_gaps() -> None:
    cells = pd.DataFrame({"follicle": [True, False, True], "niche": ["", "core", None]})
    patients = pd.DataFrame({"stage": ["I", None], "smoker": [1, 0]})
    codes = np.array([0, 1, 1])
    found = {
        s.name: s
        for s in structures_of(["follicle", "niche", "stage", "smoker"], cells, codes, patients)
    }
    assert {name: s.present.tolist() for name, s in found.items()} == {
        "follicle": [True, True],
        "niche: core": [False, True],
        "stage: I": [True, False],
        "smoker": [True, False],
    }
    assert found["stage: I"].known.tolist() == [True, False]
    twice = structures_of(["follicle"], cells, codes, patients, least_cells=2)
    assert not twice[0].present.any()
    with pytest.raises(InputError, match="'smoker' in both"):
        structures_of(["smoker"], cells.assign(smoker=1), codes, patients)
