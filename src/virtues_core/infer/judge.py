"""Scores of an inpainting: against the truth, and against the simple ways."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.baselines import mean_of_visible
from virtues_core.infer.cohort import CohortFit
from virtues_core.infer.intervals import coverage
from virtues_core.infer.masks import patches_at
from virtues_core.infer.planes import Window
from virtues_core.infer.prepare import PreparedImage
from virtues_core.infer.request import TILE_PX, MarkerScore, Strategy
from virtues_core.infer.scores import PairSums, PositivityCounts
from virtues_core.model import Checkpoint
from virtues_core.preprocess import tile_origins

_NAMES = {"model": "the model", "ridge": "ridge", "ridge+model": "ridge with the model"}
_WORTH_SAYING = 0.1
"""Familiarity, in Fisher's z, that a person should know of."""


@dataclass(frozen=True, eq=False)
class Block:
    """A window of one marker's result; all (h, w), model units."""

    window: Window
    where: NDArray[np.bool_]
    """True = hidden from the model."""
    truth: NDArray[np.float32]
    prediction: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    model: NDArray[np.float32]
    """The model's own reconstruction."""
    seen: Mapping[int, NDArray[np.float32]]
    """The truth by channel: of those that were wanted, and the others where `Judge` needs them."""


@dataclass
class _Tally:
    """Sums of one marker."""

    result: PairSums = field(default_factory=PairSums)
    model: PairSums = field(default_factory=PairSums)
    visible: PairSums = field(default_factory=PairSums)
    ridge: PairSums = field(default_factory=PairSums)
    others: dict[int, PairSums] = field(default_factory=dict)
    positive: PositivityCounts = field(default_factory=PositivityCounts)
    covered: float = 0.0


class Judge:
    """Scores each painted marker over its masked pixels, block by block.

    Parameters
    ----------
    prepared, checkpoint, strategy, fit
        As used for the painting.
    wanted
        K channels that were painted.
    patches
        (C, ⌈Y/p⌉, ⌈X/p⌉) True = hidden.
    """

    def __init__(
        self,
        prepared: PreparedImage,
        checkpoint: Checkpoint,
        strategy: Strategy,
        wanted: Sequence[int],
        patches: NDArray[np.bool_],
        fit: CohortFit | None,
    ) -> None:
        self.needs_others = strategy == "marker"
        """Whether the other channels are compared with: where they are visible."""
        self._prepared, self._checkpoint = prepared, checkpoint
        self._wanted, self._fit = list(wanted), fit
        self._tallies = [_Tally() for _ in wanted]
        self._thresholds = [prepared.mean_intensity(c) for c in wanted]
        self._means = _VisibleMeans(prepared, wanted, patches, checkpoint.config.patch_size)

    def add(self, k: int, block: Block) -> None:
        """Add a window of the k-th marker."""
        where, tally = block.where, self._tallies[k]
        if not where.any():
            return
        truth, prediction = block.truth[where], block.prediction[where]
        tally.result.add(prediction, truth)
        tally.model.add(block.model[where], truth)
        tally.positive.add(prediction, truth, self._thresholds[k])
        share = coverage(block.lower[where], block.upper[where], truth)
        tally.covered += share * truth.size
        filled = self._means.fill(k, block.window)
        if filled is not None:
            tally.visible.add(filled[where], truth)
        if self.needs_others:
            self._compare(k, block, truth)

    def scores(self) -> tuple[MarkerScore, ...]:
        """Give the score of each marker, over all that was added."""
        return tuple(self._score(k) for k in range(len(self._wanted)))

    def _compare(self, k: int, block: Block, truth: NDArray[np.float32]) -> None:
        """Add what the other markers say of this one."""
        tally = self._tallies[k]
        for c, plane in block.seen.items():
            if c not in self._wanted:
                tally.others.setdefault(c, PairSums()).add(plane[block.where], truth)
        if self._fit is not None:
            visible = np.stack([block.seen[c][block.where] for c in self._fit.visible])
            ridge = self._fit.markers[self._wanted[k]].ridge
            tally.ridge.add(ridge.predict(visible), truth)

    def _score(self, k: int) -> MarkerScore:
        tally, channel = self._tallies[k], self._wanted[k]
        own = None if self._fit is None else self._fit.markers[channel]
        return MarkerScore(
            channel=self._prepared.channels[channel],
            pearson=tally.result.pearson,
            f1=tally.positive.f1,
            coverage=tally.covered / tally.result.n if tally.result.n else math.nan,
            baselines=_baselines(tally),
            method="model" if own is None else own.method,
            model_pearson=tally.model.pearson,
            held_out={} if own is None else {str(m): r for m, r in own.held_out.items()},
            note=_note(self._prepared, self._checkpoint, channel, self._fit),
        )


def _baselines(tally: _Tally) -> dict[str, float]:
    """Pearson of the simple ways that there was something to compare with."""
    others = [sums.pearson for sums in tally.others.values()]
    defined = [r for r in others if not math.isnan(r)]
    found = {"mean_visible": tally.visible.pearson} if tally.visible.n else {}
    found |= {"best_other": max(defined)} if defined else {}
    return found | ({"ridge": tally.ridge.pearson} if tally.ridge.n else {})


class _VisibleMeans:
    """Mean of the visible pixels of each channel in each 128 px tile; 0 where a tile shows none.

    Tiles lie side by side; the last of a row or column is shifted inward and counts for all that
    it covers.
    """

    def __init__(
        self,
        prepared: PreparedImage,
        wanted: Sequence[int],
        patches: NDArray[np.bool_],
        patch_px: int,
    ) -> None:
        origins = tile_origins(prepared.shape)
        self._rows, self._columns = np.unique(origins[:, 0]), np.unique(origins[:, 1])
        size = (len(self._rows), len(self._columns))
        self._means: dict[int, NDArray[np.float32]] = {}
        for k, c in enumerate(wanted):
            if patches[c].all() or not patches[c].any():
                continue
            means = [_tile_mean(prepared, c, patches, y, x, patch_px) for y, x in origins.tolist()]
            if np.isfinite(means).any():
                self._means[k] = np.nan_to_num(np.array(means, np.float32)).reshape(size)

    def fill(self, k: int, window: Window) -> NDArray[np.float32] | None:
        """Give the mean at each pixel of a window; None where a channel shows nothing."""
        if k not in self._means:
            return None
        y, x = (
            np.searchsorted(starts, np.arange(part.start, part.stop), side="right") - 1
            for starts, part in zip((self._rows, self._columns), window, strict=True)
        )
        return self._means[k][np.ix_(y, x)]


def _tile_mean(
    prepared: PreparedImage,
    channel: int,
    patches: NDArray[np.bool_],
    y: int,
    x: int,
    patch_px: int,
) -> float:
    window = (slice(y, y + TILE_PX), slice(x, x + TILE_PX))
    masked = patches_at(patches[[channel]], window, patch_px)
    if not masked.any():  # nothing is hidden here, so nothing is filled
        return math.nan
    tile = prepared.pixels[[channel], window[0], window[1]]
    return float(mean_of_visible(tile, masked)[0, 0, 0])


def _note(
    prepared: PreparedImage,
    checkpoint: Checkpoint,
    channel: int,
    fit: CohortFit | None,
) -> str:
    parts = []
    if fit is not None:
        own = fit.markers[channel]
        others = [m for m in own.held_out if m != own.method]
        against = ", ".join(f"{_NAMES[m]} {own.held_out[m]:.3f}" for m in others)
        images = len(fit.images)
        told = f"{images} other images" if images > 1 else "the other image"
        parts.append(
            f"{_NAMES[own.method]}: Pearson {own.held_out[own.method]:.3f} held out on {told}, "
            f"against {against}"
        )
        if fit.familiarity > _WORTH_SAYING:
            parts.append(
                "the model does better on those images than on this one (it may have been trained "
                "on them), and its numbers there are taken down by that"
            )
    if checkpoint.trained_keys and prepared.keys[channel] not in checkpoint.trained_keys:
        parts.append("never seen in training")
    return "; ".join(parts)
