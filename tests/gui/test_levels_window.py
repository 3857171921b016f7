"""The Cells dock in a real window, by mouse: niches, then cells that have no mask."""

import numpy as np
import pytest

from cells_mouse import click_image, press
from cells_samples import tissue_files
from smoothness import Pulse
from tiny_model import tiny_checkpoint, tiny_head
from virtues_core.cohort import UNSURE

SLOW_MS = 120_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture
def dock(viewer, qtbot, tmp_path):
    viewer.window.resize(1280, 800)
    tissue = tissue_files(tmp_path, size=264)
    checkpoint = tiny_checkpoint(tmp_path / "tiny", tissue.channels, encoder_pattern="hvhv")
    tiny_head(checkpoint)
    viewer.open(tissue.image, plugin="napari-virtues")
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Cells")
    dock.model.choose(str(checkpoint))
    qtbot.waitUntil(lambda: dock.engine.pid is not None, timeout=SLOW_MS)
    qtbot.wait(300)
    return dock


def named(viewer, start):
    return next(layer for layer in viewer.layers if layer.name.startswith(start))


def test_niches_then_cells_without_a_mask(viewer, dock, qtbot, screenshot):
    screenshot("levels-1-open")
    press(qtbot, dock, dock.levels.button(1))
    press(qtbot, dock, dock.run.run_button)
    qtbot.waitUntil(lambda: dock.cells is not None, timeout=SLOW_MS)
    viewer.reset_view()
    qtbot.wait(200)
    for name, place in (("red pulp", (40, 40)), ("white pulp", (200, 220))):
        qtbot.keyClicks(dock.name, name)
        press(qtbot, dock, dock.add_button)
        click_image(viewer, qtbot, *place)
    assert dock.types.clicked == {0: "red pulp", 3: "white pulp"}
    screenshot("levels-2-clicked")
    with qtbot.waitSignal(dock.types.typed, timeout=SLOW_MS):
        press(qtbot, dock, dock.type_button)
    screenshot("levels-3-niches")
    typed = named(viewer, "niche types")
    assert typed.visible
    assert typed.data[40, 40] == 1
    assert typed.data[200, 220] == 2

    press(qtbot, dock, dock.levels.button(0))
    pulse = Pulse(dock)
    with qtbot.waitSignal(dock.types.typed, timeout=SLOW_MS):
        press(qtbot, dock, dock.segment_button)
    qtbot.wait(300)
    print(f"longest stall while cells are found: {pulse}")
    assert pulse.busy < 200  # adding a Labels layer is one step of napari's, of 95 ms alone
    screenshot("levels-4-found")
    assert not typed.visible
    assert "red pulp" not in dock.table.names
    mask = named(viewer, "cells · ")
    assert dock.cells.layer is mask
    assert mask.contour == 1
    shown = named(viewer, "cell types")
    assert shown.visible
    np.testing.assert_array_equal(shown.data > 0, mask.data > 0)
    counts = dock.types.view.counts
    assert sum(counts.values()) == mask.data.max() > 100
    assert f"{counts[UNSURE]:,} of them unsure" in dock.summary.text()
    dock.unsure.setValue(0)
    qtbot.waitUntil(lambda: dock.types.view.counts[UNSURE] == 0, timeout=SLOW_MS)
    qtbot.wait(300)
    screenshot("levels-5-sure")
