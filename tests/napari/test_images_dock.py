"""The *Images* dock, without a window around it."""

import threading
import time

import dask.array as da
import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtCore import QPoint, QSize, Qt, QTimer
from qtpy.QtWidgets import QColorDialog, QFileDialog, QInputDialog

from napari_virtues._widgets.panel_table import Column, explanation, measures
from napari_virtues.docks.images import ImagesDock
from napari_virtues.state import ChannelLink
from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel
from virtues_core.read import write_ome_tiff


@pytest.fixture
def dock(viewer, qtbot):
    widget = ImagesDock(PublicOnlyProxy(viewer))
    widget.resize(widget.sizeHint())
    qtbot.addWidget(widget)
    widget.show()
    yield widget
    settle(widget, qtbot)


def settle(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.background.busy, timeout=60_000)


def shown(viewer):
    return sorted(layer.name for layer in viewer.layers)


def tick(dock, qtbot, name):
    """Click the box in front of a channel, as a person would."""
    table = dock.table
    row = next(
        r
        for r in range(table.filter.rowCount())
        if table.filter.index(r, Column.CHANNEL).data() == name
    )
    index = table.filter.index(row, Column.SHOWN)
    table.scrollTo(index)
    center = table.visualRect(index).center()
    left = table.visualRect(index).left() + 10
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(left, center.y()))


def test_ticks_make_and_remove_layers(dock, viewer, qtbot, image):
    dock.state.add(image)
    assert shown(viewer) == []
    tick(dock, qtbot, "CD20_Dy161")
    tick(dock, qtbot, "131Xe")
    settle(dock, qtbot)
    assert shown(viewer) == ["131Xe", "CD20_Dy161"]
    np.testing.assert_array_equal(viewer.layers["CD20_Dy161"].data, image.compute([1])[0])
    tick(dock, qtbot, "131Xe")
    settle(dock, qtbot)
    assert shown(viewer) == ["CD20_Dy161"]


def test_deleting_a_layer_unticks_its_channel(dock, viewer, qtbot, image):
    opened = dock.state.add(image)
    opened.shown = (0, 1)
    settle(dock, qtbot)
    viewer.layers.remove("CD20_Dy161")
    assert opened.shown == (0,)


def test_a_tick_taken_back_before_the_pixels_came_adds_nothing(dock, viewer, qtbot, image):
    opened = dock.state.add(image)
    opened.show(1)
    opened.hide(1)
    settle(dock, qtbot)
    assert shown(viewer) == []


def test_pixels_are_read_beside_the_gui_s_thread_and_only_those_asked_for(dock, viewer, qtbot):
    threads, read, alive = set(), [], []
    beats = threading.Semaphore(0)

    def block(block_info=None):
        channel = block_info[None]["chunk-location"][0]
        threads.add(threading.get_ident())
        read.append(channel)
        while beats.acquire(blocking=False):
            pass
        # goes on only when the window's event loop turns: were it held up by this, it never would
        alive.append(all(beats.acquire(timeout=20) for _ in range(3)))
        return np.full(block_info[None]["chunk-shape"], channel, np.uint16)

    pixels = da.map_blocks(
        block, chunks=((1,) * 40, (200,), (200,)), dtype=np.uint16, meta=np.empty((0, 0, 0))
    )
    dock.state.add(MultiplexImage(pixels, tuple(f"CD{i + 1}" for i in range(40))))
    timer = QTimer()
    timer.timeout.connect(beats.release)
    timer.start(5)
    tick(dock, qtbot, "CD7")
    tick(dock, qtbot, "CD9")
    settle(dock, qtbot)
    timer.stop()
    assert sorted(read) == [6, 8]
    assert alive == [True, True]
    assert threading.get_ident() not in threads
    assert shown(viewer) == ["CD7", "CD9"]


def test_an_unreadable_channel_is_told_and_unticked(dock, viewer, qtbot, told, tmp_path, image):
    path = tmp_path / "a.ome.tiff"
    write_ome_tiff(path, image.pixels, image.channels)
    dock.open_path(path)
    settle(dock, qtbot)
    opened = dock.state.active
    opened.shown = ()
    path.unlink()
    opened.show(2)
    settle(dock, qtbot)
    assert opened.shown == ()
    assert told
    assert shown(viewer) == []


def test_opening_a_file_shows_its_first_channels(dock, viewer, qtbot, tmp_path, image):
    path = tmp_path / "tonsil.ome.tiff"
    write_ome_tiff(path, image.pixels, image.channels, (0.5, 0.5))
    dock.open_path(path)
    settle(dock, qtbot)
    assert dock.image_box.currentText() == "tonsil"
    assert dock.summary.text() == "6 channels, 120 × 96 pixels, 0.5 µm per pixel"
    assert len(viewer.layers) == 4
    assert not dock.name_box.isVisible()


def test_the_open_button_s_menu(dock, viewer, qtbot, tmp_path, image, monkeypatch):
    path = tmp_path / "roi" / "CD3.tif"
    write_ome_tiff(path, image.pixels[:1], ["CD3"])
    menu = {action.text(): action for action in dock.open_menu.actions()}
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    menu["File…"].trigger()
    settle(dock, qtbot)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(path.parent))
    menu["Folder or OME-Zarr…"].trigger()
    settle(dock, qtbot)
    assert [i.image.name for i in dock.state.images] == ["CD3", "roi"]
    dock.image_box.activated.emit(0)
    assert dock.state.active.image.name == "CD3"
    menu["Close this image"].trigger()
    assert [i.image.name for i in dock.state.images] == ["roi"]
    assert dock.image_box.currentText() == "roi"


def test_a_missing_file_is_told(dock, qtbot, told, tmp_path):
    dock.open_path(tmp_path / "gone.ome.tiff")
    settle(dock, qtbot)
    assert len(told) == 1
    assert "found nothing at" in told[0]
    assert dock.summary.text().startswith("Open a file here")


def test_choosing_among_the_images_of_a_file(dock, viewer, qtbot, shared_data):
    dock.open_path(shared_data / "imc_raw" / "20210305_NE_mockData1.mcd")
    settle(dock, qtbot)
    assert dock.name_box.isVisible()
    names = [dock.name_box.itemText(i) for i in range(dock.name_box.count())]
    assert len(names) == 3
    dock.name_box.setCurrentIndex(1)
    dock.name_box.activated.emit(1)
    settle(dock, qtbot)
    assert [i.image.name for i in dock.state.images] == names[:2]
    assert dock.state.active.image.name == names[1]
    visible = {layer.name for layer in viewer.layers if layer.visible}
    assert visible
    assert all(name.endswith(names[1]) for name in visible)
    dock.name_box.activated.emit(0)  # open already: only brought forward
    assert len(dock.state.images) == 2
    assert {layer.name for layer in viewer.layers if layer.visible}.isdisjoint(visible)


def test_an_image_opened_by_napari_s_reader_is_found(dock, viewer, qtbot, image):
    data = image.compute([1])[0]
    viewer.add_image(data, metadata={"virtues": ChannelLink(image, 1)})
    settle(dock, qtbot)
    assert dock.image_box.currentText() == "spleen"
    assert dock.state.active.shown == (1,)
    assert len(viewer.layers) == 1


def test_closing_an_image_removes_its_layers(dock, viewer, qtbot, image):
    dock.state.add(image).shown = (0, 1)
    settle(dock, qtbot)
    mine = viewer.add_image(np.zeros((4, 4)), name="mine")
    dock.state.close(dock.state.active)
    assert list(viewer.layers) == [mine]
    assert dock.image_box.count() == 0
    assert dock.table.filter.rowCount() == 0


def test_adopting_layers_that_are_open(dock, viewer, qtbot, image, told):
    layer = viewer.add_image(image.compute(), name="stack")
    viewer.layers.selection = {layer}
    dock.adopt_layers()
    settle(dock, qtbot)
    assert not layer.visible
    assert dock.state.image_of(layer) is dock.state.active
    assert dock.state.active.shown
    parts = viewer.add_image(image.compute([0, 1]), channel_axis=0, name=["DNA", "CD20"])
    viewer.layers.selection = set(parts)
    dock.adopt_layers()
    settle(dock, qtbot)
    assert dock.state.active.shown == (0, 1)
    assert dock.state.active.panel["CD20"].accession == "P11836"
    viewer.layers.selection = set()
    dock.adopt_layers()
    assert "select the image layers" in told[-1]


def test_searching_the_table(dock, image):
    dock.state.add(image)
    rows = lambda: [  # noqa: E731
        dock.table.filter.index(r, Column.CHANNEL).data()
        for r in range(dock.table.filter.rowCount())
    ]
    assert rows() == [*image.channels[:4], "xyzzy", "131Xe"]  # background last
    dock.search.setText("ms4")
    assert rows() == ["CD20_Dy161"]
    dock.search.setText("p01732")
    assert rows() == ["CD8a(Dy162Di)"]
    dock.search.setText("")
    assert dock.to_check.text() == "Not known (1)"
    dock.to_check.setChecked(True)
    assert rows() == ["xyzzy"]
    dock.to_check.setChecked(False)
    dock.table.sortByColumn(Column.CHANNEL, Qt.SortOrder.AscendingOrder)
    assert rows()[0] == "131Xe"


def test_the_table_says_what_is_known(dock, image):
    dock.state.add(image)
    model = dock.table.panel
    texts = [model.index(r, Column.MEASURES).data() for r in range(6)]
    assert texts == ["DNA stain", "MS4A1", "CD3E", "CD8A", "background", "not known"]
    assert model.index(1, Column.UNIPROT).data() == "P11836"
    entries = dock.state.active.panel.entries
    assert "Double-click to say what it measures." in explanation(entries[5])
    assert "another name" in explanation(entries[1])
    phospho = Panel.from_names(["pS6"]).entries[0]
    assert measures(phospho) == f"{phospho.symbol} (phospho)"


def test_a_thousand_channels_are_one_widget(dock, qtbot):
    pixels = da.zeros((1000, 64, 64), chunks=(1, 64, 64), dtype=np.uint8)
    start = time.perf_counter()
    panel = Panel.from_names([f"131Xe_{i}" for i in range(1000)])
    built = time.perf_counter()
    image = MultiplexImage(pixels, panel.names)
    dock.state.add(image, panel)
    dock.grab()
    assert dock.table.filter.rowCount() == 1000
    assert time.perf_counter() - built < 1 + (built - start)


def test_the_space_bar_ticks_the_selection(dock, qtbot, image):
    opened = dock.state.add(image)
    dock.table.selectRow(1)
    qtbot.keyClick(dock.table, Qt.Key.Key_Space)
    assert opened.shown == (1,)
    qtbot.keyClick(dock.table, Qt.Key.Key_Space)
    assert opened.shown == ()
    opened.shown = (0, 1, 2)
    dock.hide_all.click()
    assert opened.shown == ()


def test_a_click_on_the_swatch_changes_the_colour(dock, viewer, qtbot, image, monkeypatch):
    opened = dock.state.add(image)
    opened.show(1)
    settle(dock, qtbot)
    from qtpy.QtGui import QColor

    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor("#00ff00"))
    index = dock.table.filter.index(1, Column.COLOR)
    center = dock.table.visualRect(index).center()
    qtbot.mouseClick(dock.table.viewport(), Qt.MouseButton.LeftButton, pos=center)
    settle(dock, qtbot)
    assert opened.display(1).color == "#00ff00"
    np.testing.assert_allclose(viewer.layers[0].colormap.colors[-1], [0, 1, 0, 1])


def test_contrast_of_the_selected_and_of_all(dock, viewer, qtbot, image, told):
    opened = dock.state.add(image)
    opened.shown = (1, 2)
    settle(dock, qtbot)
    before = viewer.layers["CD3_Er170"].contrast_limits
    dock.table.selectRow(1)
    dock.low.setValue(10)
    dock.high.setValue(90)
    dock.contrast_selected.click()
    settle(dock, qtbot)
    np.testing.assert_allclose(
        viewer.layers["CD20_Dy161"].contrast_limits, np.percentile(image.compute([1]), (10, 90))
    )
    assert viewer.layers["CD3_Er170"].contrast_limits == before
    dock.contrast_all.click()
    settle(dock, qtbot)
    np.testing.assert_allclose(
        viewer.layers["CD3_Er170"].contrast_limits, np.percentile(image.compute([2]), (10, 90))
    )
    dock.low.setValue(95)
    dock.contrast_all.click()
    assert "expected percentiles 0 ≤ low < high ≤ 100, found 95 and 90" in told[-1]


def test_views_are_saved_and_shown_again(dock, qtbot, image, monkeypatch, told):
    opened = dock.state.add(image)
    opened.shown = (0, 3)
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("T cells", True))
    dock.save_composite.click()
    opened.shown = (1,)
    assert dock.composite_box.currentText() == "T cells"
    dock.composite_box.activated.emit(0)
    assert opened.shown == (0, 3)
    dock.state.add(image.select([0]))
    dock.composite_box.activated.emit(0)
    assert told[-1] == "Not in this image: CD8a(Dy162Di)"
    dock.delete_composite.click()
    assert dock.composite_box.count() == 0


def test_saying_what_a_channel_measures(dock, qtbot, image):
    opened = dock.state.add(image)
    editor = dock.edit_channel(5)
    editor.protein.setText("cd68")
    editor.choices["protein"].setChecked(True)
    editor.accept()
    entry = opened.panel["xyzzy"]
    assert (entry.accession, entry.symbol, entry.source) == ("P34810", "CD68", "user")
    assert dock.to_check.text() == "Not known (0)"


def test_panels_are_saved_and_loaded(dock, image, tmp_path, told, monkeypatch):
    opened = dock.state.add(image)
    opened.panel = opened.panel.assign("xyzzy", accession="P08575")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "p.csv"), ""))
    dock.save_panel_button.click()
    opened.panel = Panel.from_names(image.channels)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "p.csv"), ""))
    dock.load_panel_button.click()
    assert opened.panel["xyzzy"].accession == "P08575"
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    dock.load_panel(tmp_path / "bad.csv")
    assert "'bad.csv' is no panel" in told[-1]


def test_buttons_without_an_image_say_so(dock, told):
    dock.contrast_all.click()
    dock.save_composite.click()
    dock.hide_all.click()
    assert len(told) == 3
    assert set(told) == {"no image is open; open one with the button at the top, then try again"}


def test_the_dock_fits_a_narrow_column(dock):
    assert dock.minimumSizeHint().width() <= 420
    assert QSize(380, 720) == dock.sizeHint()


def test_a_dock_that_was_closed_is_not_called(viewer, qtbot, image):
    dock = ImagesDock(viewer)
    state = dock.state
    opened = state.add(image)
    dock.deleteLater()
    qtbot.waitUntil(lambda: len(state.image_added) == 0, timeout=20_000)
    opened.show(1)
    state.close(opened)
    again = ImagesDock(viewer)
    qtbot.addWidget(again)
    assert again.state is state
