"""Which tiles of a tissue are its niches in a database, and their tokens.

Source: the paper, Methods, "Information retrieval": the central 4 × 4 grid of tiles of 128 px,
tissues that are smaller left out. The grid is that of `virtues embed --level niche`, which begins
at the top-left pixel, so that an image and its table of niches give the same tissue; its central
block lies 64 px at the most from the centre of the image.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.retrieval.entries import Settings
from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.tokens import LEAST_TISSUE, niche_origins
from virtues_core.markers import Panel

if TYPE_CHECKING:
    from virtues_core.model import Checkpoint

SIDE = 4
"""Tiles of the central grid in a row and in a column."""


class SmallTissueError(InputError):
    """A tissue is smaller than the central grid, and the database takes none such."""


def central(origins: NDArray[np.int64], settings: Settings, name: str) -> NDArray[np.bool_]:
    """Tell which tiles of a tissue are stored.

    Parameters
    ----------
    origins
        (T, 2) top-left pixels (y, x) of tiles that do not overlap, in the grid of 128 px that
        begins at the top-left pixel of the image. Tiles may be missing.
    settings
        ``crops`` and ``small`` count.
    name
        Of the tissue, for messages.

    Returns
    -------
    numpy.ndarray
        (T,) bool.

    Raises
    ------
    SmallTissueError
        The grid has fewer than 4 rows or columns, or no tile in its centre.
    InputError
        Tiles overlap or are of another grid.

    Examples
    --------
    Six columns of tiles, of which the central four are taken:

    >>> origins = niche_origins((4 * 128, 6 * 128))
    >>> kept = central(origins, Settings("demo", "", 64), "A")
    >>> sorted(set((origins[kept][:, 1] // 128).tolist()))
    [1, 2, 3, 4]
    """
    if (origins % TILE_PX).any():
        message = (
            f"expected niches of {name!r} that do not overlap, found some that do not begin at a "
            f"multiple of {TILE_PX} px. Make the table with `virtues embed --level niche`."
        )
        raise InputError(message)
    if settings.crops == "all":
        return np.ones(len(origins), bool)
    places = origins // TILE_PX
    size = places.max(axis=0) + 1 if len(places) else np.zeros(2, int)
    if size.min() < SIDE:
        if settings.small == "whole":
            return np.ones(len(origins), bool)
        message = (
            f"expected {SIDE} × {SIDE} tiles of {TILE_PX} px or more in {name!r}, found {size[0]} "
            f"× {size[1]}. Smaller tissues are taken whole by a database that was built with "
            "--small whole."
        )
        raise SmallTissueError(message)
    first = (size - SIDE + 1) // 2
    found = np.all((places >= first) & (places < first + SIDE), axis=1)
    if not found.any():
        message = (
            f"expected tissue in the central {SIDE} × {SIDE} tiles of {name!r}, found none. Store "
            "all tiles instead (--crops all)."
        )
        raise SmallTissueError(message)
    return np.asarray(found, bool)


def niche_tokens(
    image: MultiplexImage,
    panel: Panel | None,
    checkpoint: "Checkpoint",
    settings: Settings,
    *,
    batch_size: int = 8,
    cancelled: Callable[[], bool] | None = None,
) -> NDArray[np.float32]:
    """Compute the tokens of a tissue as a database stores and compares them.

    Parameters
    ----------
    image
        Raw counts or intensities.
    panel
        What its channels are; from their names by default.
    checkpoint
        The model that made the database.
    settings
        Those of the database.
    batch_size
        Tiles that go through the model at once.
    cancelled
        Asked between and within batches.

    Returns
    -------
    numpy.ndarray
        (N, D) float32: mean of the patch summary tokens of each tile.

    Raises
    ------
    SmallTissueError
        As `central`.
    InputError
        As `prepare_image`, or no tile has 30 % tissue (``crops`` "all").
    Cancelled
        ``cancelled()`` said so.
    """
    from virtues_core.infer.embedding import tissue_share
    from virtues_core.infer.predict import Runner, never
    from virtues_core.infer.prepare import prepare_image
    from virtues_core.infer.stream import tile_tokens

    origins = niche_origins(image.shape[1:])
    kept = origins[central(origins, settings, image.name)]
    prepared = prepare_image(image, panel, checkpoint)
    if settings.crops == "all":
        kept = kept[tissue_share(prepared, kept) >= LEAST_TISSUE]
        if not len(kept):
            message = (
                f"expected a tile of {TILE_PX} px with {LEAST_TISSUE:.0%} tissue or more in "
                f"{image.name!r}, found none. Choose an image with more tissue."
            )
            raise InputError(message)
    runner = Runner(checkpoint, batch_size=batch_size, cancelled=cancelled or never)
    tiles = tile_tokens(prepared, kept, runner)
    dim = checkpoint.config.model_dim
    means = [tile.tokens.reshape(-1, dim).mean(axis=0, dtype=np.float64) for tile in tiles]
    return np.array(means, dtype=np.float32)
