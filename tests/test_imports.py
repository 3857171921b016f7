"""Arrows point one way: napari_virtues → virtues_core, and from later rooms to earlier ones."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
ROOMS = (
    "errors",
    "files",
    "run_dir",
    "image",
    "read",
    "markers",
    "preprocess",
    "model",
    "train",
    "infer",
    "cohort",
    "evaluate",
    "simulate",
    "report",
    "jobs",
    "cli",
)
"""Rooms of virtues_core in the order in which data walks through them (docs/development.md)."""
WINDOW_PACKAGES = {
    "napari",
    "npe2",
    "magicgui",
    "superqt",
    "qtpy",
    "pyqtgraph",
    "PyQt5",
    "PyQt6",
    "PySide2",
    "PySide6",
    "vispy",
    "napari_virtues",
}
MAY_IMPORT_DOCKS = {"napari_virtues.demo_window"}
"""Apart from the docks themselves and the manifest, which names them as text."""

RUN_PYTHON = (sys.executable, "-W", "error::SyntaxWarning", "-c")


def imported(source: str, module: str, *, package: bool) -> set[str]:
    """Absolute names of all that a file imports, anywhere in it.

    ``from a import b`` counts as both ``a`` and ``a.b``, for ``b`` may be a module.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                kept = parents[: len(parents) - node.level + package]
                base = ".".join([*kept, *([base] if base else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "importlib.import_module",
            "import_module",
            "__import__",
        }:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                names.add(first.value)
    return names


def modules(package: str) -> Iterator[tuple[str, set[str]]]:
    """Each module of a package with the names that it imports."""
    for path in sorted((SRC / package).rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        yield name, imported(path.read_text("utf-8"), name, package=is_package)


def room(name: str) -> str | None:
    """Room of a dotted name in virtues_core; None for the package itself and its constants."""
    parts = name.split(".")
    return parts[1] if parts[0] == "virtues_core" and len(parts) > 1 else None


def core_breaches(name: str, imports: set[str]) -> list[str]:
    own = room(name)
    breaches = [f"{name} imports {i}" for i in imports if i.split(".")[0] in WINDOW_PACKAGES]
    for other in {room(i) for i in imports} & set(ROOMS):
        if own is None or ROOMS.index(str(other)) > ROOMS.index(own):
            breaches.append(f"{name} imports the later room {other}")
    return breaches


def dock_breaches(name: str, imports: set[str]) -> list[str]:
    docks = "napari_virtues.docks"
    if name == docks or name.startswith(f"{docks}.") or name in MAY_IMPORT_DOCKS:
        return []
    return [f"{name} imports {i}" for i in imports if i == docks or i.startswith(f"{docks}.")]


def test_core_imports_no_window_and_no_later_room() -> None:
    seen = dict(modules("virtues_core"))
    assert "virtues_core.image" in seen
    assert [line for name in seen for line in core_breaches(name, seen[name])] == []


def test_every_room_has_its_place_in_the_order() -> None:
    found = {
        path.stem if path.is_file() else path.name
        for path in (SRC / "virtues_core").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    } - {"__init__"}
    assert found == set(ROOMS)


def test_only_the_manifest_and_the_demo_open_docks() -> None:
    seen = dict(modules("napari_virtues"))
    assert seen
    assert [line for name in seen for line in dock_breaches(name, seen[name])] == []


@pytest.mark.parametrize(
    ("module", "source", "breach"),
    [
        ("virtues_core.read.tiff", "import napari.layers", "imports napari.layers"),
        ("virtues_core.read.tiff", "def f():\n    from qtpy.QtCore import Qt", "imports qtpy"),
        ("virtues_core.read.tiff", "from ..markers import Panel", "the later room markers"),
        ("virtues_core.read.tiff", "from virtues_core import markers", "the later room markers"),
        ("virtues_core.cli.demo", "import_module('napari_virtues')", "imports napari_virtues"),
        ("virtues_core", "from virtues_core.image import MultiplexImage", "the later room image"),
    ],
)
def test_a_breach_is_seen(module: str, source: str, breach: str) -> None:
    found = core_breaches(module, imported(source, module, package=module.count(".") == 0))
    assert any(breach in line for line in found)


def test_a_dock_imported_elsewhere_is_seen() -> None:
    imports = imported("from .docks.inpaint import Dock", "napari_virtues.layers", package=False)
    assert dock_breaches("napari_virtues.layers", imports)
    assert not dock_breaches("napari_virtues.demo_window", imports)


def run(code: str, cwd: Path) -> dict[str, object]:
    """Run code in a fresh interpreter at home in an empty folder; what it prints is JSON."""
    environment = {"HOME": str(cwd), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [*RUN_PYTHON, code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert isinstance(answer, dict)
    return answer


LIGHT = """
import json, sys, time
{action}
heavy = {{"torch", "pandas", "zarr", "transformers", "lightning", "dask", "napari", "skimage"}}
print(json.dumps({{"heavy": sorted(heavy & set(sys.modules)), "seconds": time.process_time()}}))
"""
HELP = """
from virtues_core.cli.main import app
from contextlib import redirect_stdout
from io import StringIO
with redirect_stdout(StringIO()) as text:
    app(["--help"], standalone_mode=False)
assert "inpaint" in text.getvalue() and "doctor" in text.getvalue(), text.getvalue()
"""


@pytest.mark.parametrize("action", ["import virtues_core", HELP], ids=["import", "help"])
def test_light_at_the_start(action: str, tmp_path: Path) -> None:
    """Processor time, for the clock on the wall also counts what else the machine does."""
    answers = [run(LIGHT.format(action=action), tmp_path) for _ in range(2)]
    assert answers[0]["heavy"] == []
    assert min(float(str(answer["seconds"])) for answer in answers) < 2


EVERYTHING = """
import importlib, json, logging, os, pkgutil, sys, threading
import lightning.pytorch  # sets two variables of its own, and matplotlib's caches
home = sorted(os.listdir(os.path.expanduser("~")))
before = dict(os.environ), os.getcwd(), list(logging.getLogger().handlers), list(sys.path)
import virtues_core
names = [m.name for m in pkgutil.walk_packages(virtues_core.__path__, "virtues_core.")]
for name in names:
    importlib.import_module(name)
after = dict(os.environ), os.getcwd(), list(logging.getLogger().handlers), list(sys.path)
windows = {windows!r} & {{name.split(".")[0] for name in sys.modules}}
print(json.dumps({{
    "modules": len(names), "windows": sorted(windows), "threads": threading.active_count(),
    "changed": [i for i in range(4) if before[i] != after[i]],
    "files": sorted(set(os.listdir(os.path.expanduser("~"))) - set(home)),
}}))
"""


def test_importing_all_of_core_does_nothing_but_import(tmp_path: Path) -> None:
    """No window packages, no output, no files, no threads, no changed settings."""
    answer = run(EVERYTHING.format(windows=WINDOW_PACKAGES), tmp_path)
    assert int(str(answer.pop("modules"))) > len(ROOMS)
    assert answer == {"windows": [], "threads": 1, "changed": [], "files": []}
