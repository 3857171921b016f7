"""What `make` says when this machine's Python will not do, and that it installs only once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="apt-get install make")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Only the files that make reads, so that nothing can be installed by accident."""
    for name in ("Makefile", "scripts/make_venv.sh", "pyproject.toml", "constraints.txt"):
        copy = tmp_path / "clone" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    return tmp_path / "clone"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def make(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "PYTHON"}}
    return subprocess.run(
        ["make", *words], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )


def message(ran: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr that is not make's own."""
    (line,) = (line for line in ran.stderr.splitlines() if not line.startswith("make"))
    return line


@pytest.mark.parametrize("goal", ["demo", "test", "bench"])
def test_old_python_is_one_line(clone: Path, goal: str) -> None:
    old = program(clone / "old", 'test "$1" = --version && echo Python 3.8.2 || exit 1')
    ran = make(clone, goal, f"PYTHON={old}")
    assert ran.returncode != 0
    assert message(ran).startswith("Python 3.11 or later is needed; found Python 3.8.2")
    assert f"make {goal}" not in ran.stdout
    assert not (clone / ".venv").exists()


def test_absent_python_is_one_line(clone: Path) -> None:
    ran = make(clone, "demo", "PYTHON=no-such-python")
    assert ran.returncode != 0
    assert "Python 3.11 or later is needed" in message(ran)


def test_missing_venv_module_names_its_package(clone: Path) -> None:
    words = f'case "$2" in *ensurepip*) exit 1;; *) exec {sys.executable} "$@";; esac'
    without = program(clone / "without", words)
    ran = make(clone, "demo", f"PYTHON={without}")
    assert ran.returncode != 0
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"apt-get install python{version}-venv" in message(ran)
    assert not (clone / ".venv").exists()


def test_folder_that_is_no_environment_is_left_alone(clone: Path) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv" / "thesis.txt").write_text("years of work")
    ran = make(clone, "demo", f"PYTHON={sys.executable}")
    assert ran.returncode != 0
    assert "move it" in message(ran)
    assert (clone / ".venv" / "thesis.txt").read_text() == "years of work"


def test_installs_once_and_again_when_what_is_asked_for_changes(clone: Path) -> None:
    """An environment whose Python and command only write down how they were called."""
    calls = clone / "calls"
    calls.touch()
    program(clone / ".venv/bin/python", f'case "$1" in -c) exit 0;; esac; echo "$@" >> {calls}')
    program(clone / ".venv/bin/virtues", f'echo virtues "$@" >> {calls}')
    install = "-m pip install --quiet -c constraints.txt -e .[app]"

    assert make(clone, "demo", "HEADLESS=").returncode == 0
    assert calls.read_text().splitlines() == [install, "virtues demo"]
    assert make(clone, "demo", "HEADLESS=1").returncode == 0
    assert calls.read_text().splitlines()[2:] == ["virtues demo --headless demo"]

    newer = (clone / ".venv/installed-app").stat().st_mtime + 10
    os.utime(clone / "constraints.txt", (newer, newer))
    assert make(clone, "demo", "HEADLESS=0").returncode == 0
    assert calls.read_text().splitlines()[3:] == [install, "virtues demo"]
