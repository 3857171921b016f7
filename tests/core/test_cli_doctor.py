"""``virtues doctor`` and ``virtues demo``: on this machine and on a bare one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from virtues_core.cli import demo, doctor
from virtues_core.errors import DeviceError, VirtuesError

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux leaves Qt's libraries to the system"
)


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    doctor.register(app)
    demo.register(app)
    return app


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No display, no programs on the path, and a library that no system has."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    libraries = {"libc.so.6": "libc6", "libno-such-thing.so.7": "libno-such-thing7"}
    monkeypatch.setattr(doctor, "WINDOW_LIBRARIES", libraries)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_json_names_every_check_and_agrees_with_the_exit_status(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    answer = json.loads(result.stdout)
    checks = {check["name"]: check for check in answer["checks"]}
    assert list(checks) == [
        "Python",
        "torch",
        "napari",
        "Qt binding",
        "system libraries",
        "display",
        "disk",
        "demo checkpoint",
        "published models",
        "ESM-2",
    ]
    missing = [name for name, check in checks.items() if check["status"] == "missing"]
    assert answer["ok"] is (not missing)
    assert result.exit_code == (1 if missing else 0)
    assert "cpu" in checks["torch"]["found"]
    assert all(check["remedy"] for check in checks.values() if check["status"] != "ok")


def test_table_says_the_same_as_json(app: typer.Typer) -> None:
    words = {"COLUMNS": "400"}
    table = CliRunner(env=words).invoke(app, ["doctor"])
    answer = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert table.exit_code == (0 if answer["ok"] else 1)
    rows = [line.split() for line in table.stdout.splitlines()]
    for check in answer["checks"]:
        assert [check["status"], *check["name"].split()] in [
            row[: 1 + len(check["name"].split())] for row in rows
        ]


def test_demo_checkpoint_opens() -> None:
    checks = {check.name: check for check in doctor.examine(Path.cwd())}
    assert checks["demo checkpoint"].status == "ok", checks["demo checkpoint"].found
    assert "M weights" in checks["demo checkpoint"].found


def test_downloaded_models_are_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the hub's own folder layout; one of the three is there."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    hub = tmp_path / "models--bunnelab--virtues"
    weights = hub / "snapshots" / "0123abc" / "virtues-sp31" / "model.safetensors"
    for path, text in ((weights, ""), (hub / "refs" / "main", "0123abc")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    checks = {check.name: check for check in doctor.examine(tmp_path)}
    assert checks["published models"].status == "ok"
    assert checks["published models"].found == f"sp31 ({weights.parent})"

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    checks = {check.name: check for check in doctor.examine(tmp_path)}
    assert checks["published models"].status == "note"
    assert "sp31" in checks["published models"].remedy


@linux
def test_missing_library_is_one_line_naming_its_package(app: typer.Typer, bare: Path) -> None:
    assert doctor.missing_libraries() == ["libno-such-thing.so.7"]
    problem = doctor.window_problem()
    assert problem is not None
    assert "\n" not in problem
    assert "libno-such-thing.so.7, a display" in problem
    assert problem.endswith("apt-get install libno-such-thing7 xvfb xauth")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert checks["system libraries"]["remedy"].endswith("apt-get install libno-such-thing7")
    assert checks["display"]["status"] == "note"


@linux
def test_library_that_is_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "WINDOW_LIBRARIES", {"libc.so.6": "libc6"})
    assert doctor.missing_libraries() == []


def test_missing_qt_binding_names_the_extra(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "QT_BINDINGS", ("NoSuchQt7",))
    problem = doctor.window_problem()
    assert problem is not None
    assert "NoSuchQt7" in problem
    assert "napari-virtues[app]" in problem
    table = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["doctor"])
    assert table.exit_code == 1
    assert "napari-virtues[app]" in table.stdout


def test_full_disk_says_how_much_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "NEEDED_FREE_BYTES", 10**18)
    disk = next(check for check in doctor.examine(tmp_path) if check.name == "disk")
    assert disk.status == "missing"
    assert str(tmp_path) in disk.found
    assert "free 1000000000.0 GB" in disk.remedy


@linux
def test_display_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":4093")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-4093")
    assert doctor.display() is None


@linux
@pytest.mark.gui
def test_virtual_display_answers() -> None:
    prefix = doctor.virtual_display()
    if prefix is None:
        pytest.skip("apt-get install " + " ".join(doctor.VIRTUAL_DISPLAY_PACKAGES))
    code = "from virtues_core.cli.doctor import display; print(display())"
    ran = subprocess.run(
        [*prefix, sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith(":")


@linux
@pytest.mark.gui
def test_a_virtual_display_refuses_none_of_several_processes() -> None:
    prefix = doctor.virtual_display()
    if prefix is None:
        pytest.skip("apt-get install " + " ".join(doctor.VIRTUAL_DISPLAY_PACKAGES))
    opens = "from virtues_core.cli.doctor import display; print([display() for _ in range(200)])"
    both = (
        "import subprocess, sys; words = [sys.executable, '-c', sys.argv[1]]; "
        "[p.wait() for p in [subprocess.Popen(words) for _ in range(2)]]"
    )
    ran = subprocess.run(
        [*prefix, sys.executable, "-c", both, opens], capture_output=True, text=True, check=True
    )
    assert ran.stdout.count(":") == 400
    assert "None" not in ran.stdout


@linux
def test_demo_on_a_bare_system_fails_before_anything_is_written(
    app: typer.Typer, bare: Path
) -> None:
    result = CliRunner().invoke(app, ["demo", "--headless", "out"])
    assert isinstance(result.exception, DeviceError)
    assert "libno-such-thing7 xvfb xauth" in str(result.exception)
    assert list(bare.iterdir()) == []


def test_demo_without_its_window_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "ENTRY_POINTS", "virtues.no_such_group")
    monkeypatch.setattr(demo, "window_problem", lambda: None)
    monkeypatch.setattr(demo, "virtual_display", lambda: None)
    with pytest.raises(VirtuesError, match="expected an entry point in the group"):
        demo.open_demo(tmp_path)


def test_demo_that_fails_on_the_virtual_display_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    false = shutil.which("false")
    if false is None:
        pytest.skip("this system has no `false`")
    monkeypatch.setattr(demo, "window_problem", lambda: None)
    monkeypatch.setattr(demo, "virtual_display", lambda: [false])
    with pytest.raises(VirtuesError, match="ended with status 1"):
        demo.open_demo(tmp_path)


@linux
def test_demo_without_a_display_writes_to_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With ``echo`` in the place of xvfb-run, what would have run is printed."""
    echo = shutil.which("echo")
    assert echo is not None
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(demo, "window_problem", lambda: None)
    monkeypatch.setattr(demo, "virtual_display", lambda: [echo])
    monkeypatch.chdir(tmp_path)
    demo.open_demo(None)
    assert f"-m virtues_core.cli.demo {tmp_path / 'demo'}" in capfd.readouterr().out
    assert "WAYLAND_DISPLAY" not in os.environ
