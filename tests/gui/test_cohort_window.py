"""The Cohort dock in a real window, by mouse: columns, a real analysis as a job, cells lit."""

import gc

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from cohort_window_samples import SIDE, small_cohort, squares
from napari_virtues._widgets.cohort_form import NEW, RESULTS
from napari_virtues.cells_intent import LIT
from smoothness import Pulse, stretched
from virtues_core import jobs

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""
SETTINGS = {"states": "3", "groups": "2", "permutations": "19", "seeds": "1"}


@pytest.fixture
def cohort(tmp_path):
    return small_cohort(tmp_path / "cohort")


@pytest.fixture
def dock(viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Cohort")
    qtbot.waitUntil(lambda: dock.fields is not None, timeout=SLOW_MS)
    yield dock
    for job in jobs.list_jobs():
        if job.status.state in {"waiting", "running"}:
            jobs.kill(job)


@pytest.fixture
def old_objects_apart():
    """A function after which garbage is searched for among newer objects alone.

    A search of all that tests have made takes 0.2 s, whenever it comes.
    """
    yield gc.freeze
    gc.unfreeze()


def press(qtbot, dock, button):
    dock.ensureWidgetVisible(button)
    qtbot.wait(20)
    assert button.isVisible()
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def pick(qtbot, dock, box, name):
    """Choose in a box by mouse."""
    dock.ensureWidgetVisible(box)
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton)
    index = box.model().index(box.findText(name), 0)
    box.view().scrollTo(index)
    where = box.view().visualRect(index).center()
    qtbot.waitUntil(box.view().isVisible)
    qtbot.wait(QApplication.doubleClickInterval() + 50)  # sooner, it is the click that opened it
    qtbot.mouseClick(box.view().viewport(), Qt.MouseButton.LeftButton, pos=where)
    qtbot.waitUntil(lambda: box.currentText() == name)


def write(qtbot, dock, name, text):
    line = dock.fields.editor(name)
    dock.ensureWidgetVisible(line)
    line.selectAll()
    qtbot.keyClicks(line, text)


def test_from_tables_to_the_cells_of_a_patient(
    viewer, dock, cohort, qtbot, screenshot, old_objects_apart
):
    viewer.open(cohort.images / "P00-A.ome.tiff", plugin="napari-virtues")
    viewer.add_labels(squares(), units="µm")  # the first of each kind costs napari more
    qtbot.wait(500)
    pulse = Pulse(dock)
    old_objects_apart()
    dock.add([str(cohort.tables)])
    dock.open_clinical(cohort.clinical)
    qtbot.waitUntil(lambda: "24 patients with images" in dock.counts.text(), timeout=SLOW_MS)
    pick(qtbot, dock, dock.columns.boxes["event"], "Age")  # a mistake
    qtbot.waitUntil(lambda: "Age" in dock.problems.text(), timeout=SLOW_MS)
    pick(qtbot, dock, dock.columns.boxes["event"], "Vital status")
    qtbot.waitUntil(lambda: "24 patients with images" in dock.counts.text(), timeout=SLOW_MS)
    for name, text in SETTINGS.items():
        write(qtbot, dock, name, text)
    pick(qtbot, dock, dock.fields.editor("layout"), "pca")
    assert pulse.busy < stretched(100)
    screenshot("cohort-1-new")
    pulse.restart()
    press(qtbot, dock, dock.run_button)
    qtbot.waitUntil(lambda: dock.page_buttons.checkedId() == RESULTS, timeout=SLOW_MS)
    view = dock.runs.view
    qtbot.waitUntil(lambda: view.shown is not None, timeout=SLOW_MS)
    assert dock.runs.message.text() == ""
    assert view.shown.results.analysis == "stratify"
    assert view.shown.headline[0] == view.headline.text() != ""
    assert view.report_button.isEnabled()
    curves = next(k for k, x in enumerate(view.shown.plots) if x.drawing.kind == "steps")
    view.plot_box.setCurrentIndex(curves)
    dock.ensureWidgetVisible(view.plot)
    qtbot.wait(50)

    one = view.plot.drawing.series[0]
    middle = len(one.x) // 2
    assert one.interval is not None
    at = (one.x[middle] + one.x[middle + 1]) / 2
    click(qtbot, view.plot, at, one.y[middle])
    qtbot.waitUntil(dock.tissues.isVisible, timeout=SLOW_MS)
    settle(dock, qtbot)
    assert "lit" in dock.tissues.status.text()

    view.show_table("patients")
    table = view.table.view
    box = table.visualRect(table.model().index(1, 0))
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=box.center())
    qtbot.waitUntil(lambda: dock.tissues.title.text() == "patient P01", timeout=SLOW_MS)
    view.table.close()
    settle(dock, qtbot)
    lit = next(x for x in viewer.layers if LIT in x.metadata and x.visible)
    assert lit.name.endswith("P01-A")
    assert not any(x.visible for x in list(viewer.layers)[:3])  # of the image that was open before
    assert len(np.unique(lit.data)) == 1 + len(np.unique(cohort.kinds["P01-A"]))
    states = view.shown.results.read_cells(["cell_id", "state"], tissue_id="P01-A")
    assert len(states) == SIDE * SIDE
    for state in states["state"].unique():  # cells of one state have one colour
        cells = states.loc[states["state"] == state, "cell_id"]
        assert len(np.unique(lit.data[np.isin(squares(), cells)])) == 1
    print(f"longest stall of the window: {pulse}")
    assert pulse.busy < stretched(100)
    screenshot("cohort-2-lit")


def click(qtbot, plot, x, y):
    where = plot.on_screen(x, y).toPoint()
    assert plot.viewport().rect().contains(where)
    qtbot.mouseMove(plot.viewport(), where + QPoint(1, 0))
    qtbot.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=where)


def settle(dock, qtbot):
    qtbot.waitUntil(lambda: not (dock.background.busy or dock.tissue_layers.busy), timeout=SLOW_MS)


def test_one_that_cannot_be_is_told_and_one_that_runs_is_cancelled(dock, cohort, qtbot):
    dock.add([str(cohort.tables)])
    dock.open_clinical(cohort.clinical)
    qtbot.waitUntil(lambda: "24 patients with images" in dock.counts.text(), timeout=SLOW_MS)
    runs = dock.runs

    def state():
        return None if runs.line is None else runs.line.line.state

    write(qtbot, dock, "groups", "100")
    press(qtbot, dock, dock.run_button)
    qtbot.waitUntil(lambda: state() == "failed", timeout=SLOW_MS)
    assert "groups" in runs.message.text()
    assert "Traceback" not in runs.message.text()
    assert not runs.view.isVisible()
    press(qtbot, dock, dock.page_buttons.button(NEW))
    write(qtbot, dock, "groups", "2")
    write(qtbot, dock, "permutations", "100000000")
    press(qtbot, dock, dock.run_button)
    qtbot.waitUntil(lambda: state() == "running", timeout=SLOW_MS)
    qtbot.waitUntil(runs.going.cancel_button.isVisible, timeout=SLOW_MS)
    assert runs.going.progress.isVisible()
    press(qtbot, dock, runs.going.cancel_button)
    qtbot.waitUntil(lambda: state() == "stopped", timeout=SLOW_MS)
    assert not runs.view.isVisible()
    assert runs.going.resume_button.isVisible()
    assert not (cohort.clinical.parent / "stratify").exists()
