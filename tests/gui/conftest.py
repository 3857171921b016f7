"""Tests through a real napari window."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder: the folder above skips those where no window can be shown."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gui)


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
