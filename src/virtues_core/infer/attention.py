"""Which markers the model attends to in regions of an image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.predict import Runner, never
from virtues_core.infer.prepare import PreparedImage, prepare_image
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.tiles import cut
from virtues_core.markers import Panel
from virtues_core.model import Checkpoint, VirTues
from virtues_core.model.attention_weights import first_marker_attention
from virtues_core.preprocess import tile_origins

MOST_REGIONS = 100
"""More are likely a mask of cells, not of regions."""
EVEN = 1e-5
"""Attention that varies by less than this share of its largest value is the same everywhere."""


@dataclass(frozen=True, eq=False)
class MarkerImportance:
    """How much the model attends to each marker, region by region."""

    channels: tuple[str, ...]
    """C names, as the file gives them."""
    regions: tuple[int, ...]
    """R labels of the mask, ascending."""
    importance: NDArray[np.float64]
    """(C, R) the scores I_m; comparable between the markers of a region."""
    area_px: tuple[int, ...]
    """R, pixels of each region."""
    warnings: tuple[str, ...] = ()

    def ranked(self, region: int) -> list[tuple[str, float]]:
        """Give the markers of one region with their scores, the most important first."""
        scores = self.importance[:, self.regions.index(region)]
        order = np.argsort(-scores, kind="stable")
        return [(self.channels[c], float(scores[c])) for c in order]


def importance_scores(attended: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn attention summed over positions into the paper's importance scores.

    ::

        ρ(m, m', h) = Σ_ij α(h, m', m, i, j)

        I_m = Σ_m',h  (ρ(m, m', h) − min_m' ρ(m, m', h)) / (max_m' ρ(m, m', h) − min_m' ρ(m, m', h))

    where α is the weight, after the softmax, with which marker m' attends to marker m in head h at
    position (i, j) of the first marker attention layer; the patch summary token is neither m nor
    m'. So each head adds 1 (only one marker attends) to C − 1 (all but one do) to a marker's score.

    Source: the paper, Methods, "Model inspection and visualization".

    Parameters
    ----------
    attended
        (..., heads, C, C) ρ, with m' before m.

    Returns
    -------
    numpy.ndarray
        (..., C) float64 I_m. Where all m' attend to m alike, which leaves the fraction undefined,
        that head adds 0.

    Examples
    --------
    Two heads, two markers; in the first head marker 0 gets 3 and 1, marker 1 gets 2 and 2.

    >>> importance_scores(np.array([[[3.0, 2.0], [1.0, 2.0]], [[0.0, 5.0], [4.0, 6.0]]])).tolist()
    [2.0, 1.0]
    """
    attended = np.asarray(attended, np.float64)
    low = attended.min(axis=-2, keepdims=True)
    high = attended.max(axis=-2, keepdims=True)
    scaled = np.zeros_like(attended)
    np.divide(attended - low, high - low, out=scaled, where=high - low > EVEN * high)
    return np.asarray(scaled.sum(axis=(-3, -2)))


def marker_importance(
    image: MultiplexImage,
    panel: Panel | None,
    checkpoint: Checkpoint,
    regions: NDArray[np.integer],
    *,
    batch_size: int = 8,
    on_tile: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> MarkerImportance:
    """Score the markers of each region by the attention that they get there.

    The image is seen in tiles of 128 px without overlap, on the grid of patches; only tiles that a
    region touches are computed. The paper's sum over positions is one over the region's patches,
    each weighted by the share of its pixels that lie in the region. A patch that two tiles cover
    (the last ones are shifted inward) counts once, as their mean.

    Parameters
    ----------
    image, panel, checkpoint
        As `prepare_image` takes them.
    regions
        (Y, X) labels from 0, 0 = in no region.
    batch_size
        Tiles that go through the model at once.
    on_tile
        Called with the tiles done and their total.
    cancelled
        Asked between and within batches.

    Raises
    ------
    InputError
        The mask has another size, no region or too many, or the model has no marker attention.
    MarkerError, DeviceError, Cancelled
        As `prepare_image` and `Runner.predict`.
    """
    labels = _checked(regions, image)
    prepared = prepare_image(image, panel, checkpoint)
    runner = Runner(checkpoint, batch_size=batch_size, cancelled=cancelled)
    names, index, area = np.unique(labels, return_inverse=True, return_counts=True)
    shares = patch_shares(index.reshape(labels.shape), len(names), runner.patch_px)
    if names[0] == 0:
        names, area, shares = names[1:], area[1:], shares[1:]
    attended = _attended(prepared, shares, runner, on_tile)
    return MarkerImportance(
        channels=prepared.channels,
        regions=tuple(int(name) for name in names),
        importance=importance_scores(attended).T,
        area_px=tuple(int(count) for count in area),
        warnings=prepared.warnings,
    )


def patch_shares(labels: NDArray[np.integer], count: int, patch_px: int) -> NDArray[np.float32]:
    """Tell which share of each patch's pixels each label has.

    Parameters
    ----------
    labels
        (Y, X) from 0 to ``count`` − 1.
    count
        R, number of labels.
    patch_px
        Side of a patch, px.

    Returns
    -------
    numpy.ndarray
        (R, ⌈Y/p⌉, ⌈X/p⌉) float32, 0 to 1; pixels over the image's end have no label.
    """
    y, x = np.ogrid[: labels.shape[0], : labels.shape[1]]
    height, width = (-(-side // patch_px) for side in labels.shape)
    place = (labels * height + y // patch_px) * width + x // patch_px
    counted = np.bincount(place.ravel(), minlength=count * height * width)
    return (counted / patch_px**2).astype(np.float32).reshape(count, height, width)


def _attended(
    prepared: PreparedImage,
    shares: NDArray[np.float32],
    runner: Runner,
    on_tile: Callable[[int, int], None] | None,
) -> NDArray[np.float64]:
    """Sum the attention over each region's patches: (R, heads, C, C), m' before m."""
    patch, side = runner.patch_px, TILE_PX // runner.patch_px
    _, height, width = shares.shape
    origins = tile_origins((height, width), size=side, stride=side)
    touched = np.asarray(shares.any(axis=0))
    asked = [(y, x) for y, x in origins.tolist() if touched[y : y + side, x : x + side].any()]
    covered = np.zeros((height, width), np.float32)
    for y, x in asked:
        covered[y : y + side, x : x + side] += 1
    weights = shares / np.maximum(covered, 1)
    total: NDArray[np.float64] | None = None
    for start in range(0, len(asked), runner.batch_size):
        batch = asked[start : start + runner.batch_size]
        tiles = cut(prepared.pixels, np.array(batch, np.int64) * patch)
        seen = runner.each(tiles, prepared.embeddings, _between_markers)
        for i, ((y, x), alpha) in enumerate(zip(batch, seen, strict=True)):
            weight = weights[:, y : y + side, x : x + side].reshape(len(weights), -1)
            summed = weight.astype(np.float64) @ alpha.numpy().reshape(side * side, -1)
            summed = summed.reshape(len(weights), *alpha.shape[2:])
            total = summed if total is None else total + summed
            if on_tile is not None:
                on_tile(start + i + 1, len(asked))
    if total is None:
        message = "expected regions with pixels, found none; draw a region over the image."
        raise InputError(message)
    return total


def _between_markers(model: VirTues, tiles: list[Tensor], embeddings: list[Tensor]) -> torch.Tensor:
    """(B, h, w, heads, C, C) the first layer's weights, without the summary token."""
    return first_marker_attention(model, tiles, embeddings)[..., 1:, 1:]


def _checked(regions: NDArray[np.integer], image: MultiplexImage) -> NDArray[np.integer]:
    """Refuse what is no mask of regions of this image."""
    regions = np.asarray(regions)
    if regions.shape != image.shape[1:] or regions.dtype.kind not in "uib":
        message = (
            f"expected a mask of the image's size {image.shape[1:]} (y, x) px with whole numbers, "
            f"found {regions.shape} of {regions.dtype}; choose the mask made for {image.name!r}."
        )
        raise InputError(message)
    if regions.dtype.kind == "i" and regions.min() < 0:
        message = f"expected labels of 0 or more, found {regions.min()}; number the regions from 1."
        raise InputError(message)
    count = len(np.unique(regions[regions > 0]))
    if not 1 <= count <= MOST_REGIONS:
        message = (
            f"expected 1 to {MOST_REGIONS} regions in the mask, found {count}; give each region a "
            "label of its own, from 1, and leave 0 for all that is in none."
        )
        raise InputError(message)
    return regions.astype(np.int64)
