"""A point and a label in the Attention dock, without a window around it, with the real engine."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtWidgets import QApplication

from napari_virtues._widgets.explain_pages import LabelPage
from napari_virtues.docks.attention import LABEL, POINT, REGIONS, AttentionDock
from napari_virtues.engine.explain_jobs import LabelExplained, PatchMap
from napari_virtues.explain_intent import (
    LabelIntent,
    PointIntent,
    change_map,
    explain_command,
    label_job_of,
    map_layer,
    pixel_of,
    point_job_of,
)
from napari_virtues.state import OpenImage, link_of
from tiny_model import simulated_file
from virtues_core.cli import attention as cli
from virtues_core.errors import InputError
from virtues_core.infer import ablate_markers, prepare_image, rollout_from
from virtues_core.infer.spatial import spatial_attention
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import Checkpoint, ModelConfig, VirTues, load_checkpoint
from virtues_core.model.label_file import LabelModel, load_label_model, save_label_model
from virtues_core.model.label_head import LabelHead
from virtues_core.read import read_image

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""
HELD_OUT = {"macro_f1": 0.8, "macro_f1_90": [0.6, 0.9], "macro_f1_by_chance": 0.5, "patients": 9}


def label_folder(folder: Path, names: tuple[str, ...]) -> Path:
    """Save a small model of a label, of random weights, that knows these channels."""
    torch.manual_seed(0)
    config = ModelConfig(
        model_dim=32, feedforward_dim=32, num_heads=2, encoder_pattern="hvhvhv", decoder_pattern="f"
    )
    keys = [key for key in Panel.from_names(names).keys if key is not None]
    checkpoint = Checkpoint(
        VirTues(config).eval(), config, MarkerEmbeddings.stand_in(dict.fromkeys(keys))
    )
    head = LabelHead(config, 2)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    save_label_model(LabelModel(checkpoint, head, "grade", ("high", "low"), HELD_OUT), folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("explain")


@pytest.fixture(scope="module")
def tissue(folder):
    return read_image(simulated_file(folder / "tissue.ome.tiff", size=160))


@pytest.fixture(scope="module")
def model(folder, tissue):
    return label_folder(folder / "grade-model", tissue.channels)


@pytest.fixture
def dock(viewer, qtbot):
    widget = AttentionDock(PublicOnlyProxy(viewer))
    qtbot.addWidget(widget)
    yield widget
    widget.engine.close()


def ended(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.run.busy and not dock.background.busy, timeout=SLOW_MS)


def expected_channels(tissue):
    """The channels that the model may see."""
    return [e.name for e in Panel.from_names(tissue.channels).entries if e.key is not None]


def test_a_clicked_point_gets_a_map_and_bars(dock, qtbot, tissue, model):
    dock.state.add(tissue)
    dock.model.choose(str(model))
    dock.choose_look(POINT)
    assert dock.point.clicks.on
    size = tissue.pixel_size_um
    dock.pick(90.2 * size[0], 40.0 * size[1])
    ended(dock, qtbot)
    assert dock.run.message.text() == ""
    checkpoint = load_checkpoint(model)
    prepared = prepare_image(tissue, None, checkpoint)
    seen = rollout_from(prepared, checkpoint, (90, 40))
    hidden = ablate_markers(prepared, checkpoint, (90, 40))
    layer = dock.viewer.layers["attention rollout · tissue"]
    np.testing.assert_allclose(layer.data, seen.map, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(layer.data_to_world((0, 0)), np.array(seen.origin) + 3.5)
    np.testing.assert_allclose(layer.scale, 8 * np.array(size))
    best = np.argsort(-hidden.token_change)[0]
    assert dock.point.table.rows[0] == (
        prepared.channels[best], f"{hidden.token_change[best]:.3f}", f"{seen.markers[best]:.3f}",
    )  # fmt: skip
    dock.pick(20, 150)  # the same layer shows the next place
    ended(dock, qtbot)
    other = rollout_from(prepared, checkpoint, (20, 150))
    np.testing.assert_allclose(layer.data, other.map, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(layer.data_to_world((0, 0)), np.array(other.origin) + 3.5)
    assert [name for name in (one.name for one in dock.viewer.layers) if "rollout" in name] == [
        layer.name
    ]
    dock.command_button.click()
    assert QApplication.clipboard().text() == (
        f"virtues attention {tissue.source} --point 20,150 --checkpoint {model} --out attention"
    )
    dock.choose_look(REGIONS)
    assert dock.point.isHidden()


def test_a_label_is_told_with_a_map_over_the_tissue(dock, qtbot, tissue, model):
    dock.state.add(tissue)
    dock.choose_look(LABEL)
    assert not dock.model.checkpoint_box.isEnabled()
    dock.label.choose(model)
    dock.compute()
    ended(dock, qtbot)
    assert dock.run.message.text() == ""
    expected = spatial_attention(tissue, None, load_label_model(load_checkpoint(model)))
    layer = dock.viewer.layers["attention to grade · tissue"]
    assert link_of(layer).image is tissue
    np.testing.assert_allclose(layer.data, expected.attention, rtol=1e-4)
    first, *_ = sorted(expected.rows(), key=lambda row: -row[1])
    assert dock.label.said.text().splitlines()[0] == (
        f"{first[0]}: {first[1]:.2f}  (most tiles: {first[2]:.2f} to {first[3]:.2f})"
    )
    assert "on 9 patients kept out: macro F1 0.80" in dock.label.told.text()
    dock.command_button.click()
    assert QApplication.clipboard().text() == (
        f"virtues attention {tissue.source} --label-model {model} --out attention"
    )
    marker = expected_channels(tissue)[2]
    dock.label.within.setCurrentText(marker)
    dock.compute()
    ended(dock, qtbot)
    own = spatial_attention(tissue, None, load_label_model(load_checkpoint(model)), marker=marker)
    layer = dock.viewer.layers[f"attention to grade in {marker} · tissue"]
    np.testing.assert_allclose(layer.data, own.attention, rtol=1e-4)
    assert shlex.split(dock.command)[3:7] == ["--label-model", str(model), "--marker", marker]
    dock.choose_look(POINT)
    assert dock.model.checkpoint_box.isEnabled()
    assert dock.label.isHidden()


def test_mistakes_are_messages(dock, qtbot, tissue, tmp_path):
    dock.choose_look(POINT)
    dock.pick(0, 0)
    assert "no image is open" in dock.run.message.text()
    dock.state.add(tissue)
    dock.compute()
    assert "no place is picked" in dock.run.message.text()
    dock.pick(-5, 20)
    assert "beside the image" in dock.run.message.text()
    assert dock.point.point is None
    dock.choose_look(LABEL)
    dock.compute()
    assert "no model of a label is chosen" in dock.run.message.text()
    dock.label.choose(tmp_path / "nothing")
    dock.compute()
    ended(dock, qtbot)
    assert "no checkpoint at" in dock.run.message.text()
    assert dock.label.results.isHidden()


def test_a_plain_checkpoint_is_no_model_of_a_label(dock, qtbot, tissue, model, tmp_path):
    for name in ("config.json", "model.safetensors", "markers.safetensors"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    dock.state.add(tissue)
    dock.choose_look(LABEL)
    dock.label.choose(tmp_path)
    dock.compute()
    ended(dock, qtbot)
    assert "expected a folder of virtues train-label" in dock.run.message.text()


def test_pixels_and_maps_lie_where_they_are(image):
    assert pixel_of(image, 10.3, 59.7) == (21, 119)  # 0.5 µm a pixel, 96 × 120
    assert pixel_of(image, -0.2, 0) == (0, 0)
    for place in ((-0.3, 0), (0, 60), (48, 0)):
        with pytest.raises(InputError, match="beside the image"):
            pixel_of(image, *place)
    values = np.array([[0.0, 0.5], [2.0, 1.0]], np.float32)
    layer = map_layer(image, "map", PatchMap(values, (16, 32), 8))
    assert layer.data_to_world((0, 0)) == (9.75, 17.75)  # (16 + 3.5) / 2, (32 + 3.5) / 2
    assert layer.data_to_world((1, 1)) == (13.75, 21.75)
    assert tuple(layer.contrast_limits) == pytest.approx((0.5, 1.96))
    change_map(layer, image, PatchMap(values * 0 + 3, (0, 0), 8))
    assert layer.data_to_world((0, 0)) == (1.75, 1.75)
    assert tuple(layer.contrast_limits) == (0, 1)


def test_the_command_line_takes_the_commands(image):
    opened = OpenImage(image)
    at = point_job_of(PointIntent(opened, "/models/mine", "cpu", (3, 4)))
    of = label_job_of(LabelIntent(opened, "/models/a label", "cpu"))
    app = typer.Typer()
    cli.register(app)
    for job in (at, of):
        words = shlex.split(explain_command(job, out=Path("there")))
        found = typer.main.get_command(app).make_context("attention", words[2:]).params
        assert (found["device"], found["out"]) == ("cpu", Path("there"))
        if job is at:
            assert (found["point"], found["checkpoint"]) == ("3,4", "/models/mine")
        else:
            assert (found["label_model"], found["checkpoint"]) == (Path("/models/a label"), "demo")
        assert job.with_batch_size(1).batch_size == 1


def test_the_most_probable_class_is_named_first(qtbot):
    page = LabelPage()
    qtbot.addWidget(page)
    rows = (("high", 0.2, 0.1, 0.3), ("low", 0.8, 0.7, 0.9))
    nowhere = PatchMap(np.ones((2, 2), np.float32), (0, 0), 8)
    page.show_result(LabelExplained(nowhere, "grade", rows, "not known", ("left out: Xe",)))
    assert page.said.text().splitlines()[0].startswith("low: 0.80")
    assert page.title.text() == "grade, as the model tells it"
    assert "left out: Xe" in page.warnings.text()
