"""The Inpaint dock without a window around it, with the real engine."""

import http.server
import os
import subprocess
import sys
import threading
import zlib
from dataclasses import fields
from functools import partial

import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtWidgets import QMessageBox

from napari_virtues._widgets.request_fields import LABELS
from napari_virtues.docks.inpaint import InpaintDock
from tiny_model import simulated_file, tiny_checkpoint
from virtues_core.infer import InpaintRequest
from virtues_core.read import read_image

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("inpaint")


@pytest.fixture(scope="module")
def tissue(folder):
    return read_image(simulated_file(folder / "tissue.ome.tiff", size=160))


@pytest.fixture(scope="module")
def checkpoint(folder, tissue):
    return tiny_checkpoint(folder / "tiny", tissue.channels)


@pytest.fixture
def dock(viewer, qtbot):
    widget = InpaintDock(PublicOnlyProxy(viewer))
    qtbot.addWidget(widget)
    yield widget
    widget.engine.close()


@pytest.fixture
def ready(dock, tissue, checkpoint):
    """The dock with an image, a model and a marker chosen."""
    dock.state.add(tissue)
    dock.model.choose(str(checkpoint))
    dock.picker.chosen = [name for name in dock.picker.choices if "CD20" in name]
    dock.fields.boxes["repeats"].setValue(0)
    return dock


def run(dock, qtbot):
    dock.compute()
    qtbot.waitUntil(lambda: not dock.run.busy, timeout=SLOW_MS)


def test_nothing_runs_before_the_dock_is_seen(dock):
    assert dock.engine.pid is None
    assert not dock.run.run_button.isEnabled()
    assert dock.image_label.text() == "Open an image to begin."


def test_defaults_are_those_of_the_request(dock):
    defaults = {field.name: field.default for field in fields(InpaintRequest)}
    assert dock.fields.values == {name: defaults[name] for name in LABELS}


def test_only_channels_for_the_model_can_be_hidden(dock, image):
    dock.state.add(image)
    assert dock.picker.choices == ("DNA1_Ir191", "CD20_Dy161", "CD3_Er170", "CD8a(Dy162Di)")
    dock.picker.chosen = ("CD3_Er170",)
    dock.state.active.panel = dock.state.active.panel.assign("xyzzy", accession="P01732")
    assert "xyzzy" in dock.picker.choices
    assert dock.picker.chosen == ("CD3_Er170",)


@pytest.mark.parametrize("words", ["cd8", "p01732", "cd8a dy162"])
def test_search_markers(dock, image, words):
    dock.state.add(image)
    dock.picker.search.setText(words)
    seen = [n for n in dock.picker.choices if not dock.picker.item(n).isHidden()]
    assert seen == ["CD8a(Dy162Di)"]


def test_run_to_layers_and_numbers(ready, viewer, qtbot):
    with qtbot.waitSignal(ready.view.shown, timeout=SLOW_MS):
        ready.compute()
    names = [layer.name for layer in viewer.layers]
    assert names == [
        f"CD20(Dy161Di) · {part}"
        for part in ("uncertainty", "difference", "reconstruction", "truth")
    ]
    assert ready.table.rowCount() == 1
    assert ready.warnings.text()  # random weights: the intervals are not calibrated
    assert ready.run.status.text().startswith("Done")


def test_patches_of_all_markers_make_layers_only_for_the_chosen(ready, viewer, qtbot):
    ready.picker.chosen = ()
    ready.choose_strategy("independent")
    with qtbot.waitSignal(ready.view.shown, timeout=SLOW_MS):
        ready.compute()
    assert ready.table.rowCount() == len(ready.picker.choices)
    assert len(viewer.layers) == 4
    with qtbot.waitSignal(ready.view.shown, timeout=SLOW_MS):
        ready.table.selectRow(4)
    assert len(viewer.layers) == 8
    assert {x.name.split(" · ")[0] for x in viewer.layers if x.visible} == {
        ready.result.scores[4].channel
    }
    with qtbot.waitSignal(ready.view.shown, timeout=SLOW_MS):
        ready.table.selectRow(0)
    assert len(viewer.layers) == 8


def test_cohort_brings_ridge_to_the_table(ready, folder, qtbot):
    ready.add_cohort([str(simulated_file(folder / "other.ome.tiff", size=160, seed=5))])
    ready.add_cohort([ready.cohort.item(0).toolTip()])
    assert ready.cohort.count() == 1  # once is enough
    run(ready, qtbot)
    table = ready.table
    header = [table.horizontalHeaderItem(i).text() for i in range(table.columnCount())]
    assert "Ridge" in header
    assert "held out" in ready.verdict.text()
    assert f"--fit {folder / 'other.ome.tiff'}" in ready.command


def test_cancel_at_once(ready, qtbot):
    ready.compute()
    ready.run.cancel()
    qtbot.waitUntil(lambda: not ready.run.busy, timeout=SLOW_MS)
    assert ready.run.status.text() == "Cancelled."
    run(ready, qtbot)
    assert ready.result is not None


def test_mistakes_in_words(dock, image, qtbot, tmp_path):
    dock.compute()
    assert "no image is open" in dock.run.message.text()
    dock.state.add(image)
    dock.compute()
    assert "no marker is ticked" in dock.run.message.text()
    dock.picker.chosen = ("CD20_Dy161",)
    dock.model.choose(str(tmp_path / "nothing"))
    run(dock, qtbot)
    assert "no checkpoint at" in dock.run.message.text()
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04not tensors")
    dock.model.choose(str(tmp_path / "model.safetensors"))
    run(dock, qtbot)
    assert "not a whole safetensors file" in dock.run.message.text()
    assert "Traceback" not in dock.run.message.text()


def test_small_image_is_refused_in_words(dock, image, checkpoint, qtbot):
    dock.state.add(image)  # 96 × 120 px
    dock.model.choose(str(checkpoint))
    dock.picker.chosen = ("CD20_Dy161",)
    run(dock, qtbot)
    assert "128" in dock.run.message.text()


def test_a_full_disk_is_told_and_nothing_left(ready, qtbot, tmp_path):
    run(ready, qtbot)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    ready.save(blocked / "out.ome.tiff")
    qtbot.waitUntil(lambda: "could not write" in ready.run.message.text(), timeout=SLOW_MS)
    assert blocked.read_text() == "in the way"


class Hub(http.server.SimpleHTTPRequestHandler):
    """Answers as the Hugging Face hub does, for files in a folder."""

    def translate_path(self, path):
        return super().translate_path(path.replace("/resolve/main", ""))

    def send_head(self):
        if not os.path.isfile(self.translate_path(self.path)):  # noqa: PTH113
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return super().send_head()

    def end_headers(self):
        self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
        self.send_header("ETag", f'"{zlib.crc32(self.path.encode()):032x}"')
        super().end_headers()

    def log_message(self, *_):
        """Keep the terminal quiet."""


@pytest.fixture
def hub(tmp_path, tissue, monkeypatch):
    tiny_checkpoint(tmp_path / "hub/bunnelab/virtues/virtues-sp32", tissue.channels)
    handler = partial(Hub, directory=str(tmp_path / "hub"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_licence_is_shown_before_the_download(ready, hub, qtbot, monkeypatch, tmp_path):
    asked = []

    def answer(reply, parent, title, text):
        asked.append(text)
        return reply

    buttons = QMessageBox.StandardButton
    monkeypatch.setattr(QMessageBox, "question", partial(answer, buttons.No))
    ready.model.choose("sp32")
    run(ready, qtbot)
    assert "CC BY-NC 4.0" in asked[0]
    assert "not accepted" in ready.run.status.text()
    assert not list(tmp_path.glob("home/**/*.safetensors"))
    monkeypatch.setattr(QMessageBox, "question", partial(answer, buttons.Yes))
    run(ready, qtbot)
    assert ready.result is not None, ready.run.message.text()
    run(ready, qtbot)
    assert len(asked) == 2  # it is here now


def test_no_network_is_told(ready, qtbot, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    buttons = QMessageBox.StandardButton
    monkeypatch.setattr(QMessageBox, "question", lambda *_: buttons.Yes)
    ready.model.choose("sp31")
    run(ready, qtbot)
    assert "Check the network" in ready.run.message.text()


def test_a_closed_dock_is_not_called_any_more(viewer, qtbot, tissue, image):
    dock = InpaintDock(viewer)
    state, engine = dock.state, dock.engine
    state.add(tissue)
    with qtbot.waitSignal(dock.destroyed):
        dock.deleteLater()
    state.add(image)
    viewer.add_labels(np.ones((4, 4), int))
    engine.close()


def test_core_does_not_come_with_the_window():
    code = (
        "import sys, napari_virtues.inpaint_command, napari_virtues.inpaint_layers; "
        "sys.exit('qtpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_checkpoint_chosen_for_all_docks_is_chosen_here(viewer, qtbot, settings):
    first = InpaintDock(viewer)
    qtbot.addWidget(first)
    first.state.checkpoint = "/runs/mine/checkpoint"
    later = InpaintDock(viewer)
    qtbot.addWidget(later)
    assert {dock.model.checkpoint for dock in (first, later)} == {"/runs/mine/checkpoint"}
