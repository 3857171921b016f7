"""The *Images* dock in a real window: real files, ticked with the mouse."""

import time

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt, QTimer

from napari_virtues._widgets.panel_table import Column
from virtues_core.image import MultiplexImage
from virtues_core.read import write_ome_tiff


@pytest.fixture
def dock(viewer, qtbot):
    _, widget = viewer.window.add_plugin_dock_widget("napari-virtues", "Images")
    qtbot.wait(100)
    return widget


def settle(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.background.busy, timeout=60_000)
    qtbot.wait(50)


def tick(dock, qtbot, name):
    table = dock.table
    row = next(
        r
        for r in range(table.filter.rowCount())
        if table.filter.index(r, Column.CHANNEL).data() == name
    )
    index = table.filter.index(row, Column.SHOWN)
    table.scrollTo(index)
    box = table.visualRect(index)
    where = QPoint(box.left() + 10, box.center().y())
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=where)


def canvas(viewer, qtbot):
    """Colours on the canvas, without the alpha channel."""
    qtbot.wait(300)
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(float)


def test_a_real_image_is_opened_ticked_searched_and_coloured(
    viewer, dock, qtbot, screenshot, shared_data
):
    screenshot("images_empty")
    viewer.open(str(shared_data / "spleen_imc" / "r2.ome.tiff"), plugin="napari-virtues")
    settle(dock, qtbot)
    assert dock.image_box.currentText() == "r2"
    assert len(viewer.layers) == 4
    screenshot("images_opened")

    assert dock.width() <= 420
    dock.hide_all.click()
    settle(dock, qtbot)
    assert len(viewer.layers) == 0
    black = canvas(viewer, qtbot)

    qtbot.keyClicks(dock.search, "cd2")
    tick(dock, qtbot, "CD20_Dy161")
    settle(dock, qtbot)
    assert [layer.name for layer in viewer.layers] == ["CD20_Dy161"]
    one = canvas(viewer, qtbot)
    assert one.mean() > black.mean() + 1
    red, green, blue = (one[..., i].mean() for i in range(3))
    color = dock.state.active.display(dock.state.active.shown[0]).color
    strongest = max(range(3), key=lambda i: int(color[1 + 2 * i : 3 + 2 * i], 16))
    assert (red, green, blue)[strongest] == max(red, green, blue)
    screenshot("images_search")

    dock.search.clear()
    tick(dock, qtbot, "DNA1_Ir191")
    tick(dock, qtbot, "VIM_Nd143")
    settle(dock, qtbot)
    assert canvas(viewer, qtbot).mean() > one.mean()
    tick(dock, qtbot, "VIM_Nd143")
    settle(dock, qtbot)
    assert sorted(layer.name for layer in viewer.layers) == ["CD20_Dy161", "DNA1_Ir191"]


def test_the_sample_and_the_editor(viewer, dock, qtbot, screenshot):
    viewer.open_sample("napari-virtues", "imc")
    settle(dock, qtbot)
    assert dock.table.filter.rowCount() == 41
    screenshot("images_sample")
    editor = dock.edit_channel(0)
    qtbot.waitUntil(editor.isVisible)
    qtbot.keyClicks(editor.protein, "CD8A")
    screenshot("images_editor", editor)
    editor.protein.completer().popup().hide()
    editor.accept()
    assert dock.state.active.panel.entries[0].accession == "P01732"


def test_a_written_image_opens_and_two_images_take_turns(
    viewer, dock, qtbot, screenshot, tmp_path, shared_data
):
    rng = np.random.default_rng(0)
    pixels = rng.poisson(20, (3, 150, 180)).astype(np.uint16)
    path = tmp_path / "written.ome.tiff"
    write_ome_tiff(path, pixels, ["DAPI", "CD3", "odd one"], (0.5, 0.5))
    dock.open_path(shared_data / "spleen_imc" / "r4.ome.tiff")
    settle(dock, qtbot)
    dock.open_path(path)
    settle(dock, qtbot)
    assert [layer.name for layer in viewer.layers if layer.visible] == [
        "DAPI · written",
        "CD3 · written",
        "odd one · written",
    ]
    center = viewer.scene.camera.center[-2:]
    np.testing.assert_allclose(center, (37, 45), atol=1)
    assert canvas(viewer, qtbot).mean() > 5
    screenshot("images_two")


def test_a_broken_file_is_a_notification(viewer, dock, qtbot, screenshot, tmp_path):
    from napari._qt.dialogs.qt_notification import NapariQtNotification

    path = tmp_path / "broken.ome.tiff"
    path.write_bytes(b"II*\0 and then nothing")
    dock.open_path(path)
    settle(dock, qtbot)
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: window.findChildren(NapariQtNotification) != [], timeout=30_000)
    (told,) = window.findChildren(NapariQtNotification)
    assert "broken.ome.tiff" in told.message.text()
    screenshot("images_error")
    told.close()


def test_ticking_costs_the_window_no_more_than_drawing(viewer, dock, qtbot):
    """40 × 2,000 × 2,000 px: reading is not felt; adding and drawing a layer is napari's part."""
    pixels = da.random.default_rng(0).poisson(
        5, (40, 2000, 2000), chunks=(1, 2000, 2000)
    )  # half a second of work a channel
    dock.state.add(MultiplexImage(pixels, tuple(f"CD{i + 1}" for i in range(40))))
    dock.state.active.shown = (0, 1)
    settle(dock, qtbot)
    gaps, last = [], [time.perf_counter()]

    def beat():
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer()
    timer.timeout.connect(beat)

    def longest(act):
        gaps.clear()
        last[0] = time.perf_counter()
        act()
        settle(dock, qtbot)
        qtbot.wait(300)
        return max(gaps)

    timer.start(5)
    plain = np.random.default_rng(1).poisson(5, (2000, 2000)).astype(np.float32)
    napari_s = max(
        longest(lambda: viewer.add_image(plain, contrast_limits=(0, 10), blending="additive"))
        for _ in range(2)
    )
    ours = min(longest(lambda c=c: tick(dock, qtbot, f"CD{c}")) for c in (5, 8, 11))
    timer.stop()
    assert len(viewer.layers) == 7
    assert ours < 1.5 * napari_s + 0.1
