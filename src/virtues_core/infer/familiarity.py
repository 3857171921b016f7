"""Whether the model knows the other images better than the one at hand.

A model that was trained on the images on which it is judged looks better there than it is. Whether
it was is not always known, so it is measured: some visible markers of the image at hand, whose
truth may be looked at, are hidden in turn, there and in the other images, and the model's loss of
correlation from there to here is compared with that of ridge regression, which has too few weights
to know an image by heart.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.baselines import Gram, Ridge, fit_ridge
from virtues_core.infer.masks import draw_patches
from virtues_core.infer.predict import Runner
from virtues_core.infer.prepare import PreparedImage
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.scores import PairSums, fisher
from virtues_core.infer.tiles import cut
from virtues_core.preprocess import tile_origins

PROBES = 4
"""Visible markers that are hidden in turn."""
TILES = 4
"""Tiles that are looked at for each, here and there."""
LEAST_PEARSON = 0.05
"""No model is taken down further than this."""

Known = tuple[PreparedImage, Mapping[int, int]]
"""An image, and where it has each channel of the image at hand."""


def familiarity(
    image: PreparedImage,
    others: Sequence[Known],
    visible: Sequence[int],
    hidden: Sequence[int],
    fitted: Sequence[NDArray[np.float32]],
    runner: Runner,
    *,
    seed: int,
) -> float:
    """Measure how much of the model's correlation on the other images is lost on this one.

    Parameters
    ----------
    image
        The image at hand; its hidden channels are not looked at.
    others
        The other images.
    visible, hidden
        Channels of the image at hand.
    fitted
        (V, P) pixels of the visible channels of each other image, for ridge regression.
    runner
        Runs the model.
    seed
        Draws markers and tiles.

    Returns
    -------
    float
        0 or more, in units of Fisher's z (atanh of the correlation): the model's loss beyond that
        of ridge regression. 0 where there are too few markers to tell.
    """
    if len(visible) < 2:
        return 0.0
    gram = Gram(len(visible))
    for rows in fitted:
        gram.add(rows)
    here: list[Known] = [(image, {c: c for c in range(len(image.channels))})]
    generator = np.random.default_rng((seed, 2))
    losses = []
    for probe in generator.permutation(len(visible))[:PROBES].tolist():
        ridge = fit_ridge(gram, probe, [v for v in range(len(visible)) if v != probe])
        scores = [
            _scores(images, probe, ridge, visible, hidden, runner, generator)
            for images in (others, here)
        ]
        if not any(math.isnan(z) for pair in scores for z in pair):
            (model_there, ridge_there), (model_here, ridge_here) = scores
            losses.append((model_there - model_here) - (ridge_there - ridge_here))
    return max(0.0, math.fsum(losses) / len(losses)) if losses else 0.0


def take_down(
    model: Sequence[NDArray[np.float32]],
    truth: Sequence[NDArray[np.float32]],
    loss: float,
    generator: np.random.Generator,
) -> list[NDArray[np.float32]]:
    """Add noise to reconstructions, so that they correlate with the truth as they would elsewhere.

    Parameters
    ----------
    model, truth
        (P,) pixels of each image.
    loss
        What `familiarity` measured.

    Returns
    -------
    list
        (P,) of each image. Noise of variance v · ((r / r′)² − 1) takes a correlation from r to r′.
    """
    sums = PairSums()
    for said, real in zip(model, truth, strict=True):
        sums.add(said, real)
    r = sums.pearson
    if loss <= 0 or math.isnan(r) or r <= LEAST_PEARSON:
        return list(model)
    aim = max(LEAST_PEARSON, math.tanh(math.atanh(min(r, 0.999)) - loss))
    variance = sums.xx / sums.n - (sums.x / sums.n) ** 2
    sigma = math.sqrt(variance * max(0.0, (r / aim) ** 2 - 1))
    return [
        said + np.float32(sigma) * generator.standard_normal(said.shape, dtype=np.float32)
        for said in model
    ]


def _scores(
    images: Sequence[Known],
    probe: int,
    ridge: Ridge,
    visible: Sequence[int],
    hidden: Sequence[int],
    runner: Runner,
    generator: np.random.Generator,
) -> tuple[float, float]:
    """Fisher's z of model and ridge for one marker hidden besides."""
    model, linear = PairSums(), PairSums()
    grid = (TILE_PX // runner.patch_px,) * 2
    for image, mapped in images[:TILES]:
        origins = tile_origins(image.shape)
        chosen = generator.permutation(len(origins))[: max(1, TILES // len(images))]
        tiles = cut(image.pixels, origins[chosen])
        target = mapped[visible[probe]]
        gone = [target, *(mapped[c] for c in hidden if c in mapped)]
        mask = draw_patches(generator, "marker", len(image.channels), grid, gone)
        said = runner.predict(tiles, image.embeddings, [mask] * len(tiles), [target])
        rows = np.stack(tiles, axis=1)[[mapped[c] for c in visible]]  # (V, T, S, S)
        model.add(said[:, 0], rows[probe])
        linear.add(ridge.predict(rows), rows[probe])
    return fisher(model.pearson), fisher(linear.pearson)
