"""Where in a tissue a model of a label looks for it, and what it says."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.embedding import tissue_share
from virtues_core.infer.predict import Runner, never
from virtues_core.infer.prepare import prepare_image
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.tiles import cut
from virtues_core.infer.tokens import LEAST_TISSUE
from virtues_core.markers import Panel
from virtues_core.model import VirTues
from virtues_core.model.label_file import LabelModel
from virtues_core.preprocess import Blender, tile_origins

STRIDE_PX = 64
"""Step from tile to tile by default, px."""


@dataclass(frozen=True, eq=False)
class SpatialAttention:
    """A tissue's label, tile by tile, and the attention behind it."""

    attention: NDArray[np.float32]
    """(⌈Y/p⌉, ⌈X/p⌉) of each patch, mean over heads, as a multiple of what it would be were all
    patches of the tile attended to alike; blended where tiles overlap, 0 where none was looked
    at."""
    patch_px: int
    """p, side of a patch."""
    shape: tuple[int, int]
    """(Y, X) of the image."""
    label: str
    classes: tuple[str, ...]
    """K values of the label."""
    tiles: NDArray[np.float32]
    """(T, K) probabilities of each tile; a row sums to 1."""
    origins: NDArray[np.int64]
    """(T, 2) top-left pixels (y, x) of the tiles."""
    warnings: tuple[str, ...] = ()

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(K,) mean over the tiles."""
        return np.asarray(self.tiles.mean(axis=0))

    def rows(self) -> list[tuple[str, float, float, float]]:
        """Give each class with its probability and the tiles' 10th and 90th percentile."""
        low, high = np.quantile(self.tiles, [0.1, 0.9], axis=0)
        table = zip(self.probabilities.tolist(), low.tolist(), high.tolist(), strict=True)
        return [(name, *numbers) for name, numbers in zip(self.classes, table, strict=True)]

    def pixels(self) -> NDArray[np.float32]:
        """Give the attention of each pixel: (Y, X)."""
        rows = self.attention.repeat(self.patch_px, axis=0)[: self.shape[0]]
        return rows.repeat(self.patch_px, axis=1)[:, : self.shape[1]]


def spatial_attention(
    image: MultiplexImage,
    panel: Panel | None,
    model: LabelModel,
    *,
    marker: str | None = None,
    stride_px: int = STRIDE_PX,
    batch_size: int = 8,
    on_tile: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> SpatialAttention:
    """Tell a tissue's label, and which patches its channel summary token attends to.

    The attention is that of one channel in the penultimate spatial layer, in tiles of
    128 px with 30 % tissue or more that overlap; the weight of the token on itself is left out.

    Source: the paper, Methods, "Model inspection and visualization".

    Parameters
    ----------
    image, panel
        As `prepare_image` takes them.
    model
        Of `load_label_model`.
    marker
        Channel whose own summary token is followed to its own patches; the patch summary channel's
        by default, as in the paper.
    stride_px
        Step from tile to tile, px, rounded down to whole patches.
    batch_size
        Tiles that go through the model at once.
    on_tile
        Called with the tiles done and their total.
    cancelled
        Asked between and within batches.

    Raises
    ------
    InputError
        The stride is not within 1 … 128, no tile has enough tissue, or the image cannot be used.
    MarkerError
        The image has no such marker, or as `prepare_image`.
    DeviceError, Cancelled
        As `Runner.predict`.
    """
    if not 1 <= stride_px <= TILE_PX:
        message = f"stride_px: expected 1 to {TILE_PX} px, found {stride_px}."
        raise InputError(message)
    checkpoint = model.checkpoint
    prepared = prepare_image(image, panel, checkpoint)
    channel = 0 if marker is None else 1 + prepared.positions([marker])[0]
    look = _look(model, channel)
    runner = Runner(checkpoint, batch_size=batch_size, cancelled=cancelled)
    patch, side = runner.patch_px, TILE_PX // runner.patch_px
    stride = max(1, stride_px // patch)
    height, width = (-(-length // patch) for length in prepared.shape)
    origins = tile_origins((height, width), size=side, stride=stride)  # in patches
    share = tissue_share(prepared, origins * patch)
    if share.max() < LEAST_TISSUE:
        message = (
            f"expected a tile of {TILE_PX} px with {LEAST_TISSUE:.0%} tissue or more in "
            f"{image.name!r}, found {share.max():.0%} at the most. Choose an image with more "
            "tissue."
        )
        raise InputError(message)
    origins = origins[share >= LEAST_TISSUE]
    blender = Blender((1, height, width), size=side, overlap_px=side - stride)
    tiles = np.empty((len(origins), len(model.classes)), np.float32)
    for start in range(0, len(origins), runner.batch_size):
        batch = origins[start : start + runner.batch_size]
        seen = runner.each(cut(prepared.pixels, batch * patch), prepared.embeddings, look)
        for i, found in enumerate(seen, start):
            tiles[i], weights = np.split(found.numpy(), [len(model.classes)])
            blender.add(origins[i], weights.reshape(1, side, side))
            if on_tile is not None:
                on_tile(i + 1, len(origins))
    return SpatialAttention(
        attention=np.nan_to_num(blender.result()[0], nan=0.0),
        patch_px=patch,
        shape=prepared.shape,
        label=model.label,
        classes=model.classes,
        tiles=tiles,
        origins=origins * patch,
        warnings=prepared.warnings,
    )


def _look(
    model: LabelModel, channel: int
) -> Callable[[VirTues, list[Tensor], list[Tensor]], Tensor]:
    """Look at tiles for the label: (B, K + h · w), probabilities and then attention."""

    def look(network: VirTues, tiles: list[Tensor], embeddings: list[Tensor]) -> Tensor:
        found = model.head.explain(network, tiles, embeddings, channel=channel)
        weights = found.attention.mean(dim=1).flatten(1)
        even = weights / weights.mean(dim=1, keepdim=True)
        return torch.cat([found.logits.float().softmax(dim=1), even], dim=1)

    return look
