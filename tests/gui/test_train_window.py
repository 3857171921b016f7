"""The Train dock in a real window: a real training, started, watched, stopped, used, resumed."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_virtues._widgets.train_form import RUNS
from napari_virtues.docks.train import ANYWAY
from napari_virtues.reconstruction_layers import TILE
from smoothness import Pulse, stretched
from tiny_model import simulated_file
from virtues_core import jobs
from virtues_core.model import ModelConfig
from virtues_core.read import read_image, write_ome_tiff
from virtues_core.train import TrainConfig

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""
TINY = TrainConfig(
    model=ModelConfig(
        model_dim=16, feedforward_dim=32, num_heads=2, encoder_pattern="hv", decoder_pattern="f"
    ),
    crop_px=32,
    subimage_px=64,
    batch_size=2,
    micro_batch_size=2,
    max_steps=1_000_000,
    precision="32-true",
    checkpoint_every_steps=10,
    validate_every_steps=10,
    validation_crops=2,
    reconstruct_every_steps=10,
)


def few_channels(path, seed):
    """A simulated tissue with four of its channels, so that steps are quick."""
    image = read_image(simulated_file(path, size=64, seed=seed))
    names = [name for name in image.channels if name.startswith(("CD3", "CD20", "panCK", "DNA1"))]
    pixels = image.compute([image.channels.index(name) for name in names])
    write_ome_tiff(path, pixels, names, image.pixel_size_um)
    return path


def tiles_of(viewer):
    return [layer for layer in viewer.layers if TILE in layer.metadata]


@pytest.fixture
def dock(viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    images = [few_channels(tmp_path / f"r{i}.ome.tiff", seed=i) for i in range(5)]
    viewer.open(images[0], plugin="napari-virtues")
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Train")
    qtbot.waitUntil(lambda: dock.engine.pid is not None, timeout=SLOW_MS)
    qtbot.wait(300)
    dock.add([str(path) for path in images])
    for fields in (dock.settings, dock.advanced):
        fields.show_config(TINY)
    yield dock
    for job in jobs.list_jobs():
        if job.status.state in {"waiting", "running"}:
            jobs.kill(job)


def press(qtbot, button):
    assert button.isVisible()
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def state(dock):
    return None if dock.trainings.line is None else dock.trainings.line.state


def test_a_training_from_start_to_use(viewer, dock, qtbot, screenshot):
    pulse = Pulse(dock)
    press(qtbot, dock.run.run_button)
    qtbot.waitUntil(lambda: not dock.run.busy, timeout=SLOW_MS)
    assert dock.run.message.text() == ""
    assert "kept out to validate on" in dock.plan.text()
    assert dock.run.run_button.text() == ANYWAY  # markers have no embedding here
    press(qtbot, dock.run.run_button)
    runs = dock.trainings
    qtbot.waitUntil(lambda: runs.isVisible() and state(dock) == "running", timeout=SLOW_MS)
    assert dock.page_buttons.checkedId() == RUNS

    def rows():
        return runs.plot.metrics.columns.get("loss", [])

    qtbot.waitUntil(lambda: len(rows()) >= 2, timeout=SLOW_MS)
    seen = len(rows())
    qtbot.waitUntil(lambda: len(rows()) > seen, timeout=SLOW_MS)  # it grows
    assert np.isfinite(runs.plot.metrics.columns["val_loss"]).any()
    qtbot.waitUntil(runs.picture_button.isEnabled, timeout=SLOW_MS)
    press(qtbot, runs.picture_button)
    qtbot.waitUntil(lambda: dock.view.picture is not None, timeout=SLOW_MS)
    first = dock.view.picture.step
    qtbot.waitUntil(lambda: dock.view.picture.step > first, timeout=SLOW_MS)  # it follows

    def shown():
        return [layer for layer in tiles_of(viewer) if layer.visible]

    qtbot.waitUntil(lambda: len(shown()) == 3, timeout=SLOW_MS)  # one a turn, seen once it is drawn
    tiles = tiles_of(viewer)
    parts = [layer.name.split(" · ")[0] for layer in tiles]
    assert parts == ["truth", "masked", "reconstruction"]
    assert "rows: independent, marker, niche masking" in runs.picture_label.text()
    runs.marker_box.setCurrentIndex(2)
    runs.marker_box.activated.emit(2)
    name = dock.view.picture.markers[2]
    qtbot.waitUntil(lambda: all(x.name.endswith(f" · {name}") for x in tiles), timeout=SLOW_MS)
    print(f"longest stall of the window: {pulse}")
    assert pulse.busy < stretched(100)
    screenshot("train-2-running")

    press(qtbot, runs.stop_button)
    qtbot.waitUntil(lambda: state(dock) == "stopped", timeout=SLOW_MS)
    qtbot.waitUntil(lambda: len(runs.use_button.menu().actions()) == 2, timeout=SLOW_MS)
    actions = {action.text(): action for action in runs.use_button.menu().actions()}
    actions["Best checkpoint"].trigger()
    assert dock.state.checkpoint == str(dock.job.run_dir / "checkpoints" / "best")
    assert dock.model.checkpoint == ""  # what the next training starts from is another choice

    _, inpaint = viewer.window.add_plugin_dock_widget("napari-virtues", "Inpaint")
    assert inpaint.model.checkpoint == dock.state.checkpoint
    dock.parentWidget().raise_()
    qtbot.waitUntil(runs.resume_button.isEnabled, timeout=SLOW_MS)
    press(qtbot, runs.resume_button)
    qtbot.waitUntil(lambda: state(dock) in {"waiting", "running"}, timeout=SLOW_MS)
    assert not runs.resume_button.isEnabled()
    assert runs.message.text() == ""
