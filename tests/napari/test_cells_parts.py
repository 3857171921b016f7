"""Parts of the Cells dock that need no window: commands, masks, layers, colours, the table."""

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from qtpy.QtCore import Qt

from napari_virtues._widgets.type_table import CELLS, CLICKED, COLOR, MOST, NAME, TypeTable
from napari_virtues.cells_intent import EmbedIntent, embed_command, embed_job_of, masks
from napari_virtues.cells_layers import (
    UNSURE_COLOR,
    Cells,
    cell_features,
    legend,
    new_marks_layer,
    new_types_layer,
    painted,
    show_marks,
    typed_view,
)
from napari_virtues.engine import CellTypes
from napari_virtues.state import AppState
from virtues_core.cli import embed as cli
from virtues_core.errors import InputError
from virtues_core.infer import Embedding, EmbedRequest


@pytest.fixture
def labels():
    labels = np.zeros((96, 120), np.int32)
    labels[10:20, 10:20] = 4
    labels[30:40, 50:60] = 7
    labels[50:56, 100:110] = 9
    return labels


@pytest.fixture
def embedding(image):
    return Embedding(
        level="cell",
        names=("cell_id", "spleen"),
        numbers=np.array([4, 7, 9]),
        tokens=np.eye(3, 8, dtype=np.float32),
        intensities=np.arange(18, dtype=np.float32).reshape(3, 6),
        centres_um=np.array([[7.25, 7.25], [27.25, 17.25], [52.25, 26.25]]),
        area_um2=np.array([25.0, 25.0, 15.0]),
        var=pd.DataFrame(index=list(image.channels)),
        provenance={"level": "cell"},
    )


@pytest.fixture
def cells(image, labels, embedding):
    from napari.layers import Labels

    return Cells(image, Labels(labels, scale=(0.5, 0.5)), labels, embedding)


TYPES = CellTypes(("B", "T"), np.array([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8]], np.float32))


@pytest.fixture
def intent(viewer, image, labels):
    opened = AppState.of(viewer).add(image)
    layer = viewer.add_labels(labels)
    return EmbedIntent(opened, layer, labels, "demo", "auto", 42)


def parsed(command):
    """Parse a command as ``virtues`` does, without running it."""
    words = shlex.split(command)
    assert words[:2] == ["virtues", "embed"]
    app = typer.Typer()
    cli.register(app)
    return typer.main.get_command(app).make_context("embed", words[2:]).params


def test_command_says_all_that_was_chosen_and_the_command_line_takes_it(intent):
    job = embed_job_of(intent)
    short = embed_command(job)
    assert short == "virtues embed IMAGE.ome.tiff --cells CELLS.tiff --out cells.h5ad"
    full = replace(
        job,
        image=replace(job.image, path=Path("/data/two scans.mcd")),
        checkpoint="/models/mine",
        device="cpu",
        request=EmbedRequest(stride_px=64, batch_size=2),
    )
    found = parsed(embed_command(full, cells=Path("/data/my cells.tiff"), out=Path("x.h5ad")))
    assert found["images"] == ["/data/two scans.mcd"]
    assert found["cells"] == Path("/data/my cells.tiff")
    assert found["image"] == "spleen"
    assert found["out"] == Path("x.h5ad")
    assert (found["checkpoint"], found["device"]) == ("/models/mine", "cpu")
    assert (found["stride"], found["batch_size"]) == (64, 2)


def test_masks_of_another_size_or_without_cells_are_refused(intent, labels):
    with pytest.raises(InputError, match=r"image's size \(96, 120\).*found \(90, 120\)"):
        embed_job_of(replace(intent, labels=labels[:90]))
    with pytest.raises(InputError, match="holds no cell"):
        embed_job_of(replace(intent, labels=np.zeros_like(labels)))
    job = embed_job_of(intent)
    assert job.with_batch_size(3).batch_size == 3
    np.testing.assert_array_equal(job.cells, labels)


def test_layers_of_types_are_no_masks(viewer, cells):
    view = typed_view(cells, TYPES, ("B", "T"), 0.5)
    mask = viewer.add_labels(cells.labels)
    viewer.add_layer(new_types_layer(cells, view, ["#ff0000", "#00ff00", UNSURE_COLOR]))
    assert masks(viewer) == (mask,)


def test_cells_are_found_by_place(cells):
    assert [cells.row_at(*place) for place in [(10, 10), (19.4, 9.6), (35, 55)]] == [0, 0, 1]
    beside = [(0, 0), (20.6, 10), (-1, 5), (96, 5), (5, 500)]
    assert [cells.row_at(*place) for place in beside] == [None] * 5
    np.testing.assert_allclose(cells.centres_px[1], [34.5, 54.5])
    assert cells.size_px == pytest.approx(10)


def test_types_are_painted_counted_and_coloured(cells):
    view = typed_view(cells, TYPES, ("T", "B"), 0.6)
    assert view.names.tolist() == ["B", "unsure", "T"]
    assert view.counts == {"T": 1, "B": 1, "unsure": 1}
    assert [int(view.picture[cells.labels == label][0]) for label in (4, 7, 9)] == [2, 3, 1]
    assert not view.picture[cells.labels == 0].any()
    layer = new_types_layer(cells, view, ["#00ff00", "#ff0000", UNSURE_COLOR])
    np.testing.assert_allclose(layer.colormap.map(np.array([2]))[0], [1, 0, 0, 1], atol=0.01)
    assert layer.colormap.map(np.array([0]))[0][3] == 0
    assert legend(view)["cells"].tolist() == [1, 1, 1]
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))


def test_a_type_that_is_listed_no_more_is_not_painted(cells):
    view = typed_view(cells, TYPES, ("T",), 0.0)
    assert [int(view.picture[cells.labels == label][0]) for label in (4, 7, 9)] == [0, 1, 1]


def test_large_labels_are_painted_alike():
    labels = np.array([[0, 2**30], [3, 5]])
    ids, numbers = np.array([3, 2**30]), np.array([8, 9], np.uint8)
    assert painted(labels, ids, numbers).tolist() == [[0, 9], [8, 0]]


def test_features_are_those_of_the_labels(cells, embedding, image):
    cells.layer.features = cell_features(embedding)
    said = " ".join(cells.layer._get_properties((35, 55)))
    assert "area_um2: 25" in said
    assert f"{image.channels[0]}: 6" in said
    assert cells.layer.features["x_um"].tolist() == [7.25, 27.25, 52.25]


def test_marks_have_the_colours_of_their_types(cells):
    layer = new_marks_layer(cells)
    show_marks(layer, cells, {}, None)
    assert len(layer.data) == 0
    show_marks(layer, cells, {2: "#ff0000"}, 1)
    np.testing.assert_allclose(layer.data, cells.centres_px[[2, 1]])
    np.testing.assert_allclose(layer.face_color, [[1, 0, 0, 1], [0, 0, 0, 0]])
    assert layer.size[1] > layer.size[0]
    show_marks(layer, cells, {0: "#ff0000", 1: "#0000ff", 2: "#00ff00"}, None)
    assert len(layer.data) == 3
    show_marks(layer, cells, {}, None)
    assert len(layer.data) == 0


@pytest.fixture
def table(qtbot):
    table = TypeTable()
    qtbot.addWidget(table)
    table.add("B cell")
    table.add("T cell")
    return table


def test_types_are_named_once(table):
    assert table.names == ["B cell", "T cell"]
    assert table.chosen == "T cell"
    assert len(set(table.colors.values())) == 2
    for name in ("", "B cell", " B cell ", "unsure"):
        with pytest.raises(InputError, match="name of a new type"):
            table.add(name)
    for number in range(MOST - 2):
        table.add(f"type {number}")
    with pytest.raises(InputError, match=f"{MOST} types"):
        table.add("one more")


def test_renaming_and_recolouring_are_told(table, qtbot):
    with qtbot.waitSignal(table.renamed) as told:
        table.item(0, NAME).setText("B")
    assert told.args == ["B cell", "B"]
    with qtbot.assertNotEmitted(table.renamed):
        table.item(0, NAME).setText("T cell")
    assert table.names == ["B", "T cell"]
    with qtbot.waitSignal(table.recolored):
        table.set_color("B", "#123456")
    assert table.colors["B"] == "#123456"
    assert not table.item(0, COLOR).flags() & Qt.ItemFlag.ItemIsEditable


def test_counts_are_shown_beside_their_types(table):
    table.show_counts({"T cell": 3}, {"B cell": 1200, "T cell": 8})
    shown = [[table.item(r, c).text() for c in (CLICKED, CELLS)] for r in (0, 1)]
    assert shown == [["0", "1,200"], ["3", "8"]]
    table.choose("B cell")
    assert table.remove_chosen() == "B cell"
    assert table.names == ["T cell"]


WITHOUT_TORCH = """
import sys
import numpy as np
import napari_virtues.docks.attention
import napari_virtues.docks.cells
import napari_virtues._widgets.cell_typing
from napari_virtues.cells_typed import typed_by_clicks
from napari_virtues.cells_layers import Cells, cell_features
from virtues_core.infer import Embedding
import pandas as pd

labels = np.arange(12, dtype=np.int32).reshape(3, 4)
rows = np.arange(11)
embedding = Embedding(
    "cell", ("cell_id", "x"), rows + 1, np.random.default_rng(0).normal(size=(11, 4)),
    np.zeros((11, 1)), np.zeros((11, 2)), np.ones(11),
    pd.DataFrame({"key": ["P07766"], "in_model": [True]}, index=["CD3"]), {"panel": ["P07766"]},
)
cell_features(embedding)
found = typed_by_clicks(
    Cells(None, None, labels, embedding), None, {0: "B", 5: "T"}, ("B", "T"), 0.5
)
print(sum(found.view.counts.values()), "torch" in sys.modules)
"""


def test_typing_in_the_window_imports_no_torch():
    command = [sys.executable, "-c", WITHOUT_TORCH]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["11", "False"]
