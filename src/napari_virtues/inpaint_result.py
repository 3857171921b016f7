"""Words and files for an inpainting. Knows no Qt."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from virtues_core.read import write_ome_tiff

if TYPE_CHECKING:
    from virtues_core.infer import InpaintResult, MarkerScore


def verdict(score: "MarkerScore") -> str:
    """Say in a sentence what was used for a marker, and why."""
    best = {k: v for k, v in score.baselines.items() if v == v}  # noqa: PLR0124 - without NaN
    text = f"{score.channel}: made with {score.method}"
    if score.pearson == score.pearson and best:  # noqa: PLR0124
        name = max(best, key=lambda k: best[k])
        by = score.pearson - best[name]
        way = "better" if by >= 0 else "worse"
        text += f", {abs(by):.2f} {way} than {name.replace('_', ' ')} (Pearson)"
    return f"{text}. {score.note}".strip()


def save_result(
    result: "InpaintResult", path: Path, pixel_size_um: tuple[float, float] | None
) -> Path:
    """Write reconstruction, interval and truth of each marker as the channels of an OME-TIFF.

    Raises
    ------
    VirtuesError
        The file cannot be written; what stood there is untouched.
    """
    if not path.name.lower().endswith((".tif", ".tiff")):
        path = path.with_name(f"{path.name}.ome.tiff")
    planes, names = [], []
    for k, channel in enumerate(result.channels):
        parts = {
            "counts": result.prediction_counts,
            "lower": result.lower,
            "upper": result.upper,
            "prediction": result.prediction,
        }
        for part, stack in parts.items():
            planes.append(np.asarray(stack[k], dtype=np.float32))
            names.append(f"{channel} {part}")
    write_ome_tiff(path, np.stack(planes), names, pixel_size_um)
    return path
