"""Calibrate a checkpoint: the 80 % intervals of each marker, measured on tissue with known truth.

Many images and few tiles of each: pixels of one image err together, so that another image says
more than another tile. To hide every marker in turn would take a pass each, and as many again for
each repeat. Two things make it several times fewer: a visible subset serves all the markers that it
hides (`predict_in_turn`), and in wide panels a few markers are hidden together that say the least
about each other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.intervals import BORROWED, LEVEL, Sample, fit_intervals
from virtues_core.infer.masks import draw_patches, to_pixels
from virtues_core.infer.predict import Runner, never
from virtues_core.infer.prepare import PreparedImage, prepare_image
from virtues_core.infer.request import REPEATS, STRATEGIES, TILE_PX, Strategy
from virtues_core.infer.tiles import cut
from virtues_core.infer.uncertainty import (
    FORMAT,
    TilePrediction,
    predict_in_turn,
    predict_with_spread,
    sample_of,
)
from virtues_core.markers import Panel
from virtues_core.model import Checkpoint, load_checkpoint, save_checkpoint
from virtues_core.preprocess import tile_origins

TILES = 1
"""Tiles of each image by default."""
PIXELS = 4_096
"""Pixels that are kept of each marker in each image and strategy: those of a tile err together."""
TOGETHER = 0.1
"""Markers that are hidden together, as a fraction of the panel."""
CARD = "80 % intervals are calibrated on "
"""How the line of a card begins that says on what."""


def calibrate(
    checkpoint: Checkpoint,
    images: Sequence[MultiplexImage],
    panels: Sequence[Panel] | None = None,
    *,
    strategies: Sequence[Strategy] = STRATEGIES,
    tiles_per_image: int = TILES,
    batch_size: int = 8,
    seed: int = 0,
    cancelled: Callable[[], bool] = never,
    on_image: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Fit the 80 % intervals of a checkpoint on images that it was not trained on.

    Parameters
    ----------
    checkpoint
        Its ``calibration`` is not looked at.
    images
        Images with known truth, not trained on; many, and as different from one another as those
        that the model shall be used on will be from them.
    panels
        One an image; from channel names by default.
    strategies
        Which maskings to calibrate.
    tiles_per_image
        Tiles of each image that are looked at, drawn at random.
    batch_size, seed, cancelled
        As in `Runner` and `draw_patches`.
    on_image
        Called with how many images are done, and of how many.

    Returns
    -------
    dict
        Fit for JSON and for ``Checkpoint.calibration``: by strategy, a table over all markers
        (``pooled``) and one a marker key (``keys``).

    Raises
    ------
    InputError, MarkerError
        There is no image, or one cannot be used; see `prepare_image`.
    Cancelled
        ``cancelled()`` said so.
    """
    if not images or tiles_per_image < 1:
        message = (
            f"expected one image and one tile of each at least, found {len(images)} images and "
            f"{tiles_per_image} tiles. Give images that the model was not trained on."
        )
        raise InputError(message)
    given: Sequence[Panel | None] = [None] * len(images) if panels is None else panels
    runner = Runner(checkpoint, batch_size=batch_size, cancelled=cancelled)
    gathered: dict[Strategy, dict[str, list[Sample]]] = {name: {} for name in strategies}
    for number, (image, panel) in enumerate(zip(images, given, strict=True)):
        prepared = prepare_image(image, panel, checkpoint)
        for strategy in strategies:
            generator = np.random.default_rng((seed, number, STRATEGIES.index(strategy)))
            for key, sample in _gather(
                runner, prepared, strategy, tiles_per_image, number, generator
            ):
                gathered[strategy].setdefault(key, []).append(sample)
        if on_image is not None:
            on_image(number + 1, len(images))
    tables = {name: _tables(by_key, seed) for name, by_key in gathered.items()}
    return {"format": FORMAT, "level": LEVEL, "repeats": REPEATS, "strategies": tables}


def calibrate_folder(
    folder: Path,
    images: Sequence[MultiplexImage],
    *,
    held_out: bool,
    tiles_per_image: int = TILES,
    device: str = "cpu",
    seed: int = 0,
    on_image: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Calibrate a saved checkpoint and keep the result in it.

    Parameters
    ----------
    folder
        A checkpoint's folder; replaced when the calibration is done.
    images, tiles_per_image, seed, on_image
        As in `calibrate`.
    held_out
        False where the model was trained on these images: the card then says that the intervals
        may be too narrow for other tissue.
    device
        Where the model runs.

    Returns
    -------
    dict
        What `calibrate` gave.
    """
    checkpoint = load_checkpoint(folder, device=device)
    calibration = calibrate(
        checkpoint,
        images,
        tiles_per_image=tiles_per_image,
        batch_size=1 if device == "cpu" else 8,  # unlike numbers hidden: a batch needs padding
        seed=seed,
        on_image=on_image,
    )
    said = f"{CARD}{len(images)} image{'s' if len(images) > 1 else ''}" + (
        " that were kept out of training."
        if held_out
        else " of the training itself: on other tissue they may be too narrow."
    )
    kept = [line for line in checkpoint.card.splitlines() if not line.startswith(CARD)]
    card = "\n".join(kept).rstrip() + f"\n\n{said}\n"
    save_checkpoint(replace(checkpoint, calibration=calibration, card=card), folder)
    return calibration


def unlike_groups(pixels: NDArray[np.float32], size: int) -> list[list[int]]:
    """Group channels so that those of a group correlate as little as may be, greedily.

    Parameters
    ----------
    pixels
        (C, …) model units.
    size
        Channels in a group; the last may hold fewer.
    """
    rows = pixels.reshape(len(pixels), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    alike = np.abs(rows @ rows.T)
    left, groups = list(range(len(rows))), []
    while left:
        group = [left.pop(0)]
        while left and len(group) < size:
            group.append(min(left, key=lambda c: float(alike[c, group].max())))
            left.remove(group[-1])
        groups.append(group)
    return groups


def _gather(
    runner: Runner,
    prepared: PreparedImage,
    strategy: Strategy,
    count: int,
    number: int,
    generator: np.random.Generator,
) -> Iterator[tuple[str, Sample]]:
    """Hide and predict some tiles of an image: (marker key, pixels) for each channel."""
    origins = tile_origins(prepared.shape)
    tiles = cut(prepared.pixels, origins[np.sort(generator.permutation(len(origins))[:count])])
    truth, channels = np.stack(tiles), range(len(prepared.channels))
    if strategy == "marker":
        said = _each_hidden(runner, tiles, prepared.embeddings, generator)
        masked = np.ones(truth.shape, dtype=bool)
    else:
        grid = (TILE_PX // runner.patch_px,) * 2
        masks = [draw_patches(generator, strategy, len(channels), grid) for _ in tiles]
        said = predict_with_spread(
            runner, tiles, prepared.embeddings, masks, channels,
            strategy=strategy, repeats=REPEATS, generator=generator,
        )  # fmt: skip
        masked = to_pixels(np.stack(masks), runner.patch_px)
    for c, key in enumerate(prepared.keys):
        where = masked[:, c]
        sample = sample_of(
            said.prediction[:, c][where], said.spread[:, c][where], truth[:, c][where],
            float(prepared.floor[c]), number,
        )  # fmt: skip
        yield key, sample.thin(PIXELS, generator)


def _each_hidden(
    runner: Runner,
    tiles: Sequence[NDArray[np.float32]],
    embeddings: NDArray[np.float32],
    generator: np.random.Generator,
) -> TilePrediction:
    size = max(1, int(TOGETHER * len(embeddings)))
    said = [
        predict_in_turn(
            runner, tile, embeddings, unlike_groups(tile, size),
            repeats=REPEATS, generator=generator,
        )
        for tile in tiles
    ]  # fmt: skip
    return TilePrediction(
        np.concatenate([one.prediction for one in said]),
        np.concatenate([one.spread for one in said]),
    )


def _tables(by_key: dict[str, list[Sample]], seed: int) -> dict[str, Any]:
    everything = Sample.join([sample for samples in by_key.values() for sample in samples])
    pooled = fit_intervals(everything, seed=seed)
    if pooled is None:
        return {"pooled": None, "keys": {}}
    others = everything.thin(BORROWED * PIXELS, np.random.default_rng(seed))
    keys = {}
    for key, samples in sorted(by_key.items()):
        table = fit_intervals(
            Sample.join(samples), others=others, others_scale=pooled.scale, seed=seed
        )
        if table is not None:
            keys[key] = table.to_dict()
    return {"pooled": pooled.to_dict(), "keys": keys}
