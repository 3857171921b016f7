"""What `pip install napari-virtues` brings: the wheel, built and installed, and what it needs."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BASE = [Requirement(line) for line in PROJECT["dependencies"]]
CONSTRAINTS = {
    canonicalize_name(asked.name): asked
    for asked in map(
        Requirement,
        re.findall(r"^[^#\s].*$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE),
    )
}
QT_BINDINGS = {"pyqt5", "pyqt6", "pyside2", "pyside6"}
PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation)", re.IGNORECASE)
COPYLEFT = re.compile(r"\bA?GPL|\bLGPL|General Public License", re.IGNORECASE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, so that no build folder is left in them."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("the sources are not a git clone, so that which files are ours is unknown")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and name.startswith(("src/", "README", "LICENSE", "pyproject")):
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment with the wheel in it, and our dependencies lent to it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    if not python.exists():  # Windows
        python = folder / "Scripts" / "python.exe"
    pip = [sys.executable, "-m", "pip", "--python", python]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    site = folder / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    # `addsitedir` would also run the .pth of this project's own editable install; a path does not
    (site / "lent.pth").write_text(sysconfig.get_path("purelib"))
    return python


def ask(python: Path, code: str, cwd: Path) -> str:
    ran = subprocess.run([python, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_wheel_holds_the_data_files_and_stays_small(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "napari_virtues/napari.yaml",
        "virtues_core/markers/registry.csv",
        "virtues_core/report/page.html",
        "virtues_core/presets/demo/config.json",
        "virtues_core/presets/demo/model.safetensors",
        "virtues_core/presets/demo/markers.safetensors",
        "virtues_core/presets/demo/README.md",
        "virtues_core/py.typed",
    ):
        assert wanted in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "virtues_core",
        "napari_virtues",
    }
    demo = [i for i in zipfile.ZipFile(wheel).infolist() if "/presets/demo/" in i.filename]
    assert sum(i.file_size for i in demo) < 10e6


def test_wheel_holds_every_module_and_every_preset_of_the_sources(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src").rglob("*")
        if path.suffix in {".py", ".csv", ".yaml", ".json", ".safetensors", ".parquet"}
    }
    assert wanted - names == set()


def test_installed_wheel_runs(installed: Path, tmp_path: Path) -> None:
    command = installed.with_name("virtues")
    ran = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f"napari-virtues {PROJECT['version']}"
    where = ask(installed, "import virtues_core; print(virtues_core.__file__)", tmp_path)
    assert Path(where).is_relative_to(installed.parents[1])


def test_installed_wheel_has_the_demo_checkpoint(installed: Path, tmp_path: Path) -> None:
    where = ask(
        installed, "from virtues_core.model import demo_checkpoint as f; print(f())", tmp_path
    )
    assert Path(where).is_relative_to(installed.parents[1])
    assert (Path(where) / "model.safetensors").is_file()


def test_npe2_finds_the_manifest_of_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    code = """
from importlib.util import find_spec
from npe2 import PluginManifest
manifest = PluginManifest.from_distribution("napari-virtues")
modules = {command.python_name.partition(":")[0] for command in manifest.contributions.commands}
assert all(find_spec(module) for module in modules), modules
print(manifest.name, len(manifest.contributions.widgets), len(manifest.contributions.readers))
"""
    name, widgets, readers = ask(installed, code, tmp_path).split()
    assert name == "napari-virtues"
    assert int(widgets) >= 2
    assert int(readers) >= 1


def test_manifest_is_also_found_at_the_top_level() -> None:
    """Where napari's hub looks for it; one text, not two."""
    assert (ROOT / "napari.yaml").samefile(ROOT / "src/napari_virtues/napari.yaml")


def test_base_dependencies_name_no_qt_binding() -> None:
    assert not QT_BINDINGS & {canonicalize_name(asked.name) for asked in BASE}
    assert not {extra for asked in BASE if asked.name == "napari" for extra in asked.extras}
    app = [Requirement(line) for line in PROJECT["optional-dependencies"]["app"]]
    assert {extra for asked in app for extra in asked.extras} == {"pyqt6"}


def test_torch_is_asked_for_from_2_6_and_no_tighter() -> None:
    (torch,) = (asked for asked in BASE if asked.name == "torch")
    assert str(torch.specifier) == ">=2.6"
    assert torch.marker is None
    assert "torchvision" not in CONSTRAINTS | {asked.name: asked for asked in BASE}


def test_constraints_pin_what_we_ask_for_and_what_runs_here() -> None:
    assert str(CONSTRAINTS["torch"].specifier) == "==2.13.0"
    extras = PROJECT["optional-dependencies"]
    asked = [*BASE, *map(Requirement, [*extras["app"], *extras["test"]])]
    for one in asked:
        pin = CONSTRAINTS[canonicalize_name(one.name)]
        (version,) = (str(s.version) for s in pin.specifier)
        assert {s.operator for s in pin.specifier} == {"=="}
        assert one.specifier.contains(version), f"{one} does not allow the pinned {version}"


def licence(name: str) -> str:
    """What a distribution says of its licence, its licence file last."""
    found = metadata.metadata(name)
    lines = [found.get("License-Expression") or ""]
    lines += [c for c in found.get_all("Classifier") or [] if c.startswith("License ::")]
    lines += [(found.get("License") or "")[:2000]]
    said = "\n".join(line for line in lines if line)
    if PERMISSIVE.search(said) or COPYLEFT.search(said):
        return said
    files = [f for f in metadata.files(name) or [] if re.search(r"LICEN[CS]E|COPYING", f.name)]
    return said + "\n".join(Path(str(f.locate())).read_text("utf-8")[:2000] for f in files[:1])


@pytest.mark.parametrize("name", sorted(asked.name for asked in BASE))
def test_base_dependency_is_permissively_licensed(name: str) -> None:
    said = licence(name)
    assert PERMISSIVE.search(said), f"{name} says of its licence: {said[:300]!r}"
    assert not COPYLEFT.search(said), f"{name} says of its licence: {said[:300]!r}"
