"""The Retrieve dock in a real window: a database, a query, a match opened by the mouse."""

from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_virtues.state import link_of
from smoothness import Pulse, check_smooth
from tiny_model import simulated_file, tiny_checkpoint
from virtues_core.cohort.retrieval import Settings, TissueDatabase, TissueEntry, add_images
from virtues_core.cohort.retrieval.entries import Stored
from virtues_core.infer import checkpoint_signature
from virtues_core.infer.listing import list_images
from virtues_core.model import load_checkpoint
from virtues_core.read import read_image

SLOW_MS = 300_000
OTHERS = 3000
"""Tissues that are listed beside the few that there are images of."""


def build(folder):
    """Three small tissues, and many far ones of which only tokens are there."""
    paths = [simulated_file(folder / f"t{i}.ome.tiff", 256, seed=i) for i in range(3)]
    saved = tiny_checkpoint(folder / "model", read_image(paths[0]).channels)
    checkpoint = load_checkpoint(saved)
    settings = Settings(
        str(saved), checkpoint_signature(checkpoint), checkpoint.config.model_dim, small="whole"
    )
    database = TissueDatabase.create(folder / "tissues.db", settings)
    add_images(database, list_images(paths), checkpoint)
    far = database.tokens("t0") + 100
    stages = ("I", "II", "III")
    database.add(
        TissueEntry(Stored(f"far {i}", f"P{i}", {"stage": stages[i % 3], "age": i % 40}), far)
        for i in range(OTHERS)
    )
    return database


def test_similar_tissues_are_found_and_opened_by_the_mouse(viewer, qtbot, tmp_path, screenshot):
    database = build(tmp_path)
    viewer.open(str(tmp_path / "t0.ome.tiff"), plugin="napari-virtues")
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Retrieve")
    qtbot.wait(300)
    pulse = Pulse(dock)

    def ended(what):
        qtbot.waitUntil(
            lambda: not (dock.run.busy or dock.background.busy or dock._turns.busy),
            timeout=SLOW_MS,
        )
        qtbot.wait(50)
        print(f"longest stall while {what}: {pulse}")
        check_smooth(pulse)

    dock.open_database(database.path)
    ended("a database was opened")
    assert "3,003 tissues of 3,000 patients" in dock.about.text()
    dock.ensureWidgetVisible(dock.run.run_button)
    pulse.restart()
    QTest.mouseClick(dock.run.run_button, Qt.MouseButton.LeftButton)
    ended("tissues were found")
    assert dock.run.message.text() == ""
    cards = dock.shown_cards()
    assert cards[0].title.text() == "Query: t0"
    assert {match.tissue_id for match in dock.result.matches[:2]} == {"t1", "t2"}
    dock.ensureWidgetVisible(cards[1])
    qtbot.wait(100)
    screenshot("retrieve-found")
    pulse.restart()
    first = dock.result.matches[0].tissue_id
    QTest.mouseClick(cards[1], Qt.MouseButton.LeftButton, pos=QPoint(150, 20))
    ended("one was opened")
    shown = {link_of(layer).image.name for layer in viewer.layers if layer.visible}
    assert shown == {first}
    screenshot("retrieve-opened")
    dock.engine.close()
