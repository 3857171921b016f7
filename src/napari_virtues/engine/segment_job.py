"""Cells and their types by a segmentation head, as a job for the child."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_virtues.engine import messages
from napari_virtues.engine.cells_jobs import CellTypes
from napari_virtues.engine.inpaint_job import ImageSource
from virtues_core.errors import InputError
from virtues_core.markers import Panel

if TYPE_CHECKING:
    from virtues_core.image import MultiplexImage
    from virtues_core.infer import Embedding, Segmentation


@dataclass(frozen=True, eq=False)
class Segmented:
    """The N cells of an image, without tokens; holds no PyTorch."""

    labels: NDArray[np.int32]
    """(Y, X) 1 … N, 0 = background."""
    cells: "Embedding"
    """Places, sizes and mean intensities; its tokens are (N, 0)."""
    types: CellTypes
    """As the head names them."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SegmentJob:
    """Find the cells of an image and their types, with the head of a checkpoint."""

    image: ImageSource
    panel: Panel
    """Of the image's channels, in their order."""
    checkpoint: str
    """"demo", a folder or file, or a name on the hub that was downloaded before."""
    device: str
    """"auto", "cpu", "cuda" or "mps"."""
    batch_size: int = 8
    """Tiles at once."""

    def with_batch_size(self, batch_size: int) -> Self:
        """Return the same job with another batch size."""
        return replace(self, batch_size=batch_size)

    def run(self, worker: messages.Worker) -> Segmented:
        """Do it, in the child."""
        from virtues_core.infer import segment_cells
        from virtues_core.infer.cache import checkpoint_signature
        from virtues_core.model import load_head

        checkpoint = worker.checkpoint(self.checkpoint, self.device)
        head = load_head(checkpoint)
        worker.emit(messages.Loading("image"))
        image = self.image.open()

        def on_tile(done: int, total: int) -> None:
            worker.emit(messages.Progress(done, total))
            if done == total:
                worker.emit(messages.Loading("cells"))

        found = segment_cells(
            image,
            self.panel,
            checkpoint,
            head,
            batch_size=self.batch_size,
            on_tile=on_tile,
            cancelled=worker.cancelled,
        )
        if not found.labels.any():
            message = (
                f"expected cells in {image.name!r}, found none; choose another checkpoint, or "
                "open a mask that was made elsewhere"
            )
            raise InputError(message)
        signature = checkpoint_signature(checkpoint)
        types = CellTypes(found.cell_types, found.probabilities, head=signature)
        return Segmented(found.labels, _measured(image, found), types, found.warnings)


def _measured(image: "MultiplexImage", found: "Segmentation") -> "Embedding":
    """Give the cells as `virtues_core.infer.embed` does, but for the tokens."""
    import pandas as pd

    from virtues_core.infer import Embedding
    from virtues_core.infer.cells import CellMask, measure_cells

    cells = CellMask(found.labels, found.labels.shape)
    measured = measure_cells(image, cells)
    pixel_um = np.array(image.pixel_size_um or (1.0, 1.0))
    provenance: dict[str, Any] = {"level": "cell"}
    return Embedding(
        level="cell",
        names=("cell_id", image.name),
        numbers=cells.ids,
        tokens=np.empty((len(cells), 0), np.float32),
        intensities=np.asarray(measured.intensities),
        centres_um=measured.centres_px[:, ::-1] * pixel_um[::-1],
        area_um2=measured.area_px * pixel_um.prod(),
        var=pd.DataFrame(index=list(image.channels)),
        provenance=provenance,
    )
