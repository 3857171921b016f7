"""What a person chose in the *Cells* dock → the job that the engine gets. Knows no Qt."""

import hashlib
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtues.engine import EmbedJob, ImageSource, SegmentJob
from napari_virtues.inpaint_command import image_words, model_words
from napari_virtues.state import OpenImage
from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer import EmbedRequest

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

CELLS = "CELLS.tiff"
"""Stands for the mask of the cells, where it is in no file."""
TYPES = "virtues_types"
"""Key in ``layer.metadata`` of layers that show types, which are no masks of cells: "cell" or
"niche"."""
NICHES = "virtues_niches"
"""Key in ``layer.metadata`` of layers that show niches, which are no masks of cells either."""
SELECTED = "virtues_selected"
"""Key in ``layer.metadata`` of layers that show which cells are selected."""
LIT = "virtues_lit"
"""Key in ``layer.metadata`` of layers that show cells of a cohort's patient, group or cluster."""


@dataclass(frozen=True, eq=False)
class EmbedIntent:
    """What was chosen when Compute was pressed."""

    opened: OpenImage
    layer: "Labels | None"
    """The mask of the cells; None where niches are wanted."""
    labels: Any
    """(Y, X) of the layer, finest level; None where niches are wanted."""
    checkpoint: str
    device: str
    stride_px: int | None
    """None for niches, which lie side by side."""
    batch_size: int = 8


@dataclass(frozen=True, eq=False)
class SegmentIntent:
    """What was chosen when Segment was pressed."""

    opened: OpenImage
    checkpoint: str
    device: str


def masks(viewer: "ViewerModel") -> "tuple[Labels, ...]":
    """Return the layers that may hold cells."""
    from napari.layers import Labels

    ours = {TYPES, NICHES, SELECTED, LIT}
    return tuple(x for x in viewer.layers if isinstance(x, Labels) and not ours & set(x.metadata))


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
    return EmbedJob(
        image=ImageSource.of(image),
        panel=intent.opened.panel,
        checkpoint=intent.checkpoint,
        device=intent.device,
        cells=None if intent.layer is None else _checked(intent.labels, intent.layer.name, image),
        request=EmbedRequest(
            level="niche" if intent.layer is None else "cell",
            stride_px=intent.stride_px,
            batch_size=intent.batch_size,
        ),
        cache=token_folder(image),
    )


def _checked(labels: Any, name: str, image: MultiplexImage) -> NDArray[Any]:
    cells = np.asarray(labels)
    if cells.shape != image.shape[1:]:
        message = (
            f"expected cells in a mask of the image's size {image.shape[1:]} (y, x) px, found "
            f"{cells.shape} in {name!r}; choose the mask made for {image.name!r}"
        )
        raise InputError(message)
    if not cells.any():
        message = f"{name!r} holds no cell; choose a mask with cells, then compute"
        raise InputError(message)
    return cells


def token_folder(image: MultiplexImage) -> Path:
    """Where patch tokens of an image are kept until its run is done.

    In the user's cache folder, or in ``VIRTUES_CONFIG_DIR``.
    """
    folder = os.environ.get("VIRTUES_CONFIG_DIR")
    if folder:
        root = Path(folder)
    else:
        from platformdirs import user_cache_path

        root = user_cache_path("napari-virtues", appauthor=False)
    known_by = f"{image.source} {image.name}".encode()
    return root / "tokens" / hashlib.blake2b(known_by, digest_size=8).hexdigest()


def segment_job_of(intent: SegmentIntent) -> SegmentJob:
    """Resolve what was chosen into a job. May read pixels: not for the GUI's thread."""
    return SegmentJob(
        image=ImageSource.of(intent.opened.image),
        panel=intent.opened.panel,
        checkpoint=intent.checkpoint,
        device=intent.device,
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
    request = job.request
    words: list[Any] = ["virtues", "embed", *image_words(job)]
    words += ["--level", "niche"] if job.cells is None else ["--cells", cells or CELLS]
    words += model_words(job)
    usual = EmbedRequest(level=request.level)
    if request.stride != usual.stride:
        words += ["--stride", request.stride]
    if request.batch_size != usual.batch_size:
        words += ["--batch-size", request.batch_size]
    return shlex.join(str(word) for word in [*words, "--out", out or f"{request.level}s.h5ad"])


def segment_command(job: SegmentJob) -> str:
    """Write the ``virtues segment`` command that does what a job did."""
    words = ["virtues", "segment", *image_words(job), *model_words(job)]
    return shlex.join(str(word) for word in [*words, "--out", CELLS, "--types", "types.csv"])
