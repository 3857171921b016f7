"""The whole story, by mouse: train, end napari, find the job again, stop it, go on, use it."""

import json
import os
import signal
import subprocess
import sys

import pytest
from qtpy.QtCore import Qt

from smoothness import Pulse, stretched
from tiny_model import simulated_file
from virtues_core import jobs
from virtues_core.run_dir import METRICS

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""
RECIPE = {
    "model": {
        "model_dim": 16,
        "feedforward_dim": 32,
        "num_heads": 2,
        "encoder_pattern": "hv",
        "decoder_pattern": "f",
    },
    "crop_px": 64,
    "subimage_px": 64,
    "batch_size": 2,
    "micro_batch_size": 2,
    "max_steps": 100_000,
    "precision": "32-true",
    "checkpoint_every_steps": 20,
    "validate_every_steps": 20,
    "validation_crops": 2,
    "accelerator": "cpu",
}
FIRST_WINDOW = """
import json, sys
import napari
from qtpy.QtCore import QEventLoop, QTimer, Qt
from qtpy.QtTest import QTest
from virtues_core.train import TrainConfig

def wait(done):
    loop = QEventLoop()
    timer = QTimer()
    timer.timeout.connect(lambda: loop.quit() if done() else None)
    timer.start(50)
    loop.exec()

recipe, *images = sys.argv[1:]
viewer = napari.Viewer(show=True)
_, train = viewer.window.add_plugin_dock_widget("napari-virtues", "Train")
train.add(images)
for fields in (train.settings, train.advanced):
    fields.show_config(TrainConfig.from_dict(json.loads(recipe)))
train.model.device_box.setCurrentText("cpu")
train.name_line.setText("story")
button = train.run.run_button
QTest.mouseClick(button, Qt.MouseButton.LeftButton)
wait(lambda: train.checked is not None or train.job is not None or train.run.message.text())
if train.job is None and not train.run.message.text():  # warnings are read first
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    wait(lambda: train.job is not None or train.run.message.text())
print("started:", train.run.message.text() or train.job.name, flush=True)
updates = set()
wait(lambda: updates.add(len(train.trainings.plot.metrics.steps)) or len(updates - {0}) >= 2)
print("metrics:", sorted(updates - {0}), "torch" in sys.modules, flush=True)
wait(lambda: False)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return simulated_file(tmp_path_factory.mktemp("story") / "tissue.ome.tiff", size=160)


@pytest.fixture(autouse=True)
def of_its_own(tmp_path, monkeypatch):
    """Jobs and settings of the test's own; none of its jobs outlives it."""
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("VIRTUES_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "napari.yaml"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    for job in jobs.list_jobs():
        if job.status.state in {"running", "waiting"}:
            jobs.kill(job)


def click(qtbot, button):
    assert button.isVisible()
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def until(dock, qtbot, state):
    def stands():
        line = dock.table.line
        assert line is None or line.state not in {"failed", "lost", "unreadable"}, line
        return line is not None and line.state == state

    qtbot.waitUntil(stands, timeout=SLOW_MS)


def step(dock):
    """The step of the newest row of metrics that is shown."""
    steps = dock.details.plot.metrics.steps
    return steps[-1] if steps else 0


def train_and_kill(image):
    """Start a training in a window of another process, which is killed after two updates."""
    command = [sys.executable, "-c", FIRST_WINDOW, json.dumps(RECIPE), str(image)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "started: story\n"
        words = first.stdout.readline().split()
        assert words[0] == "metrics:"
        assert words[-1] == "False"  # the window imported no PyTorch
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
        first.stdout.close()


def test_a_training_outlives_the_window(request, qtbot, image):
    train_and_kill(image)
    (job,) = jobs.list_jobs()
    assert job.status.state == "running"
    assert job.status.pid != os.getpid()

    viewer = request.getfixturevalue("viewer")  # another process, another window
    screenshot = request.getfixturevalue("screenshot")
    viewer.open(image, plugin="napari-virtues")
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Jobs")
    until(dock, qtbot, "running")
    qtbot.waitUntil(lambda: step(dock) > 0, timeout=SLOW_MS)
    found, pulse = step(dock), Pulse(dock)
    qtbot.waitUntil(lambda: step(dock) > found, timeout=SLOW_MS)
    assert pulse.busy < stretched(100)
    screenshot("jobs-1-running")

    click(qtbot, dock.cancel_button)
    until(dock, qtbot, "stopped")
    screenshot("jobs-2-stopped")
    stopped = job.status.step
    click(qtbot, dock.resume_button)
    until(dock, qtbot, "running")
    qtbot.waitUntil(lambda: step(dock) > stopped, timeout=SLOW_MS)
    steps = dock.details.plot.metrics.steps
    assert steps == sorted(set(steps))  # it went on where it was

    _, inpaint = viewer.window.add_plugin_dock_widget("napari-virtues", "Inpaint")
    viewer.window.add_plugin_dock_widget("napari-virtues", "Jobs")[0].raise_()
    qtbot.wait(100)
    dock.details.tabs.setCurrentIndex(2)
    (item,) = dock.details.results.findItems("Last checkpoint", Qt.MatchFlag.MatchExactly)
    dock.details.results.setCurrentItem(item)
    screenshot("jobs-3-results")
    click(qtbot, dock.details.open_button)
    assert inpaint.model.checkpoint == str(job.run_dir / "checkpoint")
    inpaint.picker.chosen = [name for name in inpaint.picker.choices if "CD20" in name]
    inpaint.fields.boxes["repeats"].setValue(1)
    shown = []
    inpaint.view.shown.connect(shown.append)
    inpaint.compute()
    qtbot.waitUntil(lambda: bool(shown) or bool(inpaint.run.message.text()), timeout=SLOW_MS)
    assert shown == list(inpaint.picker.chosen)
    assert inpaint.result.scores[0].method == "model"
    screenshot("jobs-4-used")

    viewer.close()
    rows = (job.run_dir / METRICS).stat().st_size
    qtbot.waitUntil(lambda: (job.run_dir / METRICS).stat().st_size > rows, timeout=SLOW_MS)
    assert job.status.state == "running"
