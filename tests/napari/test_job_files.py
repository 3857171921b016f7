"""What run directories say, read while they change."""

import math
import time

import imagecodecs
import numpy as np
import pytest

from napari_virtues._widgets.metrics_plot import NOTHING, MetricsPlot
from napari_virtues.artifacts import MOST_ROWS, Table, read_artifact
from napari_virtues.job_files import JobFiles, Metrics, Tail, clock, results_of
from virtues_core.errors import ReadError
from virtues_core.files import replacing
from virtues_core.run_dir import RunRecord


def test_only_what_is_new_is_read(tmp_path):
    path = tmp_path / "log.txt"
    tail = Tail(path)
    assert tail.read() == (False, [])
    path.write_text("one\ntwo\nhal")
    assert tail.read() == (True, ["one", "two"])
    assert tail.read() == (False, [])
    with path.open("a") as file:
        file.write("f\n 10 %\r 20 %\nwindows\r\n")
    assert tail.read() == (False, ["half", " 20 %", "windows"])
    with replacing(path) as new:
        new.write_text("another file, and a longer one than that before\n")
    assert tail.read() == (True, ["another file, and a longer one than that before"])
    path.write_text("cut\n")
    assert tail.read() == (True, ["cut"])
    path.unlink()
    assert tail.read() == (True, [])
    assert tail.read() == (False, [])


def test_of_a_long_log_only_the_end_is_read(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"".join(b"line %d\n" % i for i in range(1000)) + b"\xff\n")
    anew, lines = Tail(path, 25).read()
    assert anew
    assert lines == ["line 998", "line 999", "\N{REPLACEMENT CHARACTER}"]


def test_metrics_grow_and_bad_rows_are_left_out(tmp_path):
    files = JobFiles(tmp_path)
    assert files.metrics() is None
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,")
    assert files.metrics().columns == {}
    with path.open("a") as file:
        file.write("val_loss\n10,0.5,\n20,0.4,0.45\nedited by hand\n30,oops,1\n")
    metrics = files.metrics()
    assert metrics.steps == [10, 20]
    assert metrics.columns["loss"] == [0.5, 0.4]
    assert math.isnan(metrics.columns["val_loss"][0])
    assert files.metrics() is None
    with path.open("a") as file:
        file.write("40,0.3,\n")
    assert files.metrics().steps == [10, 20, 40]
    with replacing(path) as new:  # a run that was resumed at step 10
        new.write_text("step,loss,val_loss\n10,0.5,\n")
    assert files.metrics().columns["loss"] == [0.5]


def test_curves_are_of_what_has_points(qtbot):
    plot = MetricsPlot()
    qtbot.addWidget(plot)
    assert plot.box.isHidden()
    loss = [1.0, 0.5, 0.4]
    plot.show_metrics(Metrics({"step": [10, 20, 30], "loss": loss, "val_loss": [math.nan] * 3}))
    assert list(plot.curves) == ["loss"]
    assert plot.latest.text() == "step 30 · training 0.4"
    columns = {"step": [10, 20, 30], "loss": loss, "val_loss": [math.nan, 0.7, math.nan],
               "learning_rate": [1e-3] * 3, "grad_norm": [1, 2, 3]}  # fmt: skip
    plot.show_metrics(Metrics(columns))
    steps, values = plot.curves["val_loss"].getOriginalDataset()
    assert (list(steps), list(values)) == ([20], [0.7])
    kinds = [plot.box.itemText(i) for i in range(plot.box.count())]
    assert kinds == ["Loss", "Learning rate", "grad_norm"]
    plot.box.setCurrentText("grad_norm")
    assert list(plot.curves) == ["grad_norm"]
    plot.show_metrics(Metrics())
    assert plot.curves == {}
    assert plot.latest.text() == NOTHING


def test_results_are_checkpoints_and_then_artifacts(tmp_path):
    record = RunRecord("pretrain")
    assert results_of(tmp_path, record) == ()
    (tmp_path / "checkpoint").mkdir()
    assert results_of(tmp_path, record) == ()
    for folder in ("checkpoint", "checkpoints/best"):
        (tmp_path / folder).mkdir(exist_ok=True, parents=True)
        (tmp_path / folder / "config.json").write_text("{}")
    (tmp_path / "artifacts").mkdir()
    for name in ("b.csv", "a.ome.tiff", ".half-written"):
        (tmp_path / "artifacts" / name).touch()
    found = results_of(tmp_path, record)
    assert [x.title for x in found] == ["Best checkpoint", "Last checkpoint", "a.ome.tiff", "b.csv"]
    assert [x.is_checkpoint for x in found] == [True, True, False, False]


@pytest.mark.parametrize(
    ("out", "there", "listed"),
    [
        ("tokens.h5ad", ["tokens.h5ad"], ["tokens.h5ad"]),
        ("tokens.h5ad", [], []),
        ("tokens", ["tokens/b.h5ad", "tokens/a.h5ad", "tokens/failed.json"], ["a.h5ad", "b.h5ad"]),
        ("model", ["model/config.json", "model/model.safetensors"], ["model"]),
    ],
)
def test_results_are_also_where_the_command_wrote_them(tmp_path, out, there, listed):
    for name in there:
        path = tmp_path / "started here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    argv = ("embed", "image.tiff", "--out", out)
    record = RunRecord("embed", argv, folder=str(tmp_path / "started here"))
    assert [result.title for result in results_of(tmp_path / "run", record)] == listed


def test_today_is_a_time_and_another_day_a_date():
    noon = time.mktime((2023, 11, 14, 12, 30, 0, 0, 0, -1))
    assert clock(noon, noon + 60) == "12:30"
    assert clock(noon, noon + 86_400) == "2023-11-14"
    assert clock(None) == ""


def test_a_table_is_read_up_to_a_limit(tmp_path):
    path = tmp_path / "types.csv"
    path.write_text("cell,type\n" + "".join(f"{i},B cell\n" for i in range(MOST_ROWS + 5)))
    table = read_artifact(path)
    assert isinstance(table, Table)
    assert table.columns == ("cell", "type")
    assert table.rows[-1] == (str(MOST_ROWS - 1), "B cell")
    assert table.more


@pytest.mark.parametrize(("shape", "ndim"), [((6, 5), 2), ((6, 5, 2), 2), ((6, 5, 4), 2)])
def test_a_picture_is_one_plane_in_grey_or_colour(tmp_path, shape, ndim):
    path = tmp_path / "map.png"
    path.write_bytes(imagecodecs.png_encode(np.zeros(shape, np.uint8)))
    (layer,) = read_artifact(path)
    assert layer.ndim == ndim
    assert layer.rgb == (shape[2:] == (4,))


@pytest.mark.parametrize("name", ["gone.csv", "broken.csv", "broken.png", "broken.ome.tiff", "a.x"])
def test_what_cannot_be_shown_is_told(tmp_path, name):
    path = tmp_path / name
    if not name.startswith("gone"):
        path.write_bytes(b"\xff\xfe nothing of the kind")
    with pytest.raises(ReadError, match=r"gone|cannot be|can be|expected"):
        read_artifact(path)
