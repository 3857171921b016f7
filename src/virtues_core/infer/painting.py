"""Run the model over an image, tile by tile, and blend what it paints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.planes import Canvas
from virtues_core.infer.predict import Runner
from virtues_core.infer.prepare import PreparedImage
from virtues_core.infer.request import TILE_PX, InpaintRequest, TileDone
from virtues_core.infer.tiles import cut
from virtues_core.infer.uncertainty import predict_with_spread
from virtues_core.preprocess import RollingBlender, tile_origins


@dataclass(frozen=True, eq=False)
class Painted:
    """What the model painted: (K, Y, X) model units, defined where something was hidden."""

    prediction: Canvas
    spread: Canvas


def paint_tiles(
    prepared: PreparedImage,
    request: InpaintRequest,
    wanted: Sequence[int],
    patches: NDArray[np.bool_],
    runner: Runner,
    on_tile: Callable[[TileDone], None] | None,
) -> Painted:
    """Paint every tile in which something wanted is hidden.

    Parameters
    ----------
    prepared, request
        The image and what is asked.
    wanted
        K channels to paint.
    patches
        (C, ⌈Y/p⌉, ⌈X/p⌉) True = hidden.
    runner
        Runs the model.
    on_tile
        Called with each tile as it is done.
    """
    patch = runner.patch_px
    stride = max(patch, request.stride_px // patch * patch)  # tiles lie on the grid of patches
    size = (patches.shape[1] * patch, patches.shape[2] * patch)
    asked = _asked(tile_origins(size, stride=stride), patches, wanted, patch)
    names = tuple(prepared.channels[c] for c in wanted)
    shape = (len(wanted), *prepared.shape)
    painted = Painted(*(Canvas(shape, on_disk=not prepared.in_memory) for _ in range(2)))
    blender = RollingBlender(2 * len(wanted), size[1], overlap_px=TILE_PX - stride)
    generator = np.random.default_rng((request.seed, 1))
    for start in range(0, len(asked), request.batch_size):
        batch = asked[start : start + request.batch_size]
        said = predict_with_spread(
            runner, cut(prepared.pixels, batch), prepared.embeddings,
            [_mask(patches, origin, patch) for origin in batch],
            wanted, strategy=request.strategy, repeats=request.repeats, generator=generator,
        )  # fmt: skip
        for i, (y, x) in enumerate(batch.tolist()):
            blender.add((y, x), np.concatenate([said.prediction[i], said.spread[i]]))
            if on_tile is not None:
                on_tile(TileDone(start + i, len(asked), (y, x), said.prediction[i], names))
        rest = asked[start + len(batch) :]
        _keep(painted, *blender.take(int(rest[0, 0]) if len(rest) else size[0]))
    return painted


def _asked(
    origins: NDArray[np.int64], patches: NDArray[np.bool_], wanted: Sequence[int], patch_px: int
) -> NDArray[np.int64]:
    """Leave out the tiles in which nothing wanted is hidden."""
    anything = np.asarray(patches[list(wanted)].any(axis=0, keepdims=True))
    return origins[[bool(_mask(anything, origin, patch_px).any()) for origin in origins]]


def _mask(
    patches: NDArray[np.bool_], origin: NDArray[np.int64], patch_px: int
) -> NDArray[np.bool_]:
    """Cut the patches of one tile: (C, h, w)."""
    y, x = (origin // patch_px).tolist()
    side = TILE_PX // patch_px
    return patches[:, y : y + side, x : x + side]


def _keep(painted: Painted, top: int, rows: NDArray[np.float32]) -> None:
    """Put finished rows (2 K, h, X') on the canvases, without what is over the image's end."""
    count, height, width = painted.prediction.shape
    window = (slice(top, min(top + rows.shape[1], height)), slice(0, width))
    here = rows[:, : window[0].stop - top, :width]
    for k in range(count):
        painted.prediction.put(k, window, here[k])
        painted.spread.put(k, window, here[count + k])
