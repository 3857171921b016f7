"""The Attention dock without a window around it, with the real engine."""

import csv
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_virtues._widgets.importance_table import ImportanceTable
from napari_virtues.attention_intent import AttentionIntent, attention_command, attention_job_of
from napari_virtues.docks.attention import AttentionDock
from napari_virtues.engine import RegionImportance
from napari_virtues.inpaint_intent import RegionSource
from napari_virtues.state import OpenImage
from tiny_model import simulated_file, tiny_checkpoint
from virtues_core.cli import attention as cli
from virtues_core.errors import InputError
from virtues_core.infer import marker_importance
from virtues_core.markers import Panel
from virtues_core.model import load_checkpoint
from virtues_core.read import read_image

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""
SQUARES = [
    np.array([[0, 0], [0, 40], [40, 40], [40, 0]]),
    np.array([[64, 64], [64, 120], [130, 120], [130, 64]]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("attention")


@pytest.fixture(scope="module")
def tissue(folder):
    return read_image(simulated_file(folder / "tissue.ome.tiff", size=160))


@pytest.fixture(scope="module")
def checkpoint(folder, tissue):
    return tiny_checkpoint(folder / "tiny", tissue.channels)


@pytest.fixture
def dock(viewer, qtbot):
    widget = AttentionDock(PublicOnlyProxy(viewer))
    qtbot.addWidget(widget)
    yield widget
    widget.engine.close()


def ended(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.run.busy and not dock.background.busy, timeout=SLOW_MS)


def test_drawn_regions_are_scored_side_by_side(dock, qtbot, tissue, checkpoint, tmp_path):
    dock.state.add(tissue)
    dock.viewer.add_shapes(SQUARES, shape_type="polygon", name="two")
    dock.model.choose(str(checkpoint))
    dock.compute()
    ended(dock, qtbot)
    assert dock.run.message.text() == ""
    regions = dock.job.regions
    assert [int(regions[20, 20]), int(regions[100, 100]), int(regions[20, 100])] == [1, 2, 0]
    expected = marker_importance(
        tissue, Panel.from_names(tissue.channels), load_checkpoint(checkpoint), regions
    )
    np.testing.assert_allclose(dock.result.importance, expected.importance, rtol=1e-4)
    shown = dock.table.rows
    names = [name for name, _ in expected.ranked(1)]
    assert [row[0] for row in shown][:5] == names[:5]
    assert [row[1] for row in shown][:5] == [f"{score:.2f}" for _, score in expected.ranked(1)][:5]
    assert dock.table.horizontalHeaderItem(2).text() == "Region 2"

    dock.save(tmp_path / "markers")
    ended(dock, qtbot)
    with (tmp_path / "markers.csv").open() as file:
        saved = list(csv.DictReader(file))
    assert [row["marker"] for row in saved] == list(expected.channels)
    assert float(saved[0]["importance_2"]) == pytest.approx(expected.importance[0, 1], rel=1e-4)
    dock.command_button.click()
    assert QApplication.clipboard().text() == (
        f"virtues attention {tissue.source} --region REGION.tiff "
        f"--checkpoint {checkpoint} --out attention"
    )


def test_mistakes_are_messages(dock, qtbot, tissue, checkpoint, tmp_path):
    dock.compute()
    assert "no image is open" in dock.run.message.text()
    with pytest.raises(InputError, match="nothing was computed yet"):
        dock.command  # noqa: B018
    dock.draw()
    assert "no image is open" in dock.run.message.text()
    dock.state.add(tissue)
    dock.compute()
    assert "no regions are there" in dock.run.message.text()
    dock.draw()
    dock.compute()
    ended(dock, qtbot)
    assert "'regions · tissue' covers nothing" in dock.run.message.text()
    dock.regions.choose_file(tmp_path / "nowhere.tiff")
    dock.compute()
    ended(dock, qtbot)
    assert "found nothing at" in dock.run.message.text()
    dock.viewer.add_labels(np.zeros(tissue.shape[1:], np.int32), name="empty")
    dock.regions.box.setCurrentText("empty")
    dock.compute()
    ended(dock, qtbot)
    assert "covers nothing" in dock.run.message.text()
    assert dock.results.isHidden()


@pytest.mark.parametrize("only", [None, 3])
def test_labels_are_regions_already(viewer, image, only):
    labels = np.zeros(image.shape[1:], np.int32)
    labels[:10], labels[20:30] = 3, 8
    layer = viewer.add_labels(labels)
    if only is not None:
        layer.selected_label, layer.show_selected_label = only, True
    intent = AttentionIntent(OpenImage(image), RegionSource(layer).frozen(), "demo", "auto")
    job = attention_job_of(intent)
    assert np.unique(job.regions).tolist() == ([0, 3, 8] if only is None else [0, 3])
    assert job.with_batch_size(2).batch_size == 2


def test_the_command_line_takes_the_command(image, viewer):
    layer = viewer.add_labels(np.ones(image.shape[1:], np.int32))
    source = RegionSource(layer).frozen()
    job = attention_job_of(AttentionIntent(OpenImage(image), source, "/models/mine", "cpu"))
    job = replace(job, image=replace(job.image, path=Path("/data/two scans.mcd")))
    words = shlex.split(attention_command(job, region=Path("r.tiff"), out=Path("there")))
    app = typer.Typer()
    cli.register(app)
    found = typer.main.get_command(app).make_context("attention", words[2:]).params
    assert (found["path"], found["region"]) == (Path("/data/two scans.mcd"), Path("r.tiff"))
    assert (found["image"], found["out"]) == ("spleen", Path("there"))
    assert (found["checkpoint"], found["device"]) == ("/models/mine", "cpu")


def test_the_table_sorts_by_value_and_draws_bars(qtbot):
    table = ImportanceTable()
    qtbot.addWidget(table)
    scores = np.array([[9.0, 1.0], [10.0, 0.5], [2.0, 4.0]])
    table.show_importance(RegionImportance(("a", "b", "c"), (1, 4), scores, (100, 200)))
    assert [row[0] for row in table.rows] == ["b", "a", "c"]
    table.sortItems(2, Qt.SortOrder.DescendingOrder)
    assert table.rows == [("c", "2.00", "4.00"), ("a", "9.00", "1.00"), ("b", "10.00", "0.50")]
    table.resize(400, 420)
    table.show()
    picture = table.viewport().grab().toImage()
    blue = []
    for row in range(3):
        box = table.visualItemRect(table.item(row, 1))
        colors = [picture.pixelColor(x, box.center().y()) for x in range(box.left(), box.right())]
        blue.append(sum(color.name() == "#4a6bff" for color in colors))
    assert blue[2] > blue[1] > blue[0] > 0
    assert blue[0] == pytest.approx(0.2 * blue[2], abs=3)
