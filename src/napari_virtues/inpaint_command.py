"""The command that repeats what a dock did."""

import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_virtues.engine import InpaintJob

SAVE_FIRST = "IMAGE.ome.tiff"
"""Stands for the path of an image that was never in a file."""
REGION = "REGION.tiff"
"""Stands for the mask of a region that was drawn, until it is saved beside a result."""
OUT = "inpainted.ome.tiff"
_FIELDS = {
    "repeats": "--repeats",
    "stride_px": "--stride",
    "batch_size": "--batch",
    "seed": "--seed",
}


def inpaint_command(
    job: "InpaintJob", *, region: Path | str | None = None, out: Path | str = OUT
) -> str:
    """Write the ``virtues inpaint`` command that does what a job did.

    Parameters
    ----------
    job
        What was done.
    region
        File of the hidden region, where it is known.
    out
        File that the command shall write.
    """
    request = job.request
    words: list[Any] = ["virtues", "inpaint", job.image.path or SAVE_FIRST]
    if request.strategy != "marker":
        words += ["--strategy", request.strategy]
    if request.markers:
        words += ["--markers", ",".join(request.markers)]
    if request.region is not None:
        words += ["--region", region or REGION]
    words += ["--checkpoint", job.checkpoint]
    if job.device != "auto":
        words += ["--device", job.device]
    for other in job.cohort:
        words += ["--fit", other.path]
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in _FIELDS and value != field.default:
            words += [_FIELDS[field.name], value]
    return join([*words, "--out", out])


def join(words: Sequence[Any]) -> str:
    """Quote words for a shell."""
    return shlex.join(str(word) for word in words)
