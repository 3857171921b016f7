"""Fixtures that several rooms share, and what is skipped where no window can open."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtues_core.cli.doctor import display, missing_libraries, window_problem

ROOT = Path(__file__).parents[1]
NEED_QT = (ROOT / "tests/napari", ROOT / "tests/gui")


class _Skipped(pytest.Item):
    def runtest(self) -> None:
        pytest.skip(str(window_problem()))


class _WithoutQt(pytest.File):
    """A file whose imports would fail here: each of its tests is named and skipped."""

    def collect(self) -> Iterator[pytest.Item]:
        for node in ast.walk(ast.parse(self.path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield _Skipped.from_parent(self, name=node.name)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Collector | None:
    if module_path.parent in NEED_QT and missing_libraries():
        return _WithoutQt.from_parent(parent, path=module_path)
    return None


def _no_window() -> str | None:
    """Say why a window cannot be shown now; None where it can."""
    if display() is None:
        return window_problem() or "no display: run make test, or pytest under xvfb-run -a"
    if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        return "QT_QPA_PLATFORM=offscreen cannot draw images: unset it"
    return window_problem()


@pytest.hookimpl(trylast=True)  # tests/gui marks its own first
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of real windows, by name, where there is no place for one."""
    gui = [item for item in items if item.get_closest_marker("gui") is not None]
    problem = _no_window() if gui else None
    for item in gui if problem else ():
        item.add_marker(pytest.mark.skip(reason=str(problem)))


def _shared() -> Path:
    return Path(os.environ.get("VIRTUES_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images and tables; the test is skipped where it is absent."""
    folder = _shared() / "data"
    if not folder.is_dir():
        pytest.skip(f"real test data not found at {folder} (set VIRTUES_SHARED)")
    return folder


@pytest.fixture(scope="session")
def parity_data() -> Path:
    """Folder of reference outputs of the published model; skipped where it is absent."""
    folder = _shared() / "parity"
    if not folder.is_dir():
        pytest.skip(f"reference outputs not found at {folder} (set VIRTUES_SHARED)")
    return folder
