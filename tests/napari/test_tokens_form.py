"""Asking for tokens of images in the Cohort dock: the command, and what is refused before a job."""

import shlex
import shutil
from dataclasses import replace

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog
from typer.main import get_command

from cohort_window_samples import small_cohort
from napari_virtues._widgets.token_run import TokenRun
from napari_virtues.docks.cohort import CohortDock
from napari_virtues.job_files import UNDER_WAY
from napari_virtues.state import AppState
from napari_virtues.tokens_intent import TokensIntent, check_tokens, start_tokens, tokens_argv
from virtues_core import jobs
from virtues_core.cli.main import app
from virtues_core.errors import CheckpointError, InputError, VirtuesError
from virtues_core.simulate import CohortConfig, simulate_cohort, write_spora

SLOW_MS = 120_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``images`` with ``masks`` in it, and ``spora``."""
    folder = tmp_path_factory.mktemp("cohort")
    small_cohort(folder, patients=2, images=2)
    config = CohortConfig(patients=1, tissues_per_patient=1, size_px=128)
    write_spora(simulate_cohort(config), folder / "spora")
    return folder


@pytest.fixture
def images(folder):
    return tuple(sorted((folder / "images").glob("*.ome.tiff")))


@pytest.fixture
def intent(images, tmp_path):
    return TokensIntent(images, tmp_path / "tokens", images[0].parent / "masks")


@pytest.fixture
def dock(viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    widget = CohortDock(viewer)
    qtbot.addWidget(widget)
    widget.show()
    widget.tokens.ask()
    rest(widget.tokens, qtbot)
    yield widget
    widget.hide()
    rest(widget.tokens, qtbot)


def rest(tokens: TokenRun, qtbot):
    qtbot.waitUntil(lambda: not tokens.background.busy, timeout=SLOW_MS)


def press(qtbot, button):
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def under_way(intent, tmp_path, monkeypatch):
    """A job that was started before the dock was opened."""
    monkeypatch.setenv("VIRTUES_JOBS", str(tmp_path / "jobs"))
    job = start_tokens(replace(intent, device="cpu"))
    yield job
    if job.status.state in UNDER_WAY:
        jobs.kill(job)


def parsed(words):
    """What ``virtues`` takes the words of a command for."""
    command = get_command(app).commands[words[0]]
    return command.make_context(words[0], list(words[1:])).params


def test_the_command_says_what_was_chosen(intent):
    said = parsed(tokens_argv(intent))
    assert said["images"] == [str(path) for path in intent.images]
    assert said["out"] == intent.out
    assert said["cells"] == intent.masks
    assert (said["level"], said["checkpoint"], said["device"]) == ("cell", "demo", "auto")
    assert said["stride"] is None
    assert "--stride" not in tokens_argv(replace(intent, stride_px=42))  # as it is for cells
    niches = replace(intent, level="niche", stride_px=42, device="cpu", checkpoint="/models/tiny")
    said = parsed(tokens_argv(niches))
    assert said["cells"] is None
    assert (said["level"], said["stride"], said["device"]) == ("niche", 42, "cpu")
    assert said["checkpoint"] == "/models/tiny"


def test_what_will_do_is_taken(intent, folder, images):
    assert [image.name for image in check_tokens(intent)] == ["P00-A", "P01-A"]
    assert len(check_tokens(replace(intent, masks=None, level="niche"))) == 2
    spora = replace(intent, images=(folder / "spora",), masks=None)
    assert [image.name for image in check_tokens(spora)] == ["imc-tumour_P001-A1"]
    (intent.out / "requests").mkdir(parents=True)
    for name in ("P00-A.h5ad", "P01-A.h5ad.tokens", ".hidden"):
        (intent.out / name).write_text("")
    assert check_tokens(intent)  # tokens of these images, of which some are there


def test_images_and_masks_that_cannot_be_are_told(intent, folder, images, tmp_path):
    for wrong in (folder / "images", tmp_path / "none.tiff", folder / "clinical.csv"):
        with pytest.raises(InputError, match=f"1 path that cannot be read as one: {wrong.name}"):
            check_tokens(replace(intent, images=(images[0], wrong)))
    twice = shutil.copy(images[0], tmp_path / "P00-A.tiff")
    with pytest.raises(InputError, match="'P00-A' twice"):
        check_tokens(replace(intent, images=(images[0], twice)))
    with pytest.raises(InputError, match=r"none for 2 images: P00-A, P01-A; choose the folder"):
        check_tokens(replace(intent, masks=None))
    with pytest.raises(InputError, match="expected a folder of masks"):
        check_tokens(replace(intent, masks=tmp_path / "nowhere"))
    (tmp_path / "masks").mkdir()
    shutil.copy(intent.masks / "P00-A.tiff", tmp_path / "masks")
    with pytest.raises(InputError, match=r"none for 1 image: P01-A; rename"):
        check_tokens(replace(intent, masks=tmp_path / "masks"))
    with pytest.raises(InputError, match="stride_px: expected 1 to 128"):
        check_tokens(replace(intent, stride_px=0))


def test_models_and_folders_that_cannot_be_are_told(intent, images, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(CheckpointError, match="virtues download sp31"):
        check_tokens(replace(intent, checkpoint="sp31"))
    with pytest.raises(CheckpointError, match=r"found no model.safetensors"):
        check_tokens(replace(intent, checkpoint=str(images[0].parent)))
    with pytest.raises(InputError, match=r"something else in .*: P00-A.ome.tiff"):
        check_tokens(replace(intent, out=images[0].parent))
    with pytest.raises(InputError, match="without an ending"):
        check_tokens(replace(intent, out=tmp_path / "tokens.h5ad"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="found a file"):
        check_tokens(replace(intent, out=tmp_path / "file"))
    with pytest.raises(VirtuesError, match="file"):
        check_tokens(replace(intent, out=tmp_path / "file" / "tokens"))


def test_the_dialog_tells_what_is_missing_and_starts_nothing(
    dock, images, folder, qtbot, monkeypatch
):
    form, tokens = dock.tokens.form, dock.tokens
    press(qtbot, form.run_button)
    assert "no images" in form.message.text()
    press(qtbot, form.command_button)
    assert "no images" in form.message.text()
    monkeypatch.setattr(
        QFileDialog, "getOpenFileNames", lambda *_, **__: ([str(path) for path in images], "")
    )
    press(qtbot, form.add_images)
    assert form.out_line.text() == str(folder / "images" / "tokens")
    press(qtbot, form.run_button)
    rest(tokens, qtbot)
    assert "expected masks of the cells, found none for 2 images" in form.message.text()
    assert form.run_button.isEnabled()
    form.out_line.setText("")
    press(qtbot, form.run_button)
    assert "no folder for the tokens" in form.message.text()
    form.message.say("")
    qtbot.keyClick(form.out_line, Qt.Key.Key_Return)
    assert form.message.text() == ""  # nothing was pressed by that
    assert form.isVisible()
    assert jobs.list_jobs() == ()


def test_the_dialog_copies_the_command(dock, images, folder, qtbot, monkeypatch):
    form = dock.tokens.form
    form.add([str(path) for path in images])
    monkeypatch.setattr(
        QFileDialog, "getExistingDirectory", lambda *_: str(images[0].parent / "masks")
    )
    press(qtbot, form.masks_folder)
    AppState.of(dock.viewer).checkpoint = "/models/mine"
    press(qtbot, form.command_button)
    words = shlex.split(QApplication.clipboard().text())
    assert words[0] == "virtues"
    said = parsed(words[1:])
    assert said["images"] == [str(path) for path in images]
    assert said["cells"] == images[0].parent / "masks"
    assert said["out"] == folder / "images" / "tokens"
    assert said["checkpoint"] == "/models/mine"
    form.level_box.setCurrentIndex(form.level_box.findData("niche"))
    assert form.stride_box.value() == 128
    assert not form.masks_line.isEnabled()
    form.stride_box.setValue(64)
    press(qtbot, form.command_button)
    said = parsed(shlex.split(QApplication.clipboard().text())[1:])
    assert (said["level"], said["stride"], said["cells"]) == ("niche", 64, None)


def test_a_job_that_is_under_way_is_followed_and_no_other_is_started(
    under_way, dock, images, qtbot
):
    form, going = dock.tokens.form, dock.tokens.going
    qtbot.waitUntil(going.isVisible, timeout=SLOW_MS)
    assert going.line.job == under_way
    form.add([str(path) for path in images])
    press(qtbot, form.run_button)
    assert "being made already" in form.message.text()
    press(qtbot, going.cancel_button)
    qtbot.waitUntil(going.resume_button.isVisible, timeout=SLOW_MS)
    assert under_way.status.state == "stopped"
    assert jobs.list_jobs() == (under_way,)
    assert dock.paths == ()
