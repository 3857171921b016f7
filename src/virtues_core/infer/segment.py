"""Cells of an image and their types, by a segmentation head over tiles."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from virtues_core.errors import CheckpointError, InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.cache import checkpoint_signature
from virtues_core.infer.instances import find_instances
from virtues_core.infer.planes import Canvas, windows
from virtues_core.infer.predict import Runner, never
from virtues_core.infer.prepare import PreparedImage, prepare_image
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.tiles import cut
from virtues_core.markers import Panel
from virtues_core.model import Checkpoint
from virtues_core.model.head_file import Head
from virtues_core.model.instanseg import instanseg
from virtues_core.preprocess import RollingBlender, tile_origins

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Cells of an image, with their types."""

    labels: NDArray[np.int32]
    """(Y, X) 1 … N, 0 = background."""
    cell_types: tuple[str, ...]
    """K names, as the head knows them."""
    probabilities: NDArray[np.float32]
    """(N, K) of each cell, label by label; a row sums to 1."""
    centre_px: NDArray[np.float64]
    """(N, 2) y, x of each cell's centre."""
    area_px: NDArray[np.int64]
    """(N,) pixels of each cell."""
    warnings: tuple[str, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        """N names: the most probable type of each cell."""
        return tuple(self.cell_types[k] for k in self.probabilities.argmax(axis=1))

    def table(self) -> "pd.DataFrame":
        """Give one row a cell: cell_id, cell_type, cell_type_probability, y_px, x_px, area_px."""
        import pandas as pd

        return pd.DataFrame(
            {
                "cell_id": np.arange(1, len(self.area_px) + 1),
                "cell_type": list(self.types),
                "cell_type_probability": self.probabilities.max(axis=1, initial=0),
                "y_px": self.centre_px[:, 0],
                "x_px": self.centre_px[:, 1],
                "area_px": self.area_px,
            }
        )


def segment_cells(
    image: MultiplexImage,
    panel: Panel | None,
    checkpoint: Checkpoint,
    head: Head,
    *,
    stride_px: int = 96,
    batch_size: int = 8,
    on_tile: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> Segmentation:
    """Find the cells of an image and their types, without any training on it.

    The head's maps are computed in tiles of 128 px that overlap, and blended; then InstanSeg's
    post-processing separates the cells. A cell's probability of a type is the mean over its
    pixels of the softmax of the type channels.

    Parameters
    ----------
    image, panel, checkpoint
        As `prepare_image` takes them.
    head
        Of `load_head`, for this checkpoint.
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
        InstanSeg is not installed, the stride is not within 1 … 128, or the image cannot be used.
    CheckpointError
        The head was trained with another checkpoint.
    MarkerError, DeviceError, Cancelled
        As `prepare_image` and `Runner.predict`.
    """
    if not 1 <= stride_px <= TILE_PX:
        message = f"stride_px: expected 1 to {TILE_PX} px, found {stride_px}."
        raise InputError(message)
    if head.signature not in {"", checkpoint_signature(checkpoint)}:
        message = (
            "expected a segmentation head trained with this checkpoint, found one of another "
            f"({head.signature}). Use that checkpoint, or train a head for this one."
        )
        raise CheckpointError(message)
    instanseg(head.network.pixel_classifier, "cpu")  # is it there? asked before the long part
    prepared = prepare_image(image, panel, checkpoint)
    runner = Runner(checkpoint, batch_size=batch_size, cancelled=cancelled)
    maps = _maps(prepared, head, runner, stride_px, on_tile)
    labels = find_instances(maps, head.instance_channels, head.network.pixel_classifier)
    probabilities, centre, area = _measure(maps, head.instance_channels, labels)
    return Segmentation(
        labels=labels,
        cell_types=head.cell_types,
        probabilities=probabilities,
        centre_px=centre,
        area_px=area,
        warnings=prepared.warnings,
    )


def _maps(
    prepared: PreparedImage,
    head: Head,
    runner: Runner,
    stride_px: int,
    on_tile: Callable[[int, int], None] | None,
) -> Canvas:
    """Blend the head's logits over the image: (K, Y, X)."""
    patch = runner.patch_px
    stride = max(patch, stride_px // patch * patch)
    height, width = (-(-side // patch) * patch for side in prepared.shape)
    origins = tile_origins((height, width), stride=stride)
    planes = head.instance_channels + len(head.cell_types)
    maps = Canvas((planes, *prepared.shape), on_disk=not prepared.in_memory)
    blender = RollingBlender(planes, width, overlap_px=TILE_PX - stride)
    for start in range(0, len(origins), runner.batch_size):
        batch = origins[start : start + runner.batch_size]
        tiles = cut(prepared.pixels, batch)
        seen = runner.each(tiles, prepared.embeddings, head.network.logits)
        for i, logits in enumerate(seen):
            blender.add(batch[i], logits.float().numpy())
            if on_tile is not None:
                on_tile(start + i + 1, len(origins))
        rest = origins[start + len(batch) :]
        top, rows = blender.take(int(rest[0, 0]) if len(rest) else height)
        window = (slice(top, min(top + rows.shape[1], maps.shape[1])), slice(0, maps.shape[2]))
        for k in range(planes):
            maps.put(k, window, rows[k, : window[0].stop - top, : maps.shape[2]])
    return maps


def _measure(
    maps: Canvas, first: int, labels: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
    """Measure each cell: (N, K) type probabilities, (N, 2) centre, (N,) area.

    ``first`` is the number of the first type channel.
    """
    count = int(labels.max(initial=0))
    classes = maps.shape[0] - first
    sums = np.zeros((classes + 2, count + 1))
    area = np.zeros(count + 1, np.int64)
    for rows, columns in windows(labels.shape):
        here = labels[rows, columns]
        logits = np.stack([maps.get(first + k, (rows, columns)) for k in range(classes)])
        place = np.indices(here.shape)
        planes = (*softmax(logits, axis=0), place[0] + rows.start, place[1] + columns.start)
        area += np.bincount(here.ravel(), minlength=count + 1)
        for k, plane in enumerate(planes):
            sums[k] += np.bincount(here.ravel(), plane.ravel(), minlength=count + 1)
    means = sums[:, 1:] / np.maximum(area[1:], 1)
    return means[:classes].T.astype(np.float32), means[classes:].T, area[1:]
