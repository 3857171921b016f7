"""What several commands have in common: checkpoints, devices, options with several values."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from virtues_core.errors import DeviceError, InputError

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

    return load_checkpoint(name, device=device_named(device))


def device_named(name: str) -> str:
    """Return the device of this name; ``auto`` is the GPU, where there is one.

    Raises
    ------
    DeviceError
        It is unknown or absent.
    """
    import torch

    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.insert(0, "mps")
    if torch.cuda.is_available():
        present.insert(0, "cuda")
    if name == "auto":
        return present[0]
    if name not in present:
        message = (
            f"expected a device among auto, {', '.join(present)} on this machine, found {name!r}. "
            "Choose one of those, or install a PyTorch for your GPU."
        )
        raise DeviceError(message)
    return name


def tile_progress(done: int, total: int) -> None:
    """Count the tiles, where a person watches."""
    import sys

    if sys.stderr.isatty():
        typer.echo(f"\rtile {done} of {total}", err=True, nl=done == total)
