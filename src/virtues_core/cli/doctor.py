"""``virtues doctor``: what this machine has, what it lacks, and what to do about it."""

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import typer

from virtues_core.cli.markers import ESM2_150M
from virtues_core.errors import VirtuesError

WINDOW_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-shape.so.0": "libxcb-shape0",
}
"""Shared libraries that Qt and OpenGL ask Linux for, and the Debian package of each."""
VIRTUAL_DISPLAY_PACKAGES = ("xvfb", "xauth")
"""Debian packages that give a window a place to open where there is no display."""
QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
NEEDED_FREE_BYTES = 500_000_000


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    status: Literal["ok", "note", "missing"]
    """``note``: something optional is absent; ``missing``: napari-virtues will not work."""
    found: str
    remedy: str = ""
    """What to do, where there is something to do."""


def examine(folder: Path) -> tuple[Check, ...]:
    """Look at everything napari-virtues needs.

    Parameters
    ----------
    folder
        Where results shall be written: its free space is looked at.
    """
    return (
        _python(),
        _torch(),
        _napari(),
        _qt(),
        _libraries(),
        _display(),
        _disk(folder),
        _demo_checkpoint(),
        _published(),
        _esm(),
    )


def window_problem() -> str | None:
    """Say in one line why no window can open here, not even on a virtual display.

    None where one can.
    """
    for check in (_napari(), _qt()):
        if check.status == "missing":
            return f"{check.name}: {check.found}; {check.remedy}"
    absent = missing_libraries()
    packages = [WINDOW_LIBRARIES[name] for name in absent]
    if display() is None and virtual_display() is None:
        absent.append("a display")
        packages.extend(VIRTUAL_DISPLAY_PACKAGES)
    if not absent:
        return None
    return f"no window can open without {', '.join(absent)}; {_install(packages)}"


def missing_libraries() -> list[str]:
    """Shared libraries that a window needs and that cannot be loaded.

    Only Linux leaves them to the system, so that elsewhere nothing is looked for.
    """
    if not sys.platform.startswith("linux"):
        return []
    return [name for name in WINDOW_LIBRARIES if not _loads(name)]


def display() -> str | None:
    """Name of a display that answers; None where there is none."""
    if not sys.platform.startswith("linux"):
        return "the desktop"
    wayland = os.environ.get("WAYLAND_DISPLAY")
    if wayland and (Path(os.environ.get("XDG_RUNTIME_DIR", "/")) / wayland).is_socket():
        return wayland
    x11 = os.environ.get("DISPLAY")
    return x11 if x11 and _x11_answers() else None


def virtual_display() -> list[str] | None:
    """Words to put before a command so that its windows open on a display of their own.

    None where ``xvfb-run`` or ``xauth`` is not installed. It is not made anew whenever the last
    window closes: another process that opens one at that moment would be refused.
    """
    if not (shutil.which("xvfb-run") and shutil.which("xauth")):
        return None
    return ["xvfb-run", "-a", "-s", "-screen 0 1600x1200x24 -noreset"]


def _install(packages: Iterable[str]) -> str:
    return f"on Debian or Ubuntu: apt-get install {' '.join(packages)}"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _x11_answers() -> bool:
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return False
    x11.XOpenDisplay.restype = ctypes.c_void_p
    opened = x11.XOpenDisplay(None)
    if not opened:
        return False
    x11.XCloseDisplay(ctypes.c_void_p(opened))
    return True


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()} ({sys.executable})")


def _torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of its own libraries is broken
        return Check("torch", "missing", f"cannot be imported: {error}", "pip install 'torch>=2.6'")
    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    devices += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return Check("torch", "ok", f"{torch.__version__}: {', '.join(devices)}")


def _napari() -> Check:
    found = _version("napari")
    if found is None:
        remedy = "pip install 'napari-virtues[app]'"
        return Check("napari", "missing", "not installed", remedy)
    return Check("napari", "ok", found)


def _qt() -> Check:
    installed = [name for name in QT_BINDINGS if importlib.util.find_spec(name) is not None]
    if not installed:
        found = f"none of {', '.join(QT_BINDINGS)} is installed"
        return Check("Qt binding", "missing", found, "pip install 'napari-virtues[app]'")
    return Check("Qt binding", "ok", ", ".join(f"{name} {_version(name)}" for name in installed))


def _libraries() -> Check:
    absent = missing_libraries()
    if absent:
        remedy = _install(WINDOW_LIBRARIES[name] for name in absent)
        return Check("system libraries", "missing", f"{', '.join(absent)} not found", remedy)
    return Check("system libraries", "ok", f"all {len(WINDOW_LIBRARIES)} that a window needs")


def _display() -> Check:
    found = display()
    if found is not None:
        return Check("display", "ok", found)
    if virtual_display() is not None:
        return Check("display", "ok", "none; xvfb-run gives a virtual one")
    return Check("display", "note", "none", _install(VIRTUAL_DISPLAY_PACKAGES))


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free in {folder}"
    if free < NEEDED_FREE_BYTES:
        remedy = f"free {NEEDED_FREE_BYTES / 1e9:.1f} GB there or work in another folder"
        return Check("disk", "missing", found, remedy)
    return Check("disk", "ok", found)


def _demo_checkpoint() -> Check:
    try:
        from virtues_core.model import demo_checkpoint, load_checkpoint

        folder = demo_checkpoint()
        checkpoint = load_checkpoint(str(folder))
    except (VirtuesError, OSError, ImportError) as error:  # ImportError: torch is missing or broken
        remedy = "reinstall: pip install --force-reinstall --no-deps napari-virtues"
        return Check("demo checkpoint", "missing", str(error), remedy)
    weights = sum(p.numel() for p in checkpoint.model.parameters())
    found = f"{weights / 1e6:.1f} M weights, {len(checkpoint.trained_keys)} markers, in {folder}"
    return Check("demo checkpoint", "ok", found)


def _published() -> Check:
    from virtues_core.model.hub import PUBLISHED, cached

    found = {name: folder for name in PUBLISHED if (folder := cached(name)) is not None}
    if found:
        listed = ", ".join(f"{name} ({folder})" for name, folder in found.items())
        return Check("published models", "ok", listed)
    remedy = f"virtues download NAME ({', '.join(PUBLISHED)}) shows the licence first"
    return Check("published models", "note", "none downloaded", remedy)


def _esm() -> Check:
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(ESM2_150M, "model.safetensors")
    if isinstance(cached, str):
        return Check("ESM-2", "ok", cached)
    return Check(
        "ESM-2",
        "note",
        f"{ESM2_150M} is not in the cache",
        "only markers that a checkpoint does not know need it: "
        "`virtues markers embed` downloads it (600 MB)",
    )


def _print_table(checks: tuple[Check, ...]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("", "", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    signs = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}
    for check in checks:
        # escaped, for [app] is an extra and no style
        table.add_row(signs[check.status], *map(escape, (check.name, check.found, check.remedy)))
    Console().print(table)


def register(app: typer.Typer) -> None:
    """Add ``virtues doctor`` to the command line."""

    @app.command()
    def doctor(
        as_json: bool = typer.Option(False, "--json", help="Print JSON instead of a table."),
    ) -> None:
        """Check this machine: Python, torch, napari, Qt, system libraries, display, disk."""
        checks = examine(Path.cwd())
        healthy = all(check.status != "missing" for check in checks)
        if as_json:
            answer = {"ok": healthy, "checks": [asdict(check) for check in checks]}
            typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        else:
            _print_table(checks)
        raise typer.Exit(0 if healthy else 1)
