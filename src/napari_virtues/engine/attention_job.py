"""Marker importance of regions, as a job for the child."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_virtues.engine import messages
from napari_virtues.engine.inpaint_job import ImageSource
from virtues_core.markers import Panel


@dataclass(frozen=True, eq=False)
class RegionImportance:
    """How much the model attends to each marker, region by region; holds no PyTorch."""

    channels: tuple[str, ...]
    """C names, as the file gives them."""
    regions: tuple[int, ...]
    """R numbers, ascending."""
    importance: NDArray[np.float64]
    """(C, R) the paper's I_m; comparable between the markers of a region."""
    area_px: tuple[int, ...]
    """R, pixels of each region."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class AttentionJob:
    """Score the markers in regions of one image."""

    image: ImageSource
    panel: Panel
    """Of the image's channels, in their order."""
    checkpoint: str
    """"demo", a folder or file, or a name on the hub that was downloaded before."""
    device: str
    """"auto", "cpu", "cuda" or "mps"."""
    regions: NDArray[Any]
    """(Y, X) number of the region; 0 in none."""
    batch_size: int = 8
    """Tiles at once."""

    def with_batch_size(self, batch_size: int) -> Self:
        """Return the same job with another batch size."""
        return replace(self, batch_size=batch_size)

    def run(self, worker: messages.Worker) -> RegionImportance:
        """Do it, in the child."""
        from virtues_core.infer import marker_importance

        checkpoint = worker.checkpoint(self.checkpoint, self.device)
        worker.emit(messages.Loading("image"))
        found = marker_importance(
            self.image.open(),
            self.panel,
            checkpoint,
            self.regions,
            batch_size=self.batch_size,
            on_tile=lambda done, total: worker.emit(messages.Progress(done, total)),
            cancelled=worker.cancelled,
        )
        return RegionImportance(
            channels=found.channels,
            regions=found.regions,
            importance=found.importance,
            area_px=found.area_px,
            warnings=found.warnings,
        )
