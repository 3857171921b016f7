"""Planted signatures carried from one simulated cohort to another, and what must not be said."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.statistics import logrank_test
from lifelines.utils import concordance_index
from signature_samples import DIRECTIONS, SURVIVAL, Files, planted, write_cohort, write_discovery
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from virtues_core.cli.main import app
from virtues_core.cohort.biomarkers.forest import SignatureForest, train_forest
from virtues_core.cohort.biomarkers.forest_file import FOLDER, load_forests, save_forests
from virtues_core.cohort.biomarkers.forest_source import forests_of
from virtues_core.cohort.biomarkers.ranks import ranks
from virtues_core.cohort.biomarkers.ratios import RatioTypes, cell_ratios, tertiles
from virtues_core.cohort.biomarkers.strata import signature_score, strata, strata_names
from virtues_core.cohort.biomarkers.transfer import Transfer, TransferConfig, transfer
from virtues_core.cohort.biomarkers.transfer_results import transfer_results
from virtues_core.cohort.patients import Columns, PatientCells, Seen
from virtues_core.cohort.patients.results import read_results, write_results
from virtues_core.errors import ConfigError, InputError, ReadError
from virtues_core.report.transfer import content

PATIENTS = 100
FAST = TransferConfig(draws=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transfer")


@pytest.fixture(scope="module")
def source(folder: Path) -> Files:
    return write_cohort(folder / "source", patients=24, seed=1)


@pytest.fixture(scope="module")
def target(folder: Path) -> Files:
    return write_cohort(folder / "target", patients=PATIENTS, seed=2)


@pytest.fixture(scope="module")
def discovery(folder: Path, source: Files) -> Path:
    return write_discovery(source, folder / "discovery")


@pytest.fixture(scope="module")
def forests(discovery: Path) -> tuple[SignatureForest, ...]:
    return forests_of(discovery)


@pytest.fixture(scope="module")
def joined(target: Files) -> PatientCells:
    return target.joined()


@pytest.fixture(scope="module")
def found(joined: PatientCells, forests: tuple[SignatureForest, ...]) -> Transfer:
    return transfer(joined, forests, dataclasses.replace(FAST, by="stage"))


def test_forests_are_the_papers_and_scored_on_cells_they_never_saw(
    source: Files, forests: tuple[SignatureForest, ...]
) -> None:
    cells = source.joined().cells
    members = planted(source.joined())
    for forest in forests:
        estimator = forest.classifier.estimator
        assert (estimator.n_estimators, estimator.max_depth) == (200, 16)
        assert (estimator.criterion, estimator.bootstrap) == ("gini", True)
        trained = forest.classifier.cells
        assert trained["inside"] == round(0.8 * members[forest.name].sum())
        assert {score.held_out for score in forest.scores} == {"patients", "cells"}
        own = forest.scores[0]
        assert own.held_out == "patients"
        assert 0.7 < own.auroc < 1
        assert own.precision < own.precision_balanced
        seen = roc_auc_score(
            members[forest.name], forest.probability(cells.take(np.arange(len(cells))))
        )
        assert seen > own.auroc  # cells trained on are among those
        assert forest.direction == DIRECTIONS[forest.name]


def test_planted_neighbourhoods_are_found_again(joined: PatientCells, found: Transfer) -> None:
    truth = planted(joined)
    for forest, probability in zip(found.forests, found.probability, strict=True):
        assert roc_auc_score(truth[forest.name], probability) > 0.75
    assert (found.members == (found.probability > 0.5)).all()


def test_score_strata_and_survival_are_those_of_the_definitions(
    joined: PatientCells, found: Transfer
) -> None:
    patient = np.array(joined.patients)[joined.codes]
    share = pd.DataFrame(found.members.T, columns=list(DIRECTIONS)).groupby(patient).mean()
    score = pd.Series(0, index=share.index)
    for name, way in DIRECTIONS.items():
        own = found.patients[f"share_{name}"]
        assert own.to_numpy() == pytest.approx(share[name].to_numpy())
        rank = found.patients[f"rank_{name}"]
        assert rank.tolist() == ranks(own.to_numpy()[:, None])[:, 0].tolist()
        score += rank if way == "response" else -rank
    assert found.patients["score"].tolist() == score.tolist()
    table = found.patients
    high, low = table[score > 2], table[score < -1]
    assert (high["stratum"] == "high score").all()
    assert (low["stratum"] == "low score").all()
    assert (table.loc[score.isin([-1, 2]), "stratum"] == "middle score").all()
    assert found.strata["patients"].tolist() == [
        len(low),
        PATIENTS - len(low) - len(high),
        len(high),
    ]
    expected = logrank_test(high["time"], low["time"], high["event"], low["event"])
    assert found.logrank.statistic == pytest.approx(expected.test_statistic)
    told = found.concordances.set_index("score").loc["signature score R"]
    index = concordance_index(table["time"], score, table["event"])
    assert told["concordance"] == pytest.approx(index)
    assert told["lower"] < index < told["upper"]


def test_a_planted_effect_orders_patients(found: Transfer) -> None:
    told = found.concordances.set_index("score").loc["signature score R"]
    assert told["lower"] > 0.5
    assert set(found.concordances["score"]) > {"tumour / CD8 T, tertile", "signature strata"}


def test_the_score_is_adjusted_for_covariates(
    target: Files, found: Transfer, forests: tuple[SignatureForest, ...]
) -> None:
    alone = found.hazards.set_index("term")
    assert found.hazards["model"].unique().tolist() == ["score alone"]
    assert alone.loc["score", "upper"] < 1  # more of it, longer life
    columns = dataclasses.replace(SURVIVAL, covariates=("age", "stage"))
    table = transfer(target.joined(columns), forests, FAST).hazards
    assert table["model"].unique().tolist() == ["score alone", "adjusted"]
    both = table.set_index(["model", "term"])["hazard_ratio"]
    assert both["adjusted", "score"] == pytest.approx(both["score alone", "score"], rel=0.1)
    patients = found.patients.astype({"event": int, "score": float})
    fitted = CoxPHFitter().fit(patients[["score", "time", "event"]], "time", "event")
    assert both["score alone", "score"] == pytest.approx(fitted.hazard_ratios_["score"], rel=1e-5)


def test_cells_are_dealt_out_to_a_clinical_column(joined: PatientCells, found: Transfer) -> None:
    table = found.labels.set_index(["signature", "value"])
    stage = joined.clinical.table["stage"].loc[list(joined.patients)].to_numpy()[joined.codes]
    assert table.loc[("RS1", "II"), "cells"] == (found.members[0] & (stage == "II")).sum()
    assert table.loc[("RS1", "II"), "cohort_share"] == pytest.approx((stage == "II").mean())
    assert table.groupby("signature")["share"].sum().to_numpy() == pytest.approx(1)


def shuffled(joined: PatientCells, **changes: object) -> PatientCells:
    """The same patients with the times of others."""
    table = joined.clinical.table.copy()
    columns = ["survival_months", "event"]
    table[columns] = table[columns].sample(frac=1, random_state=0).to_numpy()
    clinical = dataclasses.replace(joined.clinical, table=table.assign(**changes))
    return dataclasses.replace(joined, clinical=clinical)


def test_no_effect_is_said(joined: PatientCells, forests: tuple[SignatureForest, ...]) -> None:
    other = shuffled(joined)
    told = transfer(other, forests, FAST)
    row = told.concordances.set_index("score").loc["signature score R"]
    assert row["lower"] < 0.5 < row["upper"]
    results = transfer_results(told, other, FAST)
    assert results.notes[0].startswith("the score does not order these patients by survival")


def test_a_score_that_counts_the_other_way_round_is_said(
    joined: PatientCells, forests: tuple[SignatureForest, ...]
) -> None:
    turned = [
        dataclasses.replace(
            f, direction="non-response" if f.direction == "response" else "response"
        )
        for f in forests
    ]
    told = transfer(joined, turned, FAST)
    notes = transfer_results(told, joined, FAST).notes
    assert notes[0].startswith("the score orders patients the other way round")


def test_few_events_give_no_p(joined: PatientCells, forests: tuple[SignatureForest, ...]) -> None:
    rare = (np.arange(PATIENTS) % 9 == 0).astype(int)
    told = transfer(shuffled(joined, event=rare), forests, FAST)
    assert told.logrank.p is None
    assert "events" in told.logrank.why_not
    results = transfer_results(told, joined, FAST)
    assert results.summary["logrank_p"] is None
    assert any("no p-value" in note for note in results.notes)
    assert "No p-value" in content(results).headline[1]


def test_patients_without_follow_up_are_counted(
    joined: PatientCells, forests: tuple[SignatureForest, ...]
) -> None:
    times = joined.clinical.table["survival_months"].where(np.arange(PATIENTS) != 7)
    told = transfer(shuffled(joined, survival_months=times), forests, FAST)
    assert any(f"1 of {PATIENTS} patients" in note for note in told.notes)
    assert told.concordances["patients"].max() == PATIENTS - 1


def test_no_cell_types_no_ratios(
    joined: PatientCells, forests: tuple[SignatureForest, ...]
) -> None:
    table = joined.cells.cells.drop(columns="cell_type")
    bare = dataclasses.replace(joined, cells=dataclasses.replace(joined.cells, cells=table))
    told = transfer(bare, forests, FAST)
    assert len(told.concordances) == 2
    assert any("no ratios" in note for note in told.notes)


def test_a_folder_and_its_report(joined: PatientCells, found: Transfer, tmp_path: Path) -> None:
    config = dataclasses.replace(FAST, by="stage")
    write_results(transfer_results(found, joined, config, source="somewhere"), tmp_path / "out")
    results = read_results(tmp_path / "out")
    assert len(results.plots) == 6
    cells = results.read_cells(["tissue_id", "RS1", "probability_RS1"])
    assert len(cells) == len(joined.codes)
    assert (cells["RS1"] == (cells["probability_RS1"] > 0.5)).all()
    told = content(results)
    assert "Concordance" in told.headline[0]
    names = {figure.name for figure in told.figures}
    assert {"survival", "concordance", "labels", "signature-neighbours"} <= names
    assert set(told.tables) <= set(results.tables)


def test_forests_go_without_cells(
    forests: tuple[SignatureForest, ...], joined: PatientCells, tmp_path: Path
) -> None:
    size = save_forests(forests[:1], tmp_path / FOLDER)
    assert size == sum(path.stat().st_size for path in (tmp_path / FOLDER).iterdir())
    for place in (tmp_path, tmp_path / FOLDER):
        again = forests_of(place)
        tokens = joined.cells.take(np.arange(50))
        for old, new in zip(forests[:1], again, strict=True):
            assert (old.name, old.direction, old.scores) == (new.name, new.direction, new.scores)
            assert np.array_equal(old.probability(tokens), new.probability(tokens))


@pytest.fixture(scope="module")
def kept(forests: tuple[SignatureForest, ...], folder: Path) -> Path:
    save_forests(forests[:2], folder / "kept")
    return folder / "kept"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda told: told.update(format=9), "format 9"),
        (lambda told: told["forests"][0].update(direction="up"), "'up'"),
        (lambda told: told["forests"][0].update(file="../0.skops"), "names"),
        (lambda told: told["forests"][0].update(file="1.skops"), "something else"),
        (lambda told: told["forests"][0].update(scores=[{}]), "whole folder"),
        (lambda told: told["forests"].append(told["forests"][0]), "twice"),
        (lambda told: told.pop("forests"), "whole folder"),
        (lambda told: told.pop("seen"), "whole folder"),
        (lambda told: told.update(seen={"patients": [1], "tissues": []}), "whole folder"),
    ],
)
def test_a_changed_folder_of_forests_is_refused(
    kept: Path, tmp_path: Path, change: object, match: str
) -> None:
    place = shutil.copytree(kept, tmp_path / "kept")
    told = json.loads((place / "forests.json").read_text())
    change(told)  # type: ignore[operator]
    (place / "forests.json").write_text(json.dumps(told))
    with pytest.raises(ReadError, match=match):
        load_forests(place)


def test_forests_of_what_is_no_discovery(
    discovery: Path, found: Transfer, joined: PatientCells, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ReadError, match="could not read"):
        forests_of(tmp_path)
    write_results(transfer_results(found, joined, FAST), tmp_path / "other")
    with pytest.raises(InputError, match=r"found one of 'transfer'"):
        forests_of(tmp_path / "other")
    copy = tmp_path / "copy"

    def changed(**summary: object) -> Path:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(discovery, copy)
        told = json.loads((copy / "summary.json").read_text()) | summary
        (copy / "summary.json").write_text(json.dumps(told))
        return copy

    with pytest.raises(ReadError, match="--forests"):
        forests_of(changed(cells=["gone.h5ad"]))
    with pytest.raises(InputError, match="chose none"):
        forests_of(changed(signatures=[]))
    with pytest.raises(ReadError, match="direction of each"):
        forests_of(changed(signatures=[{"name": "RS1", "direction": "up"}]))
    with pytest.raises(ReadError, match="list of them"):
        forests_of(changed(cells=5))
    (changed() / "cells.parquet").write_text("x")
    with pytest.raises(ReadError, match=r"could not read .*cells.parquet"):
        forests_of(copy)
    with pytest.raises(InputError, match="tables have changed"):
        forests_of(changed(cells=[str(folder / "target" / "cells.h5ad")]))


def test_patients_whom_the_signatures_were_chosen_by_are_refused(
    forests: tuple[SignatureForest, ...], kept: Path, source: Files
) -> None:
    own = source.joined()
    number = f"{len(own.patients)} patients out of {len(own.patients)}"
    for carried in (forests, load_forests(kept)):
        with pytest.raises(InputError, match=number):
            transfer(own, carried, FAST)
    table = own.cells.cells
    told = table["tissue_id"].cat.rename_categories(lambda name: f"other {name}")
    for columns in (
        {"tissue_id": told},  # by another name
        {"tissue_id": told, "x_um": np.float32(np.nan)},  # and without positions
    ):
        cells = dataclasses.replace(own.cells, cells=table.assign(**columns))
        with pytest.raises(InputError, match=number):
            transfer(dataclasses.replace(own, cells=cells), forests, FAST)


def test_one_known_patient_among_others_is_refused_and_names_alike_are_told(
    forests: tuple[SignatureForest, ...], joined: PatientCells, found: Transfer
) -> None:
    assert "24 patients of 100 are called as patients of the discovery" in found.notes[0]
    tissue, patient = next(iter(joined.owners.items()))
    seen = Seen.of(joined.cells, {tissue: "someone"})
    knowing = [*forests[1:], dataclasses.replace(forests[0], seen=seen)]
    with pytest.raises(InputError, match=rf"1 patient out of 100 \({patient}\)"):
        transfer(joined, knowing, FAST)


def test_all_tissues_of_a_patient_are_known_by_one(joined: PatientCells) -> None:
    one, other, third = list(joined.owners)[:3]
    seen = Seen.of(joined.cells, {one: "A", other: ""})
    assert Seen.from_json(json.loads(json.dumps(seen.as_json()))) == seen
    assert "A" not in json.dumps(sorted(seen.patients)).replace('"', "").split(", ")
    of_one = {one: "B", third: "B", other: "C"}
    assert seen.known(joined.cells, of_one) == ({one, other, third}, set())
    assert seen.known(joined.cells, {third: "A"}) == (set(), {"A"})
    assert Seen().known(joined.cells, of_one) == (set(), set())


def test_other_checkpoints_are_refused(
    forests: tuple[SignatureForest, ...], joined: PatientCells
) -> None:
    cells = dataclasses.replace(joined.cells, signature="xyz")
    with pytest.raises(
        InputError, match=r"expected tokens of the checkpoint .*'abc'.* found .*'xyz'"
    ):
        transfer(dataclasses.replace(joined, cells=cells), forests, FAST)
    with pytest.raises(InputError, match="expected one signature"):
        transfer(joined, [], FAST)


def test_too_few_cells_to_learn(source: Files) -> None:
    cells = source.joined().cells
    member = np.arange(len(cells)) < 9
    patients = np.zeros(len(cells), int)
    with pytest.raises(InputError, match="in signature 'few' to learn it, found 9"):
        train_forest(cells, member, patients, "few", "response", seen=Seen())
    with pytest.raises(InputError, match="outside signature 'all' to learn it, found 0"):
        train_forest(cells, member | True, patients, "all", "response", seen=Seen())
    one = train_forest(cells, np.arange(len(cells)) < 30, patients, "one", "response", seen=Seen())
    assert [score.held_out for score in one.scores] == ["cells"]  # of a single patient


def test_score_and_strata_by_hand() -> None:
    ways = ["response", "non-response"]
    assert signature_score(np.array([[3, 0], [1, 2]]), ways).tolist() == [3, -1]
    assert strata(np.array([3, 2, -1, -2])).tolist() == [2, 1, 1, 0]
    assert strata_names("paper") == ("low-risk", "medium-risk", "high-risk")
    with pytest.raises(InputError, match="up"):
        signature_score(np.ones((1, 1)), ["up"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="ranks of patients"):
        signature_score(np.ones((1, 3)), ways)


def test_ratios_by_hand() -> None:
    counts = np.array([[6, 2, 1, 0], [0, 4, 0, 5], [2, 0, 0, 1]])
    types = ["Tumor cells", "CD4+ T cell", "B cells", "vessel"]
    ratios = cell_ratios(counts, types)
    assert ratios.columns.tolist() == ["tumour / CD4 T", "tumour / B"]
    assert ratios["tumour / CD4 T"].tolist() == [3.0, 0.0, np.inf]
    assert ratios["tumour / B"].isna().tolist() == [False, True, False]
    named = cell_ratios(counts, types, RatioTypes(tumour=("vessel",), cd8=("B cells",)))
    assert named["tumour / CD8 T"].tolist()[0] == 0
    assert cell_ratios(counts, ["a", "b", "c", "d"]).empty
    with pytest.raises(InputError, match="no 'nerve'"):
        cell_ratios(counts, types, RatioTypes(b=("nerve",)))
    assert tertiles(np.arange(9.0)).tolist() == [1] * 3 + [2] * 3 + [3] * 3
    assert np.isnan(tertiles(np.array([np.nan]))).all()


@pytest.mark.parametrize(
    ("wrong", "name"),
    [({"high_above": -3}, "high_above"), ({"high_above": float("inf")}, "expected numbers"),
     ({"names": "x"}, "names"), ({"draws": 9}, "draws"),
     ({"radius_um": 0}, "radius_um"), ({"nearest": -1}, "nearest")],
)  # fmt: skip
def test_wrong_settings_are_named(wrong: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        TransferConfig(**wrong)  # type: ignore[arg-type]


def test_wrong_columns_are_named(
    target: Files, joined: PatientCells, forests: tuple[SignatureForest, ...]
) -> None:
    with pytest.raises(InputError, match="'grade'"):
        transfer(joined, forests, TransferConfig(by="grade"))
    with pytest.raises(InputError, match="time"):
        transfer(target.joined(Columns(SURVIVAL.patient)), forests, FAST)


def test_the_command(kept: Path, target: Files, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = ["biomarkers", "transfer", str(kept), str(target.cells), "--out", str(out)]
    args += ["--clinical", str(target.clinical), "--patient", "patient_id"]
    args += ["--time", "survival_months", "--event", "event", "--names", "paper", "--draws", "100"]
    args += ["--covariates", "age"]
    ran = CliRunner().invoke(app, args)
    assert ran.exit_code == 0, ran.output
    summary = json.loads((out / "summary.json").read_text())
    assert summary["analysis"] == "transfer"
    assert [one["stratum"] for one in summary["strata"]] == ["low-risk", "medium-risk", "high-risk"]
    assert 0.4 < summary["concordance"] < 1
    assert summary["command"].startswith("virtues biomarkers transfer")
    assert (out / "report.html").is_file()
    assert [f.name for f in load_forests(out / FOLDER)] == ["RS1", "RS2"]
    again = CliRunner().invoke(app, [*args, "--high-above", "-4"])
    assert isinstance(again.exception, ConfigError)
    onto_itself = CliRunner().invoke(app, [*args[:2], str(out), *args[3:]])
    assert isinstance(onto_itself.exception, InputError)
    assert "for both" in str(onto_itself.exception)
