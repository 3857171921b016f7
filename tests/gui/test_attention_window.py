"""The Attention dock in a real window: regions drawn with the mouse, markers scored in each."""

import pytest
from qtpy.QtCore import QPoint, Qt

from tiny_model import simulated_file, tiny_checkpoint
from virtues_core.read import read_image

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture
def dock(viewer, qtbot, tmp_path):
    path = simulated_file(tmp_path / "tissue.ome.tiff", size=160)
    viewer.open(path, plugin="napari-virtues")
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Attention")
    dock.model.choose(str(tiny_checkpoint(tmp_path / "tiny", read_image(path).channels)))
    qtbot.wait(300)
    viewer.reset_view()
    return dock


def on_canvas(viewer, y, x):
    """Where a place (world coordinates) is on the canvas."""
    height, width = viewer.canvas.size
    _, at_y, at_x = viewer.scene.camera.center
    zoom = viewer.scene.camera.zoom
    return QPoint(round(width / 2 + (x - at_x) * zoom), round(height / 2 + (y - at_y) * zoom))


def drag(viewer, qtbot, start, end):
    """Draw from one place to another with the left button."""
    native = viewer.window._qt_viewer.canvas.native
    first, last = (on_canvas(viewer, *place) for place in (start, end))
    qtbot.mousePress(native, Qt.MouseButton.LeftButton, pos=first)
    for part in range(1, 5):
        qtbot.mouseMove(native, first + (last - first) * part / 4)
        qtbot.wait(20)
    qtbot.mouseRelease(native, Qt.MouseButton.LeftButton, pos=last)
    qtbot.wait(100)


def test_two_drawn_regions_side_by_side(viewer, dock, qtbot, screenshot):
    qtbot.mouseClick(dock.draw_button, Qt.MouseButton.LeftButton)
    regions = viewer.layers["regions · tissue"]
    qtbot.wait(100)
    drag(viewer, qtbot, (10, 10), (70, 60))
    drag(viewer, qtbot, (80, 70), (150, 150))
    assert len(regions.data) == 2
    assert dock.regions.box.currentText() == "regions · tissue"
    qtbot.mouseClick(dock.run.run_button, Qt.MouseButton.LeftButton)
    assert dock.run.busy
    qtbot.waitUntil(lambda: not dock.run.busy, timeout=SLOW_MS)
    assert dock.run.message.text() == ""
    assert dock.table.isVisible()
    screenshot("attention")
    assert dock.job.regions[40, 30] == 1
    assert dock.job.regions[120, 100] == 2
    assert dock.table.columnCount() == 3
    scores = [float(row[1]) for row in dock.table.rows]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(dock.result.channels)
