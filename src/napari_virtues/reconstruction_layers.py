"""Pictures of a training's validation tile → napari layers. Knows no Qt; reading is slow."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import ReadError
from virtues_core.read import read_image

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

PARTS = {"truth": "truth", "shown": "masked", "painted": "reconstruction"}
"""What the file calls a plane → what its layer is called, from left to right."""
TILE = "virtues_tile"
"""Key in ``layer.metadata``: the part that a layer shows."""
GAP_PX = 8
"""Between two tiles."""
_STEP = re.compile(r"reconstruction_(\d+)")


@dataclass(frozen=True, eq=False)
class TilePicture:
    """The validation tile of S x S pixels under M maskings, C markers, as one step painted it."""

    step: int
    """Optimiser steps done."""
    markers: tuple[str, ...]
    maskings: tuple[str, ...]
    """Row by row, from the top."""
    parts: dict[str, NDArray[np.float32]]
    """Of `PARTS` → (C, M S + gaps, S) model units, NaN in the gaps."""

    def limits(self, marker: int) -> tuple[float, float]:
        """Contrast limits of all parts of a marker, from the truth."""
        low, high = (float(v) for v in np.nanpercentile(self.parts["truth"][marker], (1, 99.7)))
        return low, high if high > low else low + 1.0


def newest_reconstruction(run_dir: Path) -> Path | None:
    """Return the picture of the latest step of a training; None while there is none."""
    return max((run_dir / "artifacts").glob("reconstruction_*.ome.tiff"), key=_step, default=None)


def _step(path: Path) -> int:
    found = _STEP.match(path.name)
    return int(found[1]) if found else -1


def read_picture(path: Path) -> TilePicture:
    """Read a picture. Slow: not for the GUI's thread.

    Raises
    ------
    ReadError
        The file is gone or damaged, or its planes are not those of a training's picture.
    """
    image = read_image(path)
    pixels = np.asarray(image.compute(), np.float32)
    count = sum(name.startswith("truth ") for name in image.channels)
    maskings = tuple(name.split(" ")[0] for name in image.channels[count :: 2 * count or 1])
    if not count or len(pixels) != count * (1 + 2 * len(maskings)):
        message = (
            f"{path.name}: expected planes of a validation tile, truth and for each masking shown "
            f"and painted; found {', '.join(image.channels[:3])}. Choose a training's picture."
        )
        raise ReadError(message)
    truth, rest = pixels[:count], pixels[count:].reshape(len(maskings), 2, count, *pixels.shape[1:])
    return TilePicture(
        step=_step(path),
        markers=tuple(name.removeprefix("truth ") for name in image.channels[:count]),
        maskings=maskings,
        parts={
            "truth": _stacked([truth] * len(maskings)),
            "shown": _stacked(list(rest[:, 0])),
            "painted": _stacked(list(rest[:, 1])),
        },
    )


def _stacked(tiles: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Put tiles (C, S, S) below each other, with gaps between them."""
    gap = np.full((tiles[0].shape[0], GAP_PX, tiles[0].shape[2]), np.nan, np.float32)
    rows = [tiles[0]]
    for tile in tiles[1:]:
        rows += [gap, tile]
    return np.concatenate(rows, axis=1)


def tile_layer(viewer: "ViewerModel", picture: TilePicture, part: str, marker: int) -> "Image":
    """Return the layer of a part: that of an earlier step with other pixels, or a new one.

    A new one is hidden and not in the viewer yet. The parts stand side by side, below all other
    layers.

    Parameters
    ----------
    part
        One of `PARTS`.
    marker
        Position in ``picture.markers``.
    """
    from napari.layers import Image

    pixels, (low, high) = picture.parts[part][marker], picture.limits(marker)
    found = next((x for x in viewer.layers if x.metadata.get(TILE) == part), None)
    if found is None or found.data.shape != pixels.shape:
        if found is not None:
            viewer.layers.remove(found)
        left = list(PARTS).index(part) * (pixels.shape[1] + GAP_PX)
        found = Image(
            pixels,
            contrast_limits=(low, high),
            colormap="gray",
            blending="translucent_no_depth",
            translate=(_below(viewer), left),
            visible=False,
            metadata={TILE: part},
            **_units(viewer),
        )
    found.name = f"{PARTS[part]} · {picture.markers[marker]}"
    found.data = pixels
    found.contrast_limits_range = 2 * low - high, 2 * high - low
    found.contrast_limits = low, high
    return found


def _below(viewer: "ViewerModel") -> float:
    """World y below all layers but those of the tile."""
    others = [x for x in viewer.layers if TILE not in x.metadata]
    return max((float(x.extent.world[1][-2]) + GAP_PX for x in others), default=0.0)


def _units(viewer: "ViewerModel") -> dict[str, Any]:
    """Take the units of the layers that are there, for napari shows layers of one unit alone."""
    units = next((tuple(x.units) for x in viewer.layers), None)
    return {} if units is None else {"units": units[-2:]}
