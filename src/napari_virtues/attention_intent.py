"""What a person chose in the *Attention* dock → the job that the engine gets. Knows no Qt."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtues.engine import AttentionJob, ImageSource
from napari_virtues.inpaint_command import REGION, image_words, model_words
from napari_virtues.inpaint_intent import RegionSource
from napari_virtues.layers import placement
from napari_virtues.state import LINK, ChannelLink, OpenImage
from virtues_core.image import MultiplexImage

if TYPE_CHECKING:
    from napari.layers import Shapes

OUT = "attention"
"""Folder that the command writes into."""


@dataclass(frozen=True, eq=False)
class AttentionIntent:
    """What was chosen when Run was pressed."""

    opened: OpenImage
    regions: RegionSource
    """Frozen, for another thread."""
    checkpoint: str
    device: str


def regions_layer(image: MultiplexImage) -> "Shapes":
    """Make an empty layer to draw regions of an image in; it is not yet in a viewer."""
    from napari.layers import Shapes

    edge = 0.01 * min(image.shape[1:])
    return Shapes(
        name=f"regions · {image.name}",
        ndim=2,
        face_color=[1, 0.83, 0.23, 0.12],
        edge_color="#ffd43b",
        edge_width=max(1.0, edge),
        metadata={LINK: ChannelLink(image)},
        **placement(image),
    )


def attention_job_of(intent: AttentionIntent) -> AttentionJob:
    """Resolve what was chosen into a job. Reads files: not for the GUI's thread.

    Raises
    ------
    InputError
        The regions do not fit the image, or cover nothing of it.
    ReadError
        The mask file cannot be read.
    """
    image = intent.opened.image
    return AttentionJob(
        image=ImageSource.of(image),
        panel=intent.opened.panel,
        checkpoint=intent.checkpoint,
        device=intent.device,
        regions=intent.regions.numbered(image).astype(np.int32),
    )


def attention_command(
    job: AttentionJob, *, region: Path | None = None, out: Path | None = None
) -> str:
    """Write the ``virtues attention`` command that does what a job did.

    Parameters
    ----------
    job
        What was done.
    region
        File of the regions, where they are in one.
    out
        Folder that the command shall write into.
    """
    words: list[Any] = ["virtues", "attention", *image_words(job), "--region", region or REGION]
    words += [*model_words(job), "--out", out or OUT]
    return shlex.join(str(word) for word in words)
