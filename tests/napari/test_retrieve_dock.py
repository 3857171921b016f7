"""The Retrieve dock without a window around it, with a real database and the real engine."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication
from typer.testing import CliRunner

from napari_virtues._widgets.match_cards import CompositionBar
from napari_virtues._widgets.retrieve_form import ACTIVE
from napari_virtues.docks.retrieve import RetrieveDock
from napari_virtues.retrieve_intent import RetrieveIntent, describe, retrieve_job_of
from napari_virtues.state import link_of
from tiny_model import simulated_file, tiny_checkpoint
from virtues_core.cli.main import app
from virtues_core.cohort.retrieval import (
    Settings,
    TissueDatabase,
    add_images,
    wasserstein,
)
from virtues_core.errors import ReadError
from virtues_core.infer import Cancelled, checkpoint_signature
from virtues_core.infer.listing import list_images
from virtues_core.model import load_checkpoint
from virtues_core.read import read_image

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""
PATIENTS = {"t0": "P0", "t1": "P0", "t2": "P1", "t3": "P2"}
HOSTILE = "<b>II</b>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("retrieve")


@pytest.fixture(scope="module")
def database(folder):
    """Four small tissues of three patients."""
    paths = [simulated_file(folder / f"{name}.ome.tiff", 256, seed=i)
             for i, name in enumerate(PATIENTS)]  # fmt: skip
    saved = tiny_checkpoint(folder / "model", read_image(paths[0]).channels)
    checkpoint = load_checkpoint(saved)
    settings = Settings(
        str(saved), checkpoint_signature(checkpoint), checkpoint.config.model_dim, small="whole"
    )
    made = TissueDatabase.create(folder / "tissues.db", settings)
    add_images(made, list_images(paths), checkpoint)
    for place, about in enumerate(made.tissues()):
        shares = {"tumour": 0.25 * place, "B": 1 - 0.25 * place}
        clinical = {"stage": HOSTILE if place % 2 else "I", "age": 50 + place, "score": place + 0.5}
        known = {"patient_id": PATIENTS[about.tissue_id], "clinical": clinical}
        made.describe(replace(about, composition=shares, **known))
    return made


@pytest.fixture
def dock(viewer, qtbot):
    widget = RetrieveDock(PublicOnlyProxy(viewer))
    qtbot.addWidget(widget)
    yield widget
    widget.engine.close()


@pytest.fixture
def opened(dock, qtbot, database):
    dock.open_database(database.path)
    ended(dock, qtbot)
    return dock


@dataclass
class Worker:
    """What a job finds in the child, without a child."""

    cancelled: Callable[[], bool] = lambda: False

    def emit(self, event):
        pass


def wanted(database, tissue):
    return RetrieveIntent(database.path, tissue, "", 1, {}, True, "demo", "auto")


def ended(dock, qtbot):
    qtbot.waitUntil(
        lambda: not (dock.run.busy or dock.background.busy or dock._turns.busy), timeout=SLOW_MS
    )


def titles(dock):
    return [card.title.text() for card in dock.shown_cards()]


def nearest(database, name, among):
    """Names and distances by solving all, the nearest first."""
    tokens = database.tokens(name)
    found = sorted((wasserstein(tokens, database.tokens(other)), other) for other in among)
    return [f"{i}. {other}, distance {d:.4g}" for i, (d, other) in enumerate(found, 1)]


def command_finds(dock, folder):
    """Run the command that the dock copies; ranks, names and distances that it writes."""
    dock.command_button.click()
    words = shlex.split(QApplication.clipboard().text())
    words[words.index("similar.json")] = str(folder / "similar.json")
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    found = json.loads((folder / "similar.json").read_text())["matches"]
    return [f"{m['rank']}. {m['tissue_id']}, distance {m['distance']:.4g}" for m in found]


def test_a_tissue_of_the_database_finds_those_of_other_patients(opened, qtbot, database, tmp_path):
    dock = opened
    assert dock.about.text() == "tissues.db: 4 tissues of 3 patients, tokens by model"
    dock.query_box.setCurrentText("t0")
    assert not dock.model.isEnabled()
    assert list(dock.filter_boxes()) == ["age", "stage"]
    dock.compute()
    ended(dock, qtbot)
    assert dock.run.message.text() == ""
    assert titles(dock) == ["Query: t0", *nearest(database, "t0", ["t2", "t3"])]
    assert "of 2 tissues" in dock.run.status.text()
    assert "own patient (P0) were left out." in dock.run.status.text()
    query = dock.shown_cards()[0]
    assert query.known.text() == "patient P0 · stage I · age 50 · score 0.5"
    assert not query.picture.pixmap().isNull()
    assert query.bar.parts == [("#56b4e9", 1.0)]  # B, the commonest of all that is shown
    assert "tumour" in dock.legend.text()
    assert command_finds(dock, tmp_path) == titles(dock)[1:]
    dock.same_patient.setChecked(True)
    dock.top.setValue(1)
    dock.compute()
    ended(dock, qtbot)
    assert titles(dock)[1:] == nearest(database, "t0", ["t1", "t2", "t3"])[:1]
    dock.filter_boxes()["stage"].setCurrentText(HOSTILE)
    dock.top.setValue(3)
    dock.compute()
    ended(dock, qtbot)
    assert titles(dock)[1:] == nearest(database, "t0", ["t1", "t3"])
    assert command_finds(dock, tmp_path) == titles(dock)[1:]
    card = dock.shown_cards()[1]
    assert f"stage {HOSTILE}" in card.known.text()
    assert HOSTILE not in card.toolTip()  # tips would take it for HTML


def test_the_active_image_is_searched_for_and_a_match_opens_by_a_click(
    opened, qtbot, database, folder, tmp_path
):
    dock = opened
    image = read_image(folder / "t2.ome.tiff")
    dock.state.add(image)
    assert dock.query_box.currentText() == ACTIVE
    assert dock.model.checkpoint == str(folder / "model")
    dock.compute()
    ended(dock, qtbot)
    assert dock.run.message.text() == ""
    assert titles(dock) == ["Query: t2", *nearest(database, "t2", ["t0", "t1", "t3"])]
    assert shlex.split(dock.command)[4] == "t2"
    card = dock.shown_cards()[1]
    name = dock.result.matches[0].tissue_id
    dock.show()
    qtbot.mouseClick(card, Qt.MouseButton.LeftButton, pos=QPoint(20, 20))
    ended(dock, qtbot)
    links = [link_of(layer) for layer in dock.viewer.layers if layer.visible]
    assert links
    assert {link.image.name for link in links} == {name}
    assert all(layer.name.endswith(f" · {name}") for layer in dock.viewer.layers if layer.visible)
    assert dock.state.active.image.name == name
    count = len(dock.viewer.layers)
    dock.open_tissue(dock.result.matches[1].tissue_id)
    ended(dock, qtbot)
    assert len(dock.viewer.layers) == 2 * count
    dock.open_tissue(name)  # it is open, and hidden
    ended(dock, qtbot)
    assert len(dock.viewer.layers) == 2 * count
    links = [link_of(layer) for layer in dock.viewer.layers if layer.visible]
    assert len(links) == count
    assert {link.image.name for link in links} == {name}
    path = tmp_path / "new.ome.tiff"
    path.write_bytes((folder / "t1.ome.tiff").read_bytes())
    dock.state.add(read_image(path))
    dock.compute()
    ended(dock, qtbot)
    assert titles(dock)[:2] == ["Query: new", "1. t1, distance 0"]
    assert "patient is not known" in dock.run.status.text()
    assert shlex.split(dock.command)[4] == str(path)
    dock.patient.setText(" P0 ")
    dock.compute()
    ended(dock, qtbot)
    assert {match.tissue_id for match in dock.result.matches} == {"t2", "t3"}
    assert shlex.split(dock.command)[-4:-2] == ["--patient", "P0"]


def test_mistakes_are_messages(dock, qtbot, folder, tmp_path, image, database):
    dock.compute()
    assert "no database is open" in dock.run.message.text()
    (tmp_path / "other.db").write_text("no database")
    for path in (tmp_path / "nothing.db", tmp_path / "other.db"):
        dock.open_database(path)
        ended(dock, qtbot)
        assert str(path) in dock.run.message.text()
        assert dock.database is None
    dock.open_database(database.path)
    ended(dock, qtbot)
    dock.compute()
    assert "no image is open" in dock.run.message.text()
    dock.query_box.setCurrentText("t9")
    dock.compute()
    assert "has no tissue 't9'" in dock.run.message.text()
    dock.query_box.setCurrentText("t0")
    dock.filter_boxes()["stage"].setCurrentText("I")
    dock.filter_boxes()["age"].setCurrentText("51")
    dock.compute()
    ended(dock, qtbot)
    assert "none that the filters let through" in dock.run.message.text()
    dock.query_box.setCurrentText(ACTIVE)
    dock.state.add(image)
    dock.model.choose("demo")
    dock.compute()
    ended(dock, qtbot)
    assert "expected tokens of the checkpoint" in dock.run.message.text()
    assert dock.shown_cards() == []


def test_an_image_that_is_gone_is_said_and_found_elsewhere(opened, qtbot, database, folder):
    dock = opened
    away = folder / "moved"
    away.mkdir()
    (folder / "t3.ome.tiff").rename(away / "t3.ome.tiff")
    try:
        dock.result = retrieve_job_of(wanted(database, "t3")).run(Worker())
        dock.open_tissue("t3")
        ended(dock, qtbot)
        assert "expected the image of tissue 't3'" in dock.run.message.text()
        assert len(dock.viewer.layers) == 0
        dock.look_in(away)
        dock.open_tissue("t3")
        ended(dock, qtbot)
        assert dock.state.active.image.source == away / "t3.ome.tiff"
    finally:
        (away / "t3.ome.tiff").rename(folder / "t3.ome.tiff")


def test_a_search_stops_when_it_is_cancelled(database):
    job = retrieve_job_of(wanted(database, "t0"))
    with pytest.raises(Cancelled, match="was stopped"):
        job.run(Worker(cancelled=lambda: True))


def test_a_bar_has_the_shares(qtbot):
    bar = CompositionBar({"B": 0.25, "T": 0.75, "<i>": 0.0}, {"T": "#ff0000", "B": "#0000ff"})
    qtbot.addWidget(bar)
    bar.resize(100, 12)
    picture = bar.grab().toImage()
    colors = [picture.pixelColor(x * picture.width() // 100, 6).name() for x in (5, 70, 80, 95)]
    assert colors == ["#ff0000", "#ff0000", "#0000ff", "#0000ff"]
    assert "T: 75.0%" in bar.toolTip()
    assert "<i>" not in bar.toolTip()


def test_what_is_said_of_a_database(database, tmp_path):
    found = describe(database.path)
    assert found.names == list(PATIENTS)
    assert found.patients == ["P0", "P1", "P2"]
    assert found.values["age"] == (50, 51, 52, 53)
    with pytest.raises(ReadError):
        describe(tmp_path)
    np.testing.assert_array_equal(database.tokens("t0").shape, (4, 32))
