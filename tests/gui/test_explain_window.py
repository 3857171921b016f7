"""A place and a label in the Attention dock, in a real window."""

from dataclasses import replace

import pytest
import torch
from qtpy.QtCore import QPoint, Qt

from tiny_model import simulated_file, tiny_checkpoint
from virtues_core.model import VirTues, load_checkpoint
from virtues_core.model.label_file import LabelModel, save_label_model
from virtues_core.model.label_head import LabelHead
from virtues_core.read import read_image

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture
def dock(viewer, qtbot, tmp_path):
    path = simulated_file(tmp_path / "tissue.ome.tiff", size=256)
    viewer.open(path, plugin="napari-virtues")
    plain = load_checkpoint(tiny_checkpoint(tmp_path / "plain", read_image(path).channels))
    config = replace(plain.config, encoder_pattern="hvhvhv")
    torch.manual_seed(0)
    checkpoint = replace(plain, model=VirTues(config).eval(), config=config, folder=None)
    head = LabelHead(config, 2)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    save_label_model(LabelModel(checkpoint, head, "grade", ("high", "low")), tmp_path / "grade")
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Attention")
    dock.model.choose(str(tmp_path / "grade"))
    dock.label.choose(tmp_path / "grade")
    qtbot.wait(300)
    viewer.reset_view()
    return dock


def ended(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.run.busy, timeout=SLOW_MS)
    assert dock.run.message.text() == ""


def test_a_click_explains_a_place_and_a_button_the_label(viewer, dock, qtbot, screenshot):
    left, native = Qt.MouseButton.LeftButton, viewer.window._qt_viewer.canvas.native
    qtbot.mouseClick(dock.look.button(1), left)
    assert dock.point.pick.isChecked()
    qtbot.wait(100)
    height, width = viewer.canvas.size
    _, at_y, at_x = viewer.scene.camera.center
    zoom = viewer.scene.camera.zoom
    at = QPoint(round(width / 2 + (60 - at_x) * zoom), round(height / 2 + (80 - at_y) * zoom))
    qtbot.mouseClick(native, left, pos=at)
    qtbot.waitUntil(lambda: dock.run.busy, timeout=SLOW_MS)
    y, x = dock.point.point
    assert abs(y - 80) <= 2
    assert abs(x - 60) <= 2
    ended(dock, qtbot)
    assert dock.point.table.isVisible()
    assert viewer.layers["attention rollout · tissue"].data.shape == (16, 16)
    screenshot("attention_point")
    dock.point.pick.setChecked(False)
    qtbot.mouseClick(native, left, pos=at + QPoint(40, 40))  # an ordinary click does nothing
    qtbot.wait(100)
    assert dock.point.point == (y, x)
    qtbot.mouseClick(dock.look.button(2), left)
    qtbot.mouseClick(dock.run.run_button, left)
    assert dock.run.busy
    ended(dock, qtbot)
    assert dock.label.said.isVisible()
    viewer.layers["attention rollout · tissue"].visible = False
    screenshot("attention_label")
    assert viewer.layers["attention to grade · tissue"].data.shape == (32, 32)
