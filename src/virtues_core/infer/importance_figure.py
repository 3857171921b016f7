"""Importance of markers as bars, regions side by side."""

from pathlib import Path

import numpy as np

from virtues_core.files import replacing
from virtues_core.infer.attention import MarkerImportance

MOST_REGIONS = 12
"""Drawn; the table has all."""


def draw_importance(found: MarkerImportance, path: Path) -> None:
    """Draw a bar a marker, one panel a region, as PNG; markers by their mean score.

    Parameters
    ----------
    found
        Of `marker_importance`.
    path
        Ends with .png.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    from matplotlib.figure import Figure

    regions = found.regions[:MOST_REGIONS]
    order = np.argsort(found.importance.mean(axis=1), kind="stable")  # the last bar is on top
    figure = Figure(
        figsize=(1.6 + 2.0 * len(regions), 1.0 + 0.2 * len(order)), layout="constrained"
    )
    panels = figure.subplots(1, len(regions), sharey=True, squeeze=False)[0]
    for column, (label, axes) in enumerate(zip(regions, panels, strict=True)):
        axes.barh(np.arange(len(order)), found.importance[order, column], color="#4a6bff")
        axes.set_title(f"region {label} ({found.area_px[column]:,} px)", fontsize=9)
        axes.set_xlabel("importance $I_m$")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(np.arange(len(order)), [found.channels[c] for c in order], fontsize=8)
    panels[0].set_ylim(-0.6, len(order) - 0.4)
    with replacing(path) as new:
        figure.savefig(new, dpi=150)
