"""How well a checkpoint paints back what is hidden, by the paper's protocol.

Source: the paper, Methods, "Masked reconstructions": independent masking (each channel 60 to
100 % of its patches), niche masking (one ratio, the same patches in all channels) and marker
masking (one channel at a time, whole); Pearson's correlation and the F1 score of positivity per
marker, over masked pixels only, pooled over the whole dataset; no channel dropout. Images are cut
into 128 px tiles side by side (the last of a row or column is shifted inward).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.baselines import mean_of_visible
from virtues_core.infer.cohort import CohortFit, fit_cohort
from virtues_core.infer.masks import draw_patches, to_pixels
from virtues_core.infer.predict import Runner, never
from virtues_core.infer.prepare import PreparedImage, prepare_image
from virtues_core.infer.request import STRATEGIES, TILE_PX, Strategy, check_strategy
from virtues_core.infer.scores import PairSums, PositivityCounts, mean_defined
from virtues_core.infer.tiles import cut
from virtues_core.infer.uncertainty import (
    TilePrediction,
    interval,
    predict_in_turn,
    predict_with_spread,
    stored_table,
)
from virtues_core.markers import Panel
from virtues_core.model import Checkpoint
from virtues_core.preprocess import tile_origins

BASELINES: dict[Strategy, tuple[str, ...]] = {
    "independent": ("mean_visible",),
    "niche": ("mean_visible",),
    "marker": ("best_other", "ridge"),
}
"""The simple ways that each strategy is compared with; ridge only where there are images to fit
it on."""


@dataclass(frozen=True)
class MarkerReport:
    """One marker under one strategy, over its masked pixels in all images."""

    pearson: float
    """Of the model's reconstruction; NaN where the marker is the same everywhere."""
    f1: float
    """Of positivity, thresholded at the marker's mean intensity over the images."""
    baselines: dict[str, float]
    """Pearson of the simple ways."""
    coverage: float = math.nan
    """Share of pixels whose truth is in the calibrated 80 % interval; NaN where not measured."""
    method: str = ""
    """What inpainting with the same other images gives: model, ridge or ridge+model."""
    result_pearson: float = math.nan
    """Pearson of that."""


@dataclass(frozen=True)
class StrategyReport:
    """One strategy."""

    markers: dict[str, MarkerReport]
    """By channel name."""

    @property
    def mean_pearson(self) -> float:
        """Mean over the markers for which it is defined."""
        return mean_defined([marker.pearson for marker in self.markers.values()])

    @property
    def baselines(self) -> dict[str, float]:
        """Mean Pearson of each simple way, over the markers."""
        names = dict.fromkeys(n for marker in self.markers.values() for n in marker.baselines)
        return {
            name: mean_defined([m.baselines.get(name, math.nan) for m in self.markers.values()])
            for name in names
        }


@dataclass(frozen=True)
class ReconstructionReport:
    """All strategies."""

    strategies: dict[Strategy, StrategyReport]
    images: tuple[str, ...]
    fit_images: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON, by strategy; what is not defined is None."""
        return {name: _strategy_dict(report) for name, report in self.strategies.items()}


def evaluate_reconstruction(
    images: Sequence[MultiplexImage],
    checkpoint: Checkpoint,
    *,
    panels: Sequence[Panel] | None = None,
    fit: Sequence[MultiplexImage] = (),
    strategies: Sequence[str] = STRATEGIES,
    repeats: int = 0,
    batch_size: int = 16,
    seed: int = 0,
    cancelled: Callable[[], bool] = never,
) -> ReconstructionReport:
    """Hide, paint back and score.

    Parameters
    ----------
    images
        With known truth; not trained on, if the numbers shall hold for other tissue.
    checkpoint
        The model.
    panels
        One an image; from channel names by default.
    fit
        Other images of the cohort, for ridge regression and for the better-of-both rule.
    strategies
        Some of independent, marker, niche.
    repeats
        Visible subsets for the coverage of the 80 % interval (4 is what calibration takes);
        0 leaves the coverage out.
    batch_size, cancelled
        As in `Runner`.
    seed
        Draws the masks: the same seed hides the same patches.

    Raises
    ------
    InputError, MarkerError
        No image, an unknown strategy, or an image that cannot be used.
    Cancelled
        ``cancelled()`` said so.
    """
    if not images:
        message = "expected at least one image to evaluate on, found none."
        raise InputError(message)
    chosen = [check_strategy(strategy) for strategy in strategies]
    given: Sequence[Panel | None] = [None] * len(images) if panels is None else panels
    prepared = [prepare_image(i, p, checkpoint) for i, p in zip(images, given, strict=True)]
    cohort, notes = _cohort(prepared, fit, checkpoint)
    runner = Runner(checkpoint, batch_size=batch_size, cancelled=cancelled)
    warnings = [f"{image.name}: {text}" for image in prepared for text in image.warnings]
    warnings += _seen_before(images, checkpoint)
    evaluation = _Evaluation(checkpoint, runner, prepared, cohort, repeats=repeats, seed=seed)
    return ReconstructionReport(
        strategies={strategy: evaluation.run(strategy) for strategy in chosen},
        images=tuple(image.name for image in prepared),
        fit_images=tuple(other.name for other in cohort),
        warnings=tuple(dict.fromkeys(warnings + notes)),
    )


def _seen_before(images: Sequence[MultiplexImage], checkpoint: Checkpoint) -> list[str]:
    """Say which images the checkpoint was trained on: scores on them promise too much."""
    if checkpoint.split is None:
        return []
    return [
        f"{image.name}: the checkpoint was trained on this image; scores on unseen ones are lower"
        for image in images
        if checkpoint.split.part_of_image(image) == "train"
    ]


def _cohort(
    prepared: Sequence[PreparedImage], fit: Sequence[MultiplexImage], checkpoint: Checkpoint
) -> tuple[list[PreparedImage], list[str]]:
    """Prepare the images to fit on, without those that are evaluated."""
    evaluated = {(image.source, image.name) for image in prepared if image.source}
    kept, notes = [], []
    for other in fit:
        if (str(other.source), other.name) in evaluated:
            notes.append(f"{other.name} is evaluated: not used to fit, it would know the truth")
        else:
            kept.append(prepare_image(other, None, checkpoint))
    return kept, notes


@dataclass
class _Tally:
    """Sums of one marker."""

    model: PairSums = field(default_factory=PairSums)
    positive: PositivityCounts = field(default_factory=PositivityCounts)
    baselines: dict[str, PairSums] = field(default_factory=dict)
    result: PairSums = field(default_factory=PairSums)
    methods: list[str] = field(default_factory=list)
    covered: float = math.nan

    def baseline(self, name: str, value: NDArray[np.float32], truth: NDArray[np.float32]) -> None:
        self.baselines.setdefault(name, PairSums()).add(value, truth)

    def report(self, strategy: Strategy) -> MarkerReport:
        simple = {name: sums.pearson for name, sums in self.baselines.items() if ":" not in name}
        others = [s.pearson for name, s in self.baselines.items() if name.startswith("other:")]
        defined = [r for r in others if not math.isnan(r)]
        if defined:
            simple["best_other"] = max(defined)
        return MarkerReport(
            pearson=self.model.pearson,
            f1=self.positive.f1,
            baselines={name: simple[name] for name in BASELINES[strategy] if name in simple},
            coverage=self.covered / max(self.model.n, 1),
            method=self.methods[0] if self.methods else "",
            result_pearson=self.result.pearson,
        )


class _Evaluation:
    """One evaluation; holds what its strategies share."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        runner: Runner,
        images: Sequence[PreparedImage],
        cohort: Sequence[PreparedImage],
        *,
        repeats: int,
        seed: int,
    ) -> None:
        self.checkpoint = checkpoint
        self.runner = runner
        self.images = images
        self.cohort = cohort
        self.repeats = repeats
        self.seed = seed
        self.thresholds = _thresholds(images)
        self._fits: dict[tuple[tuple[str, ...], int], CohortFit | None] = {}

    def run(self, strategy: Strategy) -> StrategyReport:
        tallies: dict[str, _Tally] = {}
        for number, image in enumerate(self.images):
            generator = np.random.default_rng((self.seed, STRATEGIES.index(strategy), number))
            if strategy == "marker":
                self._in_turn(image, generator, tallies)
            else:
                self._patches(strategy, image, generator, tallies)
        return StrategyReport({name: tally.report(strategy) for name, tally in tallies.items()})

    def _in_turn(
        self, image: PreparedImage, generator: np.random.Generator, tallies: dict[str, _Tally]
    ) -> None:
        """Hide every channel of an image in turn, whole, and tally it."""
        groups = [[c] for c in range(len(image.channels))]
        everywhere = np.ones((len(groups), TILE_PX, TILE_PX), dtype=bool)
        for origin in tile_origins(image.shape):
            (tile,) = cut(image.pixels, origin[None])
            said = predict_in_turn(
                self.runner, tile, image.embeddings, groups,
                repeats=self.repeats, generator=generator,
            )  # fmt: skip
            self._channels("marker", image, tile, everywhere, said.of_tile(0), tallies)

    def _patches(
        self,
        strategy: Strategy,
        image: PreparedImage,
        generator: np.random.Generator,
        tallies: dict[str, _Tally],
    ) -> None:
        """Hide patches of all channels of an image, and tally them."""
        channels = range(len(image.channels))
        origins = tile_origins(image.shape)
        grid = (TILE_PX // self.runner.patch_px,) * 2
        masks = [draw_patches(generator, strategy, len(channels), grid) for _ in origins]
        for start in range(0, len(origins), self.runner.batch_size):
            part = slice(start, start + self.runner.batch_size)
            tiles = cut(image.pixels, origins[part])
            said = predict_with_spread(
                self.runner, tiles, image.embeddings, masks[part], channels,
                strategy=strategy, repeats=self.repeats, generator=generator,
            )  # fmt: skip
            for i, (tile, mask) in enumerate(zip(tiles, masks[part], strict=True)):
                masked = to_pixels(mask, self.runner.patch_px)
                self._channels(strategy, image, tile, masked, said.of_tile(i), tallies)

    def _channels(
        self,
        strategy: Strategy,
        image: PreparedImage,
        tile: NDArray[np.float32],
        masked: NDArray[np.bool_],
        said: TilePrediction,
        tallies: dict[str, _Tally],
    ) -> None:
        """Tally every channel of one tile; ``said`` (C, S, S)."""
        for c, name in enumerate(image.channels):
            one = TilePrediction(said.prediction[c], said.spread[c])
            self._tile(strategy, image, c, tile, masked, one, tallies.setdefault(name, _Tally()))

    def _tile(
        self,
        strategy: Strategy,
        image: PreparedImage,
        channel: int,
        tile: NDArray[np.float32],
        masked: NDArray[np.bool_],
        said: TilePrediction,
        tally: _Tally,
    ) -> None:
        where = masked[channel]
        truth, prediction = tile[channel][where], said.prediction[where]
        name = image.channels[channel]
        tally.model.add(prediction, truth)
        tally.positive.add(prediction, truth, self.thresholds[name])
        if self.repeats:
            table = stored_table(self.checkpoint.calibration, strategy, image.keys[channel])
            floor = float(image.floor[channel])
            low, high = interval(table, np.maximum(prediction, floor), said.spread[where], floor)
            before = 0.0 if math.isnan(tally.covered) else tally.covered
            tally.covered = before + float(((low <= truth) & (truth <= high)).sum())
        if strategy != "marker":
            filled = mean_of_visible(tile[channel][None], where[None])[0][where]
            tally.baseline("mean_visible", np.nan_to_num(filled), truth)
            return
        for other in range(len(image.channels)):
            if other != channel:
                tally.baseline(f"other:{image.channels[other]}", tile[other][where], truth)
        fit = self._fit(image, channel)
        if fit is not None:
            own = fit.markers[channel]
            visible = tile[list(fit.visible)][:, where]
            tally.baseline("ridge", own.predict(visible, prediction, "ridge"), truth)
            tally.result.add(own.predict(visible, prediction, own.method), truth)
            tally.methods.append(own.method)

    def _fit(self, image: PreparedImage, channel: int) -> CohortFit | None:
        key = (image.channels, channel)
        if self.cohort and key not in self._fits:
            self._fits[key] = fit_cohort(
                image, (channel,), self.cohort, self.runner, repeats=0, seed=self.seed
            )
        return self._fits.get(key)


def _thresholds(images: Sequence[PreparedImage]) -> dict[str, float]:
    """Mean intensity of each channel over all pixels of the images that carry it, model units."""
    total: dict[str, float] = {}
    count: dict[str, int] = {}
    for image in images:
        size = image.shape[0] * image.shape[1]
        for c, name in enumerate(image.channels):
            total[name] = total.get(name, 0.0) + image.mean_intensity(c) * size
            count[name] = count.get(name, 0) + size
    return {name: total[name] / count[name] for name in total}


def _strategy_dict(report: StrategyReport) -> dict[str, Any]:
    markers = {name: _marker_dict(marker) for name, marker in report.markers.items()}
    described: dict[str, Any] = {
        "mean_pearson": _plain(report.mean_pearson),
        "baselines": {name: _plain(value) for name, value in report.baselines.items()},
        "markers": markers,
    }
    for key in ("coverage", "result_pearson"):
        value = mean_defined([getattr(marker, key) for marker in report.markers.values()])
        if not math.isnan(value):
            described[f"mean_{key}"] = value
    return described


def _marker_dict(marker: MarkerReport) -> dict[str, Any]:
    described: dict[str, Any] = {
        "pearson": _plain(marker.pearson),
        "f1": _plain(marker.f1),
        "baselines": {name: _plain(value) for name, value in marker.baselines.items()},
    }
    if not math.isnan(marker.coverage):
        described["coverage"] = marker.coverage
    if marker.method:
        described |= {"method": marker.method, "result_pearson": _plain(marker.result_pearson)}
    return described


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
