"""Nobody gets less than the simple way: model and ridge regression, judged on other images.

Where other images of a cohort carry the hidden marker, three ways are tried on each of them,
fitted on the rest: the model's reconstruction, ridge regression on the visible markers, and ridge
regression with the model's reconstruction as one more regressor. The best by Pearson's correlation
in the held-out images is used, per marker: the mean over the images, since the image at hand is one
more image (over the pixels of all together, differences between images would count). Of near-ties
ridge with the model is taken: it holds both ways, and is the safer of them on a new image. A model
that knows the other images better than the one at hand (it may have been trained on them) is taken
down by what it loses; see `familiarity`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.baselines import Gram, Ridge, fit_ridge
from virtues_core.infer.familiarity import familiarity, take_down
from virtues_core.infer.intervals import IntervalTable, Sample, fit_intervals
from virtues_core.infer.masks import draw_patches
from virtues_core.infer.predict import Runner
from virtues_core.infer.prepare import PreparedImage
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.scores import fisher, mean_pearson, pearson
from virtues_core.infer.tiles import cut
from virtues_core.infer.uncertainty import predict_with_spread, sample_of
from virtues_core.preprocess import tile_origins

Method = Literal["model", "ridge", "ridge+model"]
METHODS: tuple[Method, ...] = ("model", "ridge", "ridge+model")
MARGIN = 0.003
"""By how much ridge with the model must beat ridge alone to be chosen: it has one more thing to
fit."""
MOST_TILES = 64
"""Tiles of the other images that are looked at, shared evenly among them."""


@dataclass(frozen=True, eq=False)
class MarkerFit:
    """How one hidden marker is painted best, by the other images."""

    method: Method
    held_out: dict[Method, float]
    """Pearson's correlation on images that the regression was not fitted on; mean of the images."""
    ridge: Ridge
    """On the visible markers; variables are those of `CohortFit.variables`."""
    with_model: Ridge
    """The same, with the model's reconstruction as one more regressor."""
    table: IntervalTable | None
    """Intervals of the chosen way, on held-out pixels."""

    def predict(
        self, visible: NDArray[np.float32], model: NDArray[np.float32], method: Method
    ) -> NDArray[np.float32]:
        """Paint the marker in one of the ways.

        Parameters
        ----------
        visible
            (V, …) the visible markers, model units.
        model
            (…) the model's reconstruction.
        method
            Which way.
        """
        if method == "model":
            return model
        if method == "ridge":
            return self.ridge.predict(visible)
        return self.with_model.predict(np.concatenate([visible, model[None]]))


@dataclass(frozen=True, eq=False)
class CohortFit:
    """What other images say about the hidden markers of one image."""

    images: tuple[str, ...]
    """Names of the images that could be used."""
    visible: tuple[int, ...]
    """Channels of the image at hand that serve as regressors; V."""
    markers: dict[int, MarkerFit]
    """By channel of the image at hand."""
    familiarity: float = 0.0
    """By how much the model knows the other images better, in Fisher's z; see `familiarity`."""
    notes: tuple[str, ...] = ()
    """Images that could not be used, and why."""


@dataclass
class _Pixels:
    """Pixels of the other images, model units."""

    visible: list[NDArray[np.float32]] = field(default_factory=list)  # (V, P) an image
    truth: list[NDArray[np.float32]] = field(default_factory=list)  # (K, P)
    model: list[NDArray[np.float32]] = field(default_factory=list)  # (K, P)
    spread: list[NDArray[np.float32]] = field(default_factory=list)  # (K, P)
    floor: list[NDArray[np.float32]] = field(default_factory=list)  # (K,)


def others_of(
    image: PreparedImage, cohort: Sequence[PreparedImage]
) -> tuple[list[PreparedImage], list[str]]:
    """Leave the image itself out of its cohort; say so."""
    others, notes = [], []
    for other in cohort:
        if other is image or (other.source and (other.source, other.name) == _identity(image)):
            notes.append(
                f"{other.name} is the image at hand: not used to fit, it would know the truth"
            )
        else:
            others.append(other)
    return others, notes


def fit_cohort(
    image: PreparedImage,
    hidden: Sequence[int],
    cohort: Sequence[PreparedImage],
    runner: Runner,
    *,
    repeats: int,
    seed: int = 0,
) -> CohortFit | None:
    """Fit and judge the ways to paint hidden markers on other images.

    Parameters
    ----------
    image
        The image at hand; only its channels are looked at.
    hidden
        Its channels that are hidden together.
    cohort
        The other images. One that lacks a hidden marker is not used.
    runner
        Runs the model.
    repeats
        Visible subsets for the spread.
    seed
        Draws tiles and subsets.

    Returns
    -------
    CohortFit or None
        None where no other image can be used.

    Raises
    ------
    Cancelled
        As `Runner.predict`.
    """
    others, notes = others_of(image, cohort)
    usable, maps = [], []
    for other in others:
        mapped = match_channels(image, other)
        lacking = [image.channels[c] for c in hidden if c not in mapped]
        if lacking:
            notes.append(f"{other.name} does not carry {', '.join(lacking)}: not used to fit")
        else:
            usable.append(other)
            maps.append(mapped)
    common = [c for c in range(len(image.channels)) if all(c in mapped for mapped in maps)]
    visible = tuple(c for c in common if c not in set(hidden))
    if not usable or not visible:
        return None
    pixels = _collect(usable, maps, visible, hidden, runner, repeats=repeats, seed=seed)
    known = list(zip(usable, maps, strict=True))
    loss = familiarity(image, known, visible, hidden, pixels.visible, runner, seed=seed)
    generator = np.random.default_rng((seed, 3))
    for k in range(len(hidden)):
        said = take_down(
            [rows[k] for rows in pixels.model], [rows[k] for rows in pixels.truth], loss, generator
        )
        for rows, row in zip(pixels.model, said, strict=True):
            rows[k] = row
    groups = _groups(pixels)
    fits = {channel: _fit_marker(pixels, k, groups, seed=seed) for k, channel in enumerate(hidden)}
    return CohortFit(tuple(o.name for o in usable), visible, fits, loss, tuple(notes))


def match_channels(image: PreparedImage, other: PreparedImage) -> dict[int, int]:
    """Find each channel of an image in another: by name, else by a marker key that both have once.

    Returns
    -------
    dict
        Position in ``image`` → position in ``other``, for the channels that are in both.
    """
    found = {}
    for c, (name, key) in enumerate(zip(image.channels, image.keys, strict=True)):
        if name in other.channels:
            found[c] = other.channels.index(name)
        elif image.keys.count(key) == 1 and other.keys.count(key) == 1:
            found[c] = other.keys.index(key)
    return found


def _identity(image: PreparedImage) -> tuple[str, str]:
    return image.source, image.name


def _collect(
    usable: Sequence[PreparedImage],
    maps: Sequence[dict[int, int]],
    visible: Sequence[int],
    hidden: Sequence[int],
    runner: Runner,
    *,
    repeats: int,
    seed: int,
) -> _Pixels:
    pixels = _Pixels()
    grid = (TILE_PX // runner.patch_px,) * 2
    for number, (other, mapped) in enumerate(zip(usable, maps, strict=True)):
        generator = np.random.default_rng((seed, number))
        origins = tile_origins(other.shape)
        most = max(2, MOST_TILES // len(usable))
        origins = origins[np.sort(generator.permutation(len(origins))[:most])]
        tiles = cut(other.pixels, origins)
        wanted = [mapped[c] for c in hidden]
        mask = draw_patches(generator, "marker", len(other.channels), grid, wanted)
        said = predict_with_spread(
            runner, tiles, other.embeddings, [mask] * len(tiles), wanted,
            strategy="marker", repeats=repeats, generator=generator,
        )  # fmt: skip
        stacked = np.stack(tiles, axis=1)  # (C, T, S, S)
        pixels.visible.append(stacked[[mapped[c] for c in visible]].reshape(len(visible), -1))
        pixels.truth.append(stacked[wanted].reshape(len(wanted), -1))
        pixels.model.append(said.prediction.swapaxes(0, 1).reshape(len(wanted), -1))
        pixels.spread.append(said.spread.swapaxes(0, 1).reshape(len(wanted), -1))
        pixels.floor.append(other.floor[wanted])
    return pixels


def _groups(pixels: _Pixels) -> list[tuple[int, slice]]:
    """Part the pixels into what is held out together: images; one image by halves of its tiles."""
    if len(pixels.truth) > 1:
        return [(i, slice(None)) for i in range(len(pixels.truth))]
    half = pixels.truth[0].shape[1] // 2
    return [(0, slice(0, half)), (0, slice(half, None))]


def _fit_marker(
    pixels: _Pixels, k: int, groups: Sequence[tuple[int, slice]], *, seed: int
) -> MarkerFit:
    regressors = len(pixels.visible[0])
    target = regressors + 1  # variables: visible markers, the model's reconstruction, the truth
    grams = []
    for i, part in groups:
        gram = Gram(regressors + 2)
        rows = (pixels.visible[i], pixels.model[i][k][None], pixels.truth[i][k][None])
        gram.add(np.concatenate([row[:, part] for row in rows]))
        grams.append(gram)
    scores: dict[Method, list[float]] = {method: [] for method in METHODS}
    held: list[dict[Method, NDArray[np.float32]]] = []
    for g, (i, part) in enumerate(groups):
        rest = sum((gram for h, gram in enumerate(grams) if h != g), Gram(regressors + 2))
        said = _predict(rest, regressors, pixels.visible[i][:, part], pixels.model[i][k, part])
        held.append(said)
        for method in METHODS:
            scores[method].append(pearson(said[method], pixels.truth[i][k, part]))
    held_out = {method: mean_pearson(scores[method]) for method in METHODS}
    method = _choose(scores)
    total = sum(grams, Gram(regressors + 2))
    return MarkerFit(
        method=method,
        held_out=held_out,
        ridge=fit_ridge(total, target, range(regressors)),
        with_model=fit_ridge(total, target, range(regressors + 1)),
        table=_table(pixels, k, groups, [said[method] for said in held], seed),
    )


def _predict(
    gram: Gram, regressors: int, visible: NDArray[np.float32], model: NDArray[np.float32]
) -> dict[Method, NDArray[np.float32]]:
    """Predict held-out pixels in the three ways, fitted on the rest."""
    target = regressors + 1
    ridge = fit_ridge(gram, target, range(regressors))
    both = fit_ridge(gram, target, range(regressors + 1))
    return {
        "model": model,
        "ridge": ridge.predict(visible),
        "ridge+model": both.predict(np.concatenate([visible, model[None]])),
    }


def _choose(scores: dict[Method, list[float]]) -> Method:
    """Choose by the correlations in each held-out image: near-ties go to ridge with the model.

    The better of the two alone is chosen where it beats ridge with the model by more than the
    standard error of their difference (in Fisher's z, over the images); and ridge alone where the
    model adds next to nothing to it.
    """
    mean = {m: -math.inf if math.isnan(r := mean_pearson(scores[m])) else r for m in METHODS}
    alone: Method = "model" if mean["model"] > mean["ridge"] else "ridge"
    pairs = zip(scores[alone], scores["ridge+model"], strict=True)
    ahead = np.array([fisher(a) - fisher(b) for a, b in pairs if not math.isnan(a + b)])
    error = ahead.std(ddof=1) / math.sqrt(ahead.size) if ahead.size > 1 else 0.0
    if ahead.size == 0 or ahead.mean() > error:
        return alone
    nothing_added = alone == "ridge" and mean["ridge+model"] < mean["ridge"] + MARGIN
    return "ridge" if nothing_added else "ridge+model"


def _table(
    pixels: _Pixels,
    k: int,
    groups: Sequence[tuple[int, slice]],
    held: Sequence[NDArray[np.float32]],
    seed: int,
) -> IntervalTable | None:
    parts = [
        sample_of(
            prediction, pixels.spread[i][k, part], pixels.truth[i][k, part],
            float(pixels.floor[i][k]), g,
        )
        for g, ((i, part), prediction) in enumerate(zip(groups, held, strict=True))
    ]  # fmt: skip
    return fit_intervals(Sample.join(parts), seed=seed)
