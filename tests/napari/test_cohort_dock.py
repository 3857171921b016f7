"""The Cohort dock without a window around it: tables, columns, what is missing, results."""

import shlex

import pandas as pd
import pytest
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication

from cohort_window_samples import analysis_folder, small_cohort
from napari_virtues._widgets.cohort_form import NEW, RESULTS
from napari_virtues.docks.cohort import CohortDock
from napari_virtues.tissue_places import kept_folders

SLOW_MS = 120_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return small_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def folder(cohort):
    return analysis_folder(cohort, cohort.clinical.parent / "found")


@pytest.fixture
def dock(viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    widget = CohortDock(viewer)
    qtbot.addWidget(widget)
    widget.resize(widget.sizeHint())
    widget.show()
    rest(widget, qtbot)
    yield widget
    widget.hide()
    rest(widget, qtbot)


def rest(dock, qtbot):
    """Wait until nothing is being read."""
    busy = (dock.background, dock.runs.background, dock.tissue_layers)
    qtbot.waitUntil(
        lambda: not dock._still.isActive() and not any(x.busy for x in busy), timeout=SLOW_MS
    )


def press(qtbot, button):
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def chosen(dock, cohort, qtbot):
    dock.add([str(cohort.tables)])
    dock.open_clinical(cohort.clinical)
    rest(dock, qtbot)


def test_tables_are_counted_and_columns_guessed(dock, cohort, qtbot):
    chosen(dock, cohort, qtbot)
    assert dock.cells_label.text() == "864 cells of 24 tissues"
    assert dock.columns.columns.patient == "Patient ID"
    assert dock.columns.columns.time == "OS months"
    assert dock.columns.columns.event == "Vital status"
    assert dock.counts.text().splitlines()[0] == "24 patients with images and clinical data."
    assert dock.problems.text() == ""
    menu = dock.columns.covariates.menu()
    next(action for action in menu.actions() if action.text() == "Age").trigger()
    rest(dock, qtbot)
    assert dock.columns.columns.covariates == ("Age",)
    assert "Age" in dock.counts.text()  # one value is missing
    press(qtbot, dock.clear_cells)
    rest(dock, qtbot)
    assert dock.counts.text().startswith("24 patients in the clinical table")


def test_all_that_is_wrong_with_a_table_is_told_at_once(dock, cohort, qtbot, tmp_path):
    table = pd.read_csv(cohort.clinical)
    table["OS months"] = table["OS months"].astype(object)
    table.loc[2, "OS months"] = "later"
    table.loc[3, "OS months"] = -4
    table.loc[4, "Vital status"] = 7
    table = pd.concat([table, table.iloc[[5]].assign(**{"OS months": 1})])
    table.to_csv(tmp_path / "wrong.csv", index=False)
    dock.open_clinical(tmp_path / "wrong.csv")
    rest(dock, qtbot)
    told = dock.problems.text()
    assert "P05" in told
    assert "later" in told
    assert "-4" in told
    assert "Vital status" in told
    assert dock.counts.text() == ""
    dock.open_clinical(cohort.clinical)
    rest(dock, qtbot)
    assert dock.problems.text() == ""


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [("none.csv", None, "no file"), ("t.xlsx", "x", ".csv"), ("t.csv", "", "CSV")],
)
def test_files_that_are_no_tables_are_told(dock, qtbot, tmp_path, told, name, text, word):
    if text is not None:
        (tmp_path / name).write_text(text)
    dock.open_clinical(tmp_path / name)
    rest(dock, qtbot)
    assert word in dock.problems.text()
    dock.add([str(tmp_path / "nothing.h5ad")])
    rest(dock, qtbot)
    assert "nothing.h5ad" in dock.cells_message.text()
    assert told == []


def test_what_is_missing_is_said_before_anything_runs(dock, cohort, qtbot):
    press(qtbot, dock.run_button)
    assert "no cells to analyse" in dock.message.text()
    dock.add([str(cohort.tables)])
    press(qtbot, dock.run_button)
    assert "clinical table" in dock.message.text()
    chosen(dock, cohort, qtbot)
    dock.columns.choose("time", "")
    dock.columns.choose("event", "")
    rest(dock, qtbot)
    press(qtbot, dock.run_button)
    assert "as time and as event" in dock.message.text()
    dock.columns.choose("time", "OS months")
    rest(dock, qtbot)
    assert "time, event" in dock.problems.text()
    dock.columns.choose("event", "Vital status")
    rest(dock, qtbot)
    dock.fields.editor("states").setText("none at all")
    press(qtbot, dock.run_button)
    assert "states" in dock.message.text()
    dock.fields.editor("states").setText("5")
    dock.out_line.setText("")
    press(qtbot, dock.run_button)
    assert "no folder" in dock.message.text()
    dock.out_line.setText(str(cohort.images))
    press(qtbot, dock.run_button)
    rest(dock, qtbot)
    assert "with something else in it" in dock.message.text()
    assert dock.page_buttons.checkedId() == NEW
    assert dock.job is None


def test_the_command_is_what_was_chosen(dock, cohort, qtbot):
    chosen(dock, cohort, qtbot)
    dock.fields.editor("states").setText("5")
    press(qtbot, dock.command_button)
    words = shlex.split(QApplication.clipboard().text())
    assert words[:3] == ["virtues", "stratify", str(cohort.tables)]
    assert words[words.index("--patient") + 1] == "Patient ID"
    assert words[words.index("--states") + 1] == "5"
    assert words[-1] == str(cohort.clinical.parent / "stratify")


def open_results(dock, folder, qtbot):
    dock.show_page(RESULTS)
    dock.runs.open_folder(folder)
    rest(dock, qtbot)


def test_results_of_an_earlier_analysis(dock, folder, qtbot, monkeypatch):
    open_results(dock, folder, qtbot)
    view = dock.runs.view
    assert view.isVisible()
    assert "no p-value: fewer than five events" in view.notes.text()
    assert [view.plot_box.itemText(k) for k in range(view.plot_box.count())] == [
        "Survival", "Scores", "Signatures", "Shares",
    ]  # fmt: skip
    for number in range(view.plot_box.count()):
        view.plot_box.setCurrentIndex(number)
        assert view.plot.drawing is view.shown.plots[number].drawing
    press(qtbot, view.command_button)
    assert QApplication.clipboard().text() == "virtues stratify tokens"
    assert not view.report_button.isEnabled()
    (folder / "report.html").write_text("<html></html>")
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    dock.runs.open_folder(folder)
    rest(dock, qtbot)
    press(qtbot, view.report_button)
    assert opened == [QUrl.fromLocalFile(str(folder / "report.html"))]
    (folder / "report.html").unlink()


def test_a_click_on_a_curve_a_row_and_a_tissue(dock, cohort, folder, qtbot, viewer):
    open_results(dock, folder, qtbot)
    plot, tissues = dock.runs.view.plot, dock.tissues
    qtbot.wait(50)
    at = plot.on_screen(30, 0.4).toPoint()
    qtbot.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=at)
    rest(dock, qtbot)
    assert tissues.title.text() == "Group low"
    assert tissues.status.text().startswith("12 tissues of 12 patients · 432 cells lit")
    assert tissues.tissue == "P01-A"
    assert [x.name for x in viewer.layers][-2:] == ["cells · P01-A", "group low · P01-A"]

    dock.runs.view.show_table("patients")
    view = dock.runs.view.table.view
    box = view.visualRect(view.model().index(2, 0))
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=box.center())
    rest(dock, qtbot)
    assert tissues.title.text() == "patient P02"
    assert "2 open here" in tissues.status.text()
    seen = [x.name for x in viewer.layers if x.visible]
    assert seen[-1] == "patient P02 · P02-A"
    assert not any("P01" in name for name in seen)
    dock.runs.view.table.close()


def test_three_tissues_at_the_most_are_open(dock, cohort, folder, qtbot, viewer, tmp_path):
    open_results(dock, folder, qtbot)
    for patient in ("P00", "P01", "P02"):
        dock.runs.view.picked.emit("patient_id", patient)
        rest(dock, qtbot)
    dock.runs.view.picked.emit("patient_id", "P03")  # its image is in no place that is known
    rest(dock, qtbot)
    assert "P03-A" in dock.tissues.message.text()
    assert not any(layer.visible for layer in viewer.layers)
    dock._keep_folder(str(cohort.images))
    rest(dock, qtbot)
    assert kept_folders() == (cohort.images,)
    assert dock.tissues.message.text() == ""
    assert list(dock.tissue_layers.ours) == ["P01-A", "P02-A", "P03-A"]
    assert "3 open here" in dock.tissues.status.text()
    assert [x.image.name for x in dock.tissue_layers._state.images] == ["P01-A", "P02-A", "P03-A"]


def test_layers_that_a_person_removed_are_made_again(dock, folder, qtbot, viewer):
    open_results(dock, folder, qtbot)
    for _ in range(2):
        dock.runs.view.picked.emit("patient_id", "P01")
        rest(dock, qtbot)
        assert len(viewer.layers) == 5
        viewer.layers.remove(next(x for x in viewer.layers if x.name == "cells · P01-A"))
    viewer.layers.clear()
    dock.runs.view.picked.emit("patient_id", "P01")
    rest(dock, qtbot)
    assert len(viewer.layers) == 5
    assert len(dock.tissue_layers._state.images) == 1


def test_a_folder_that_is_no_analysis_is_told(dock, qtbot, tmp_path):
    open_results(dock, tmp_path, qtbot)
    assert "expected the folder of an analysis" in dock.runs.message.text()
    assert not dock.runs.view.isVisible()
    assert dock.page_buttons.checkedId() == RESULTS
    dock.show_page(NEW)
    assert not dock.runs.isVisible()
