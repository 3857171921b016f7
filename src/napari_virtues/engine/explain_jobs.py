"""What counts at a point, and for a tissue's label, as jobs for the child."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_virtues.engine import messages
from napari_virtues.engine.inpaint_job import ImageSource
from virtues_core.markers import Panel


@dataclass(frozen=True, eq=False)
class PatchMap:
    """A value a patch, over an image or a part of it."""

    values: NDArray[np.float32]
    """(h, w)."""
    origin: tuple[int, int]
    """(y, x) of its top-left pixel in the image."""
    patch_px: int


@dataclass(frozen=True, eq=False)
class PointExplained:
    """Where, and at which markers, the model looked for a point; holds no PyTorch."""

    map: PatchMap
    """Attention rollout: shares of the tile around the point, which sum to 1."""
    channels: tuple[str, ...]
    """C names."""
    rollout: NDArray[np.float64]
    """(C,) share of each marker in that."""
    token_change: NDArray[np.float64]
    """(C,) how far the point's token moves when the marker is hidden, as a share of its length."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LabelExplained:
    """A tissue's label and the attention behind it; holds no PyTorch."""

    map: PatchMap
    """Attention, as a multiple of even attention in a tile."""
    label: str
    rows: tuple[tuple[str, float, float, float], ...]
    """Class, probability, and the 10th and 90th percentile of the tiles'."""
    told: str
    """How well the model does on patients kept out."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PointJob:
    """Explain a point of an image."""

    image: ImageSource
    panel: Panel
    """Of the image's channels, in their order."""
    checkpoint: str
    """"demo", a folder or file, or a name on the hub that was downloaded before."""
    device: str
    """"auto", "cpu", "cuda" or "mps"."""
    point: tuple[int, int]
    """(y, x) px."""
    batch_size: int = 1
    """Tiles at once; there is one."""

    def with_batch_size(self, batch_size: int) -> Self:
        """Return the same job with another batch size."""
        return replace(self, batch_size=batch_size)

    def run(self, worker: messages.Worker) -> PointExplained:
        """Do it, in the child."""
        from virtues_core.infer import ablate_markers, prepare_image, rollout_from

        checkpoint = worker.checkpoint(self.checkpoint, self.device)
        worker.emit(messages.Loading("image"))
        prepared = prepare_image(self.image.open(), self.panel, checkpoint)
        seen = rollout_from(prepared, checkpoint, self.point)
        hidden = ablate_markers(prepared, checkpoint, self.point, cancelled=worker.cancelled)
        return PointExplained(
            map=PatchMap(seen.map, seen.origin, seen.patch_px),
            channels=prepared.channels,
            rollout=seen.markers.astype(np.float64),
            token_change=hidden.token_change,
            warnings=prepared.warnings,
        )


@dataclass(frozen=True, eq=False)
class LabelJob:
    """Tell a tissue's label, and where the model looks for it."""

    image: ImageSource
    panel: Panel
    """Of the image's channels, in their order."""
    checkpoint: str
    """Folder of ``virtues train-label``."""
    device: str
    """"auto", "cpu", "cuda" or "mps"."""
    marker: str | None = None
    """Channel within which attention is followed; the patch summary's by default."""
    batch_size: int = 8
    """Tiles at once."""

    def with_batch_size(self, batch_size: int) -> Self:
        """Return the same job with another batch size."""
        return replace(self, batch_size=batch_size)

    def run(self, worker: messages.Worker) -> LabelExplained:
        """Do it, in the child."""
        from virtues_core.infer.spatial import spatial_attention
        from virtues_core.model.label_file import load_label_model

        model = load_label_model(worker.checkpoint(self.checkpoint, self.device))
        worker.emit(messages.Loading("image"))
        found = spatial_attention(
            self.image.open(),
            self.panel,
            model,
            marker=self.marker,
            batch_size=self.batch_size,
            on_tile=lambda done, total: worker.emit(messages.Progress(done, total)),
            cancelled=worker.cancelled,
        )
        return LabelExplained(
            map=PatchMap(found.attention, (0, 0), found.patch_px),
            label=found.label,
            rows=tuple(found.rows()),
            told=model.told(),
            warnings=found.warnings,
        )
