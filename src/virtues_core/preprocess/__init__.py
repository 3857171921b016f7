"""Raw pixels to model input: tissue, clipping, logarithm, blur, standardisation, tiles."""

from virtues_core.preprocess.intensity import (
    check_counts,
    log_intensities,
    normalise,
    to_counts,
    upper_quantiles,
)
from virtues_core.preprocess.statistics import ChannelSums, Statistics, dataset_statistics
from virtues_core.preprocess.tiles import Blender, RollingBlender, tile_origins
from virtues_core.preprocess.tissue import tissue_mask

__all__ = [
    "Blender",
    "ChannelSums",
    "RollingBlender",
    "Statistics",
    "check_counts",
    "dataset_statistics",
    "log_intensities",
    "normalise",
    "tile_origins",
    "tissue_mask",
    "to_counts",
    "upper_quantiles",
]
