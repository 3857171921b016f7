"""The command that repeats what the *Inpaint* dock did, and what all docks' commands share."""

import shlex
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_virtues.engine import AttentionJob, EmbedJob, InpaintJob, RetrieveJob, SegmentJob

    ImageJob = InpaintJob | EmbedJob | SegmentJob | AttentionJob | RetrieveJob

SAVE_FIRST = "IMAGE.ome.tiff"
"""Stands for the path of an image that was never in a file."""
REGION = "REGION.tiff"
"""Stands for the mask of a region that was drawn, until it is saved beside a result."""
OUT = "inpainted.ome.tiff"
PANEL = "PANEL.csv"
"""Stands for the panel where a person set proteins in it, until it is saved."""
OPTIONS = {
    "repeats": "--repeats",
    "stride_px": "--stride",
    "batch_size": "--batch-size",
    "seed": "--seed",
}
"""Option of each number of a request; left out where it has its default."""


def inpaint_command(
    job: "InpaintJob",
    *,
    region: Path | None = None,
    panel: Path | None = None,
    out: Path | None = None,
) -> str:
    """Write the ``virtues inpaint`` command that does what a job did.

    Parameters
    ----------
    job
        What was done.
    region
        File of the hidden region, where there is one.
    panel
        File of the panel, where a person set proteins in it.
    out
        File that the command shall write.
    """
    request = job.request
    words: list[Any] = ["virtues", "inpaint", *image_words(job)]
    if request.markers:
        words += ["--markers", ",".join(request.markers)]
    if request.region is not None:
        words += ["--region", region or REGION]
    if request.strategy != ("marker" if request.region is None else "niche"):
        words += ["--strategy", request.strategy]
    words += model_words(job, panel)
    if job.cohort:
        words += ["--fit", *(other.path for other in job.cohort)]
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in OPTIONS and value != field.default:
            words += [OPTIONS[field.name], value]
    return shlex.join(str(word) for word in [*words, "--out", out or OUT])


def image_words(job: "ImageJob") -> list[Any]:
    """Give the words that name a job's image: its file, and which of several in it."""
    path = job.image.path
    if path is None or path.name.split(".")[0] == job.image.name:
        return [path or SAVE_FIRST]
    return [path, "--image", job.image.name]


def model_words(job: "ImageJob", panel: Path | None = None) -> list[Any]:
    """Give the words for panel, checkpoint and device, where they are not the usual ones."""
    words: list[Any] = ["--panel", panel or PANEL] if has_own_panel(job) else []
    words += ["--checkpoint", job.checkpoint] if job.checkpoint != "demo" else []
    words += ["--device", job.device] if job.device != "auto" else []
    return words


def has_own_panel(job: "ImageJob") -> bool:
    """Say whether a person set proteins, so that the command needs the panel's file."""
    return job.panel is not None and any(entry.source == "user" for entry in job.panel.entries)
