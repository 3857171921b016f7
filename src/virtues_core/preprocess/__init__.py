"""Raw pixels → model input, and back."""

from virtues_core.preprocess.intensity import check_counts, normalise, to_counts
from virtues_core.preprocess.statistics import Statistics, dataset_statistics, upper_quantiles
from virtues_core.preprocess.tiles import Blender, tile_origins
from virtues_core.preprocess.tissue import tissue_mask

__all__ = [
    "Blender",
    "Statistics",
    "check_counts",
    "dataset_statistics",
    "normalise",
    "tile_origins",
    "tissue_mask",
    "to_counts",
    "upper_quantiles",
]
