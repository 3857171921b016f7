"""``virtues demo``: napari on a simulated tissue, one marker inpainted, the truth beside it."""

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from virtues_core.cli.doctor import display, virtual_display, window_problem
from virtues_core.errors import DeviceError, VirtuesError

ENTRY_POINTS = "virtues.demo"
"""Group in which an installed window says how it opens the demo: ``open_demo(folder | None)``."""


def open_demo(headless: Path | None) -> None:
    """Open the demo's window, where there is a display, or write what it shows to a folder.

    Parameters
    ----------
    headless
        Where to write the screenshots and numbers; None opens a window, or, without a display,
        writes to ``demo`` in the current folder.

    Raises
    ------
    DeviceError
        System libraries or a Qt binding are missing, or there is neither a display nor
        ``xvfb-run``; the message names the packages to install.
    VirtuesError
        The window is not part of this installation, or the demo failed.
    """
    problem = window_problem()
    if problem is not None:
        raise DeviceError(problem)
    if headless is None and display() is None:
        headless = Path("demo")
        typer.echo(f"No display found: what the window shows is written to {headless.resolve()}")
    prefix = virtual_display() if sys.platform.startswith("linux") else None
    if headless is not None and prefix is not None:
        _under(prefix, headless)
    else:
        _window()(headless)


def _under(prefix: list[str], headless: Path) -> None:
    """Run this file on a virtual display."""
    command = [*prefix, sys.executable, "-m", "virtues_core.cli.demo", str(headless.resolve())]
    environment = {k: v for k, v in os.environ.items() if k != "WAYLAND_DISPLAY"}
    environment["QT_QPA_PLATFORM"] = "xcb"
    status = subprocess.run(command, env=environment, check=False).returncode
    if status != 0:
        message = f"the demo ended with status {status}; what went wrong is printed above"
        raise VirtuesError(message)


def _window() -> Callable[[Path | None], object]:
    """Find the demo's window among the installed entry points."""
    found = tuple(importlib.metadata.entry_points(group=ENTRY_POINTS))
    if not found:
        message = (
            f"expected an entry point in the group {ENTRY_POINTS!r}, found none; "
            "reinstall: pip install --force-reinstall --no-deps napari-virtues"
        )
        raise VirtuesError(message)
    window: Callable[[Path | None], object] = found[0].load()
    return window


def register(app: typer.Typer) -> None:
    """Add ``virtues demo`` to the command line."""

    @app.command()
    def demo(
        headless: Annotated[
            Path | None,
            typer.Option(
                metavar="DIR",
                file_okay=False,
                help="Write the screenshots and the numbers to DIR; no window stays open.",
            ),
        ] = None,
    ) -> None:
        """Open napari on a simulated tissue with a marker inpainted and its truth beside it."""
        open_demo(headless)


if __name__ == "__main__":
    try:
        _window()(Path(sys.argv[1]))
    except VirtuesError as mistake:
        typer.echo(f"virtues: {mistake}", err=True)
        sys.exit(1)
