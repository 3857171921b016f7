"""From the labels of a cohort to a model of them, and to the places in a tissue it looks at."""

import inspect
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from infer_samples import image_of
from label_samples import BLOCK, CHANNELS, KEYS, small_checkpoint, tissue, write_cohort
from typer.testing import CliRunner

from virtues_core.cli import attention, train_label
from virtues_core.cohort.tissue_scores import score_tissues
from virtues_core.errors import CheckpointError, ConfigError, InputError, MarkerError, VirtuesError
from virtues_core.infer.spatial import spatial_attention
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model import Checkpoint, load_checkpoint, save_checkpoint
from virtues_core.model.label_file import LABEL_FILE, LabelModel, load_label_model
from virtues_core.model.label_head import LabelHead
from virtues_core.read import read_image, write_ome_tiff
from virtues_core.train.dataset import TrainingImage
from virtues_core.train.label import LabelConfig, LabelledImage, fit_label
from virtues_core.train.labels import labelled_tissues, tune_for_label
from virtues_core.train.signals import noted_signals


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("labels") / "cohort", patients=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "small"
    save_checkpoint(small_checkpoint(), folder)
    return folder


def relabel(cohort: Path, folder: Path, **columns: list[object]) -> Path:
    """Give the cohort's tissues other labels; images are those of the cohort."""
    (folder / "metadata").mkdir(parents=True)
    (folder / "imc").symlink_to(cohort / "imc")
    table = pd.read_parquet(cohort / "metadata" / "tissues.parquet")
    table.assign(**columns).to_parquet(folder / "metadata" / "tissues.parquet")
    return folder


def test_no_patient_is_in_two_parts_and_each_class_in_all(cohort: Path) -> None:
    found = labelled_tissues(cohort, "grade")
    assert (found.classes, found.split, found.notes) == (("high", "low"), "patients at random", ())
    parts = {part: found.of(part) for part in ("train", "validation", "test")}
    patients = {part: {t.source.patient for t in own} for part, own in parts.items()}
    assert [len(own) for own in parts.values()] == [8, 4, 4]
    assert sum(map(len, patients.values())) == len(set().union(*patients.values())) == 8
    for own in parts.values():
        assert {t.label for t in own} == {0, 1}
    names = {t.source.image.name: found.classes[t.label] for t in found.tissues}
    table = pd.read_parquet(cohort / "metadata" / "tissues.parquet").set_index("tissue_id")
    assert names == table["grade"].to_dict()
    again, other = (labelled_tissues(cohort, "grade", seed=seed) for seed in (0, 1))
    assert [t.part for t in again.tissues] == [t.part for t in found.tissues]
    assert [t.part for t in other.tissues] != [t.part for t in found.tissues]


def test_what_has_no_label_or_too_few_patients_is_left_out(cohort: Path, tmp_path: Path) -> None:
    codes = [None, *[1.0] * 7, *[0.0] * 6, 7.0, 7.0]
    found = labelled_tissues(relabel(cohort, tmp_path / "codes", grade=codes), "grade")
    assert found.classes == ("0", "1")
    assert found.notes == (
        "left out: 1 tissues without a grade", "left out, fewer than 3 patients: 7",
    )  # fmt: skip
    assert len(found.tissues) == 13


def test_tissues_smaller_than_a_tile_are_left_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found \(patients\): none"):
        labelled_tissues(write_cohort(tmp_path / "small", patients=6, size=120), "grade")


def test_the_cohorts_own_split_is_kept_unless_a_patient_is_in_both(
    cohort: Path, tmp_path: Path
) -> None:
    split = ["train"] * 12 + ["test"] * 4
    own = labelled_tissues(relabel(cohort, tmp_path / "own", split=split), "grade")
    assert own.split == "the cohort's own"
    assert {t.source.patient for t in own.of("test")} == {"p6", "p7"}
    torn, one_class = ["train"] * 13 + ["test"] * 3, ["train"] * 14 + ["test"] * 2
    for name, split in (("torn", torn), ("one class", one_class)):
        found = labelled_tissues(relabel(cohort, tmp_path / name, split=split), "grade")
        assert found.split == "patients at random"


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("stage", r"a column 'stage'.*found age, grade, site"),
        ("age", r"two values of 'age' or more with 3 patients each.*40\.5 \(1\); 41\.5 \(1\)"),
    ],
)
def test_columns_that_are_no_label(cohort: Path, column: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        labelled_tissues(cohort, column)


def test_after_fine_tuning_the_label_of_other_tissues_is_told(cohort: Path, tmp_path: Path) -> None:
    start = load_checkpoint("demo")
    before = {name: value.clone() for name, value in start.model.state_dict().items()}
    recipe = LabelConfig(epochs=3, batch_size=4, learning_rate=5e-4)
    tissues = labelled_tissues(cohort, "grade")
    tuned = tune_for_label(recipe, tissues, "grade", start, tmp_path)
    for name, value in start.model.state_dict().items():
        assert torch.equal(value, before[name])
    losses = [epoch.validation_loss for epoch in tuned.fitted.epochs]
    assert min(losses) == tuned.fitted.best.validation_loss < 0.6 < losses[0]
    said, ratios = [], []
    for number in range(12):  # of no patient that it was trained on
        pixels, place = tissue(1000 + number, block=number % 2 == 1)
        image = image_of(pixels, CHANNELS)
        found = spatial_attention(image, None, tuned.model, marker="CD20_Dy161")
        assert found.attention.mean() == pytest.approx(1, abs=1e-4)
        said.append(found.classes[int(found.probabilities.argmax())])
        if place is not None:
            y, x = (at // 8 for at in place)
            inside = found.attention[y : y + BLOCK // 8, x : x + BLOCK // 8]
            ratios.append(inside.mean() / found.attention.mean())
    scores = score_tissues(["low", "high"] * 6, said, [str(i) for i in range(12)])
    assert scores.macro_f1 > 0.85 > 0.7 > scores.chance
    assert min(ratios) > 1.2  # the token of the marker's own channel attends to the block


def small_data(folder: Path) -> tuple[list[LabelledImage], MarkerEmbeddings]:
    """Three tissues of each class of 40 × 48 px, the second class brighter in one marker."""
    data = []
    for number in range(6):
        pixels = np.random.default_rng(number).normal(size=(4, 40, 48)).astype(np.float16)
        pixels[1] += 4 * (number % 2)
        path = folder / f"{number}.npy"
        np.save(path, pixels)
        image = TrainingImage(
            path, np.ones((40, 48), bool), KEYS, f"i{number}", f"p{number}", "d", KEYS
        )
        data.append(LabelledImage(image, number % 2))
    return data, MarkerEmbeddings.stand_in(KEYS)


def test_the_best_epoch_is_kept_and_a_run_without_gain_ends(tmp_path: Path) -> None:
    data, embeddings = small_data(tmp_path)
    start = small_checkpoint().model
    wrong = [replace(image, label=1 - image.label) for image in data[:2]]  # worse with each epoch
    recipe = LabelConfig(epochs=9, patience=2, crop_px=32, learning_rate=3e-3, crops_per_tissue=6)
    seen = []
    fitted = fit_label(recipe, start, embeddings, data[2:], wrong, 2, on_epoch=seen.append)
    assert tuple(seen) == fitted.epochs
    assert len(seen) == fitted.best.number + 2 < 9
    assert not fitted.stopped
    again = fit_label(replace(recipe, epochs=fitted.best.number), start, embeddings, data[2:],
                      wrong, 2)  # fmt: skip
    assert again.best.number == fitted.best.number
    assert not any(p.requires_grad for p in (*fitted.model.parameters(), *fitted.head.parameters()))


def test_a_run_is_called_off_after_the_step_in_hand(tmp_path: Path) -> None:
    data, embeddings = small_data(tmp_path)
    asked = []

    def after_the_first_epoch() -> bool:
        asked.append(0)
        return len(asked) > 3  # two steps, and the end of the epoch

    recipe = LabelConfig(epochs=9, crop_px=32, crops_per_tissue=2, batch_size=6)
    fitted = fit_label(recipe, small_checkpoint().model, embeddings, data, data[:2], 2,
                       stopped=after_the_first_epoch)  # fmt: skip
    assert fitted.stopped
    assert [epoch.number for epoch in fitted.epochs] == [1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_then_given_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with noted_signals() as stopped:
        assert not stopped()
        os.kill(os.getpid(), number)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):  # a second one
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"crop_px": 36}, ConfigError, "a multiple of 8 px"),
        ({"crop_px": 64}, InputError, r"i0: expected at least 64 × 64 px, found \(40, 48\)"),
    ],
)
def test_crops_that_do_not_fit(
    tmp_path: Path, change: dict[str, int], error: type[VirtuesError], said: str
) -> None:
    data, embeddings = small_data(tmp_path)
    with pytest.raises(error, match=said):
        fit_label(LabelConfig(**change), small_checkpoint().model, embeddings, data, data, 2)


def test_what_a_fit_refuses(tmp_path: Path) -> None:
    data, embeddings = small_data(tmp_path)
    recipe, network = LabelConfig(crop_px=32), small_checkpoint().model
    for training, validation in ((data[::2], data), (data, data[::2]), (data, [])):
        with pytest.raises(InputError, match="tissues of each of 2 classes"):
            fit_label(recipe, network, embeddings, training, validation, 2)
    for name in ("epochs", "patience", "crops_per_tissue", "batch_size", "crop_px"):
        with pytest.raises(ConfigError, match=f"{name}: expected 1 or more, found 0"):
            LabelConfig(**{name: 0})
    for rate in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="learning_rate: expected more than 0"):
            LabelConfig(learning_rate=rate)
    with pytest.raises(ConfigError, match="seed"):
        LabelConfig(seed=-1)


def untrained(checkpoint: Checkpoint) -> LabelModel:
    torch.manual_seed(3)
    head = LabelHead(checkpoint.config, 3).eval().requires_grad_(requires_grad=False)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return LabelModel(checkpoint, head, "grade", ("a", "b", "c"))


def test_maps_of_tiles_are_blended_and_places_without_tissue_left_out() -> None:
    pixels, _ = tissue(5, block=True, size=264)
    pixels[:, :, 160:] = 0
    checkpoint = small_checkpoint()
    for block in checkpoint.model.encoder.blocks:
        block.qkv.weight.mul_(4)
    model = untrained(checkpoint)
    image = image_of(pixels[:, :260, :], CHANNELS)  # rows end within a patch
    steps = []
    found = spatial_attention(image, None, model, batch_size=2,
                              on_tile=lambda *at: steps.append(at))  # fmt: skip
    assert (found.attention.shape, found.pixels().shape) == ((33, 33), (260, 264))
    assert found.origins.tolist() == [[y, x] for y in (0, 64, 128, 136) for x in (0, 64)]
    assert steps == [(i + 1, 8) for i in range(8)]
    assert (found.attention[:, 24:] == 0).all()
    assert (found.attention[:, :24] > 0).all()
    np.testing.assert_allclose(found.tiles.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(found.probabilities, found.tiles.mean(0))
    rows = found.rows()
    assert [row[0] for row in rows] == ["a", "b", "c"]
    for k, (_, probability, low, high) in enumerate(rows):
        assert probability == pytest.approx(found.tiles[:, k].mean())
        assert [low, high] == pytest.approx(np.quantile(found.tiles[:, k], [0.1, 0.9]))
    np.testing.assert_array_equal(found.pixels()[8:16, 16:24], found.attention[1, 2])
    alone = spatial_attention(image, None, model, stride_px=128)  # tiles that touch
    np.testing.assert_allclose(alone.attention[:16, :16].mean(), 1, rtol=1e-4)
    inside = alone.attention[4:8, 4:8]  # the same tile, with others blended over its right half
    np.testing.assert_allclose(found.attention[0, 0], alone.attention[0, 0], rtol=1e-4)
    assert inside.std() > 0.05


def test_what_a_map_refuses() -> None:
    model = untrained(small_checkpoint())
    pixels, _ = tissue(0, block=True, size=256)
    with pytest.raises(InputError, match="1 to 128 px, found 129"):
        spatial_attention(image_of(pixels, CHANNELS), None, model, stride_px=129)
    with pytest.raises(MarkerError, match="no usable channel named 'CD21'"):
        spatial_attention(image_of(pixels, CHANNELS), None, model, marker="CD21")
    empty = np.zeros_like(pixels)
    empty[:, :40, :40] = pixels[:, :40, :40] + 50
    with pytest.raises(InputError, match=r"a tile of 128 px with 30% tissue or more.*at the most"):
        spatial_attention(image_of(empty, CHANNELS), None, model)


def test_scores_of_tissues() -> None:
    labels, said = ["a"] * 6 + ["b"] * 4, ["a"] * 5 + ["b"] * 4 + ["a"]
    patients = [str(i // 2) for i in range(10)]
    found = score_tissues(labels, said, patients)
    assert found.macro_f1 == pytest.approx((10 / 12 + 6 / 8) / 2)
    assert found.patients == 5
    assert 0 <= found.low < found.macro_f1 < found.high <= 1
    assert found.chance == pytest.approx(0.48, abs=0.04)
    told = found.to_dict()
    assert told["classes"] == {"a": {"f1": pytest.approx(10 / 12), "tissues": 6},
                               "b": {"f1": pytest.approx(6 / 8), "tissues": 4}}  # fmt: skip
    alone = score_tissues(labels, said, [str(i) for i in range(10)])
    one = score_tissues(labels, said, ["p"] * 10)  # of one patient nothing is drawn
    assert one.low == one.high == one.macro_f1
    assert alone.high - alone.low > 0.2


def call(*args: object) -> tuple[int, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    attention.register(app)
    train_label.register(app)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_both_commands(cohort: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "grade"
    code, said = call(
        "train-label", cohort, "--label", "grade", "--out", out, "--checkpoint", model,
        "--epochs", 1, "--crops", 1, "--batch-size", 8, "--device", "cpu",
    )  # fmt: skip
    assert code == 0
    assert "grade: high, low; tissues: 8 train, 4 validation, 4 test (patients at random)" in said
    assert "on 2 patients kept out: macro F1" in said
    assert [path.name for path in tmp_path.iterdir()] == ["grade"]
    found = load_label_model(load_checkpoint(out))
    assert (found.label, found.classes) == ("grade", ("high", "low"))
    assert found.held_out["tissues"] == 4
    assert found.checkpoint.statistics[0].channels == CHANNELS
    assert found.checkpoint.statistics[0].dataset == "blocks"
    assert "not for inpainting" in found.checkpoint.card
    pixels, _ = tissue(77, block=True, size=200)
    write_ome_tiff(tmp_path / "t.ome.tiff", pixels, CHANNELS, (0.5, 2.0))
    code, said = call(
        "attention", tmp_path / "t.ome.tiff", "--label-model", out, "--out", tmp_path / "map",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0
    image = read_image(tmp_path / "map" / "spatial.ome.tiff")
    assert (image.shape, image.pixel_size_um) == ((1, 200, 200), (0.5, 2.0))
    direct = spatial_attention(read_image(tmp_path / "t.ome.tiff"), None, found)
    np.testing.assert_allclose(image.compute()[0], direct.pixels(), rtol=1e-5)
    table = pd.read_csv(tmp_path / "map" / "label.csv")
    assert list(table) == ["class", "probability", "low", "high"]
    assert table["class"].tolist() == ["high", "low"]
    np.testing.assert_allclose(table["probability"], direct.probabilities, rtol=1e-4)
    assert "this model, on 2 patients kept out" in said
    call("attention", tmp_path / "t.ome.tiff", "--label-model", out, "--out", tmp_path / "own",
         "--marker", CHANNELS[1], "--device", "cpu")  # fmt: skip
    own = spatial_attention(read_image(tmp_path / "t.ome.tiff"), None, found, marker=CHANNELS[1])
    shown = read_image(tmp_path / "own" / "spatial.ome.tiff").compute()[0]
    np.testing.assert_allclose(shown, own.pixels(), rtol=1e-5)
    assert np.abs(shown - image.compute()[0]).max() > 1e-3


def test_ctrl_c_keeps_the_weights_so_far(
    cohort: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(train_label, "_told", interrupted)  # at the end of the first epoch
    code, said = call(
        "train-label", cohort, "--label", "grade", "--out", tmp_path / "out", "--checkpoint",
        model, "--crops", 1, "--device", "cpu",
    )  # fmt: skip
    assert code == 130
    assert "the best weights so far are in" in said
    assert load_label_model(load_checkpoint(tmp_path / "out")).held_out == {}


def test_mistakes_at_the_commands(cohort: Path, model: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "notes.txt").write_text("mine")
    options = ("--checkpoint", model, "--device", "cpu")
    with pytest.raises(InputError, match="found something else"):
        call("train-label", cohort, "--label", "grade", "--out", precious, *options)
    with pytest.raises(InputError, match="a column 'none'"):
        call("train-label", cohort, "--label", "none", "--out", tmp_path / "new", *options)
    with pytest.raises(ConfigError, match="epochs: expected 1 or more"):
        call("train-label", cohort, "--label", "grade", "--out", tmp_path / "new", "--epochs", 0)
    assert [path.name for path in precious.iterdir()] == ["notes.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    image = tmp_path / "t.ome.tiff"
    write_ome_tiff(image, tissue(1, block=True)[0], CHANNELS)
    with pytest.raises(CheckpointError, match=LABEL_FILE):
        call("attention", image, "--label-model", model, "--out", tmp_path / "map")
    with pytest.raises(InputError, match="or --label-model with a folder"):
        call("attention", image, "--out", tmp_path / "map")
    with pytest.raises(InputError, match="--marker only with --label-model"):
        call("attention", image, "--point", "3,4", "--marker", "CD20", "--out", tmp_path / "map")


def test_defaults_are_those_of_the_recipe() -> None:
    recipe = LabelConfig()
    assert (recipe.epochs, recipe.crops_per_tissue, recipe.batch_size, recipe.learning_rate) == (
        train_label.EPOCHS, train_label.CROPS_PER_TISSUE, train_label.BATCH_SIZE,
        train_label.LEARNING_RATE,
    )  # fmt: skip
    options = inspect.signature(train_label.train_label).parameters
    assert options["seed"].default == recipe.seed
