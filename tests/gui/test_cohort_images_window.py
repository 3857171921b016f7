"""From images to a report, in a real window by mouse: tokens, patients, an analysis."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_virtues._widgets.cohort_form import RESULTS
from report_browser import browser, measured, problems
from smoothness import Pulse, stretched
from tiny_model import tiny_checkpoint
from virtues_core import jobs
from virtues_core.simulate import CohortConfig, panel_preset, simulate_cohort, write_spora

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""
PATIENTS = 6
SETTINGS = {"states": "3", "groups": "2", "folds": "2", "permutations": "19", "seeds": "1"}


@pytest.fixture
def cohort(tmp_path):
    """``cohort``, a spora folder of small tissues, and ``tiny``, a model for them."""
    config = CohortConfig(
        ("imc-immune",), patients=PATIENTS, tissues_per_patient=1, size_px=128, effect=3, seed=4
    )
    tiny_checkpoint(tmp_path / "tiny", panel_preset("imc-immune").names)
    return write_spora(simulate_cohort(config), tmp_path / "cohort")


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


def press(qtbot, dock, button):
    dock.ensureWidgetVisible(button)
    qtbot.wait(20)
    click(qtbot, button)


def click(qtbot, button):
    assert button.isVisible()
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def write(qtbot, editor, text):
    editor.selectAll()
    qtbot.keyClicks(editor, text)


def check_stall(pulse, what):
    print(f"longest stall while {what}: {pulse}")
    assert pulse.busy < stretched(100)


def test_from_images_to_a_report(viewer, dock, cohort, qtbot, monkeypatch, screenshot):
    form, tokens = dock.tokens.form, dock.tokens
    folders = iter([cohort, cohort.parent / "tiny"])
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(next(folders)))
    clinical = cohort / "metadata" / "clinical.csv"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(clinical), ""))
    pulse = Pulse(dock)
    press(qtbot, dock, dock.from_images)
    qtbot.waitUntil(form.isVisible)
    click(qtbot, form.add_folder)
    form.model.checkpoint_file.menu().actions()[0].trigger()
    write(qtbot, form.stride_box, "128")
    check_stall(pulse, "images were chosen")
    screenshot("cohort-images-1-form", form)
    pulse.restart()
    click(qtbot, form.run_button)
    qtbot.waitUntil(form.isHidden, timeout=SLOW_MS)
    qtbot.waitUntil(tokens.going.cancel_button.isVisible, timeout=SLOW_MS)
    click(qtbot, tokens.going.cancel_button)
    qtbot.waitUntil(tokens.going.resume_button.isVisible, timeout=SLOW_MS)
    assert tokens.going.line.state == "stopped"
    assert dock.paths == ()
    click(qtbot, tokens.going.resume_button)
    qtbot.waitUntil(lambda: tokens.going.line.progress > 0, timeout=SLOW_MS)
    check_stall(pulse, "the job was started and cancelled")
    screenshot("cohort-images-2-going")
    pulse.restart()
    qtbot.waitUntil(lambda: dock.paths != (), timeout=SLOW_MS)
    assert dock.paths == (cohort.parent / "tokens",)
    assert not tokens.going.isVisible()
    qtbot.waitUntil(lambda: f"of {PATIENTS} tissues" in dock.cells_label.text(), timeout=SLOW_MS)

    press(qtbot, dock, dock.clinical_file)
    told = f"{PATIENTS} patients with images and clinical data"
    qtbot.waitUntil(lambda: told in dock.counts.text(), timeout=SLOW_MS)
    assert dock.columns.columns.time == "survival_months"
    for name, text in SETTINGS.items():
        dock.ensureWidgetVisible(dock.fields.editor(name))
        write(qtbot, dock.fields.editor(name), text)
    dock.fields.editor("layout").setCurrentText("pca")
    press(qtbot, dock, dock.run_button)
    qtbot.waitUntil(lambda: dock.page_buttons.checkedId() == RESULTS, timeout=SLOW_MS)
    view = dock.runs.view
    qtbot.waitUntil(lambda: view.shown is not None, timeout=SLOW_MS)
    assert "told by other patients" in view.headline.text()
    assert view.plot.drawing is view.shown.plots[0].drawing
    assert len(view.shown.tables["patients"].rows) == PATIENTS
    check_stall(pulse, "tables were added and an analysis was run")
    screenshot("cohort-images-3-results")
    report = clinical.parent / "stratify" / "report.html"
    assert report == view.shown.report
    assert view.report_button.isEnabled()
    if browser() is not None:
        assert problems(measured(report)) == []
