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
"""The layers of one marker, from the top."""
RESULT = "virtues_result"
"""Key in ``layer.metadata``: (channel, part) of a layer that inpainting made."""
PREVIEW_PX = 2048
"""Longest side of the picture that grows while the model works."""
PYRAMID_PX = 4096
"""Results with a longer side become pyramids."""
UNCERTAINTY_COLORS = "viridis"
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
    from napari.utils.colormaps import ensure_colormap

    ensure_colormap(UNCERTAINTY_COLORS)  # made once, which takes a while
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


def result_layer(
    viewer: "ViewerModel", image: MultiplexImage, planes: ResultPlanes, part: str
) -> "Image":
    """Return a layer of a marker: a new one, not in the viewer, or the last run's with other data.

    Layers are used again because adding one takes long, and taking one away makes napari collect
    garbage, which takes longer. A new one is hidden.

    Parameters
    ----------
    part
        One of `PARTS`.
    """
    pixels, limits = next((p, c) for name, p, c in planes.layers if name == part)
    for layer in result_layers(viewer, image, planes.channel):
        if layer.metadata[RESULT][1] != part:
            continue
        if not layer.multiscale and max(pixels.shape) <= PYRAMID_PX:
            layer.name = f"{planes.channel} · {part}"
            layer.data = pixels
            layer.contrast_limits_range = _wide(limits)
            layer.contrast_limits = limits
            return layer
        viewer.layers.remove(layer)
    return _new_layer(image, planes.channel, part, pixels, limits)


def _new_layer(
    image: MultiplexImage,
    channel: str,
    part: str,
    pixels: NDArray[np.float32],
    limits: tuple[float, float],
) -> "Image":
    from napari.layers import Image

    colormap: Any = {"difference": diverging(), "uncertainty": UNCERTAINTY_COLORS}.get(part, "gray")
    data: Any = pixels
    if max(pixels.shape) > PYRAMID_PX:
        steps = [2**n for n in range(1 + int(np.log2(max(pixels.shape) / 1024)))]
        data = [pixels[::step, ::step] for step in steps]
    layer = Image(
        data,
        name=f"{channel} · {part}",
        colormap=colormap,
        contrast_limits=limits,
        blending="translucent_no_depth",
        multiscale=isinstance(data, list),
        visible=False,
        metadata={LINK: ChannelLink(image), RESULT: (channel, part), "units": UNITS},
        **placement(image),
    )
    layer.contrast_limits_range = _wide(limits)
    return layer


def insert_result_layer(viewer: "ViewerModel", layer: "Image") -> None:
    """Put a new layer below those of its marker that `PARTS` names before it."""
    channel, part = layer.metadata[RESULT]
    above = [
        x
        for x in result_layers(viewer, layer.metadata[LINK].image, channel)
        if PARTS.index(x.metadata[RESULT][1]) < PARTS.index(part)
    ]
    at = min((viewer.layers.index(x) for x in above), default=len(viewer.layers))
    viewer.layers.insert(at, layer)


def _wide(limits: tuple[float, float]) -> tuple[float, float]:
    """Leave room beside contrast limits, for the sliders."""
    room = limits[1] - limits[0]
    return limits[0] - room, limits[1] + room


def result_layers(
    viewer: "ViewerModel", image: MultiplexImage | None = None, channel: str | None = None
) -> list["Image"]:
    """Return the layers that inpainting made: of one image and marker, or of all."""
    return [
        layer
        for layer in viewer.layers
        if RESULT in layer.metadata
        and (image is None or layer.metadata[LINK].image is image)
        and channel in {None, layer.metadata[RESULT][0]}
    ]


def share_contrast(viewer: "ViewerModel", image: MultiplexImage, channel: str) -> None:
    """Let truth and reconstruction keep the same contrast when one of them is changed."""
    pair = [
        layer
        for layer in result_layers(viewer, image, channel)
        if layer.metadata[RESULT][1] in {"truth", "reconstruction"}
    ]
    if len(pair) == 2:  # both are still there
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

    def layer(self, viewer: "ViewerModel", image: MultiplexImage, channel: str) -> "Image":
        """Make a layer of the picture, hidden at first, and not yet in the viewer.

        Later tiles appear in it after ``layer.refresh()``. At the end it becomes the marker's
        reconstruction, unless it shows every n-th pixel.
        """
        from napari.layers import Image

        attributes = placement(image)
        scale = attributes.pop("scale", (1.0, 1.0))
        link: dict[str, Any] = {LINK: ChannelLink(image)}
        if self.step == 1 and not result_layers(viewer, image, channel):
            link |= {RESULT: (channel, "reconstruction"), "units": UNITS}
        return Image(
            self.picture,
            name=f"{channel} · in work",
            colormap="gray",
            contrast_limits=self.contrast(),
            blending="translucent_no_depth",
            scale=[value * self.step for value in scale],
            visible=False,
            metadata=link,
            **attributes,
        )
