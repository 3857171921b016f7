"""npe2 writers: image layers → one OME-TIFF, a labels layer → one label image."""

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from virtues_core.errors import InputError
from virtues_core.read import write_labels, write_ome_tiff

_TO_UM = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}


def write_images(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Write image layers of one size as the channels of an OME-TIFF, named by the layers.

    Raises
    ------
    InputError
        RGB, other axes than (y, x) or (channel, y, x), or sizes that differ.
    """
    planes: list[Any] = []
    names: list[str] = []
    for data, attributes, _ in layers:
        pixels = data[0] if attributes.get("multiscale") else data
        name = str(attributes.get("name", "image"))
        if attributes.get("rgb") or pixels.ndim not in (2, 3):
            message = (
                f"expected layers (y, x) or (channel, y, x) without RGB colours, found {name!r} "
                f"of shape {tuple(pixels.shape)}; save that one with napari's own writer"
            )
            raise InputError(message)
        stack = pixels if pixels.ndim == 3 else pixels[None]
        planes += list(stack)
        names += [name] if len(stack) == 1 else [f"{name} {i + 1}" for i in range(len(stack))]
    sizes = sorted({tuple(plane.shape) for plane in planes})
    if len(sizes) != 1:
        message = (
            f"expected layers of one size, found {', '.join(map(str, sizes))} px (y, x); "
            "select the layers of one image"
        )
        raise InputError(message)
    kind = np.result_type(*(plane.dtype for plane in planes))
    pixels = da.stack([da.asarray(plane).astype(kind) for plane in planes])
    write_ome_tiff(Path(path), pixels, names, pixel_size_um(layers[0][1]))
    return [path]


def write_labels_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a labels layer as a label image in OME-TIFF."""
    labels = data[0] if attributes.get("multiscale") else data
    write_labels(Path(path), np.asarray(labels), pixel_size_um(attributes))
    return [path]


def pixel_size_um(attributes: dict[str, Any]) -> tuple[float, float] | None:
    """Read (y, x) in µm from a layer's scale and units; None where its unit is no length."""
    scale, units = attributes.get("scale"), attributes.get("units")
    if scale is None or units is None:
        return None
    factors = [_TO_UM.get(str(unit)) for unit in tuple(units)[-2:]]
    if len(factors) != 2 or None in factors:
        return None
    y, x = (float(s) * f for s, f in zip(tuple(scale)[-2:], factors, strict=True) if f is not None)
    return y, x
