"""The command that repeats what the *Inpaint* dock did."""

import shlex
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
OPTIONS = {"batch_size": "--batch-size", "seed": "--seed"}
"""Option of each number of a request; left out where it has its default."""
WINDOW_ONLY = {"repeats": "repeats", "stride_px": "stride"}
"""Numbers of a request that the command line always leaves at their defaults."""


def inpaint_command(
    job: "InpaintJob", *, region: Path | None = None, out: Path | None = None
) -> str:
    """Write the ``virtues inpaint`` command that does what a job did.

    Parameters
    ----------
    job
        What was done.
    region
        File of the hidden region, where there is one.
    out
        File that the command shall write.
    """
    request = job.request
    path = job.image.path
    words: list[Any] = ["virtues", "inpaint", path or SAVE_FIRST]
    if path is not None and path.name.split(".")[0] != job.image.name:
        words += ["--image", job.image.name]
    if request.markers:
        words += ["--markers", ",".join(request.markers)]
    if request.region is not None:
        words += ["--region", region or REGION]
    if request.strategy != ("marker" if request.region is None else "niche"):
        words += ["--strategy", request.strategy]
    if job.checkpoint != "demo":
        words += ["--checkpoint", job.checkpoint]
    if job.device != "auto":
        words += ["--device", job.device]
    if job.cohort:
        words += ["--fit", *(other.path for other in job.cohort)]
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in OPTIONS and value != field.default:
            words += [OPTIONS[field.name], value]
    return shlex.join(str(word) for word in [*words, "--out", out or OUT])


def not_in_command(job: "InpaintJob") -> tuple[str, ...]:
    """Name what was chosen in the window and has no option on the command line."""
    request = job.request
    numbers = [
        WINDOW_ONLY[field.name]
        for field in fields(request)
        if field.name in WINDOW_ONLY and getattr(request, field.name) != field.default
    ]
    corrected = any(entry.source == "user" for entry in job.panel.entries)
    return (*numbers, *(["the proteins that you set"] if corrected else []))
