"""How sure the model is: spread over visible subsets, turned into calibrated 80 % intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.image import MultiplexImage
from virtues_core.infer.intervals import LEVEL, IntervalTable, Sample, fit_intervals
from virtues_core.infer.masks import (
    STRATEGIES,
    Strategy,
    draw_patches,
    hide_more,
    to_pixels,
)
from virtues_core.infer.predict import Runner, never
from virtues_core.infer.prepare import TILE_PX, PreparedImage, prepare_image
from virtues_core.infer.tiles import cut
from virtues_core.markers import Panel
from virtues_core.model import Checkpoint, load_checkpoint, save_checkpoint
from virtues_core.preprocess import tile_origins

FORMAT = 1
REPEATS = 4
"""Visible subsets for the spread, in a calibration and by default in use."""
UNCALIBRATED_Z = 1.2816
"""Half-width of the 80 % interval of a normal distribution, in standard deviations."""


@dataclass(frozen=True, eq=False)
class TilePrediction:
    """What the model says of some channels of some tiles."""

    prediction: NDArray[np.float32]
    """(T, K, S, S) model units, from all that is visible."""
    spread: NDArray[np.float32]
    """(T, K, S, S) root mean square distance of the repeats from it; 0 without repeats."""


def predict_with_spread(
    runner: Runner,
    tiles: Sequence[NDArray[np.float32]],
    embeddings: NDArray[np.float32],
    masks: Sequence[NDArray[np.bool_]],
    channels: Sequence[int],
    *,
    strategy: Strategy,
    repeats: int,
    generator: np.random.Generator,
) -> TilePrediction:
    """Predict tiles from all that is visible, and again from ``repeats`` random parts of that.

    Shapes as in `Runner.predict`.
    """
    prediction = runner.predict(tiles, embeddings, masks, channels)
    squares = np.zeros_like(prediction)
    hidden = channels if strategy == "marker" else ()
    for _ in range(repeats):
        fewer = [hide_more(generator, mask, strategy, hidden) for mask in masks]
        squares += (runner.predict(tiles, embeddings, fewer, channels) - prediction) ** 2
    return TilePrediction(prediction, np.sqrt(squares / max(repeats, 1)))


def calibrate(
    checkpoint: Checkpoint,
    images: Sequence[MultiplexImage],
    panels: Sequence[Panel] | None = None,
    *,
    strategies: Sequence[Strategy] = STRATEGIES,
    tiles_per_image: int = 8,
    batch_size: int = 8,
    seed: int = 0,
    cancelled: Callable[[], bool] = never,
) -> dict[str, Any]:
    """Fit the 80 % intervals of a checkpoint on images that it was not trained on.

    Parameters
    ----------
    checkpoint
        Its ``calibration`` is not looked at.
    images
        Images with known truth, not trained on; several, so that they stand for others.
    panels
        One an image; from channel names by default.
    strategies
        Which maskings to calibrate.
    tiles_per_image
        Tiles of each image that are looked at, drawn at random; marker masking, which hides one
        channel after another, takes an eighth as many for each.
    batch_size, seed, cancelled
        As in `Runner` and `draw_patches`.

    Returns
    -------
    dict
        Fit for JSON and for ``Checkpoint.calibration``: by strategy, a table over all markers
        (``pooled``) and one a marker key (``keys``).

    Raises
    ------
    InputError, MarkerError
        An image cannot be used; see `prepare_image`.
    Cancelled
        ``cancelled()`` said so.
    """
    given: Sequence[Panel | None] = [None] * len(images) if panels is None else panels
    runner = Runner(checkpoint, batch_size=batch_size, cancelled=cancelled)
    gathered: dict[Strategy, dict[str, list[Sample]]] = {name: {} for name in strategies}
    for number, (image, panel) in enumerate(zip(images, given, strict=True)):
        prepared = prepare_image(image, panel, checkpoint)
        for strategy in strategies:
            count = max(1, tiles_per_image // 8) if strategy == "marker" else tiles_per_image
            generator = np.random.default_rng((seed, number, STRATEGIES.index(strategy)))
            for key, sample in _gather(runner, prepared, strategy, count, number, generator):
                gathered[strategy].setdefault(key, []).append(sample)
    tables = {name: _tables(by_key, seed) for name, by_key in gathered.items()}
    return {"format": FORMAT, "level": LEVEL, "repeats": REPEATS, "strategies": tables}


def calibrate_folder(
    folder: Path, images: Sequence[MultiplexImage], *, held_out: bool
) -> dict[str, Any]:
    """Calibrate a saved checkpoint and keep the result in it.

    Parameters
    ----------
    folder
        A checkpoint's folder; replaced when the calibration is done.
    images
        As in `calibrate`.
    held_out
        False where the model was trained on these images: the card then says that the intervals
        may be too narrow for other tissue.

    Returns
    -------
    dict
        What `calibrate` gave.
    """
    checkpoint = load_checkpoint(folder)
    calibration = calibrate(checkpoint, images)
    card = checkpoint.card + (
        f"\n80 % intervals are calibrated on {len(images)} images"
        + (
            " that were kept out of training.\n"
            if held_out
            else " of the training itself: on other tissue they may be too narrow.\n"
        )
    )
    save_checkpoint(replace(checkpoint, calibration=calibration, card=card), folder)
    return calibration


def stored_table(
    calibration: dict[str, Any] | None, strategy: Strategy, key: str
) -> IntervalTable | None:
    """Look up a marker's table in a checkpoint's calibration.

    Returns
    -------
    IntervalTable or None
        The marker's own; else that over all markers; None where there is no calibration.
    """
    if not calibration or calibration.get("format") != FORMAT:
        return None
    tables = calibration.get("strategies", {}).get(strategy)
    if not tables:
        return None
    found = tables["keys"].get(key) or tables["pooled"]
    return IntervalTable.from_dict(found) if found else None


def interval(
    table: IntervalTable | None,
    prediction: NDArray[np.float32],
    spread: NDArray[np.float32],
    floor: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the lower and upper bound of each pixel, in model units.

    Parameters
    ----------
    table
        None where nothing is calibrated: then the spread, with the deviation of a whole channel
        (1) added in quadrature, is taken for a normal error. It may be too narrow.
    prediction, spread
        (…) model units.
    floor
        Model units of a count of 0; no bound is lower.
    """
    base = np.float32(floor)
    if table is None:
        width = np.float32(UNCALIBRATED_Z) * np.sqrt(spread**2 + np.float32(1))
        lower = np.maximum(prediction - width, base)
        return lower, np.maximum(prediction + width, lower)
    low, high = table.bounds(prediction - base, spread)
    return np.where(low > 0, low + base, base), high + base


def _gather(
    runner: Runner,
    prepared: PreparedImage,
    strategy: Strategy,
    count: int,
    number: int,
    generator: np.random.Generator,
) -> list[tuple[str, Sample]]:
    """Hide and predict some tiles of an image: (marker key, pixels) for each channel."""
    origins = tile_origins(prepared.shape)
    channels = range(len(prepared.channels))
    grid = (TILE_PX // runner.patch_px,) * 2
    samples = []
    for wanted in [(c,) for c in channels] if strategy == "marker" else [tuple(channels)]:
        chosen = origins[np.sort(generator.permutation(len(origins))[:count])]
        tiles = cut(prepared.pixels, chosen)
        masks = [draw_patches(generator, strategy, len(channels), grid, wanted) for _ in tiles]
        said = predict_with_spread(
            runner, tiles, prepared.embeddings, masks, wanted,
            strategy=strategy, repeats=REPEATS, generator=generator,
        )  # fmt: skip
        masked = to_pixels(np.stack(masks), runner.patch_px)
        truth = np.stack(tiles)
        for k, c in enumerate(wanted):
            where = masked[:, c]
            samples.append(
                (
                    prepared.keys[c],
                    sample_of(
                        said.prediction[:, k][where],
                        said.spread[:, k][where],
                        truth[:, c][where],
                        float(prepared.floor[c]),
                        number,
                    ),
                )
            )
    return samples


def sample_of(
    prediction: NDArray[np.float32],
    spread: NDArray[np.float32],
    truth: NDArray[np.float32],
    floor: float,
    group: int | NDArray[np.int64],
) -> Sample:
    """Make a sample of pixels in model units, as heights above a channel's floor."""
    base = np.float32(floor)
    groups = np.broadcast_to(np.asarray(group, dtype=np.int64), truth.shape)
    return Sample(prediction - base, spread, truth - base, groups)


def _tables(by_key: dict[str, list[Sample]], seed: int) -> dict[str, Any]:
    everything = [sample for samples in by_key.values() for sample in samples]
    pooled = fit_intervals(Sample.join(everything), seed=seed) if everything else None
    keys = {}
    for key, samples in sorted(by_key.items()):
        table = fit_intervals(Sample.join(samples), seed=seed)
        if table is not None:
            keys[key] = table.to_dict()
    return {"pooled": None if pooled is None else pooled.to_dict(), "keys": keys}
