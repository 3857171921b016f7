"""Hide markers, a region or random patches of an image, and paint them back."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.cohort import CohortFit, fit_cohort
from virtues_core.infer.masks import draw_patches, to_patches
from virtues_core.infer.painting import paint_tiles
from virtues_core.infer.predict import Runner, never
from virtues_core.infer.prepare import PreparedImage, prepare_image
from virtues_core.infer.request import InpaintRequest, InpaintResult, TileDone
from virtues_core.infer.result import make_result
from virtues_core.markers import Panel
from virtues_core.model import Checkpoint


def inpaint(
    image: MultiplexImage,
    panel: Panel | None,
    checkpoint: Checkpoint,
    request: InpaintRequest,
    *,
    fit_images: Sequence[MultiplexImage] = (),
    on_tile: Callable[[TileDone], None] | None = None,
    cancelled: Callable[[], bool] = never,
    in_memory: bool | None = None,
) -> InpaintResult:
    """Hide what is asked for from the model and paint it back, tile by tile.

    Of a large image only the tiles at hand are in memory, and the result is in temporary files.

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
    in_memory
        Whether to hold the whole image and its result in memory; by its size by default, see
        `prepare_image`.

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
    prepared = prepare_image(
        image, panel, checkpoint, required=request.markers, in_memory=in_memory
    )
    wanted = prepared.positions(request.markers or prepared.channels)
    runner = Runner(checkpoint, batch_size=request.batch_size, cancelled=cancelled)
    patches = _hidden_patches(prepared, request, wanted, runner.patch_px)
    painted = paint_tiles(prepared, request, wanted, patches, runner, on_tile)
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
    warnings += _unseen(prepared, checkpoint, wanted)
    return make_result(
        prepared, checkpoint, request.strategy, wanted, patches, painted, fit, warnings
    )


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
