"""Hide markers, a region or random patches of an image, and paint them back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.cohort import CohortFit, fit_cohort
from virtues_core.infer.judge import judge
from virtues_core.infer.masks import draw_patches, to_patches, to_pixels
from virtues_core.infer.predict import Runner, never
from virtues_core.infer.prepare import TILE_PX, PreparedImage, prepare_image
from virtues_core.infer.request import InpaintRequest, InpaintResult, TileDone
from virtues_core.infer.tiles import cut
from virtues_core.infer.uncertainty import (
    interval,
    predict_with_spread,
    stored_table,
)
from virtues_core.markers import Panel
from virtues_core.model import Checkpoint
from virtues_core.preprocess import Blender, tile_origins, to_counts


def inpaint(
    image: MultiplexImage,
    panel: Panel | None,
    checkpoint: Checkpoint,
    request: InpaintRequest,
    *,
    fit_images: Sequence[MultiplexImage] = (),
    on_tile: Callable[[TileDone], None] | None = None,
    cancelled: Callable[[], bool] = never,
) -> InpaintResult:
    """Hide what is asked for from the model and paint it back, tile by tile.

    Parameters
    ----------
    image
        Raw counts or intensities, 128 px or more on both sides.
    panel
        What its channels are; from their names by default.
    checkpoint
        The model, its marker embeddings, statistics and calibration.
    request
        What to hide.
    fit_images
        Other images of the cohort. Under marker masking, where they carry the hidden markers, the
        result is the best of model, ridge and both, as judged on them (see `cohort`); and the
        intervals are calibrated on them.
    on_tile
        Called with each tile as it is done.
    cancelled
        Asked between and within batches.

    Returns
    -------
    InpaintResult
        Model units and counts, intervals, scores over masked pixels, warnings.

    Raises
    ------
    MarkerError
        A marker is not in the image, or cannot be used.
    InputError
        The image or the region does not fit: size, NaN or negative counts, nothing to hide.
    Cancelled
        ``cancelled()`` said so.
    """
    prepared = prepare_image(image, panel, checkpoint, required=request.markers)
    wanted = prepared.positions(request.markers or prepared.channels)
    runner = Runner(checkpoint, batch_size=request.batch_size, cancelled=cancelled)
    patches = _hidden_patches(prepared, request, wanted, runner.patch_px)
    painted = _paint(prepared, request, wanted, patches, runner, on_tile)
    fit, warnings = None, list(prepared.warnings)
    if fit_images and request.strategy == "marker":
        cohort = [prepare_image(other, None, checkpoint) for other in fit_images]
        fit = fit_cohort(
            prepared, wanted, cohort, runner, repeats=request.repeats, seed=request.seed
        )
        warnings += _told_of_fit(fit, prepared, wanted)
    elif fit_images:
        warnings.append(
            f"the other images are not used: under {request.strategy} masking the other markers "
            "are hidden too, and there is nothing to regress on"
        )
    height, width = prepared.shape
    masked = to_pixels(patches, runner.patch_px)[list(wanted), :height, :width]
    return _result(prepared, checkpoint, request, wanted, masked, painted, fit, warnings)


@dataclass(frozen=True, eq=False)
class Painted:
    """What the model painted: (K, Y, X) model units; NaN where it was not asked."""

    prediction: NDArray[np.float32]
    spread: NDArray[np.float32]


def _hidden_patches(
    prepared: PreparedImage, request: InpaintRequest, wanted: Sequence[int], patch_px: int
) -> NDArray[np.bool_]:
    """Decide what is hidden of the whole image: (C, ⌈Y/p⌉, ⌈X/p⌉)."""
    count = len(prepared.channels)
    height, width = prepared.shape
    grid = (-(-height // patch_px), -(-width // patch_px))
    generator = np.random.default_rng((request.seed, 0))
    region = request.region
    if region is None:
        mask = draw_patches(generator, request.strategy, count, grid, wanted)
    else:
        if region.shape != prepared.shape:
            message = (
                f"expected a region of the image's size {prepared.shape} (y, x), found "
                f"{region.shape}. Draw or export the mask on this image."
            )
            raise InputError(message)
        hidden = wanted if request.strategy == "marker" else range(count)
        mask = np.zeros((count, *grid), dtype=bool)
        mask[list(hidden)] = to_patches(region, patch_px)
    if not mask[list(wanted)].any():
        message = (
            "nothing to hide: the region is empty. Expected a mask with one pixel or more that "
            "is not 0; draw the region first."
        )
        raise InputError(message)
    if mask.all():
        message = (
            f"nothing is left for the model to see: all of {', '.join(prepared.channels)} are "
            "hidden everywhere. Hide fewer markers or a smaller region."
        )
        raise InputError(message)
    return mask


def _paint(
    prepared: PreparedImage,
    request: InpaintRequest,
    wanted: Sequence[int],
    patches: NDArray[np.bool_],
    runner: Runner,
    on_tile: Callable[[TileDone], None] | None,
) -> Painted:
    patch = runner.patch_px
    pixels = _to_full_patches(prepared.pixels, patch)
    stride = max(patch, request.stride_px // patch * patch)  # tiles lie on the grid of patches
    origins = tile_origins((pixels.shape[1], pixels.shape[2]), stride=stride)
    grid_px = TILE_PX // patch
    masks = [patches[:, y : y + grid_px, x : x + grid_px] for y, x in (origins // patch).tolist()]
    asked = [t for t, mask in enumerate(masks) if mask[list(wanted)].any()]
    blender = Blender((2 * len(wanted), *pixels.shape[1:]), overlap_px=TILE_PX - stride)
    generator = np.random.default_rng((request.seed, 1))
    names = tuple(prepared.channels[c] for c in wanted)
    for start in range(0, len(asked), request.batch_size):
        batch = asked[start : start + request.batch_size]
        said = predict_with_spread(
            runner, cut(pixels, origins[batch]), prepared.embeddings, [masks[t] for t in batch],
            wanted, strategy=request.strategy, repeats=request.repeats, generator=generator,
        )  # fmt: skip
        for i, t in enumerate(batch):
            blender.add(origins[t], np.concatenate([said.prediction[i], said.spread[i]]))
            if on_tile is not None:
                origin = (int(origins[t, 0]), int(origins[t, 1]))
                on_tile(TileDone(start + i, len(asked), origin, said.prediction[i], names))
    height, width = prepared.shape
    both = blender.result()[:, :height, :width]
    return Painted(both[: len(wanted)], both[len(wanted) :])


def _to_full_patches(pixels: NDArray[np.float32], patch_px: int) -> NDArray[np.float32]:
    """Repeat the last row and column until patches fit: a patch is filled from itself alone."""
    _, height, width = pixels.shape
    return np.pad(pixels, ((0, 0), (0, -height % patch_px), (0, -width % patch_px)), mode="edge")


def _result(
    prepared: PreparedImage,
    checkpoint: Checkpoint,
    request: InpaintRequest,
    wanted: Sequence[int],
    masked: NDArray[np.bool_],
    painted: Painted,
    fit: CohortFit | None,
    warnings: list[str],
) -> InpaintResult:
    at = list(wanted)
    truth = prepared.pixels[at]
    prediction, lower, upper = truth.copy(), truth.copy(), truth.copy()
    model = np.where(masked, painted.prediction, truth)
    calibrated = True
    for k, c in enumerate(wanted):
        where = masked[k]
        own = None if fit is None else fit.markers[c]
        if fit is None or own is None:
            value = model[k][where]
        else:
            visible = prepared.pixels[list(fit.visible)][:, where]
            value = own.predict(visible, model[k][where], own.method)
        value = np.maximum(value, prepared.floor[c])
        table = None if own is None else own.table
        table = table or (
            stored_table(checkpoint.calibration, request.strategy, prepared.keys[c])
            if own is None or own.method == "model"
            else None
        )
        calibrated &= table is not None
        low, high = interval(table, value, painted.spread[k][where], float(prepared.floor[c]))
        prediction[k][where], lower[k][where], upper[k][where] = value, low, high
    if not calibrated:
        warnings.append(
            "the 80 % intervals are not calibrated for this checkpoint: do not rely on them; "
            "give other images of the cohort to fit on, or calibrate the checkpoint"
        )
    warnings += _unseen(prepared, checkpoint, wanted)
    mean, std = prepared.mean[at], prepared.std[at]
    return InpaintResult(
        channels=tuple(prepared.channels[c] for c in wanted),
        masked=masked,
        prediction=prediction,
        lower=lower,
        upper=upper,
        truth=truth,
        prediction_counts=to_counts(prediction, mean, std),
        truth_counts=to_counts(truth, mean, std),
        lower_counts=to_counts(lower, mean, std),
        upper_counts=to_counts(upper, mean, std),
        scores=judge(
            prepared, checkpoint, request.strategy, wanted, masked,
            prediction=prediction, lower=lower, upper=upper, model=model, fit=fit,
        ),
        warnings=tuple(warnings),
    )  # fmt: skip


def _unseen(prepared: PreparedImage, checkpoint: Checkpoint, wanted: Sequence[int]) -> list[str]:
    """Name the markers that the model never saw in training."""
    unseen = [
        f"{prepared.channels[c]} ({prepared.keys[c]})"
        for c in wanted
        if checkpoint.trained_keys and prepared.keys[c] not in checkpoint.trained_keys
    ]
    if not unseen:
        return []
    return [
        f"the model never saw {', '.join(unseen)} in training: what it paints there is a guess "
        "from the protein's embedding"
    ]


def _told_of_fit(
    fit: CohortFit | None, prepared: PreparedImage, wanted: Sequence[int]
) -> list[str]:
    if fit is None:
        names = ", ".join(prepared.channels[c] for c in wanted)
        return [
            f"none of the other images can be used to fit {names}: expected images that carry "
            "the same markers; the model's own reconstruction is given"
        ]
    return list(fit.notes)
