"""A point or a model of a label, chosen in the *Attention* dock → jobs, commands and layers."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_virtues.attention_intent import OUT
from napari_virtues.engine.explain_jobs import LabelJob, PatchMap, PointJob
from napari_virtues.engine.inpaint_job import ImageSource
from napari_virtues.inpaint_command import PANEL, has_own_panel, image_words, model_words
from napari_virtues.state import LINK, ChannelLink, OpenImage
from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage

if TYPE_CHECKING:
    from napari.layers import Image


BRIGHT = 0.98
"""Share of the patches that are within a layer's contrast."""


@dataclass(frozen=True, eq=False)
class PointIntent:
    """A place that was clicked."""

    opened: OpenImage
    checkpoint: str
    device: str
    point: tuple[int, int]
    """(y, x) px."""


@dataclass(frozen=True, eq=False)
class LabelIntent:
    """A model of a label that was chosen."""

    opened: OpenImage
    checkpoint: str
    """Its folder."""
    device: str
    marker: str | None = None
    """Channel within which attention is followed; the patch summary's by default."""


def pixel_of(image: MultiplexImage, y: float, x: float) -> tuple[int, int]:
    """Turn world coordinates into the pixel (y, x) there.

    Raises
    ------
    InputError
        It is beside the image.
    """
    size = image.pixel_size_um or (1.0, 1.0)
    row, column = (round(at / side) for at, side in zip((y, x), size, strict=True))
    _, height, width = image.shape
    if not (0 <= row < height and 0 <= column < width):
        message = "that is beside the image; click a place in the tissue"
        raise InputError(message)
    return row, column


def point_job_of(intent: PointIntent) -> PointJob:
    """Resolve what was chosen into a job."""
    return PointJob(
        image=ImageSource.of(intent.opened.image),
        panel=intent.opened.panel,
        checkpoint=intent.checkpoint,
        device=intent.device,
        point=intent.point,
    )


def label_job_of(intent: LabelIntent) -> LabelJob:
    """Resolve what was chosen into a job."""
    return LabelJob(
        image=ImageSource.of(intent.opened.image),
        panel=intent.opened.panel,
        checkpoint=intent.checkpoint,
        device=intent.device,
        marker=intent.marker,
    )


def explain_command(job: PointJob | LabelJob, *, out: Path | None = None) -> str:
    """Write the ``virtues attention`` command that does what a job did."""
    words: list[Any] = ["virtues", "attention", *image_words(job)]
    if isinstance(job, PointJob):
        words += ["--point", "{},{}".format(*job.point), *model_words(job)]
    else:
        words += ["--label-model", job.checkpoint]
        words += ["--marker", job.marker] if job.marker is not None else []
        words += ["--panel", PANEL] if has_own_panel(job) else []
        words += ["--device", job.device] if job.device != "auto" else []
    return shlex.join(str(word) for word in [*words, "--out", out or OUT])


def map_layer(image: MultiplexImage, name: str, found: PatchMap) -> "Image":
    """Make a layer that lays a map of patches over an image; it is not yet in a viewer."""
    from napari.layers import Image

    size = np.array(image.pixel_size_um or (1.0, 1.0))
    units = {} if image.pixel_size_um is None else {"units": ("µm", "µm")}
    return Image(
        found.values,
        name=name,
        scale=size * found.patch_px,
        translate=_translate(image, found),
        contrast_limits=_limits(found),
        colormap="inferno",
        blending="additive",
        opacity=0.5,
        interpolation2d="linear",
        metadata={LINK: ChannelLink(image)},
        **units,
    )


def change_map(layer: "Image", image: MultiplexImage, found: PatchMap) -> None:
    """Let a layer of `map_layer` show another map of the same image."""
    layer.data = found.values
    layer.translate = _translate(image, found)
    layer.contrast_limits = _limits(found)


def _translate(image: MultiplexImage, found: PatchMap) -> np.ndarray:
    """Put the middle of the first patch where it is, in world coordinates."""
    first = np.array(found.origin) + (found.patch_px - 1) / 2
    return np.asarray(first * np.array(image.pixel_size_um or (1.0, 1.0)))


def _limits(found: PatchMap) -> tuple[float, float]:
    """Show what was looked at, but for the brightest patches: of a place, its own outshine all."""
    seen = found.values[found.values > 0]
    if not seen.size or seen.min() == seen.max():
        return 0.0, 1.0
    return float(seen.min()), float(np.quantile(seen, BRIGHT))
