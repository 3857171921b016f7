"""What several commands have in common: checkpoints, devices, options with several values."""

import glob
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from virtues_core.errors import InputError
from virtues_core.run_dir import StatusWriter

if TYPE_CHECKING:
    from virtues_core.model import Checkpoint

ImagePath = Annotated[Path, typer.Argument(metavar="IMAGE", help="An image file or folder.")]
ImageName = Annotated[
    str | None, typer.Option("--image", help="Which one, in a file of several images.")
]
PanelFile = Annotated[
    Path | None,
    typer.Option("--panel", help="Panel CSV: what its channels are; else from their names."),
]
CheckpointName = Annotated[
    str, typer.Option("--checkpoint", help="Folder, file, hub name, or demo.")
]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
TilesAtOnce = Annotated[int, typer.Option("--batch-size", help="Tiles at once.")]


class FitCommand(TyperCommand):
    """A command whose ``--fit`` takes all the values up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, with ``--fit A B`` taken for ``--fit A --fit B``."""
        return super().parse_args(ctx, spread("--fit", args))


def spread(option: str, args: Sequence[str]) -> list[str]:
    """Repeat an option before each of its values.

    Examples
    --------
    >>> spread("--fit", ["x", "--fit", "a", "b", "--json", "o"])
    ['x', '--fit', 'a', '--fit', 'b', '--json', 'o']
    """
    result: list[str] = []
    within = False
    for arg in args:
        if arg.startswith("--"):
            within = arg == option
            if not within:
                result.append(arg)
        elif within:
            result += [option, arg]
        else:
            result.append(arg)
    return result


def expand(patterns: Sequence[str]) -> list[Path]:
    """Expand file patterns that the shell left alone, each sorted.

    Raises
    ------
    InputError
        A pattern matches nothing.
    """
    paths: list[Path] = []
    for pattern in patterns:
        found = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern))  # noqa: PTH207
        if not found:
            message = (
                f"expected an image, found nothing at {pattern!r}. Check the path; put a pattern "
                "in quotes."
            )
            raise InputError(message)
        paths += [Path(name) for name in found]
    return paths


def open_checkpoint(name: str, device: str) -> "Checkpoint":
    """Open a checkpoint.

    Parameters
    ----------
    name
        A folder or file, ``demo``, or a hub name that was downloaded before.
    device
        ``auto`` (the GPU, where there is one), ``cpu``, ``cuda`` or ``mps``.

    Raises
    ------
    DeviceError
        The device is unknown or absent.
    CheckpointError
        As `load_checkpoint`.
    """
    from virtues_core.model import load_checkpoint
    from virtues_core.model.device import device_named

    return load_checkpoint(name, device=device_named(device))


def tell_job(done: float, total: float, text: str) -> None:
    """Say in the status of the job how far it is; nothing without one.

    Raises
    ------
    KeyboardInterrupt
        The job was cancelled: an interrupt can get lost in code that swallows all exceptions.
    """
    status = StatusWriter.current()
    if status is not None:
        status.update(done / max(1, total), text)
        if status.cancelled:
            raise KeyboardInterrupt


def show_progress(done: int, total: int, what: str, note: str = "") -> None:
    """Count what is done: in the status of the job, and where a person watches."""
    tell_job(done, total, f"{what} {done} of {total}{note}")
    if sys.stderr.isatty():
        typer.echo(f"\r{what} {done} of {total}{note}", err=True, nl=done == total)


def tile_progress(done: int, total: int) -> None:
    """Count the tiles."""
    show_progress(done, total, "tile")
