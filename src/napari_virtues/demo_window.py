"""The demo: napari on a simulated tissue, a marker painted by the model, the truth beside it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QWidget

from virtues_core.errors import VirtuesError
from virtues_core.files import replacing

if TYPE_CHECKING:
    from napari import Viewer
    from napari_virtues.docks.inpaint import InpaintDock

MARKER = "CD20"
"""Symbol in the name of the channel that is hidden."""
MINUTES = 15
"""How long the demo may take on a slow machine."""
SIZE = (1500, 950)


def open_demo(headless_dir: Path | None = None) -> None:
    """Open the demo.

    Parameters
    ----------
    headless_dir
        Where to write ``window.png``, ``images.png``, ``canvas.png`` and ``numbers.json``, and
        then close the window; None leaves the window open until it is closed.

    Raises
    ------
    VirtuesError
        The inpainting failed (headless only: in a window the dock shows the message).
    """
    import napari

    viewer = napari.Viewer(title="VirTues demo", show=True)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-virtues", "imc")
    images, _ = viewer.window.add_plugin_dock_widget("napari-virtues", "Images", tabify=False)
    _, dock = viewer.window.add_plugin_dock_widget("napari-virtues", "Inpaint", tabify=True)
    dock.picker.chosen = [name for name in dock.picker.choices if MARKER in name][:1]
    dock.model.choose("demo")
    try:
        _wait(dock)
        if headless_dir is not None:
            _write(viewer, dock, images, Path(headless_dir))
    finally:
        if headless_dir is not None:
            viewer.close()
            _pause(100)
    if headless_dir is None:
        napari.run()


def _wait(dock: "InpaintDock") -> None:
    """Run, and let the window live until the layers are there or the run failed."""
    loop = QEventLoop()
    dock.view.shown.connect(loop.quit)
    dock.run.stopped.connect(loop.quit)
    dock.destroyed.connect(loop.quit)
    QTimer.singleShot(MINUTES * 60_000, loop.quit)
    dock.compute()
    if dock.run.busy:
        loop.exec()


def _write(viewer: "Viewer", dock: "InpaintDock", images: QWidget, folder: Path) -> None:
    if dock.result is None:
        reason = dock.run.message.text() or f"it took more than {MINUTES} minutes"
        message = f"the demo's inpainting gave no result: {reason}"
        raise VirtuesError(message)
    _pause(500)
    _shoot(viewer, folder / "window.png", canvas_only=False)
    _shoot(viewer, folder / "canvas.png", canvas_only=True)
    with replacing(folder / "numbers.json") as path:
        path.write_text(json.dumps(numbers(dock), indent=1), encoding="utf-8")
    dock.side_by_side.setChecked(False)
    dock.view.step_aside()
    images.raise_()
    while dock.view.arranging:
        _pause(50)
    _pause(500)
    _shoot(viewer, folder / "images.png", canvas_only=False)


def numbers(dock: "InpaintDock") -> dict[str, Any]:
    """Gather what the dock's table shows, for a machine to read; NaN becomes null."""
    scores = [asdict(score) for score in dock.result.scores]
    return {
        "image": dock.job.image.name,
        "shape": [len(dock.job.image.channels), *dock.result.truth.shape[1:]],
        "checkpoint": dock.job.checkpoint,
        "command": dock.command,
        "scores": [_without_nan(score) for score in scores],
        "warnings": list(dock.result.warnings),
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124


def _shoot(viewer: "Viewer", path: Path, *, canvas_only: bool) -> None:
    with replacing(path) as new:
        viewer.window.screenshot(path=str(new), canvas_only=canvas_only, flash=False)


def _pause(milliseconds: int) -> None:
    """Let the window draw."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()
