"""Words and files for an inpainting. Knows no Qt."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from virtues_core.cli.inpaint import LOWER, UPPER
from virtues_core.read import write_labels, write_ome_tiff

if TYPE_CHECKING:
    from virtues_core.infer import InpaintResult, MarkerScore

WAYS = {
    "model": "the model alone",
    "ridge": "ridge regression on the other markers",
    "ridge+model": "ridge regression with the model's reconstruction as one more regressor",
    "mean_visible": "the mean of the visible pixels",
    "best_other": "the most correlated other marker",
}


def verdict(score: "MarkerScore") -> str:
    """Say in a few sentences what a marker was painted with, and how it compares."""
    used = WAYS[score.method].removesuffix(" alone")
    text = f"{score.channel}: painted by {used}"
    known = {name: r for name, r in score.baselines.items() if not math.isnan(r)}
    if known and not math.isnan(score.pearson):
        name = max(known, key=lambda way: known[way])
        by = score.pearson - known[name]
        text += f", {abs(by):.2f} {'above' if by >= 0 else 'below'} {WAYS[name]} (Pearson)"
    note = f" {score.note[0].upper()}{score.note[1:]}." if score.note else ""
    return f"{text}.{note}"


def save_result(
    result: "InpaintResult",
    region: NDArray[np.bool_] | None,
    path: Path,
    pixel_size_um: tuple[float, float] | None,
) -> tuple[Path, Path | None]:
    """Write each marker as it was painted, with its 80 % interval, in counts.

    The file is as ``virtues inpaint`` writes it.

    Parameters
    ----------
    result
        What to write.
    region
        (Y, X) what was hidden, where it is in no file yet: written beside, ``-region.tiff``.
    path
        The OME-TIFF; ``.ome.tiff`` is added to a name without such an ending.
    pixel_size_um
        (y, x).

    Returns
    -------
    tuple
        The files of result and region.

    Raises
    ------
    VirtuesError
        A file cannot be written; what stood there is untouched.
    """
    if not path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        path = path.with_name(f"{path.name}.ome.tiff")
    parts = {
        "{}": result.prediction_counts,
        LOWER: result.lower_counts,
        UPPER: result.upper_counts,
    }
    names = [part.format(channel) for channel in result.channels for part in parts]
    planes = np.stack(list(parts.values()), axis=1).reshape(len(names), *result.truth.shape[1:])
    write_ome_tiff(path, planes, names, pixel_size_um)
    if region is None:
        return path, None
    beside = path.with_name(f"{path.name.split('.')[0]}-region.tiff")
    write_labels(beside, region.astype(np.uint8), pixel_size_um)
    return path, beside
