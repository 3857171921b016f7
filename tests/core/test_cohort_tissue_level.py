"""Tissue-level prediction: what is learnt, on whom it is tested, what is written and read again."""

import inspect
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mil_samples import WITNESSES, cohort
from scipy.stats import mannwhitneyu
from torch import Tensor
from torch.nn.functional import cross_entropy, softmax
from typer.testing import CliRunner

from virtues_core.cli.classify import fit as command
from virtues_core.cli.main import app
from virtues_core.cohort.patients import Columns, PatientCells, join, open_cells, read_clinical
from virtues_core.cohort.patients.results import read_results
from virtues_core.cohort.tissue_level import MilConfig, load_mil, predict, tissue_level
from virtues_core.cohort.tissue_level.crossval import cross_validate, one_training
from virtues_core.cohort.tissue_level.gates import ROWS
from virtues_core.cohort.tissue_level.network import GatedAttention
from virtues_core.cohort.tissue_level.side_by_side import Trainings
from virtues_core.cohort.tissue_level.splits import check_apart, folds, read_split, stopped_by
from virtues_core.cohort.tissue_level.training import train
from virtues_core.errors import CheckpointError, ConfigError, InputError, ReadError

SMALL = MilConfig(
    heads=2, hidden=8, learning_rate=0.02, batch_size=8, epochs=20, patience=6, runs=2, folds=3
)
COLUMNS = Columns("patient", covariates=("grade", "part"))


def joined_of(folder: Path, **changes: object) -> PatientCells:
    cells, clinical = cohort(folder, **changes)
    return join(open_cells([cells]), read_clinical(clinical, COLUMNS))


def by_formula(network: GatedAttention, bag: Tensor) -> tuple[Tensor, Tensor]:
    """Say logits (K,) and the mean of the heads' weights (N,) as the paper of Ilse has them."""
    x = (bag - network.mean) * network.scale
    heads, width = network.weight.shape
    gathered, weights = [], []
    for head in range(heads):
        own = slice(width * head, width * (head + 1))
        v = torch.tanh(x @ network.content.weight[own].T + network.content.bias[own])
        u = torch.sigmoid(x @ network.gate.weight[own].T + network.gate.bias[own])
        weights.append(softmax((v * u) @ network.weight[head], dim=0))
        gathered.append(weights[-1] @ x)
    return network.classifier(torch.cat(gathered)), torch.stack(weights).mean(0)


def small_network() -> GatedAttention:
    generator = torch.Generator().manual_seed(0)
    network = GatedAttention(4, 3, heads=2, hidden=5, generator=generator)
    network.mean.copy_(torch.tensor([1.0, 0, 0, 0]))
    network.scale.copy_(torch.tensor([0.5, 1, 1, 0]))
    return network


@pytest.mark.parametrize("size", [1, 12, 2 * ROWS + 5])
def test_a_tissue_of_any_size_is_told_by_the_formula(size: int) -> None:
    network = small_network()
    bag = torch.randn(size, 4, generator=torch.Generator().manual_seed(1))
    logits, weights = by_formula(network, bag)
    told = network.tell(bag)
    torch.testing.assert_close(told.probabilities, softmax(logits, dim=0))
    torch.testing.assert_close(told.attention, weights * size, rtol=1e-4, atol=1e-5)
    shuffled = network.tell(bag.flip(0))  # a tissue is a set
    torch.testing.assert_close(shuffled.probabilities, told.probabilities)


@pytest.mark.parametrize("sizes", [(7, 1, 12), (ROWS - 40, 40), (2 * ROWS + 5,)])
def test_the_gradient_is_that_of_the_formula(sizes: tuple[int, ...]) -> None:
    network = small_network()
    generator = torch.Generator().manual_seed(2)
    bags = [torch.randn(n, 4, generator=generator) for n in sizes]
    pull = torch.randn(len(sizes), 3, generator=generator)
    expected = torch.stack([by_formula(network, bag)[0] for bag in bags])
    (expected * pull).sum().backward()
    wanted = {name: value.grad.clone() for name, value in network.named_parameters()}
    gates = network.gates(sum(sizes))
    network.zero_grad()
    for _ in range(2):  # gradients add up
        x = network.standardised(torch.cat(bags))
        scores = gates.scores(x).requires_grad_()
        logits = network.logits(x, scores, sizes)
        torch.testing.assert_close(logits, expected)
        (logits * pull).sum().backward()
        gates.add_gradient(x, scores.grad)
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.grad, 2 * wanted[name], rtol=1e-4, atol=1e-6, msg=name)


def test_a_training_follows_the_loss_of_whole_batches() -> None:
    """Tissues gone through some at a time, against PyTorch's gradient of all of them together."""
    rng = np.random.default_rng(3)
    bags = [rng.normal(size=(n, 4)).astype(np.float32) for n in (ROWS, 5, 500, ROWS + 9, 3, 60, 8)]
    labels = np.arange(7) % 2
    config = MilConfig(heads=2, hidden=5, learning_rate=0.01, epochs=4, batch_size=4)
    found = train(config, bags, labels, 2, np.arange(5), np.arange(5, 7), seed=8)
    network = GatedAttention(4, 2, heads=2, hidden=5, generator=torch.Generator().manual_seed(8))
    used = np.concatenate(bags[:5])
    network.mean.copy_(torch.from_numpy(used.mean(0)))
    network.scale.copy_(torch.from_numpy(1 / used.std(0)))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    orders = np.random.default_rng((8, 5))

    def losses(chosen: np.ndarray) -> Tensor:
        logits = [by_formula(network, torch.from_numpy(bags[i]))[0] for i in chosen]
        return cross_entropy(torch.stack(logits), torch.from_numpy(labels[chosen]))

    for shown, kept in found.losses:
        order, total = orders.permutation(5), 0.0
        for chosen in (order[:4], order[4:]):
            optimiser.zero_grad()
            loss = losses(chosen)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(chosen)
        assert shown == pytest.approx(total / 5, abs=1e-5)
        assert kept == pytest.approx(losses(np.arange(5, 7)).item(), abs=1e-5)


def small_bags(count: int = 16, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    bags = [rng.normal(size=(20, 3)).astype(np.float32) for _ in range(count)]
    labels = np.arange(count) % 2
    for bag, label in zip(bags, labels, strict=True):
        bag[:4, 0] += 3 * label
    return bags, labels


def test_the_best_epoch_is_kept_and_a_run_without_gain_ends() -> None:
    bags, labels = small_bags()
    wrong = labels.copy()
    wrong[12:] = 1 - wrong[12:]  # what is learnt makes the validation worse
    seen: list[int] = []
    config = MilConfig(heads=2, hidden=8, learning_rate=0.02, epochs=40, patience=3, batch_size=4)
    parts = (np.arange(12), np.arange(12, 16))
    found = train(config, bags, wrong, 2, *parts, seed=1, on_step=seen.append)
    assert seen == [epoch for epoch, _ in enumerate(found.losses, 1) for _ in range(4)]
    assert len(found.losses) == found.best + 3 < 40
    assert not any(p.requires_grad for p in found.network.parameters())
    short = MilConfig(heads=2, hidden=8, learning_rate=0.02, epochs=found.best, batch_size=4)
    again = train(short, bags, wrong, 2, *parts, seed=1)
    for one, other in zip(
        found.network.state_dict().values(), again.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other)
    used = np.concatenate(bags[:12])
    np.testing.assert_allclose(found.network.mean, used.mean(0), atol=1e-5)
    np.testing.assert_allclose(1 / found.network.scale, used.std(0), rtol=1e-4)


def test_folds_part_patients_and_keep_classes_even() -> None:
    patients = [f"p{i // 2}" for i in range(40)]
    labels = np.arange(40) // 2 % 4 // 3  # a quarter of the patients
    found = folds(patients, labels, 5, seed=3)
    for patient in set(patients):
        own = {int(fold) for fold, name in zip(found, patients, strict=True) if name == patient}
        assert len(own) == 1
    assert [labels[found == fold].mean() for fold in range(5)] == [0.25] * 5
    assert folds(patients, labels, 9, seed=3).max() == 4  # the rare class has five patients
    assert (folds(patients, labels, 5, seed=4) != found).any()
    with pytest.raises(InputError, match=r"three patients each.*\[18, 2\] patients by class"):
        folds(patients, (np.arange(40) // 2 > 17).astype(int), 5, seed=0)
    training, validation = stopped_by(patients, labels, np.arange(30), 0.2, seed=1)
    assert sorted([*training, *validation]) == list(range(30))
    assert not {patients[i] for i in training} & {patients[i] for i in validation}
    assert set(labels[training]) == set(labels[validation]) == {0, 1}


def test_a_patient_on_both_sides_is_refused() -> None:
    bags, labels = small_bags()
    patients = [f"p{i // 2 % 4}" for i in range(16)]
    with pytest.raises(InputError, match=r"on both: p0, p1"):
        check_apart(patients, np.arange(8), np.arange(8, 12))
    leak = np.arange(16) // 8  # tissues of each patient in both folds
    with pytest.raises(InputError, match="each patient on one side of the split"):
        cross_validate(SMALL, bags, bags.__getitem__, labels, patients, leak)
    with pytest.raises(InputError, match="each patient on one side of the split"):
        one_training(SMALL, bags, labels, patients, np.arange(9), np.arange(9, 16), seed=0)
    told = ["train"] * 8 + ["Test "] * 8
    with pytest.raises(InputError, match="each patient on one side"):
        read_split(told, patients)
    assert read_split(told, [f"p{i}" for i in range(16)]).tolist() == [False] * 8 + [True] * 8
    for wrong, said in ((["validation"] * 16, "'validation'"), (["train"] * 16, "train alone")):
        with pytest.raises(InputError, match=said):
            read_split(wrong, patients)


def test_knowing_the_patient_does_not_help(tmp_path: Path) -> None:
    """Patients differ by far more than cells, and outcomes by nothing: a leak tells all."""
    joined = joined_of(tmp_path, patients=18, tissues=4, cells=8, effect=0, patient_effect=12)
    found = tissue_level(joined, SMALL, outcome="grade")
    assert found.encoders[0].macro_f1.max() < 0.75
    own = found.tissues
    bags = own.drawn(100, seed=0)
    alone = [f"{name}" for name in own.names]  # as if each tissue were a patient
    by_tissue = np.array([int(name[-1]) % 2 for name in own.names])
    leaked = cross_validate(SMALL, bags, own.instances, own.labels, alone, by_tissue)
    assert leaked.macro_f1.min() > 0.85


def test_a_planted_difference_is_told_on_patients_kept_out(tmp_path: Path) -> None:
    steps, announced = [], []
    joined = joined_of(tmp_path)
    found = tissue_level(
        joined, SMALL, outcome="grade", announce=announced.append,
        progress=lambda *at: steps.append(at),
    )  # fmt: skip
    tokens, intensities = found.encoders
    assert (tokens.name, intensities.name) == ("tokens", "mean intensities")
    assert tokens.macro_f1.min() > 0.85
    assert intensities.macro_f1.max() < 0.75
    assert 0.35 < tokens.scores.chance < 0.6
    assert tokens.scores.patients == 18
    assert (
        intensities.p
        == mannwhitneyu(tokens.macro_f1, intensities.macro_f1, alternative="greater").pvalue
    )
    assert steps[-1] == (14, 14, "training", "")
    assert [done for done, *_ in steps] == sorted(done for done, *_ in steps)
    assert announced == [
        "14 trainings of 20 epochs at the most: 6 by tokens, 6 by mean intensities (runs x folds: "
        "2 x 3), 2 on all patients"
    ]
    np.testing.assert_allclose(tokens.probabilities.sum(2), 1, rtol=1e-5)
    high = [
        weights[:WITNESSES].mean()
        for weights, label in zip(found.attention, found.tissues.labels, strict=True)
        if found.tissues.classes[label] == "high"
    ]
    assert np.median(high) > 1.3  # looked at where the difference is
    for weights in found.attention:
        assert weights.mean() == pytest.approx(1, abs=1e-4)
    again = tissue_level(joined, SMALL, outcome="grade")
    np.testing.assert_array_equal(again.encoders[0].probabilities, tokens.probabilities)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_trainings_side_by_side_are_those_one_by_one(threads: Callable[[int], None]) -> None:
    bags, labels = small_bags()
    patients, fold = [f"p{i}" for i in range(16)], np.arange(16) // 2 % 3
    given = (replace(SMALL, epochs=4), bags, bags.__getitem__, labels, patients, fold)
    found = []
    for count in (1, 3):
        threads(count)
        found.append(cross_validate(*given))
        assert torch.get_num_threads() == count
    np.testing.assert_array_equal(found[0].probabilities, found[1].probabilities)
    for one, other in zip(found[0].attention, found[1].attention, strict=True):
        np.testing.assert_array_equal(one, other)


def test_trainings_are_told_of_and_called_off(threads: Callable[[int], None]) -> None:
    bags, labels = small_bags()
    patients, fold = [f"p{i}" for i in range(16)], np.arange(16) // 2 % 3
    endless = replace(SMALL, epochs=10**6, patience=10**6)
    seen: list[tuple[int, int, str, str]] = []

    def call_off(*at: Any) -> None:
        if at[-1]:  # nothing, before the first epoch
            seen.append(at)
        if len(seen) == 2:
            raise KeyboardInterrupt

    threads(2)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        cross_validate(
            endless, bags, bags.__getitem__, labels, patients, fold, name="mean intensities",
            trainings=Trainings(total=6, progress=call_off),
        )  # fmt: skip
    assert time.monotonic() - start < 10
    assert not [one for one in threading.enumerate() if one.name.startswith("training_")]
    assert torch.get_num_threads() == 2
    for done, total, what, note in seen:
        assert (done, total, what) == (0, 6, "training")
        assert re.fullmatch(r", mean intensities: run 1 of 2, fold [12] of 3, epoch \d+", note)


def test_patches_are_instances_too(tmp_path: Path) -> None:
    cells, clinical = cohort(tmp_path, patients=10, tissues=1, level="patch")
    code, _ = call(
        "fit", cells, "--clinical", clinical, "--patient", "patient", "--outcome", "grade",
        "--out", tmp_path / "out", "--level", "patch", *OPTIONS[:-4], "--folds", 2, "--epochs", 2,
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0
    results = read_results(tmp_path / "out")
    assert results.read_cells(["patch_id"])["patch_id"].tolist() == list(range(1, 31)) * 10
    assert load_mil(tmp_path / "out").level == "patch"
    with pytest.raises(InputError, match=r"tokens of patches in .* found tokens of cells"):
        call("predict", tmp_path / "out", cohort(tmp_path / "c")[0], "--out", tmp_path / "t.csv")


def test_a_given_split_is_kept(tmp_path: Path) -> None:
    config = MilConfig(**{f.name: getattr(SMALL, f.name) for f in fields(MilConfig)} | {
        "split": "part", "runs": 1})  # fmt: skip
    joined = joined_of(tmp_path)
    found = tissue_level(joined, config, outcome="grade")
    tested = {p for p, fold in zip(found.tissues.patients, found.fold, strict=True) if fold == 0}
    assert tested == {f"P{i}" for i in range(12, 18)}
    assert found.few
    assert [one.p for one in found.encoders] == [None, None]
    assert "no interval and no p-value" in found.notes[0]
    untested = np.isnan(found.encoders[0].probabilities).any(axis=(0, 2))
    np.testing.assert_array_equal(untested, found.fold < 0)
    assert [len(own) for own, fold in zip(found.attention, found.fold, strict=True)
            if fold < 0] == [0] * 24  # fmt: skip


def test_few_patients_are_told_and_rare_classes_left_out(tmp_path: Path) -> None:
    cells, clinical = cohort(tmp_path, patients=8, tissues=1)
    table = pd.read_csv(clinical)
    table.loc[:1, "grade"] = "odd"
    table.loc[2, "grade"] = None
    table.to_csv(clinical, index=False)
    joined = join(open_cells([cells]), read_clinical(clinical, COLUMNS))
    with pytest.raises(InputError, match=r"found \(patients\): high \(3\), low \(2\), odd \(2\)"):
        tissue_level(joined, SMALL, outcome="grade")
    with pytest.raises(InputError, match="a column 'stage' in the clinical table"):
        tissue_level(joined, SMALL, outcome="stage")
    with pytest.raises(InputError, match="a column 'parts' of train and test"):
        tissue_level(joined_of(tmp_path), MilConfig(split="parts"), outcome="grade")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"heads": 0}, "heads: expected a whole number, 1 or more"),
        ({"folds": 1}, "folds: expected a whole number, 2 or more"),
        ({"learning_rate": 0}, "learning_rate: expected above 0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected above 0"),
        ({"validation": 0.6}, "validation: expected above 0 to 0.5"),
        ({"validation": "some"}, "validation: expected a number"),
        ({"runs": True}, "runs: expected a whole number"),
        ({"split": 3}, "split: expected the name of a column"),
        ({"seed": -1}, "seed: expected a whole number, 0 or more"),
    ],
)
def test_settings_are_checked(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MilConfig(**change)


def call(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["classify", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


OPTIONS = (
    "--heads", 2, "--hidden", 8, "--learning-rate", 0.02, "--batch-size", 8, "--epochs", 20,
    "--patience", 6, "--runs", 2, "--folds", 3, "--device", "cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    cells, clinical = cohort(folder)
    other, _ = cohort(folder / "other", effect=0)
    code, said = call(
        "fit", cells, "--clinical", clinical, "--patient", "patient", "--outcome", "grade",
        "--out", folder / "out", "--against", f"blind={other}", *OPTIONS,
    )  # fmt: skip
    assert code == 0
    assert "grade, on 18 patients kept out: macro F1" in said
    return folder / "out"


def test_fit_leaves_a_folder_with_a_report_and_a_model(fitted: Path) -> None:
    results = read_results(fitted)
    assert results.analysis == "tissue-level"
    summary = results.summary
    assert summary["classes"] == ["high", "low"]
    assert len(summary["macro_f1_runs"]) == 2
    assert set(summary["comparators"]) == {"mean intensities", "blind"}
    assert summary["comparators"]["blind"]["macro_f1"] < 0.75 < summary["macro_f1"]
    assert summary["macro_f1"] == pytest.approx(np.mean(summary["macro_f1_runs"]))
    runs = results.tables["runs"]
    assert runs.groupby("encoder").size().to_dict() == {
        "tokens": 2, "mean intensities": 2, "blind": 2,
    }  # fmt: skip
    tissues = results.tables["tissues"]
    assert len(tissues) == 36
    assert tissues.groupby("patient_id")["fold"].nunique().eq(1).all()
    assert (tissues["least_high"] <= tissues["p_high"]).all()
    assert (tissues["p_high"] <= tissues["most_high"]).all()
    assert results.tables["classes"]["count"].sum() == 36
    assert len(results.patients) == 18
    assert any("18 patients with several tissues (up to 2): each" in n for n in results.notes)
    cells = results.read_cells()
    assert set(cells) >= {"tissue_id", "cell_id", "patient_id", "x_um", "y_um", "attention"}
    assert len(cells) == 36 * 30
    assert cells["attention"].mean() == pytest.approx(1, abs=1e-3)
    page = (fitted / "report.html").read_text("utf-8")
    assert page.count("<svg") == 3
    assert "kept out" in page


def test_other_patients_are_told(fitted: Path, tmp_path: Path) -> None:
    cells, _ = cohort(tmp_path, patients=6, tissues=1, seed=5, first=16)
    out, weights = tmp_path / "told.csv", tmp_path / "attention.parquet"
    code, said = call("predict", fitted, cells, "--out", out, "--attention", weights)
    assert code == 0
    assert "this model, on 18 patients kept out" in said
    assert "2 patients called as one that was trained on, with other tissues (P16, P17)" in said
    table = pd.read_csv(out)
    assert not table["trained_on"].any()
    assert (table["predicted"] == ["low", "high"] * 3).sum() >= 5
    np.testing.assert_allclose(table["p_high"] + table["p_low"], 1, rtol=1e-4)
    assert (table["most_high"] > table["least_high"]).all()
    found = pd.read_parquet(weights)
    assert len(found) == 6 * 30
    assert set(found) == {"tissue_id", "cell_id", "patient_id", "x_um", "y_um", "attention"}
    model = load_mil(fitted)
    direct = predict(model, open_cells([cells]))
    np.testing.assert_allclose(direct.tissues["p_high"], table["p_high"], rtol=1e-5)
    np.testing.assert_allclose(direct.attention, found["attention"], rtol=1e-5)
    about = json.loads((fitted / "model" / "model.json").read_text("utf-8"))
    assert "P16" not in json.dumps(about)  # a model names nobody


def test_tissues_that_the_model_knows_are_marked(fitted: Path, tmp_path: Path) -> None:
    (known,) = read_results(fitted).summary["cells"]
    code, said = call("predict", fitted, known, "--out", tmp_path / "told.csv")
    assert code == 0
    assert "trained on 36 tissues of these, or on others of their patients" in said
    assert pd.read_csv(tmp_path / "told.csv")["trained_on"].all()
    assert "called as one" not in said


def test_what_a_prediction_refuses(fitted: Path, tmp_path: Path) -> None:
    cells, _ = cohort(tmp_path, patients=4, signature="other")
    with pytest.raises(
        InputError, match=r"'abc'\), found tokens of cells by 'tiny' \(6 values, 'other'\)"
    ):
        call("predict", fitted, cells, "--out", tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"ends in \.csv"):
        call("predict", fitted, cells, "--out", tmp_path / "t.txt")
    with pytest.raises(ReadError, match=r"found no model\.json"):
        call("predict", tmp_path, cells, "--out", tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize("fault", ["cut", "json", "newer", "fewer", "other", "huge"])
def test_damaged_models(fitted: Path, tmp_path: Path, fault: str) -> None:
    own = tmp_path / "model"
    own.mkdir()
    about = json.loads((fitted / "model" / "model.json").read_text("utf-8"))
    weights = (fitted / "model" / "model.safetensors").read_bytes()
    changed = {"newer": {"format": 99}, "fewer": {"runs": 3}, "other": {"dim": 7},
               "huge": {"dim": 10**12}}  # fmt: skip
    text = json.dumps(about | changed.get(fault, {}))
    (own / "model.json").write_text(text[:40] if fault == "json" else text)
    (own / "model.safetensors").write_bytes(weights[:500] if fault == "cut" else weights)
    with pytest.raises((ReadError, CheckpointError), match=r"not whole|no weights of|other shapes"):
        load_mil(tmp_path)


def test_mistakes_at_fit(tmp_path: Path) -> None:
    cells, clinical = cohort(tmp_path)
    given = ("fit", cells, "--clinical", clinical, "--patient", "patient", "--out", tmp_path / "o")
    with pytest.raises(InputError, match="expected a column 'stage', found none"):
        call(*given, "--outcome", "stage", *OPTIONS)
    with pytest.raises(InputError, match="NAME=TABLES"):
        call(*given, "--outcome", "grade", "--against", "blind", *OPTIONS)
    few, _ = cohort(tmp_path / "few", patients=16)
    with pytest.raises(InputError, match=r"the same tissues in 'few'.*4 tissues there \(P16-0"):
        call(*given, "--outcome", "grade", "--against", f"few={few}", *OPTIONS)
    with pytest.raises(InputError, match="names other than tokens, mean intensities"):
        call(*given, "--outcome", "grade", "--against", f"tokens={cells}", *OPTIONS)
    assert not (tmp_path / "o").exists()


def test_defaults_are_those_of_the_settings() -> None:
    options = inspect.signature(command).parameters
    for field in fields(MilConfig):
        assert options[field.name].default == field.default
