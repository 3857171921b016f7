"""The Jobs dock without a window around it, with real jobs that are really killed."""

import json
import shutil
import time

import numpy as np
import psutil
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox

from napari_virtues._widgets.job_table import NAME, PROGRESS, STATE
from napari_virtues._widgets.table_window import TableWindow
from napari_virtues.docks.jobs import JobsDock
from napari_virtues.job_files import JobWatch
from virtues_core.jobs import Job, list_jobs, submit
from virtues_core.jobs.registry import register
from virtues_core.read import write_ome_tiff
from virtues_core.run_dir import update_run

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """A folder of jobs of the test's own; none of them outlives it."""
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield tmp_path / "jobs"
    for job in list_jobs():
        try:
            process = psutil.Process(json.loads((job.run_dir / "status.json").read_text())["pid"])
            if str(job.run_dir) in process.cmdline():
                process.kill()
        except (OSError, KeyError, ValueError, TypeError, psutil.Error):
            continue  # it has ended, or its status says nothing


@pytest.fixture
def dock(viewer, qtbot, jobs, monkeypatch):
    monkeypatch.setattr("napari_virtues.docks.jobs.EVERY_MS", 50)
    widget = JobsDock(viewer)
    qtbot.addWidget(widget)
    widget.resize(widget.sizeHint())
    widget.show()
    yield widget
    widget.hide()
    qtbot.waitUntil(lambda: not widget.background.busy, timeout=SLOW_MS)


def cohort(tmp_path, patients):
    """A command that takes a second a patient, and needs no model."""
    return ["simulate", "--out", str(tmp_path / "cohort"), "--patients", str(patients),
            "--tissues", "1", "--size", "128", "--datasets", "imc-tumour"]  # fmt: skip


def shown(dock, column):
    return [dock.table.item(row, column).text() for row in range(dock.table.rowCount())]


def until(dock, qtbot, state):
    def stands():
        line = dock.table.line
        assert line is None or line.state in {state, "waiting", "running", before}, line
        return line is not None and line.state == state

    before = None if dock.table.line is None else dock.table.line.state

    qtbot.waitUntil(stands, timeout=SLOW_MS)


def answer(monkeypatch, button):
    """Answer the next questions; what they asked is returned."""
    asked = []

    def question(parent, title, text):
        asked.append(text)
        return button

    monkeypatch.setattr(QMessageBox, "question", question)
    return asked


def press(qtbot, button):
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_job_runs_beside_the_dock_and_is_removed(dock, qtbot, tmp_path, monkeypatch):
    assert dock.hint.isVisible()
    assert not dock.details.isVisible()
    job = submit(cohort(tmp_path, 1), name="one-patient")
    until(dock, qtbot, "finished")
    assert not dock.hint.isVisible()
    assert shown(dock, NAME) == [job.name]
    assert shown(dock, STATE) == ["finished"]
    assert shown(dock, PROGRESS) == ["100 %"]
    qtbot.waitUntil(lambda: "cohort" in dock.details.log.toPlainText(), timeout=SLOW_MS)
    assert not dock.cancel_button.isEnabled()
    assert not dock.resume_button.isEnabled()

    asked = answer(monkeypatch, QMessageBox.StandardButton.No)
    press(qtbot, dock.remove_button)
    assert str(job.run_dir) in asked[0]
    assert job.run_dir.is_dir()
    answer(monkeypatch, QMessageBox.StandardButton.Yes)
    press(qtbot, dock.remove_button)
    qtbot.waitUntil(lambda: dock.table.rowCount() == 0, timeout=SLOW_MS)
    assert not job.run_dir.exists()
    assert (tmp_path / "cohort").is_dir()


def test_cancel_resume_and_a_process_that_is_killed(dock, qtbot, tmp_path):
    job = submit(cohort(tmp_path, 500))
    until(dock, qtbot, "running")
    assert "RAM" in dock.details.usage.text()
    press(qtbot, dock.cancel_button)
    until(dock, qtbot, "stopped")
    assert dock.resume_button.text() == "Run again"  # a simulation saves nothing to go on from
    assert "again from the beginning" in dock.details.message.text()
    update_run(job.run_dir, resumable=True)
    qtbot.waitUntil(lambda: dock.resume_button.text() == "Resume", timeout=SLOW_MS)
    update_run(job.run_dir, resumable=False)
    press(qtbot, dock.resume_button)
    until(dock, qtbot, "running")
    psutil.Process(job.status.pid).kill()
    until(dock, qtbot, "lost")
    assert "without a word" in dock.details.message.text()
    press(qtbot, dock.resume_button)
    until(dock, qtbot, "running")
    press(qtbot, dock.cancel_button)
    until(dock, qtbot, "stopped")


def test_a_job_that_hangs_is_ended_at_once(dock, qtbot, tmp_path, monkeypatch):
    job = submit(cohort(tmp_path, 500))
    until(dock, qtbot, "running")
    process = psutil.Process(job.status.pid)
    process.suspend()  # hears of nothing, as in a driver that hangs
    press(qtbot, dock.cancel_button)
    qtbot.waitUntil(lambda: dock.cancel_button.text() == "End at once…", timeout=SLOW_MS)
    asked = answer(monkeypatch, QMessageBox.StandardButton.No)
    press(qtbot, dock.cancel_button)
    assert "lost" in asked[0]
    assert process.is_running()
    answer(monkeypatch, QMessageBox.StandardButton.Yes)
    press(qtbot, dock.cancel_button)
    until(dock, qtbot, "stopped")
    qtbot.waitUntil(lambda: not process.is_running(), timeout=SLOW_MS)
    assert dock.cancel_button.text() == "Cancel"


def test_a_dock_that_is_closed_looks_no_more(dock, viewer, qtbot, monkeypatch):
    looks = []
    read = JobWatch.read
    monkeypatch.setattr(JobWatch, "read", lambda watch: looks.append(watch) or read(watch))
    other = JobsDock(viewer)
    other.show()
    qtbot.waitUntil(lambda: looks.count(other.watch) > 2, timeout=SLOW_MS)
    watch = other.watch
    other.deleteLater()
    qtbot.wait(100)
    before = looks.count(watch)
    qtbot.wait(300)
    assert looks.count(watch) == before
    assert looks.count(dock.watch) > 2


def test_run_directories_that_say_nothing_are_told(dock, qtbot, tmp_path, told):
    good = submit(cohort(tmp_path, 1), name="good")
    until(dock, qtbot, "finished")
    bad = Job("bad", tmp_path / "jobs" / "bad")
    shutil.copytree(good.run_dir, bad.run_dir)
    register(bad)
    qtbot.waitUntil(lambda: shown(dock, STATE) == ["finished"] * 2, timeout=SLOW_MS)
    dock.table.choose(bad.run_dir)
    status = bad.run_dir / "status.json"
    for text, word in (
        (status.read_text()[:20], "half-written"),
        (json.dumps({"format": 99, "state": "running"}), "newer"),
        ('{"format": 1, "state": "dancing", "heartbeat": 0}', "dancing"),
        ("[1, 2]", "edited"),
    ):
        time.sleep(0.01)
        status.write_text(text)
        until(dock, qtbot, "unreadable")
        qtbot.waitUntil(lambda word=word: word in dock.details.message.text(), timeout=SLOW_MS)
        assert "Traceback" not in dock.details.message.text()
    assert sorted(shown(dock, STATE)) == ["finished", "unreadable"]
    shutil.rmtree(bad.run_dir)
    qtbot.waitUntil(lambda: "no run.json" in dock.details.message.text(), timeout=SLOW_MS)
    dock.table.choose(good.run_dir)
    assert dock.table.line.state == "finished"
    assert told == []


def test_results_become_layers_and_tables(dock, viewer, qtbot, tmp_path):
    import imagecodecs

    job = submit(cohort(tmp_path, 1))
    until(dock, qtbot, "finished")
    made = job.run_dir / "artifacts"
    made.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).poisson(5, (2, 32, 40)).astype(np.uint16)
    write_ome_tiff(made / "image.ome.tiff", pixels, ("CD3", "CD20"), (0.5, 0.5))
    (made / "map.png").write_bytes(imagecodecs.png_encode(np.zeros((8, 9, 3), np.uint8)))
    (made / "cells.png").write_bytes(imagecodecs.png_encode(np.ones((32, 40), np.uint8)))
    (made / "types.csv").write_text("cell,type\n1,B cell\n")
    (made / "notes.xyz").write_text("?")
    (job.run_dir / "checkpoint").mkdir()
    (job.run_dir / "checkpoint" / "config.json").write_text("{}")
    details = dock.details
    qtbot.waitUntil(lambda: details.results.count() == 6, timeout=SLOW_MS)
    details.tabs.setCurrentIndex(2)

    def open_row(title):
        (item,) = details.results.findItems(title, Qt.MatchFlag.MatchExactly)
        details.results.setCurrentItem(item)
        press(qtbot, details.open_button)
        qtbot.waitUntil(lambda: not dock.background.busy, timeout=SLOW_MS)

    open_row("Last checkpoint")
    assert dock.state.checkpoint == str(job.run_dir / "checkpoint")
    open_row("image.ome.tiff")
    qtbot.waitUntil(lambda: {"CD3", "CD20"} <= {x.name for x in viewer.layers}, timeout=SLOW_MS)
    np.testing.assert_array_equal(viewer.layers["CD3"].data, pixels[0])
    open_row("map.png")
    qtbot.waitUntil(lambda: "map" in viewer.layers, timeout=SLOW_MS)
    assert viewer.layers["map"].rgb
    assert viewer.layers["map"].units == viewer.layers["CD3"].units
    open_row("cells.png")
    qtbot.waitUntil(lambda: "cells" in viewer.layers, timeout=SLOW_MS)
    np.testing.assert_allclose(viewer.layers["cells"].scale, (0.5, 0.5))
    open_row("types.csv")
    (table,) = dock.findChildren(TableWindow)
    assert table.view.model().index(0, 1).data() == "B cell"
    table.close()
    open_row("notes.xyz")
    qtbot.waitUntil(lambda: "no image and no table" in dock.message.text(), timeout=SLOW_MS)
