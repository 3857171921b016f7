"""The Space dock in a real window: by mouse, from the map to the image and back."""

import itertools

import anndata
import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtWidgets import QLineEdit
from sklearn.metrics import adjusted_rand_score

from cells_mouse import on_canvas, press
from cells_samples import tissue_files
from napari_virtues._widgets.cluster_table import NAME
from napari_virtues.cells_layers import Cells, cell_features
from napari_virtues.state import AppState
from smoothness import Pulse, stretched
from space_samples import known_cells

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    return tissue_files(tmp_path_factory.mktemp("space"))


@pytest.fixture(scope="module")
def known(tissue):
    return known_cells(tissue)


@pytest.fixture
def dock(viewer, qtbot, tissue, known):
    viewer.open(tissue.image, plugin="napari-virtues")
    viewer.open(tissue.mask, plugin="napari-virtues")
    mask = viewer.layers[-1]
    mask.features = cell_features(known.embedding)
    state = AppState.of(viewer)
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Space")
    assert not dock.run.run_button.isEnabled()
    state.cells = Cells(state.active.image, mask, tissue.labels, known.embedding)
    qtbot.waitUntil(lambda: dock.engine.pid is not None, timeout=SLOW_MS)
    qtbot.wait(200)
    return dock


def ended(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.run.busy and not dock.background.busy, timeout=SLOW_MS)
    qtbot.wait(100)


def drag(qtbot, widget, places):
    """Draw along places with the left button."""
    places = [QPointF(place).toPoint() for place in places]
    assert all(widget.rect().contains(place) for place in places)
    qtbot.mouseMove(widget, places[0])
    qtbot.mousePress(widget, Qt.MouseButton.LeftButton, pos=places[0])
    for place in places[1:]:
        qtbot.mouseMove(widget, place)
        qtbot.wait(10)
    qtbot.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=places[-1])
    qtbot.wait(50)


def lasso(qtbot, plot, points):
    """Draw round points of a map; returns the corners in its coordinates."""
    low, high = points.min(axis=0), points.max(axis=0)
    pad = 0.04 * (high - low)
    (left, bottom), (right, top) = low - pad, high + pad
    corners = [(left, bottom), (left, top), (right, top), (right, bottom), (left, bottom)]
    ways = [np.linspace(a, b, 8) for a, b in itertools.pairwise(corners)]
    drag(qtbot, plot.viewport(), [plot.on_screen(p) for p in np.concatenate(ways)])
    return low - pad, high + pad


def editors(table):
    return [x for x in table.viewport().findChildren(QLineEdit) if x.isVisible()]


def selected_pixels(viewer):
    layer = next(x for x in viewer.layers if x.name.startswith("selected cells"))
    return layer.data > 0 if layer.visible else np.zeros_like(layer.data, bool)


def test_map_and_image_select_in_each_other(viewer, dock, qtbot, tissue, known, screenshot):
    groups = known.groups
    pulse = Pulse(dock)
    press(qtbot, dock, dock.run.run_button)
    assert dock.run.busy
    ended(dock, qtbot)
    assert dock.run.message.text() == ""
    plot = dock.plots["tokens"]
    assert plot.isVisible()
    assert not dock.plots["intensities"].isVisible()
    np.testing.assert_array_equal(plot.points, dock.points["tokens"])
    dock.resolution.setValue(0.3)
    press(qtbot, dock, dock.cluster_button)
    ended(dock, qtbot)
    print(f"longest stall of the window: {pulse}")
    assert pulse.busy < stretched(100)
    assert dock.color_box.currentText() == "Clusters"
    assert adjusted_rand_score(groups, dock.numbers) > 0.9
    viewer.reset_view()
    qtbot.wait(200)
    screenshot("space-1-clusters")

    press(qtbot, dock, dock.lasso_button)
    tumour = plot.points[groups == "tumour"]
    with qtbot.waitSignal(dock.selected.shown, timeout=SLOW_MS):
        low, high = lasso(qtbot, plot, tumour)
    rows = dock.selected.rows
    expected = ((plot.points >= low) & (plot.points <= high)).all(axis=1)
    assert np.mean(groups[rows] == "tumour") > 0.9
    assert np.setxor1d(rows, np.flatnonzero(expected)).size <= 2  # a pixel at the edge
    assert f"{len(rows):,} of {len(groups):,} selected" == dock.selection.text()
    numbers = known.embedding.numbers[rows]
    qtbot.wait(200)
    np.testing.assert_array_equal(selected_pixels(viewer), np.isin(tissue.labels, numbers))
    screenshot("space-2-lasso")
    with qtbot.waitSignal(dock.selected.shown, timeout=SLOW_MS):
        qtbot.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton)
    assert len(dock.selected.rows) == 0
    assert not selected_pixels(viewer).any()

    press(qtbot, dock, dock.lasso_button)
    before = plot.on_screen(tumour[0])
    middle = QPointF(plot.viewport().rect().center())
    drag(qtbot, plot.viewport(), [middle + QPointF(9 * k, 3 * k) for k in range(6)])
    moved = plot.on_screen(tumour[0]) - before
    assert abs(moved.x() - 45) < 12
    assert len(dock.selected.rows) == 0

    mask = dock.cells.in_image.layer
    with qtbot.waitSignal(dock.selected.shown, timeout=SLOW_MS):
        mask.selected_label = int(known.embedding.numbers[7])
    assert dock.selected.rows.tolist() == [7]

    press(qtbot, dock, dock.draw_button)
    qtbot.wait(100)
    native = viewer.window._qt_viewer.canvas.native
    square = [(20, 20), (20, 90), (90, 90), (90, 20), (22, 20)]
    ways = [np.linspace(a, b, 12) for a, b in itertools.pairwise(square)]
    drag(qtbot, native, [on_canvas(viewer, *p) for p in np.concatenate(ways)])
    centres = dock.cells.in_image.centres_px
    well_in = ((centres > 24) & (centres < 86)).all(axis=1)
    well_out = ((centres < 16) | (centres > 94)).any(axis=1)
    assert well_in.sum() > 5
    inner = set(np.flatnonzero(well_in).tolist())
    qtbot.waitUntil(lambda: inner <= set(dock.selected.rows.tolist()), timeout=SLOW_MS)
    qtbot.wait(200)
    assert not well_out[dock.selected.rows].any()
    np.testing.assert_array_equal(plot._cloud.lit, dock.selected.rows)
    screenshot("space-3-drawn")


def test_named_clusters_become_types_and_a_table(viewer, dock, qtbot, known, tmp_path, screenshot):
    dock.features_box.setCurrentText("Both, side by side")
    dock.resolution.setValue(0.3)
    press(qtbot, dock, dock.cluster_button)
    ended(dock, qtbot)
    press(qtbot, dock, dock.pca_button)
    ended(dock, qtbot)
    assert all(plot.isVisible() for plot in dock.plots.values())
    table = dock.table
    numbers = dock.numbers
    named = {}
    for row in range(table.rowCount()):
        members = known.groups[numbers == row]
        named[row] = str(max(set(members), key=list(members).count))
        dock.ensureWidgetVisible(table)
        table.scrollToItem(table.item(row, NAME))
        qtbot.wait(30)
        box = table.visualItemRect(table.item(row, NAME)).center()
        assert table.viewport().rect().contains(box)
        qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=box)
        qtbot.waitUntil(lambda n=row: (numbers[dock.selected.rows] == n).all(), timeout=SLOW_MS)
        assert len(dock.selected.rows) == (numbers == row).sum()
        qtbot.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=box)
        qtbot.waitUntil(lambda: editors(table) != [])
        editor = editors(table)[-1]
        editor.selectAll()
        qtbot.keyClicks(editor, named[row])
        qtbot.keyClick(editor, Qt.Key.Key_Return)
        qtbot.waitUntil(lambda: editors(table) == [])
    assert table.names == tuple(named.values())
    press(qtbot, dock, dock.types_button)
    ended(dock, qtbot)
    qtbot.waitUntil(lambda: any(x.name.startswith("cell types") for x in viewer.layers))
    qtbot.waitUntil(lambda: "types are shown" in dock.run.status.text(), timeout=SLOW_MS)
    qtbot.wait(200)
    screenshot("space-4-types")
    mask = dock.cells.in_image.layer
    expected = np.array(list(named.values()))[numbers]
    assert mask.features["cell_type"].tolist() == expected.tolist()
    assert "cell_type" in [dock.color_box.itemText(i) for i in range(dock.color_box.count())]
    dock.color_box.setCurrentText(dock.cells.markers[0])
    ended(dock, qtbot)
    assert "bright" in dock.legend.text()
    screenshot("space-5-marker")

    dock.save(tmp_path / "out")
    ended(dock, qtbot)
    assert dock.run.status.text() == "Saved out.h5ad."
    saved = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert saved.obs["cell_type"].tolist() == expected.tolist()
    assert saved.obs["leiden"].astype(int).tolist() == numbers.tolist()
    assert "X_umap" not in saved.obsm  # only PCA was asked for


def test_drawing_goes_on_after_the_dock_was_closed(viewer, dock, qtbot):
    press(qtbot, dock, dock.draw_button)
    drawn = next(x for x in viewer.layers if x.name.startswith("selection"))
    mask = dock.cells.in_image.layer
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.wait(100)
    drawn.add_rectangles(np.array([[0, 0], [0, 50], [50, 50], [50, 0]]))
    mask.selected_label = 5
    qtbot.wait(200)
    assert not any(x.name.startswith("selected cells") for x in viewer.layers)
