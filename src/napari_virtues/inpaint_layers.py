"""What inpainting gives → napari layers. Knows no Qt; preparing runs in any thread."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtues.layers import placement, sample_of
from napari_virtues.state import LINK, ChannelLink
from virtues_core.image import MultiplexImage

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from napari.utils import Colormap

    from virtues_core.infer import InpaintResult

PARTS = ("truth", "reconstruction", "difference", "uncertainty")
"""The layers of one marker, bottom first in the list's order of reading: truth on top."""
RESULT = "virtues_result"
"""Key in ``layer.metadata``: (channel, part) of a layer that inpainting made."""
PREVIEW_PX = 2048
"""Longest side of the picture that grows while the model works."""
PYRAMID_PX = 4096
"""Results with a longer side become pyramids."""
UNITS = "standard deviations of log counts"


@dataclass(frozen=True, eq=False)
class ResultPlanes:
    """The layers of one marker, ready to be added."""

    channel: str
    layers: tuple[tuple[str, NDArray[np.float32], tuple[float, float]], ...]
    """(part, pixels (Y, X) in model units, contrast limits) in the order of `PARTS`."""


def result_planes(result: "InpaintResult", channel: str) -> ResultPlanes:
    """Prepare the layers of one marker. Slow for large images: not for the GUI's thread.

    The uncertainty is the width of the 80 % interval. Where a pixel was visible the reconstruction
    shows what was measured, and difference and uncertainty are zero. Truth and reconstruction
    share their contrast, and zero lies in the middle of the difference's.
    """
    k = result.channels.index(channel)
    truth, painted = result.truth[k], result.prediction[k]
    difference = painted - truth
    width = result.upper[k] - result.lower[k]
    shared = _range(truth)
    most = max(float(np.percentile(np.abs(sample_of(difference)), 99.5)), 1e-3)
    return ResultPlanes(
        channel,
        (
            ("truth", truth, shared),
            ("reconstruction", painted, shared),
            ("difference", difference, (-most, most)),
            ("uncertainty", width, (0.0, _range(width)[1])),
        ),
    )


def _range(plane: NDArray[Any]) -> tuple[float, float]:
    sample = sample_of(plane)
    if sample.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(sample, (1, 99.7)))
    return (low, high) if high > low else (low, low + 1.0)


def diverging() -> "Colormap":
    """Blue below zero, black at zero, orange above: for a dark canvas and for colour-blind eyes."""
    from napari.utils import Colormap

    colors = [[0.45, 0.78, 1, 1], [0.1, 0.35, 0.9, 1], [0, 0, 0, 1], [0.9, 0.4, 0, 1]]
    return Colormap([*colors, [1, 0.85, 0.45, 1]], name="below · above")


def add_result_layer(
    viewer: "ViewerModel",
    image: MultiplexImage,
    planes: ResultPlanes,
    part: str,
    *,
    visible: bool,
) -> "Image":
    """Add one layer of a marker on top of the others.

    Parameters
    ----------
    part
        One of `PARTS`.
    visible
        Whether it is shown at once.
    """
    pixels, limits = next((p, c) for name, p, c in planes.layers if name == part)
    colormap: Any = {"difference": diverging(), "uncertainty": "viridis"}.get(part, "gray")
    data: Any = pixels
    if max(pixels.shape) > PYRAMID_PX:
        steps = [2**n for n in range(1 + int(np.log2(max(pixels.shape) / 1024)))]
        data = [pixels[::step, ::step] for step in steps]
    layer = viewer.add_image(
        data,
        name=f"{planes.channel} · {part}",
        colormap=colormap,
        contrast_limits=limits,
        blending="translucent_no_depth",
        multiscale=isinstance(data, list),
        visible=visible,
        metadata={
            LINK: ChannelLink(image),
            RESULT: (planes.channel, part),
            "units": UNITS,
        },
        **placement(image),
    )
    if part == "difference":
        layer.contrast_limits_range = (-3 * limits[1], 3 * limits[1])
    return layer


def result_layers(viewer: "ViewerModel", channel: str | None = None) -> list["Image"]:
    """Return the layers that inpainting made, of one marker or of all."""
    return [
        layer
        for layer in viewer.layers
        if RESULT in layer.metadata and channel in {None, layer.metadata[RESULT][0]}
    ]


def share_contrast(viewer: "ViewerModel", channel: str) -> None:
    """Let truth and reconstruction keep the same contrast when one of them is changed."""
    pair = [
        layer
        for layer in result_layers(viewer, channel)
        if layer.metadata[RESULT][1] in {"truth", "reconstruction"}
    ]
    if len(pair) == 2:
        viewer.layers.link_layers(pair, ("contrast_limits", "gamma", "colormap"))


class Preview:
    """The picture that grows, tile by tile, while the model works.

    Parameters
    ----------
    image
        What is being inpainted; pictures larger than `PREVIEW_PX` show every n-th pixel.
    """

    def __init__(self, image: MultiplexImage) -> None:
        _, height, width = image.shape
        self.step = -(-max(height, width) // PREVIEW_PX)
        """Every how many pixels of the image one is shown."""
        shape = (-(-height // self.step), -(-width // self.step))
        self.picture = np.full(shape, np.nan, dtype=np.float32)
        """(Y, X), model units; NaN where nothing came yet."""

    def add(self, origin: tuple[int, int], tile: NDArray[np.float32]) -> None:
        """Put a tile in its place.

        Parameters
        ----------
        origin
            Its top-left pixel (y, x) in the image.
        tile
            (128, 128), model units.
        """
        first = [(-start) % self.step for start in origin]
        part = tile[first[0] :: self.step, first[1] :: self.step]
        y, x = ((start + skip) // self.step for start, skip in zip(origin, first, strict=True))
        room = self.picture[y : y + part.shape[0], x : x + part.shape[1]]
        room[...] = part[: room.shape[0], : room.shape[1]]

    def contrast(self) -> tuple[float, float]:
        """Contrast limits for what came so far."""
        return _range(self.picture)

    def add_layer(self, viewer: "ViewerModel", image: MultiplexImage, name: str) -> "Image":
        """Show the picture; later tiles appear after ``layer.refresh()``."""
        attributes = placement(image)
        scale = attributes.pop("scale", (1.0, 1.0))
        return viewer.add_image(
            self.picture,
            name=name,
            colormap="gray",
            contrast_limits=self.contrast(),
            blending="translucent_no_depth",
            scale=[value * self.step for value in scale],
            metadata={LINK: ChannelLink(image)},
            **attributes,
        )
