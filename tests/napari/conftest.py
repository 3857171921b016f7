"""Plain widgets and viewer models; nothing here needs a graphics card."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

from virtues_core.image import MultiplexImage

if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before a test makes the first widget

CHANNELS = ("DNA1_Ir191", "CD20_Dy161", "CD3_Er170", "CD8a(Dy162Di)", "131Xe", "xyzzy")


@pytest.fixture
def image() -> MultiplexImage:
    """Six channels of (96, 120) counts; channel i has counts around 10 (i + 1); the last is 0."""
    rng = np.random.default_rng(3)
    pixels = rng.poisson(10 * np.arange(1, 7)[:, None, None], (6, 96, 120)).astype(np.uint16)
    pixels[5] = 0
    return MultiplexImage(
        da.from_array(pixels, chunks=(1, 96, 120)), CHANNELS, (0.5, 0.5), "spleen"
    )


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings folder of the test's own."""
    folder = tmp_path / "config"
    monkeypatch.setenv("VIRTUES_CONFIG_DIR", str(folder))
    return folder


@pytest.fixture
def viewer(settings: Path) -> Iterator[Any]:
    """napari's viewer without a window."""
    import napari.plugins
    from napari.components import ViewerModel

    napari.plugins._initialize_plugins()
    model = ViewerModel()
    yield model
    model.layers.clear()


@pytest.fixture
def told() -> Iterator[list[str]]:
    """The notifications that the user saw."""
    from napari.utils.notifications import notification_manager

    seen: list[str] = []

    def keep(notification: Any) -> None:
        seen.append(notification.message)

    notification_manager.notification_ready.connect(keep)
    yield seen
    notification_manager.notification_ready.disconnect(keep)


@pytest.fixture
def open_with_plugin(viewer: Any) -> Callable[[Path], list[Any]]:
    """Open a path as napari does when this plugin is chosen."""
    return lambda path: viewer.open(str(path), plugin="napari-virtues")
