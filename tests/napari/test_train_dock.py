"""The Train dock without a window around it, with the real engine; nothing is trained here."""

import dataclasses
import shlex

import numpy as np
import pytest
import typer
import yaml
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_virtues._widgets.train_form import NEW, RUNS
from napari_virtues._widgets.training_runs import NOTHING
from napari_virtues.docks.train import ANYWAY, START, TrainDock
from napari_virtues.reconstruction_layers import (
    GAP_PX,
    newest_reconstruction,
    read_picture,
    tile_layer,
)
from napari_virtues.train_intent import (
    TrainIntent,
    start_training,
    training_argv,
    training_command,
    write_recipe,
)
from tiny_model import simulated_file, tiny_checkpoint
from virtues_core import jobs
from virtues_core.cli import pretrain as cli
from virtues_core.errors import ConfigError, InputError, ReadError
from virtues_core.jobs import SlurmOptions
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import ModelConfig
from virtues_core.read import read_image, write_ome_tiff
from virtues_core.train import TrainConfig
from virtues_core.train.recipes import FINE_TUNING, RECIPES

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""
SMALL = dataclasses.replace(
    RECIPES["demo"],
    model=ModelConfig(
        model_dim=16, feedforward_dim=32, num_heads=2, encoder_pattern="hv", decoder_pattern="f"
    ),
    crop_px=32,
    subimage_px=64,
    batch_size=2,
    micro_batch_size=2,
    max_minutes=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def image(folder):
    return simulated_file(folder / "tissue.ome.tiff", size=64)


@pytest.fixture
def dock(viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    widget = TrainDock(PublicOnlyProxy(viewer))
    qtbot.addWidget(widget)
    yield widget
    widget.engine.close()


def show(dock, config):
    """Put the values of a recipe into the form."""
    for fields in (dock.settings, dock.advanced):
        fields.show_config(config)


def empty_spora(folder):
    """A folder that looks like a spora data set from outside."""
    table = folder / "spora" / "metadata" / "tissues.parquet"
    table.parent.mkdir(parents=True)
    table.write_bytes(b"")
    return folder / "spora"


def ended(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.run.busy and not dock.background.busy, timeout=SLOW_MS)


def test_a_check_says_what_a_training_would_do_take_and_lack(dock, qtbot, image, folder):
    dock.add([str(image)])
    show(dock, SMALL)
    dock.check_button.click()
    assert dock.run.busy
    ended(dock, qtbot)
    assert dock.run.message.text() == ""
    said = dock.plan.text()
    assert "1 image, 1 patient" in said
    assert "% tissue" in said
    assert "s a step on cpu" in said
    assert "GiB with 2 crops at once" in said
    assert "5 min, about" in said
    assert "without a protein embedding" in dock.warnings.text()
    assert "has one image" in dock.warnings.text()
    assert dock.run.run_button.text() == ANYWAY
    assert jobs.list_jobs() == ()

    show(dock, dataclasses.replace(SMALL, crop_px=128, subimage_px=256))
    dock.start()  # other than what was checked
    ended(dock, qtbot)
    assert "It would not start" in dock.run.message.text()
    assert "expected at least 128 x 128 px" in dock.run.message.text()
    dock.start()
    assert jobs.list_jobs() == ()

    dock.model.choose(str(tiny_checkpoint(folder / "tiny", read_image(image).channels)))
    assert dock.config.learning_rate == FINE_TUNING.learning_rate
    assert dock.recipe_box.isHidden()
    show(dock, dataclasses.replace(SMALL, model=FINE_TUNING.model))
    dock.check()
    ended(dock, qtbot)
    assert dock.run.message.text() == ""
    assert dock.checked[1].config.model.model_dim == 32

    keys = [key for key in Panel.from_names(read_image(image).channels).keys if key is not None]
    vectors = {key: np.full(640, i, np.float32) for i, key in enumerate(dict.fromkeys(keys))}
    MarkerEmbeddings(vectors).save(folder / "esm.safetensors")
    dock.embeddings_line.setText(str(folder / "esm.safetensors"))
    dock.check()
    ended(dock, qtbot)
    assert dock.run.message.text() == ""
    assert "without a protein embedding" not in dock.warnings.text()
    dock.embeddings_line.setText(str(folder / "none.safetensors"))
    dock.check()
    ended(dock, qtbot)
    assert "none.safetensors" in dock.run.message.text()
    dock.embeddings_line.clear()

    dock.clear_data.click()
    dock.add([str(folder / "nowhere.tiff")])
    dock.start()
    ended(dock, qtbot)
    assert "nowhere.tiff" in dock.run.message.text()
    assert jobs.list_jobs() == ()


def test_changes_ask_for_another_check(dock, image):
    dock.add([str(image)])
    dock.run.run_button.setText(ANYWAY)
    line = dock.settings.editor("batch_size")
    line.setText("no")
    line.setModified(True)
    line.editingFinished.emit()
    assert dock.run.run_button.text() == START
    assert "batch_size: expected a whole number" in dock.run.message.text()
    dock.start()
    assert not dock.run.busy
    dock.recipe_box.setCurrentIndex(dock.recipe_box.findData("published"))
    dock.choose_recipe("published")
    assert dock.run.message.text() == ""
    assert dock.config == TrainConfig()


def test_mistakes_are_messages(dock, image, tmp_path):
    dock.start()
    assert "nothing to train on" in dock.run.message.text()
    dock.add_open.click()
    assert "no image of a file is open" in dock.run.message.text()
    with pytest.raises(InputError, match="nothing was started yet"):
        dock.command  # noqa: B018
    dock.add([str(image), str(empty_spora(tmp_path)), str(image)])
    assert dock.data.count() == 2
    dock.start()
    assert "found both" in dock.run.message.text()
    dock.clear_data.click()
    dock.add([str(image)])
    dock.slurm.editor("minutes").setText("soon")
    dock.start()
    assert "minutes: expected a whole number" in dock.run.message.text()
    assert jobs.list_jobs() == ()


def test_a_name_that_cannot_be_is_refused_and_leaves_nothing(dock, image, tmp_path):
    intent = intent_of((image,), name="../mine")
    with pytest.raises(ConfigError, match="name: expected letters"):
        start_training(intent)
    assert list((tmp_path / "jobs").rglob("*.yaml")) == []


def test_open_images_are_added(dock, image):
    dock.state.add(read_image(image))
    dock.add_open.click()
    assert dock.paths == (image,)


def test_pages_and_folds(dock):
    assert not dock.slurm.isVisibleTo(dock)
    dock.executor_box.setCurrentIndex(1)
    assert dock.slurm.isVisibleTo(dock)
    dock.slurm.editor("nodes").setText("2")
    dock.slurm.editor("gpus").setText("4")
    dock.add(["x.tiff"])
    assert (dock.intent.config.nodes, dock.intent.config.devices) == (2, 4)
    assert not dock.advanced.isVisibleTo(dock)
    dock.fold.click()
    assert dock.advanced.isVisibleTo(dock)
    assert dock.fold.arrowType() == Qt.ArrowType.DownArrow
    dock.page_buttons.button(RUNS).click()
    assert dock.trainings.isVisibleTo(dock)
    assert not dock.fold.isVisibleTo(dock)
    assert dock.trainings.status.text() == NOTHING
    dock.show_page(NEW)
    assert dock.fold.isVisibleTo(dock)


def intent_of(paths, checkpoint="", name=""):
    return TrainIntent(
        paths=tuple(paths),
        checkpoint=checkpoint,
        config=SMALL,
        device="cpu",
        executor="local",
        slurm=SlurmOptions(),
        name=name,
    )


def parsed(argv):
    app = typer.Typer()
    cli.register(app)
    assert argv[0] == "pretrain"
    return typer.main.get_command(app).make_context("pretrain", list(argv[1:])).params


def test_the_command_line_takes_what_the_dock_starts(image, tmp_path):
    recipe = tmp_path / "two words.yaml"
    write_recipe(SMALL, recipe)
    assert TrainConfig.from_yaml(recipe) == SMALL
    assert yaml.safe_load(recipe.read_text())["masking"]["ratio"] == [0.6, 1.0]
    found = parsed([*training_argv(intent_of([image], "demo"), recipe), "--run-dir", "x"])
    assert (found["images"], found["config"]) == ([str(image)], recipe)
    assert (not found["data"], found["start"], found["embeddings"]) == (True, "demo", None)
    intent = dataclasses.replace(intent_of([image]), embeddings=tmp_path / "esm.safetensors")
    found = parsed([*training_argv(intent, recipe), "--run-dir", "x"])
    assert found["embeddings"] == tmp_path / "esm.safetensors"
    spora = empty_spora(tmp_path)
    found = parsed([*training_argv(intent_of([spora]), recipe), "--run-dir", "x"])
    assert (not found["images"], list(found["data"]), found["start"]) == (True, [spora], None)


MASKINGS = ("independent", "marker", "niche")


def written(path, step, count=2, size=16):
    """A picture as a training writes it, each plane with a value of its own."""
    names = [f"truth m{i}" for i in range(count)]
    for masking in MASKINGS:
        names += [f"{masking} {part} m{i}" for part in ("shown", "painted") for i in range(count)]
    values = np.arange(len(names), dtype=np.float32)[:, None, None] + np.zeros((size, size))
    path.mkdir(parents=True, exist_ok=True)
    file = path / f"reconstruction_{step:07d}.ome.tiff"
    write_ome_tiff(file, values.astype(np.float32), names)
    return file


def test_a_picture_becomes_three_layers_side_by_side(viewer, tmp_path, image):
    viewer.add_image(np.zeros((40, 50)), name="open")
    written(tmp_path / "artifacts", 200)
    last = written(tmp_path / "artifacts", 1000)
    assert newest_reconstruction(tmp_path) == last
    picture = read_picture(last)
    assert (picture.step, picture.markers, picture.maskings) == (1000, ("m0", "m1"), MASKINGS)
    layers = [viewer.add_layer(tile_layer(viewer, picture, part, 1)) for part in picture.parts]
    truth, masked, painted = layers
    assert painted.name == "reconstruction · m1"
    third = 2 * (16 + GAP_PX)
    assert [x.data[0, 0] for x in layers] == [1, 3, 5]
    assert [x.data[third, 0] for x in layers] == [1, 11, 13]
    assert np.isnan(truth.data[16 : 16 + GAP_PX]).all()
    assert truth.extent.world[1][-1] < masked.extent.world[0][-1]
    assert truth.extent.world[0][-2] > 40
    assert viewer.dims.ndim == 2
    again = read_picture(written(tmp_path / "artifacts", 1200))
    assert tile_layer(viewer, again, "truth", 0) is truth
    assert (truth.name, truth.data[0, 0]) == ("truth · m0", 0)
    larger = read_picture(written(tmp_path / "artifacts", 1400, size=24))
    assert tile_layer(viewer, larger, "truth", 0) is not truth
    with pytest.raises(ReadError, match="expected planes of a validation tile"):
        read_picture(image)
    assert newest_reconstruction(tmp_path / "nowhere") is None


def test_the_command_of_a_started_training_is_copied(dock, image, qtbot, tmp_path):
    dock.job = start_training(intent_of([image], name="mine"))
    jobs.cancel(dock.job)
    dock.command_button.click()
    words = shlex.split(QApplication.clipboard().text())
    assert words == shlex.split(training_command(dock.job))
    assert words[:2] == ["virtues", "pretrain"]
    assert words[-2:] == ["--executor", "local"]
    assert parsed(words[1:-2])["run_dir"] == dock.job.run_dir
    qtbot.waitUntil(lambda: dock.job.status.state == "stopped", timeout=SLOW_MS)
