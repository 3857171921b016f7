"""How sure the model is: spread over visible subsets, turned into calibrated 80 % intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.intervals import IntervalTable, Sample
from virtues_core.infer.masks import draw_parts, draw_patches, hide_more
from virtues_core.infer.predict import Runner
from virtues_core.infer.request import Strategy

FORMAT = 2
"""Of stored calibrations: 1 held heights above the floor and is not read any more."""
UNCALIBRATED_Z = 1.2816
"""Half-width of the 80 % interval of a normal distribution, in standard deviations."""


@dataclass(frozen=True, eq=False)
class TilePrediction:
    """What the model says of some channels of some tiles."""

    prediction: NDArray[np.float32]
    """(T, K, S, S) model units, from all that is visible."""
    spread: NDArray[np.float32]
    """(T, K, S, S) root mean square distance of the repeats from it; 0 without repeats."""

    def of_tile(self, i: int) -> "TilePrediction":
        """Return one tile's, (K, S, S)."""
        return TilePrediction(self.prediction[i], self.spread[i])


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


def predict_in_turn(
    runner: Runner,
    tile: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    groups: Sequence[Sequence[int]],
    *,
    repeats: int,
    generator: np.random.Generator,
) -> TilePrediction:
    """Predict every channel of a tile as if it were hidden, with the spread of marker masking.

    Parameters
    ----------
    runner
        Runs the model.
    tile
        (C, S, S) model units.
    embeddings
        (C, E).
    groups
        Which channels are hidden together for the prediction; each channel in one.
    repeats
        Visible subsets for the spread of each channel. A subset serves all that it hides (see
        `draw_parts`), so that this takes 4 passes a repeat, however many channels there are.
    generator
        Draws them.

    Returns
    -------
    TilePrediction
        (1, C, S, S).
    """
    drawn = [part for _ in range(repeats) for part in draw_parts(generator, len(tile))]
    hidden = [list(group) for group in groups] + drawn
    grid = (tile.shape[1] // runner.patch_px, tile.shape[2] // runner.patch_px)
    masks = [draw_patches(generator, "marker", len(tile), grid, gone) for gone in hidden]
    painted = runner.predict_each([tile] * len(hidden), embeddings, masks, hidden)
    prediction, squares = np.empty_like(tile), np.zeros_like(tile)
    for gone, values in zip(hidden[: len(groups)], painted, strict=False):
        prediction[gone] = values
    for gone, values in zip(drawn, painted[len(groups) :], strict=True):
        squares[gone] += (values - prediction[gone]) ** 2
    return TilePrediction(prediction[None], np.sqrt(squares / max(repeats, 1))[None])


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
    if table is None:
        base = np.float32(floor)
        width = np.float32(UNCALIBRATED_Z) * np.sqrt(spread**2 + np.float32(1))
        lower = np.maximum(prediction - width, base)
        return lower, np.maximum(prediction + width, lower)
    return table.bounds(prediction, spread, floor)


def sample_of(
    prediction: NDArray[np.float32],
    spread: NDArray[np.float32],
    truth: NDArray[np.float32],
    floor: float,
    group: int,
) -> Sample:
    """Make a sample of pixels (P,) of one marker in one image, model units."""
    return Sample(
        np.maximum(prediction, np.float32(floor)),
        spread,
        truth,
        np.full(truth.shape, floor, dtype=np.float32),
        np.full(truth.shape, group, dtype=np.int64),
    )
