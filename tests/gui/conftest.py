"""Tests through a real napari window."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def _no_window() -> str | None:
    """Say why a window cannot be shown; None where it can."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        return "no display: install the Debian package xvfb, then run xvfb-run -a make test"
    if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        return "QT_QPA_PLATFORM=offscreen cannot draw images: unset it, or use xvfb-run (xvfb)"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and skip them where no window can be shown."""
    reason = _no_window()
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.gui)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def viewer(qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A napari window of a fixed size, with settings of its own."""
    monkeypatch.setenv("VIRTUES_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "napari.yaml"))
    import napari

    window = napari.Viewer(show=True)
    window.window.resize(1500, 950)
    qtbot.wait(200)
    yield window
    window.close()
    qtbot.wait(50)


@pytest.fixture
def screenshot(viewer: Any, qtbot: Any) -> Callable[..., Path | None]:
    """Write the window, or one widget, to the folder named by VIRTUES_SCREENSHOTS, if any."""

    def shoot(name: str, widget: Any = None) -> Path | None:
        folder = os.environ.get("VIRTUES_SCREENSHOTS")
        if not folder:
            return None
        qtbot.wait(300)
        path = Path(folder) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if widget is not None:
            widget.grab().save(str(path))
        else:
            viewer.window.screenshot(path=str(path), canvas_only=False, flash=False)
        return path

    return shoot
