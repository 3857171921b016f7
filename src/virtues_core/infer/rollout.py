"""Where, and at which markers, the model looked for a cell or a point: attention rollout."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from virtues_core.infer.place import Place, tile_around
from virtues_core.infer.predict import Runner
from virtues_core.infer.prepare import PreparedImage
from virtues_core.infer.tiles import cut
from virtues_core.model import Checkpoint
from virtues_core.model.rollout import attention_rollout


@dataclass(frozen=True, eq=False)
class Rollout:
    """What the patch summaries of a place are made of, in the tile around it."""

    origin: tuple[int, int]
    """(y, x) of the tile's top-left pixel in the image; it is a whole number of patches."""
    patch_px: int
    """Side of a patch."""
    channels: tuple[str, ...]
    """C names."""
    shares: NDArray[np.float32]
    """(1 + C, h, w) share of each patch of the summary channel (first) and of each marker; they
    sum to 1."""

    @property
    def map(self) -> NDArray[np.float32]:
        """(h, w) share of each patch, over all channels."""
        return np.asarray(self.shares.sum(axis=0))

    @property
    def markers(self) -> NDArray[np.float32]:
        """(C,) share of each marker, over all patches."""
        return np.asarray(self.shares[1:].sum(axis=(1, 2)))


def rollout_from(prepared: PreparedImage, checkpoint: Checkpoint, place: Place) -> Rollout:
    """Follow attention back from a point or a cell, without fine-tuning.

    The tile of 128 px is laid around the place, as near to its middle as the image allows. Of a
    cell, each patch counts by its pixels in it.

    Parameters
    ----------
    prepared
        Of `prepare_image`.
    checkpoint
        The model, whose encoder has spatial and marker attention only.
    place
        (y, x) of a pixel, or a mask (Y, X), True on the cell.

    Raises
    ------
    InputError
        The place is outside of the image, empty, or wider than a tile; or the model has full
        attention.
    """
    patch = checkpoint.config.patch_size
    origin, shares = tile_around(prepared, place, patch)
    start = torch.from_numpy(shares / shares.sum())[None]
    runner = Runner(checkpoint, batch_size=1)
    seen = runner.each(
        cut(prepared.pixels, np.array([origin])),
        prepared.embeddings,
        lambda model, tiles, markers: attention_rollout(model, tiles[0], markers[0], start),
    )
    return Rollout(origin, patch, prepared.channels, seen[0].numpy())
