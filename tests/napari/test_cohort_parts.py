"""Parts of the Cohort dock that need no window: plots, cells of a click, images, commands."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohort_window_samples import SIDE, analysis_folder, small_cohort, squares
from napari_virtues.cohort_folder import read_folder
from napari_virtues.cohort_intent import (
    ANALYSES,
    CohortIntent,
    check_needs,
    cohort_argv,
    form_of,
    free_folder,
    usual_columns,
)
from napari_virtues.cohort_layers import open_tissue
from napari_virtues.linked_drawing import drawing_of, text_of
from napari_virtues.lit_cells import SHADES, lit_by
from napari_virtues.tissue_places import (
    MOST_FOLDERS,
    find_image,
    find_mask,
    keep_folder,
    kept_folders,
)
from virtues_core.cohort.patients import Columns
from virtues_core.cohort.patients.results import LinkedPlot, read_results
from virtues_core.errors import ConfigError, InputError, ReadError
from virtues_core.read import write_labels

PX = (10.0, 100.0)
"""Pixels of the screen in a unit of x and y."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return small_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def folder(cohort):
    return analysis_folder(cohort, cohort.clinical.parent / "found")


@pytest.fixture
def shown(folder):
    return read_folder(folder)


def drawn(shown, name):
    return next(x for x in shown.plots if x.plot.name == name).drawing


def test_curves_keep_their_value_and_are_clicked_by_height(shown):
    drawing = drawn(shown, "curves")
    assert [one.name for one in drawing.series] == ["high", "low"]
    assert drawing.series[0].color != drawing.series[1].color
    assert np.isnan(drawing.series[1].interval[:, 2]).all()
    assert drawing.at(39, 0.88, PX) == "high"  # 0.9 until 40
    assert drawing.at(39, 0.42, PX) == "low"
    assert drawing.at(39, 0.65, PX) == ""
    assert drawing.at(50, 0.8, PX) == ""  # nothing is known after the last


def test_points_bars_and_fields_are_clicked_where_they_are(shown):
    points = drawn(shown, "scores")
    assert points.at(0.01, 0.0, PX) == "P00"
    assert points.at(0.5, 0.9, (100.0, 100.0)) == ""
    bars = drawn(shown, "signatures")
    assert bars.x_names == ("hub",)
    assert bars.at(0.3, 0.1, PX) == "hub"
    assert bars.at(0.6, 0.1, PX) == ""
    heat = drawn(shown, "shares")
    assert heat.x_names == ("0", "1", "2")
    assert heat.y_names == ("high", "low")
    np.testing.assert_allclose(heat.heat.values, [[0.2, 0.3, 0.4], [-0.1, 0, 0.1]], atol=1e-9)
    assert heat.at(1.4, 0.6, PX) == "1"
    assert heat.at(3.0, 0.0, PX) == ""


def test_bars_of_two_series_stand_side_by_side():
    table = pd.DataFrame({"type": ["T", "B"] * 2, "n": [1.0, 2, 3, 4], "when": [0, 0, 1, 1]})
    drawing = drawing_of(LinkedPlot("n", "", "bars", "t", "type", "n", "when", "when"), table)
    assert [one.x.tolist() for one in drawing.series] == [[-0.2, 0.8], [0.2, 1.2]]
    assert drawing.at(0.9, 0, PX) == "0"
    assert drawing.at(1.1, 0, PX) == "1"


def test_text_where_numbers_are_drawn_is_told():
    table = pd.DataFrame({"time": ["a"], "value": ["many"]})
    with pytest.raises(ReadError, match=r"'value'.*run the analysis again"):
        drawing_of(LinkedPlot("n", "", "points", "t", "time", "value"), table)


def test_a_table_without_rows_is_an_empty_plot():
    table = pd.DataFrame({"x": np.array([], float), "y": np.array([], float), "g": []})
    for kind in ("steps", "points", "bars", "heat"):
        drawing = drawing_of(LinkedPlot("n", "", kind, "t", "x", "y", "g", "g"), table)
        assert drawing.at(0, 0, PX) == ""


def test_cells_of_a_state_a_patient_a_group_and_a_flag(cohort, shown):
    results = shown.results
    states = np.concatenate(list(cohort.kinds.values()))
    assert lit_by(results, "state", "1").cells == np.sum(states == 1)
    assert lit_by(results, "signature", "hub").cells == np.sum(states == 2)
    one = lit_by(results, "patient_id", "P03")
    assert [t.tissue_id for t in one.tissues] == ["P03-A"]
    assert one.cells == SIDE * SIDE
    assert one.kinds.columns == ("state",)
    assert one.kinds.names == ("0", "1", "2")
    assert lit_by(results, "tissue_id", "P03-A").kinds == one.kinds
    group = lit_by(results, "group", "low")
    assert group.patients == len(cohort.patients) // 2
    assert lit_by(results, "state", "2").tissues[0].lit == max(
        np.sum(kinds == 2) for kinds in cohort.kinds.values()
    )


def test_what_leads_nowhere_is_told(shown):
    for column, value in (("group", "medium"), ("colour", "red"), ("patient_id", "P99")):
        with pytest.raises(InputError, match=value):
            lit_by(shown.results, column, value)


def test_lit_cells_lie_where_the_mask_has_them(cohort, shown):
    kinds = cohort.kinds["P01-A"]
    lit = lit_by(shown.results, "state", "1")
    opened = open_tissue(shown.images, lit, "P01-A")
    assert opened.told == ""
    *channels, mask, layer = opened.layers
    assert [x.name for x in channels] == ["DNA1_Ir191", "CD20_Dy161", "CD3_Er170"]
    labels = squares()
    np.testing.assert_array_equal(np.asarray(mask.data), labels)
    of_label = np.concatenate([[False], kinds == 1])
    np.testing.assert_array_equal(np.asarray(layer.data) > 0, of_label[labels])
    assert layer.visible is False

    patient = lit_by(shown.results, "patient_id", "P01")
    layer = open_tissue(shown.images, patient, "P01-A", opened.image, channels=False).layers[-1]
    of_label = np.concatenate([[0], kinds + 1])
    np.testing.assert_array_equal(np.asarray(layer.data), of_label[labels])
    assert layer.features["lit"].tolist() == ["0", "1", "2"]


def in_cells(shown, tmp_path, **columns):
    """The same results, with other columns of cells."""
    path = tmp_path / "cells.parquet"
    kept = [name for name in ("tissue_id", "cell_id", "patient_id") if name not in columns]
    shown.results.read_cells(kept).assign(**columns).to_parquet(path)
    return dataclasses.replace(shown.results, cells=path)


def test_cells_of_a_patient_are_coloured_by_flags_or_by_a_scale(cohort, shown, tmp_path):
    states = np.concatenate(list(cohort.kinds.values()))
    results = in_cells(shown, tmp_path, weight=states * 0.5, one=states == 1, two=states == 2)
    lit = lit_by(results, "patient_id", "P01")
    assert lit.kinds.columns == ("one", "two")
    assert lit.cells == np.sum(cohort.kinds["P01-A"] > 0)
    layer = open_tissue(shown.images, lit, "P01-A", channels=False).layers[-1]
    of_label = np.concatenate([[0], cohort.kinds["P01-A"]])
    np.testing.assert_array_equal(np.asarray(layer.data), of_label[squares()])

    lit = lit_by(in_cells(shown, tmp_path, weight=states * 0.5), "patient_id", "P01")
    assert lit.kinds.scale == (0.0, 1.0)
    layer = open_tissue(shown.images, lit, "P01-A", channels=False).layers[-1]
    of_label = np.concatenate([[0], np.array([1, 1 + SHADES // 2, SHADES])[of_label[1:]]])
    np.testing.assert_array_equal(np.asarray(layer.data), of_label[squares()])
    assert layer.features["lit"].iloc[[0, -1]].tolist() == ["0", "1"]


def test_niches_are_lit_as_squares(shown, tmp_path):
    rows = pd.DataFrame(
        {"tissue_id": "P01-A", "niche_id": [0, 1], "patient_id": "P01", "attention": [0.2, 2.0],
         "x_um": [64.0, 192.0], "y_um": [64.0, 64.0]}
    )  # fmt: skip
    rows.to_parquet(tmp_path / "cells.parquet")
    results = dataclasses.replace(shown.results, cells=tmp_path / "cells.parquet")
    lit = lit_by(results, "patient_id", "P01")
    opened = open_tissue(shown.images, lit, "P01-A", channels=False)
    niches, layer = opened.layers
    assert opened.told == "1 of the lit cells: not in the mask; is it another mask?"
    assert (np.asarray(niches.data) == 1).all()  # the image is smaller than a niche
    assert (np.asarray(layer.data) == 1).all()

    y, x = (4 + 8.0 * np.indices((12, 12))).reshape(2, -1)
    patches = pd.DataFrame(
        {"tissue_id": "P01-A", "patch_id": range(144), "patient_id": "P01", "x_um": x, "y_um": y,
         "fifth": np.where(x < 48, "least", "most")}
    )  # fmt: skip
    patches.to_parquet(results.cells)
    lit = lit_by(results, "patient_id", "P01")
    *_, layer = open_tissue(shown.images, lit, "P01-A", channels=False).layers
    np.testing.assert_array_equal(np.asarray(layer.data)[50], [1] * 48 + [2] * 48)


def test_an_image_that_is_nowhere_and_a_folder_that_has_it(cohort, shown, tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUES_CONFIG_DIR", str(tmp_path))
    lit = lit_by(shown.results, "patient_id", "P03")
    with pytest.raises(InputError, match=r"P03-A.*Give the folder"):
        open_tissue(shown.images, lit, "P03-A")
    keep_folder(cohort.images)
    assert open_tissue(shown.images, lit, "P03-A").image.name == "P03-A"
    for number in range(MOST_FOLDERS + 3):
        keep_folder(tmp_path / str(number % (MOST_FOLDERS + 1)))
    assert len(kept_folders()) == MOST_FOLDERS
    assert len(set(kept_folders())) == MOST_FOLDERS
    assert cohort.images not in kept_folders()
    for text in ("{", "3", "[1]"):
        (tmp_path / "image_folders.json").write_text(text)
        with pytest.raises(ConfigError, match="move the file away"):
            kept_folders()


def test_a_mask_of_another_image_and_no_mask(cohort, tmp_path):
    image = find_image("P02-A", "", [cohort.images])
    assert find_mask("P02-A", image, []).max() == SIDE * SIDE
    (tmp_path / "masks").mkdir()
    write_labels(tmp_path / "masks" / "P02-A.tiff", np.ones((5, 5), np.uint8))
    with pytest.raises(ReadError, match="size"):
        find_mask("P02-A", dataclasses.replace(image, source=None), [tmp_path])
    with pytest.raises(InputError, match="mask of the cells of tissue 'P02-A'"):
        find_mask("P02-A", dataclasses.replace(image, source=None), [])


def test_damaged_cells_are_told(cohort, shown, tmp_path):
    results = dataclasses.replace(shown.results, cells=tmp_path / "cells.parquet")
    results.cells.write_bytes(b"PAR1 and no more")
    with pytest.raises(ReadError, match="run the analysis again"):
        lit_by(results, "state", "1")
    pd.DataFrame({"state": [1]}).to_parquet(results.cells)
    with pytest.raises(ReadError, match="cell_id or the like, found state"):
        lit_by(results, "state", "1")


def test_results_without_cells_still_have_tissues(shown):
    results = dataclasses.replace(shown.results, cells=None)
    lit = lit_by(results, "group", "low")
    assert [t.tissue_id for t in lit.tissues[:2]] == ["P01-A", "P03-A"]
    opened = open_tissue(shown.images, lit, "P01-A")
    assert [type(layer).__name__ for layer in opened.layers] == ["Image"] * 3


def test_rows_of_tables_lead_to_what_their_plot_does(shown):
    assert next(iter(shown.tables)) == "patients"
    row = dict(zip(shown.tables["curves"].columns, shown.tables["curves"].rows[3], strict=True))
    assert shown.link_of("curves", row) == ("group", "low")
    row = dict(zip(shown.tables["patients"].columns, shown.tables["patients"].rows[3], strict=True))
    assert shown.link_of("patients", row) == ("patient_id", "P03")
    assert shown.tables["curves"].rows[5][3] == ""  # NaN


def test_folders_that_are_no_results_are_told(folder, tmp_path):
    with pytest.raises(ReadError, match="expected the folder of an analysis"):
        read_folder(tmp_path)
    copy = tmp_path / "newer"
    copy.mkdir()
    summary = json.loads((folder / "summary.json").read_text())
    (copy / "summary.json").write_text(json.dumps(summary | {"format": 99}))
    with pytest.raises(ReadError, match="newer"):
        read_folder(copy)


@pytest.mark.parametrize("analysis", ANALYSES, ids=lambda x: x.name)
def test_settings_are_options_of_the_command_with_the_same_defaults(analysis):
    form = form_of(analysis)
    assert set(analysis.needs) <= set(form.options)
    shown = [f.name for f in dataclasses.fields(form.config) if f.name not in form.fixed]
    assert "seed" in shown
    assert len(shown) > len(form.fixed)
    for name in shown:
        value, default = getattr(form.config, name), form.options[name].default
        texts = {",".join(map(str, value)), ""} if isinstance(value, tuple) else {str(value)}
        assert str("" if default is None and value in ((), "") else default) in texts, name


def test_words_of_a_command(tmp_path):
    analysis = ANALYSES[0]
    form = form_of(analysis)
    columns = Columns("who", time="t", event="e", outcome="not taken by it")
    usual = dataclasses.asdict(form.config)
    intent = CohortIntent(
        analysis, form, (tmp_path / "a b",), tmp_path / "c.csv", columns, usual, tmp_path / "out"
    )
    words = cohort_argv(intent)
    assert words == [
        *analysis.words, str(tmp_path / "a b"), "--clinical", str(tmp_path / "c.csv"),
        "--patient", "who", "--time", "t", "--event", "e", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    changed = dataclasses.replace(intent, settings=usual | {"states": usual["states"] + 1})
    words = cohort_argv(changed)
    assert words[words.index("--states") + 1] == str(usual["states"] + 1)


def test_what_an_analysis_needs_is_asked_for():
    def asked(name, columns, **known):
        analysis = next(x for x in ANALYSES if x.name == name)
        form = form_of(analysis)
        check_needs(
            CohortIntent(analysis, form, (), Path("c.csv"), columns, {}, Path("out"), **known)
        )

    survival = Columns("p", time="t", event="e")
    asked("stratify", survival)
    with pytest.raises(InputError, match="as time and as event"):
        asked("stratify", Columns("p"))
    with pytest.raises(InputError, match="folder"):
        asked("transfer", survival)
    asked("transfer", survival, discovery=Path("found"))
    with pytest.raises(InputError, match="tables of cells, found niches"):
        asked("stratify", survival, level="niche")
    asked("tissue-level", Columns("p", outcome="o"), level="niche")


def test_columns_are_guessed_by_name(tmp_path):
    assert usual_columns(["slide", "patient_id", "OS_time", "dead"]) == {
        "patient": "patient_id", "time": "OS_time", "event": "dead",
    }  # fmt: skip
    assert usual_columns(["time"]) == {}  # of no use without an event
    assert text_of(np.float64(7)) == text_of(np.int32(7)) == text_of("7")
    assert free_folder(tmp_path, "x") == tmp_path / "x"
    (tmp_path / "x").mkdir()
    (tmp_path / "x-2").mkdir()
    assert free_folder(tmp_path, "x") == tmp_path / "x-3"


WINDOW = """
import sys
import napari_virtues.docks.cohort
from napari_virtues.cohort_intent import ANALYSES, form_of
heavy = {"torch", "umap", "numba", "sklearn", "lifelines", "statsmodels", "ot", "matplotlib"}
print(sorted(heavy & set(sys.modules)))
assert all(form_of(analysis).options for analysis in ANALYSES)
print(sorted({"torch", "umap", "numba"} & set(sys.modules)))
"""


def test_the_window_imports_none_of_what_computes():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WINDOW], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["[]", "[]"]


def test_read_results_is_what_is_shown(folder, shown):
    assert shown.results.notes == read_results(folder).notes == shown.notes
    assert shown.report is None
    assert shown.command.startswith("virtues stratify")
