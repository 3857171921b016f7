"""The Space dock without a window around it, with the real engine; and its parts."""

import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
from napari.layers import Shapes

from cells_samples import tissue_files
from napari_virtues._widgets.cluster_table import ClusterTable, shade
from napari_virtues.cells_intent import masks
from napari_virtues.cells_layers import Cells
from napari_virtues.docks.space import SpaceDock
from napari_virtues.space_cells import (
    UNKNOWN_COLOR,
    by_group,
    by_value,
    clusters_as_types,
    color_of,
    inside,
    new_selection_layer,
    of_cells,
    polygons,
)
from space_samples import known_cells, known_table
from virtues_core.cohort.space import Profiles
from virtues_core.read import read_image

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    return tissue_files(tmp_path_factory.mktemp("space"), size=136)


@pytest.fixture(scope="module")
def table(tmp_path_factory, tissue):
    return known_table(tmp_path_factory.mktemp("table"), tissue)


@pytest.fixture
def dock(viewer, qtbot):
    widget = SpaceDock(viewer)
    qtbot.addWidget(widget)
    yield widget
    widget.engine.close()


def ended(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.run.busy and not dock.background.busy, timeout=SLOW_MS)


def colors_listed(dock):
    return [dock.color_box.itemText(i) for i in range(dock.color_box.count())]


def test_a_table_is_mapped_without_its_image(dock, qtbot, tissue, table, tmp_path):
    dock.compute("umap")
    assert "Compute tokens in the Cells dock" in dock.run.message.text()
    for wrong, said in ((tmp_path / "no.h5ad", "found nothing"), (tissue.mask, "AnnData")):
        dock.open_table(wrong)
        ended(dock, qtbot)
        assert said in dock.run.message.text()
        assert dock.cells is None
    dock.open_table(table)
    ended(dock, qtbot)
    assert dock.cells.in_image is None
    assert not dock.draw_button.isEnabled()
    dock.compute("pca")
    ended(dock, qtbot)
    known = anndata.read_h5ad(table)
    assert dock.points["tokens"].shape == (known.n_obs, 2)
    assert colors_listed(dock) == ["phenotype", *known.var_names]
    assert all(name in dock.legend.text() for name in known.obs["phenotype"].cat.categories)
    dock.plots["tokens"].lassoed.emit(np.arange(3))
    assert dock.selection.text() == f"3 of {known.n_obs} selected"
    dock.compute("leiden")
    dock.run.cancel_button.click()
    ended(dock, qtbot)
    assert dock.run.status.text() == "Cancelled."
    assert dock.numbers is None
    dock.compute("leiden")
    ended(dock, qtbot)
    dock.show_types()
    assert "open the image" in dock.run.message.text()
    dock.save(tmp_path / "x.csv")
    ended(dock, qtbot)
    assert "ends with .h5ad" in dock.run.message.text()
    dock.save(tmp_path / "x.h5ad")
    ended(dock, qtbot)
    saved = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert "leiden" in saved.obs
    assert "cell_type" not in saved.obs  # no cluster was named
    assert saved.obs["phenotype"].tolist() == known.obs["phenotype"].tolist()


def test_a_table_finds_its_cells_in_the_open_image(dock, viewer, qtbot, tissue, table):
    viewer.open(str(tissue.image), plugin="napari-virtues")
    viewer.open(str(tissue.mask), plugin="napari-virtues")
    dock.open_table(table)
    ended(dock, qtbot)
    where = dock.cells.in_image
    assert where.layer.name == "tissue_mask"
    with qtbot.waitSignal(dock.selected.shown, timeout=SLOW_MS):
        dock.selected.select(np.array([4, 9]))
    qtbot.wait(100)
    shown = next(x for x in viewer.layers if x.name.startswith("selected"))
    np.testing.assert_array_equal(
        shown.data > 0, np.isin(tissue.labels, where.numbers[np.isin(where.rows, [4, 9])])
    )
    assert shown not in masks(viewer)
    y, x = where.centres_px[0]
    assert tissue.labels[round(y), round(x)] == where.numbers[0]


@pytest.fixture
def cells(tissue):
    from napari.layers import Labels

    known = known_cells(tissue)
    layer = Labels(tissue.labels)
    return of_cells(Cells(read_image(tissue.image), layer, tissue.labels, known.embedding))


def test_cells_are_found_by_label_and_by_outline(cells):
    where = cells.in_image
    assert where.row_of(int(where.numbers[5])) == 5
    assert where.row_of(10**6) is None
    assert where.row_of(0) is None
    left = where.within([np.array([[0, 0], [0, 60], [200, 60], [200, 0]])])
    np.testing.assert_array_equal(left, np.flatnonzero(where.centres_px[:, 1] < 60))
    assert len(where.within([])) == len(where.within([np.zeros((2, 2))])) == 0
    picture = where.picture(np.arange(len(cells)) == 3)
    np.testing.assert_array_equal(picture > 0, where.labels == where.numbers[3])


def test_outlines_of_shapes(qtbot):
    layer = Shapes(ndim=2)
    layer.add_rectangles(np.array([[0, 0], [0, 10], [10, 10], [10, 0]]))
    layer.add_ellipses(np.array([[0, 0], [0, 20], [10, 20], [10, 0]]))
    layer.add_lines(np.array([[0, 0], [5, 5]]))
    box, ellipse = polygons(layer)
    points = np.array([[1.0, 1], [5, 12], [9.5, 19], [1, 12]])
    assert inside(points, box).tolist() == [0]
    assert inside(points, ellipse).tolist() == [1, 3]


def test_colours_say_kinds_and_brightness(cells):
    found = by_group(np.array(["T", "B", "", None, "unsure", "B"], dtype=object))
    assert [name for name, _ in found.legend] == ["B", "T", "unsure"]
    assert found.argb[1] == found.argb[5] != found.argb[0]
    assert f"#{int(found.argb[2]) & 0xFFFFFF:06x}" == UNKNOWN_COLOR
    assert found.argb[3] == found.argb[2]
    assert [c for _, c in found.legend][:2] == [color_of(0), color_of(1)]
    given = by_group(["x", "y"], {"y": "#ff0000", "x": "#00ff00"})
    assert given.legend == (("y", "#ff0000"), ("x", "#00ff00"))
    assert given.argb.tolist() == [0xFF00FF00, 0xFFFF0000]
    assert len({color_of(n) for n in range(40)}) == 40
    value = by_value(np.array([0.0, 5, 1000]))
    assert f"#{int(value.argb[2]) & 0xFFFFFF:06x}" == value.legend[1][1]
    assert f"#{int(value.argb[0]) & 0xFFFFFF:06x}" == value.legend[0][1]
    assert len(set(by_value(np.full(4, np.nan)).argb.tolist())) == 1


def test_what_a_mask_knows_is_offered_as_it_is_now(cells):
    assert cells.groups == ()
    layer = cells.in_image.layer
    kinds = ["a", "b"] * (len(cells) // 2) + ["a"] * (len(cells) % 2)
    layer.features = pd.DataFrame(
        {"index": cells.in_image.numbers, "niche": kinds, "area": 1.0, "same": "x"}
    )
    assert cells.groups == ("niche",)
    layer.features = pd.DataFrame({"index": [1], "niche": ["a"]})
    assert cells.groups == ()


def test_clusters_of_one_name_become_one_type(cells):
    numbers = np.arange(len(cells)) % 3
    view, colors = clusters_as_types(cells.in_image, numbers, ["T", "B", "T"])
    assert view.order == ("T", "B", "unsure")
    assert view.counts["T"] == np.sum(numbers != 1)
    assert view.counts["unsure"] == 0
    assert len(colors) == 3
    np.testing.assert_array_equal(view.names == "B", numbers == 1)
    labels, first = cells.in_image.labels, cells.in_image.numbers
    assert (view.picture[labels == first[1]] == 2).all()
    assert not view.picture[labels == 0].any()


def test_selected_cells_are_drawn_on_their_image(cells):
    picture = cells.in_image.picture(np.ones(len(cells), np.uint8))
    layer = new_selection_layer(cells.in_image.image, picture)
    assert layer.data.dtype == np.uint8
    np.testing.assert_allclose(layer.colormap.map(np.array([1]))[0], 1)
    assert layer.colormap.map(np.array([0]))[0][3] == 0


def test_the_heat_map_names_clusters(qtbot):
    table = ClusterTable()
    qtbot.addWidget(table)
    values = np.array([[2.0, 0], [-9, 1]], np.float32)
    table.show_profiles(Profiles(("0", "1"), ("CD3", "CD20"), values, np.array([7, 3])), 2)
    assert table.names == ("0", "1")
    assert table.item(0, 1).text() == "7"
    assert "CD20 in 1: +1.00" in table.item(1, 3).toolTip()
    assert table.item(1, 2).background().color().getRgb()[:3] == tuple(
        shade(np.array([[-2.0]]), 2)[0, 0].tolist()
    )
    with qtbot.waitSignal(table.renamed):
        table.item(0, 0).setText(" T cell ")
    assert table.names == ("T cell", "1")
    with qtbot.assertNotEmitted(table.renamed):
        table.item(0, 0).setText("  ")
    assert table.names == ("T cell", "1")
    with qtbot.waitSignal(table.chosen) as told:
        table.selectRow(1)
    assert told.args[0].tolist() == [1]


WINDOW = """
import sys
import numpy as np
import napari_virtues.docks.space
from napari_virtues.space_cells import by_group, by_value, inside
by_group(["a", "b"]), by_value(np.arange(4.0)), inside(np.zeros((3, 2)), np.ones((3, 2)))
print(sorted({"torch", "umap", "sklearn", "pynndescent", "matplotlib"} & set(sys.modules)))
"""


def test_the_window_imports_none_of_what_computes():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WINDOW], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
