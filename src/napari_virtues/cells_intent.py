"""What a person chose in the *Cells* dock → the job that the engine gets. Knows no Qt."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtues.engine import EmbedJob, ImageSource
from napari_virtues.inpaint_command import PANEL, SAVE_FIRST, has_own_panel
from napari_virtues.state import OpenImage
from virtues_core.errors import InputError
from virtues_core.infer import EmbedRequest

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

CELLS = "CELLS.tiff"
"""Stands for the mask of the cells, where it is in no file."""
OUT = "cells.h5ad"
TYPES = "virtues_types"
"""Key in ``layer.metadata`` of layers that show types, which are no masks of cells."""


@dataclass(frozen=True, eq=False)
class EmbedIntent:
    """What was chosen when Compute was pressed."""

    opened: OpenImage
    layer: "Labels"
    labels: Any
    """(Y, X) of the layer, finest level."""
    checkpoint: str
    device: str
    stride_px: int
    batch_size: int = 8


def masks(viewer: "ViewerModel") -> "tuple[Labels, ...]":
    """Return the layers that may hold cells."""
    from napari.layers import Labels

    return tuple(x for x in viewer.layers if isinstance(x, Labels) and TYPES not in x.metadata)


def finest(layer: "Labels") -> Any:
    """Return the labels of a layer at full size."""
    return layer.data[0] if layer.multiscale else layer.data


def embed_job_of(intent: EmbedIntent) -> EmbedJob:
    """Resolve what was chosen into a job. May read pixels: not for the GUI's thread.

    Raises
    ------
    InputError
        The layer has another size than the image, or no cell.
    """
    image = intent.opened.image
    cells = np.asarray(intent.labels)
    if cells.shape != image.shape[1:]:
        message = (
            f"expected cells in a mask of the image's size {image.shape[1:]} (y, x) px, found "
            f"{cells.shape} in {intent.layer.name!r}; choose the mask made for {image.name!r}"
        )
        raise InputError(message)
    if not cells.any():
        message = f"{intent.layer.name!r} holds no cell; choose a mask with cells, then compute"
        raise InputError(message)
    return EmbedJob(
        image=ImageSource.of(image),
        panel=intent.opened.panel,
        checkpoint=intent.checkpoint,
        device=intent.device,
        cells=cells,
        request=EmbedRequest(stride_px=intent.stride_px, batch_size=intent.batch_size),
    )


def embed_command(job: EmbedJob, *, cells: Path | None = None, out: Path | None = None) -> str:
    """Write the ``virtues embed`` command that does what a job did.

    Parameters
    ----------
    job
        What was done.
    cells
        File of the mask, where it is in one.
    out
        File that the command shall write.
    """
    path, request = job.image.path, job.request
    words: list[Any] = ["virtues", "embed", path or SAVE_FIRST, "--cells", cells or CELLS]
    if path is not None and path.name.split(".")[0] != job.image.name:
        words += ["--image", job.image.name]
    if has_own_panel(job):
        words += ["--panel", PANEL]
    if job.checkpoint != "demo":
        words += ["--checkpoint", job.checkpoint]
    if job.device != "auto":
        words += ["--device", job.device]
    usual = EmbedRequest()
    if request.stride != usual.stride:
        words += ["--stride", request.stride]
    if request.batch_size != usual.batch_size:
        words += ["--batch-size", request.batch_size]
    return shlex.join(str(word) for word in [*words, "--out", out or OUT])
