"""Scores of an inpainting: against the truth, and against the simple ways."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from virtues_core.infer.baselines import mean_of_visible
from virtues_core.infer.cohort import CohortFit
from virtues_core.infer.intervals import coverage
from virtues_core.infer.masks import Strategy
from virtues_core.infer.prepare import TILE_PX, PreparedImage
from virtues_core.infer.request import MarkerScore
from virtues_core.infer.scores import pearson, positivity_f1
from virtues_core.model import Checkpoint
from virtues_core.preprocess import tile_origins

_NAMES = {"model": "the model", "ridge": "ridge", "ridge+model": "ridge with the model"}
_WORTH_SAYING = 0.1
"""Familiarity, in Fisher's z, that a person should know of."""


def judge(
    prepared: PreparedImage,
    checkpoint: Checkpoint,
    strategy: Strategy,
    wanted: Sequence[int],
    masked: NDArray[np.bool_],
    *,
    prediction: NDArray[np.float32],
    lower: NDArray[np.float32],
    upper: NDArray[np.float32],
    model: NDArray[np.float32],
    fit: CohortFit | None,
) -> tuple[MarkerScore, ...]:
    """Score each painted marker over its masked pixels.

    Parameters
    ----------
    prepared, checkpoint, strategy, fit
        As used for the painting.
    wanted
        K channels that were painted.
    masked, prediction, lower, upper, model
        (K, Y, X); ``model`` is the model's own reconstruction.
    """
    filled = _mean_visible(prepared, wanted, masked)
    scores = []
    for k, c in enumerate(wanted):
        where = masked[k]
        truth = prepared.pixels[c][where]
        baselines = _baselines(prepared, strategy, wanted, c, where, fit)
        if np.isfinite(filled[k][where]).any() and not where.all():
            known = np.where(np.isfinite(filled[k]), filled[k], 0)[where]
            baselines = {"mean_visible": pearson(known, truth)} | baselines
        own = None if fit is None else fit.markers[c]
        scores.append(
            MarkerScore(
                channel=prepared.channels[c],
                pearson=pearson(prediction[k][where], truth),
                f1=positivity_f1(prediction[k][where], truth, float(prepared.pixels[c].mean())),
                coverage=coverage(lower[k][where], upper[k][where], truth),
                baselines=baselines,
                method="model" if own is None else own.method,
                model_pearson=pearson(model[k][where], truth),
                held_out={} if own is None else {str(m): r for m, r in own.held_out.items()},
                note=_note(prepared, checkpoint, c, fit),
            )
        )
    return tuple(scores)


def _mean_visible(
    prepared: PreparedImage, wanted: Sequence[int], masked: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Mean of the visible pixels of each tile: (K, Y, X); NaN where a tile shows none."""
    filled = np.full(masked.shape, np.nan, dtype=np.float32)
    for y, x in tile_origins(prepared.shape).tolist():
        window = (slice(None), slice(y, y + TILE_PX), slice(x, x + TILE_PX))
        filled[window] = mean_of_visible(prepared.pixels[list(wanted)][window], masked[window])
    return filled


def _baselines(
    prepared: PreparedImage,
    strategy: Strategy,
    wanted: Sequence[int],
    channel: int,
    where: NDArray[np.bool_],
    fit: CohortFit | None,
) -> dict[str, float]:
    """Pearson of the ways that need the other markers, where those are visible."""
    if strategy != "marker":
        return {}
    truth = prepared.pixels[channel][where]
    others = [c for c in range(len(prepared.channels)) if c not in set(wanted)]
    found = [pearson(prepared.pixels[c][where], truth) for c in others]
    defined = [r for r in found if not math.isnan(r)]
    baselines = {"best_other": max(defined)} if defined else {}
    if fit is not None:
        visible = prepared.pixels[list(fit.visible)][:, where]
        baselines["ridge"] = pearson(fit.markers[channel].ridge.predict(visible), truth)
    return baselines


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
