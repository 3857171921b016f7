"""Images of the core ↔ napari layers. Knows no Qt; the slow parts run in any thread."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_virtues.state import LINK, ChannelDisplay, ChannelLink
from virtues_core.errors import InputError, VirtuesError
from virtues_core.image import MultiplexImage

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.utils import Colormap

IN_MEMORY_PX = 8192 * 8192
"""A plane of more pixels than this stays on disk, and only what the window shows is read."""
SAMPLE_PX = 500_000
"""Pixels that a contrast is computed from, spread evenly over the plane."""
_COARSEN = 4


@dataclass(frozen=True)
class LoadedChannel:
    """One channel, ready to become a layer."""

    channel: int
    levels: tuple[Any, ...]
    """(Y, X) arrays, finest first: one in memory, or a pyramid whose fine levels are lazy."""
    sample: NDArray[np.float32] = field(repr=False)
    """Finite pixel values, at the most `SAMPLE_PX`, spread evenly over the plane."""


def load_channel(image: MultiplexImage, channel: int) -> LoadedChannel:
    """Read what is needed to show one channel. Slow: not for the GUI's thread.

    A plane of up to `IN_MEMORY_PX` is read whole. Of a larger one the file's pyramid is used,
    with its coarsest level read; where the file has none, coarse levels are computed.
    """
    plane = image.pixels[channel]
    if plane.size <= IN_MEMORY_PX:
        levels: tuple[Any, ...] = (_for_display(_read(plane)),)
    else:
        coarse = [level[channel] for level in image.levels]
        while not coarse or coarse[-1].size > IN_MEMORY_PX // 16:
            last = coarse[-1] if coarse else plane
            coarse.append(
                da.coarsen(np.mean, last, dict.fromkeys((0, 1), _COARSEN), trim_excess=True)
            )
        levels = (plane, *coarse[:-1], _for_display(_read(coarse[-1])))
    return LoadedChannel(channel, levels, sample_of(levels[-1]))


def sample_of(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Take every n-th pixel of a plane, in both directions, without NaN and infinities.

    Returns
    -------
    NDArray[np.float32]
        At the most `SAMPLE_PX` values; none where the plane has no finite pixel.
    """
    step = max(1, int(np.ceil(np.sqrt(plane.size / SAMPLE_PX))))
    sample = np.asarray(plane[::step, ::step], dtype=np.float32).ravel()
    return sample[np.isfinite(sample)]


def contrast_limits(sample: NDArray[np.float32], percentiles: tuple[float, float]) -> list[float]:
    """Return the values that become black and full colour.

    A channel so sparse that both percentiles are equal is stretched to its largest value; one
    without any signal gets a range of one.

    Examples
    --------
    >>> contrast_limits(np.arange(101, dtype=np.float32), (1, 99))
    [1.0, 99.0]
    """
    if sample.size == 0:
        return [0.0, 1.0]
    low, high = (float(v) for v in np.percentile(sample, percentiles))
    if high <= low:
        high = float(sample.max())
    return [low, high if high > low else low + 1.0]


def channel_layer(
    image: MultiplexImage, loaded: LoadedChannel, display: ChannelDisplay
) -> tuple[Any, dict[str, Any], str]:
    """Describe the layer of one channel, as napari takes it from readers.

    Returns
    -------
    tuple
        Pixels (an array, or a list of levels), the layer's attributes, ``"image"``.
    """
    limits = contrast_limits(loaded.sample, display.percentiles)
    attributes = {
        "name": image.channels[loaded.channel],
        "colormap": ramp(display.color),
        "contrast_limits": limits,
        "blending": "additive",
        "multiscale": len(loaded.levels) > 1,
        "metadata": {LINK: ChannelLink(image, loaded.channel)},
        **placement(image),
    }
    data = list(loaded.levels) if len(loaded.levels) > 1 else loaded.levels[0]
    return data, attributes, "image"


def placement(image: MultiplexImage) -> dict[str, Any]:
    """Return scale and units of any layer that lies on an image, pixel for pixel."""
    if image.pixel_size_um is None:
        return {}
    return {"scale": image.pixel_size_um, "units": ("µm", "µm")}


def ramp(color: str) -> "Colormap":
    """Make a colour map from black to ``#rrggbb``."""
    from napari.utils import Colormap

    rgb = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return Colormap([[0, 0, 0, 1], [*rgb, 1]], name=color)


def image_from_layers(layers: "Sequence[Layer]") -> MultiplexImage:
    """Make an image of napari layers that are open already.

    Parameters
    ----------
    layers
        One image layer (C, Y, X), or several of (Y, X) and equal size, one a channel.

    Returns
    -------
    MultiplexImage
        Its channels are called as in the layer's file where that says it, else by the layers'
        names, else ``channel 1`` and so on.

    Raises
    ------
    InputError
        Labels, RGB, other numbers of axes, or sizes that differ.
    """
    from napari.layers import Image

    images = [layer for layer in layers if isinstance(layer, Image)]
    if not images or len(images) != len(layers) or any(layer.rgb for layer in images):
        found = ", ".join(f"{layer.name!r} ({type(layer).__name__})" for layer in layers)
        message = (
            f"expected image layers without RGB colours, found {found or 'no layer'}; "
            "select the image layers in the layer list, then try again"
        )
        raise InputError(message)
    if len(images) == 1 and images[0].ndim == 3:
        return _from_stack(images[0])
    shapes = {layer.level_shapes[0].tolist().__str__() for layer in images}
    if any(layer.ndim != 2 for layer in images) or len(shapes) > 1:
        message = (
            "expected one layer of (channel, y, x) or several of (y, x) and one size, found "
            f"{', '.join(sorted(shapes))}; select the layers that belong together"
        )
        raise InputError(message)
    first = _levels(images[0])
    depth = min(len(_levels(layer)) for layer in images)
    stacks = [
        da.stack([_lazy(_levels(layer)[level]) for layer in images]) for level in range(depth)
    ]
    names = tuple(layer.name for layer in images)
    path = _path(images[0])
    name = path.name.split(".")[0] if path else images[0].name
    return MultiplexImage(
        stacks[0], names, _pixel_size_um(images[0]), name, path, tuple(stacks[1 : len(first)])
    )


def _from_stack(layer: "Image") -> MultiplexImage:
    levels = [_lazy(level) for level in _levels(layer)]
    count, path = int(levels[0].shape[0]), _path(layer)
    names = tuple(f"channel {i + 1}" for i in range(count))
    size = _pixel_size_um(layer)
    known = _from_file(path, tuple(levels[0].shape))
    if known is not None:
        names, size = known.channels, size or known.pixel_size_um
    coarse = tuple(level for level in levels[1:] if level.shape[0] == count)
    return MultiplexImage(levels[0], names, size, layer.name, path, coarse)


def _from_file(path: Path | None, shape: tuple[int, ...]) -> MultiplexImage | None:
    """Open the file that a layer came from, for its channel names; None where it does not fit."""
    from virtues_core.read import can_read, read_image

    if path is None or not can_read(path):
        return None
    try:
        image = read_image(path)
    except VirtuesError:
        return None
    return image if image.shape == shape else None


def _levels(layer: "Image") -> list[Any]:
    return list(layer.data) if layer.multiscale else [layer.data]


def _lazy(array: Any) -> da.Array:
    if isinstance(array, da.Array):
        return array
    chunks = (1, *array.shape[-2:]) if array.ndim == 3 else array.shape
    return da.from_array(array, chunks=chunks)


def _path(layer: "Layer") -> Path | None:
    return Path(layer.source.path) if layer.source.path else None


def _pixel_size_um(layer: "Layer") -> tuple[float, float] | None:
    """Read µm per pixel from a layer's scale; None where its unit is no length."""
    try:
        y, x = (
            float((value * unit).to("micrometer").magnitude)
            for value, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True)
        )
    except (AttributeError, ValueError, _dimension_error()):
        return None
    return y, x


def _dimension_error() -> type[Exception]:
    from pint import DimensionalityError

    return DimensionalityError


def _read(plane: Any) -> NDArray[Any]:
    return np.asarray(plane.compute(scheduler="threads"))


def _for_display(plane: NDArray[Any]) -> NDArray[Any]:
    """Give pixels a type that goes to the graphics card as it is."""
    if plane.dtype in (np.uint8, np.uint16, np.float32):
        return plane
    return plane.astype(np.uint8 if plane.dtype == bool else np.float32)
