"""The Inpaint dock in a real window: by mouse, from a real file to layers and numbers."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from smoothness import Pulse, check_smooth, stretched
from tiny_model import simulated_file, tiny_checkpoint
from virtues_core.read import read_image

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("inpaint")


@pytest.fixture(scope="module")
def image_path(folder, request):
    try:
        data = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        return simulated_file(folder / "tissue.ome.tiff", size=384)
    return data / "spleen_imc" / "r2.ome.tiff"


@pytest.fixture(scope="module")
def checkpoint(folder, image_path):
    return tiny_checkpoint(folder / "tiny", read_image(image_path).channels)


@pytest.fixture
def marker(image_path):
    return "CD20_Dy161" if image_path.name.startswith("r2") else "CD20"


@pytest.fixture
def dock(viewer, qtbot, image_path, checkpoint):
    viewer.open(image_path, plugin="napari-virtues")
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Inpaint")
    qtbot.waitUntil(lambda: dock.engine.pid is not None, timeout=SLOW_MS)
    dock.model.choose(str(checkpoint))
    dock.fields.boxes["repeats"].setValue(1)
    dock.fields.boxes["batch_size"].setValue(4)
    qtbot.wait(300)
    return dock


def click(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def tick(qtbot, dock, marker):
    """Search a marker and tick it, as a person does."""
    qtbot.keyClicks(dock.picker.search, marker[:4])
    item = dock.picker.item(marker)
    dock.picker.list.scrollToItem(item)
    box = dock.picker.list.visualItemRect(item)
    qtbot.mouseClick(
        dock.picker.list.viewport(),
        Qt.MouseButton.LeftButton,
        pos=QPoint(box.left() + 12, box.center().y()),
    )
    assert dock.picker.chosen == (marker,)


def names(viewer):
    return [layer.name for layer in viewer.layers]


@pytest.fixture
def shown(dock):
    """Markers whose layers came, in order."""
    markers = []
    dock.view.shown.connect(markers.append)
    return markers


def test_inpaint_a_marker_by_mouse(viewer, dock, shown, qtbot, marker, screenshot, tmp_path):
    tick(qtbot, dock, marker)
    screenshot("inpaint-1-chosen")
    pulse = Pulse(dock)
    click(qtbot, dock.run.run_button)
    assert dock.run.busy
    assert not dock.run.run_button.isEnabled()
    qtbot.waitUntil(lambda: any("in work" in name for name in names(viewer)), timeout=SLOW_MS)
    qtbot.waitUntil(lambda: not dock.run.busy, timeout=SLOW_MS)
    print(f"longest stall at work: {pulse}")
    check_smooth(pulse)
    pulse.restart()
    qtbot.waitUntil(lambda: shown == [marker], timeout=SLOW_MS)
    qtbot.wait(300)
    print(f"longest stall while the layers come: {pulse}")
    check_smooth(pulse)
    screenshot("inpaint-2-done")

    by_part = {
        x.name.split(" · ")[1]: x for x in viewer.layers if x.name.startswith(f"{marker} · ")
    }
    made = [x for x in viewer.layers if " · " in x.name]
    assert [x.name.split(" · ")[1] for x in reversed(made)] == [
        "truth",
        "reconstruction",
        "difference",
        "uncertainty",
    ]
    assert not any("in work" in name for name in names(viewer))
    truth, painted = by_part["truth"], by_part["reconstruction"]
    np.testing.assert_allclose(truth.scale, dock.state.active.image.pixel_size_um)
    assert [str(unit) for unit in painted.units] == ["micrometer", "micrometer"]
    assert truth.contrast_limits == painted.contrast_limits
    low, high = by_part["difference"].contrast_limits
    assert low == -high
    np.testing.assert_allclose(by_part["difference"].data, painted.data - truth.data, atol=1e-5)
    painted.contrast_limits = (0, 1)
    assert truth.contrast_limits == [0, 1]

    table = dock.table
    header = [table.horizontalHeaderItem(i).text() for i in range(table.columnCount())]
    row = dict(zip(header, [table.item(0, i).text() for i in range(len(header))], strict=True))
    score = dock.result.scores[0]
    assert row["Marker"] == marker
    assert float(row["Pearson"]) == pytest.approx(score.pearson, abs=0.006)
    assert row["F1"] == f"{score.f1:.2f}"
    assert row["In 80 %"] == f"{score.coverage:.2f}"
    assert row["Best other"] == f"{score.baselines['best_other']:.2f}"
    assert row["Method"] == "model"
    reference = np.corrcoef(painted.data.ravel(), truth.data.ravel())[0, 1]
    assert score.pearson == pytest.approx(reference, abs=1e-3)

    click(qtbot, dock.command_button)
    assert dock.command.startswith("virtues inpaint ")
    assert f"--markers {marker}" in dock.command
    saved = tmp_path / "out.ome.tiff"
    dock.save(saved)
    qtbot.waitUntil(saved.exists, timeout=SLOW_MS)
    again = read_image(saved)
    assert again.channels[0] == marker
    np.testing.assert_allclose(again.compute([0])[0], dock.result.prediction_counts[0], rtol=1e-5)


def test_side_by_side_and_back(viewer, dock, shown, qtbot, marker, screenshot):
    before = [x.name for x in viewer.layers if x.visible]
    assert before
    tick(qtbot, dock, marker)
    click(qtbot, dock.run.run_button)
    qtbot.waitUntil(lambda: shown == [marker], timeout=SLOW_MS)
    assert viewer.canvas.grid.enabled
    assert viewer.canvas.grid.actual_shape(viewer.layers) == (2, 2)
    assert [x.name for x in viewer.layers if x.visible and " · " not in x.name] == []
    click(qtbot, dock.side_by_side)
    qtbot.waitUntil(lambda: not viewer.canvas.grid.enabled, timeout=SLOW_MS)
    qtbot.waitUntil(lambda: shown == [marker, marker], timeout=SLOW_MS)
    assert set(before) <= {x.name for x in viewer.layers if x.visible}
    screenshot("inpaint-3-over")


def test_cancel_then_kill_then_run_again(viewer, dock, shown, qtbot, marker, screenshot):
    tick(qtbot, dock, marker)
    boxes = dock.fields.boxes
    boxes["stride_px"].setValue(8)
    boxes["repeats"].setValue(8)
    click(qtbot, dock.run.run_button)
    qtbot.waitUntil(lambda: "Tile" in dock.run.status.text(), timeout=SLOW_MS)
    screenshot("inpaint-4-at-work")
    asked = time.monotonic()
    click(qtbot, dock.run.cancel_button)
    qtbot.waitUntil(lambda: dock.run.status.text() == "Cancelled.", timeout=SLOW_MS)
    assert time.monotonic() - asked < stretched(1.0)
    qtbot.wait(50)
    assert not any("in work" in name for name in names(viewer))

    click(qtbot, dock.run.run_button)
    qtbot.waitUntil(lambda: "Tile" in dock.run.status.text(), timeout=SLOW_MS)
    os.kill(dock.engine.pid, signal.SIGKILL)
    qtbot.waitUntil(dock.run.message.isVisible, timeout=SLOW_MS)
    assert "memory" in dock.run.message.text()
    assert "2 tiles at once" in dock.run.message.text()
    screenshot("inpaint-5-killed")

    boxes["stride_px"].setValue(128)
    boxes["repeats"].setValue(1)
    click(qtbot, dock.run.run_button)
    qtbot.waitUntil(lambda: shown == [marker], timeout=SLOW_MS)
    assert not dock.run.message.isVisible()


def test_mistakes_are_messages(viewer, dock, qtbot, tmp_path):
    click(qtbot, dock.run.run_button)
    assert "no marker is ticked" in dock.run.message.text()
    dock.picker.chosen = dock.picker.choices[:1]
    dock.model.choose(str(tmp_path / "nowhere"))
    click(qtbot, dock.run.run_button)
    qtbot.waitUntil(lambda: not dock.run.busy, timeout=SLOW_MS)
    assert "no checkpoint at" in dock.run.message.text()
    assert "Traceback" not in dock.run.message.text()


def test_region_of_a_labels_layer(viewer, dock, shown, qtbot, screenshot):
    height, width = dock.state.active.image.shape[1:]
    labels = np.zeros((height, width), dtype=np.int32)
    labels[64:160, 80:200] = 3
    viewer.add_labels(labels[:50, :50], name="too small", units=("µm", "µm"))
    scale = dock.state.active.image.pixel_size_um
    viewer.add_labels(labels, name="niche", scale=scale, units=("µm", "µm"))
    click(qtbot, dock.strategy.buttons()[1])
    dock.regions.box.setCurrentText("too small")
    click(qtbot, dock.run.run_button)
    qtbot.waitUntil(lambda: not dock.run.busy, timeout=SLOW_MS)
    assert "expected a region of the image's size" in dock.run.message.text()
    dock.regions.box.setCurrentText("niche")
    click(qtbot, dock.run.run_button)
    qtbot.waitUntil(lambda: len(shown) == 1, timeout=SLOW_MS)
    np.testing.assert_array_equal(dock.result.masked[0], labels > 0)  # edges lie on patches
    assert dock.table.rowCount() == len(dock.picker.choices)
    dock.table.selectRow(2)
    third = dock.result.scores[2].channel
    qtbot.waitUntil(lambda: shown[1:] == [third], timeout=SLOW_MS)
    assert f"{third} · truth" in names(viewer)
    screenshot("inpaint-6-region")


def test_the_engine_ends_with_the_window(viewer, dock, qtbot):
    pid = dock.engine.pid
    os.kill(pid, 0)
    viewer.close()
    qtbot.waitUntil(lambda: _ended(pid), timeout=SLOW_MS)


RUN = """
import sys
import napari
from qtpy.QtCore import QEventLoop, QTimer

def pause(done):
    loop = QEventLoop()
    timer = QTimer()
    timer.timeout.connect(lambda: loop.quit() if done() else None)
    timer.start(50)
    loop.exec()

image, checkpoint, marker = sys.argv[1:]
viewer = napari.Viewer(show=True)
viewer.open(image, plugin="napari-virtues")
viewer.window.add_plugin_dock_widget("napari-virtues", "Images")
_, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Inpaint")
dock.model.choose(checkpoint)
dock.picker.chosen = (marker,)
shown = []
dock.view.shown.connect(shown.append)
dock.compute()
pause(lambda: shown or not dock.run.busy and dock.result is None)
print(dock.run.message.text(), shown, "torch" in sys.modules)
viewer.close()
"""


def test_only_the_engine_imports_torch(image_path, checkpoint, marker, tmp_path):
    """Importing it takes most of a second, in which the window would stand still."""
    environment = {
        **os.environ,
        "VIRTUES_CONFIG_DIR": str(tmp_path / "config"),
        "NAPARI_CONFIG": str(tmp_path / "napari.yaml"),
    }
    command = [sys.executable, "-c", RUN, str(image_path), str(checkpoint), marker]
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split("\n")[-2].strip() == f"['{marker}'] False"


def _ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
