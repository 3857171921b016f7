"""A cell or a point of an image, and the tile around it."""

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.infer.attention import patch_shares
from virtues_core.infer.prepare import PreparedImage
from virtues_core.infer.request import TILE_PX

Place = tuple[int, int] | NDArray[np.bool_]
"""(y, x) of a pixel, or a mask (Y, X), True on a cell."""


def tile_around(
    prepared: PreparedImage, place: Place, patch_px: int
) -> tuple[tuple[int, int], NDArray[np.float32]]:
    """Lay a tile of 128 px around a place, as near to its middle as the image allows.

    Parameters
    ----------
    prepared
        The image.
    place
        Where.
    patch_px
        Side of a patch; the tile lies on the image's grid of patches.

    Returns
    -------
    tuple
        (y, x) of the tile's top-left pixel, and (h, w) float32: the share of each of its patches
        that lies in the place.

    Raises
    ------
    InputError
        The place is outside of the image, empty, or wider than a tile.
    """
    inside = _mask(prepared, place)
    y, x = _origin(inside, patch_px)
    window = inside[y : y + TILE_PX, x : x + TILE_PX]
    tile = np.zeros((TILE_PX, TILE_PX), np.int64)
    tile[: window.shape[0], : window.shape[1]] = window
    return (y, x), patch_shares(tile, 2, patch_px)[1]


def _mask(prepared: PreparedImage, place: Place) -> NDArray[np.bool_]:
    """Give a place as a mask (Y, X)."""
    if isinstance(place, tuple):
        y, x = place
        if not (0 <= y < prepared.shape[0] and 0 <= x < prepared.shape[1]):
            message = (
                f"expected a point within the image of {prepared.shape} (y, x) px, found "
                f"({y}, {x}); choose one on the tissue."
            )
            raise InputError(message)
        mask = np.zeros(prepared.shape, dtype=bool)
        mask[y, x] = True
        return mask
    if place.shape != prepared.shape:
        message = (
            f"expected a mask of the image's size {prepared.shape} (y, x) px, found "
            f"{place.shape}; choose the mask made for this image."
        )
        raise InputError(message)
    if not place.any():
        message = "expected a cell with pixels, found none; choose another label."
        raise InputError(message)
    return place.astype(bool)


def _origin(inside: NDArray[np.bool_], patch_px: int) -> tuple[int, int]:
    """Lay a tile on the grid of patches with the place in it, in its middle where it can be."""
    found = []
    for axis in (0, 1):
        where = np.flatnonzero(inside.any(axis=1 - axis))
        first, last = int(where[0]) // patch_px, int(where[-1]) // patch_px
        side = TILE_PX // patch_px
        if last - first >= side:
            message = (
                f"expected a cell no wider than {TILE_PX} px, found {where[-1] - where[0] + 1} px; "
                "choose a smaller one, or a point in it."
            )
            raise InputError(message)
        end = -(-inside.shape[axis] // patch_px)
        origin = (first + last + 1 - side) // 2
        found.append(min(max(origin, last - side + 1, 0), first, end - side) * patch_px)
    return found[0], found[1]
