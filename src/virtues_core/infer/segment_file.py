"""An image file → a label image and a table of types: all of ``virtues segment`` for one image."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtues_core.files import check_writable, replacing
from virtues_core.infer.signed import checkpoint_stamps, image_stamps, stamp
from virtues_core.markers import Panel
from virtues_core.read import read_image, write_labels


@dataclass(frozen=True)
class SegmentFile:
    """Find the cells of one image, and write them."""

    path: Path
    """The image file or folder."""
    out: Path
    """The label image to write, TIFF."""
    stride_px: int
    """Step from tile to tile."""
    image: str | None = None
    """Which image, in a file of several; the first by default."""
    types: Path | None = None
    """CSV to write: each cell's type, place, area."""
    checkpoint: str = "demo"
    head: Path | None = None
    """Segmentation head; the one beside the checkpoint by default."""
    device: str = "auto"
    panel: Path | None = None
    """Panel CSV; from the names of the channels by default."""
    batch_size: int = 8

    @property
    def name(self) -> str:
        """What the label image is called, without its ending."""
        return self.out.name.removesuffix(self.out.suffix)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files it writes."""
        return tuple(file for file in (self.out, self.types) if file is not None)

    def signature(self) -> Mapping[str, Any]:
        """Say what the outputs depend on, so that they are made anew when that changes."""
        return {
            "command": "segment",
            "image": image_stamps(self.path, self.image),
            "checkpoint": checkpoint_stamps(self.checkpoint),
            "stride_px": self.stride_px,
            "files": {
                name: stamp(path)
                for name in ("head", "panel")
                if (path := getattr(self, name)) is not None
            },
        }

    def run(self, on_tile: Callable[[int, int], None] | None = None) -> str:
        """Do it, and say what was found.

        Raises
        ------
        VirtuesError
            As `read_image`, `load_checkpoint`, `load_head`, `segment_cells` and `write_labels`.
        """
        from virtues_core.infer.segment import segment_cells
        from virtues_core.model import load_checkpoint, load_head
        from virtues_core.model.device import device_named

        opened = read_image(self.path, self.image)
        model = load_checkpoint(self.checkpoint, device=device_named(self.device))
        for file in self.outputs:
            check_writable(file)
        found = segment_cells(
            opened,
            None if self.panel is None else Panel.from_csv(self.panel),
            model,
            load_head(model, self.head),
            stride_px=self.stride_px,
            batch_size=self.batch_size,
            on_tile=on_tile,
        )
        write_labels(self.out, found.labels, opened.pixel_size_um)
        if self.types is not None:
            with replacing(self.types) as new:
                found.table().to_csv(new, index=False, float_format="%.6g")
        counted = [f"{name}: {count}" for name, count in Counter(found.types).most_common()]
        none = "no cells: the head was trained too briefly, or on images unlike this one"
        notes = [f"note: {text}" for text in found.warnings]
        return "\n".join([*(counted or [none]), *notes, f"{self.out}: {len(found.area_px)} cells"])
