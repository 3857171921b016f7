"""An image file and its mask → a file of tokens: all that ``virtues embed`` does with one image.

`EmbedFile` holds names and numbers alone, so that it can be sent to another process.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virtues_core.errors import MarkerError, ReadError
from virtues_core.files import check_writable
from virtues_core.image import MultiplexImage
from virtues_core.infer.signed import checkpoint_stamps, image_stamps, stamp
from virtues_core.infer.spatialdata import check_spatialdata, is_spatialdata, write_spatialdata
from virtues_core.infer.token_table import Embedding, EmbedRequest, check_suffix
from virtues_core.markers import Panel
from virtues_core.read import open_labels, read_image
from virtues_core.read.spora import SporaDataset, claims, tissues_by_name

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

CACHE_SUFFIX = ".tokens"
"""Folder beside the output that holds patch tokens until the output is written."""


@dataclass(frozen=True)
class EmbedFile:
    """Compute the tokens of one image and write them."""

    path: Path
    """The image file or folder."""
    out: Path
    """What to write: ``.h5ad``, ``.zarr`` or ``.sdata.zarr``."""
    request: EmbedRequest
    image: str | None = None
    """Which image, in a file of several; the first by default."""
    cells: Path | None = None
    """Mask of the cells; that of a spora data set by default."""
    checkpoint: str = "demo"
    device: str = "auto"
    panel: Path | None = None
    """Panel CSV; from the names of the channels by default."""
    markers: str = ""
    """Only these channels, ``A,B``, by name or accession."""
    tissue: str = ""
    """What to call the image; its own name by default."""
    patient: str = ""
    types: Path | None = None
    """CSV or parquet of what is known of the cells."""
    cache: Path | None = None
    """Folder that keeps patch tokens; by default they are kept beside `out` until it is there."""

    @property
    def name(self) -> str:
        """What the file written is called, without its ending."""
        return self.out.name.removesuffix(self.out.suffix)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files it writes."""
        return (self.out,)

    def signature(self) -> Mapping[str, Any]:
        """Say what the output depends on, so that it is made anew when that changes."""
        return {
            "command": "embed",
            "image": image_stamps(self.path, self.image),
            "checkpoint": checkpoint_stamps(self.checkpoint),
            "level": self.request.level,
            "stride_px": self.request.stride,
            "markers": self.markers,
            "tissue": self.tissue,
            "patient": self.patient,
            "files": {
                name: stamp(path)
                for name in ("cells", "panel", "types")
                if (path := getattr(self, name)) is not None
            },
        }

    def run(self, on_tile: Callable[[int, int], None] | None = None) -> str:
        """Do it, and say what was made.

        Raises
        ------
        VirtuesError
            As `read_image`, `load_checkpoint`, `embed` and `Embedding.write`.
        """
        from virtues_core.infer.embedding import embed
        from virtues_core.model import load_checkpoint
        from virtues_core.model.device import device_named

        check_suffix(self.out)
        if is_spatialdata(self.out):
            check_spatialdata()
        opened = read_image(self.path, self.image)
        known = _Known(self.path, opened.name)
        mask = None
        if self.request.level == "cell":
            size = opened.shape[1:]
            mask = known.mask(size) if self.cells is None else open_labels(self.cells, shape=size)
        panel = None if self.panel is None else Panel.from_csv(self.panel)
        if self.markers:
            opened, panel = _only(self.markers, opened, panel or Panel.from_names(opened.channels))
        check_writable(self.out)
        kept = self.cache or self.out.with_name(self.out.name + CACHE_SUFFIX)
        found = embed(
            opened,
            mask,
            panel,
            load_checkpoint(self.checkpoint, device=device_named(self.device)),
            self.request,
            tissue_id=self.tissue or known.tissue_id,
            patient_id=self.patient or known.patient_id,
            cell_table=known.cells() if self.types is None else read_table(self.types),
            cache=kept,
            on_tile=on_tile,
        )
        if is_spatialdata(self.out):
            write_spatialdata(self.out, found, opened, mask)
        else:
            found.write(self.out)
        if self.cache is None:
            shutil.rmtree(kept, ignore_errors=True)
        return told(found, self.out)


def _only(markers: str, image: MultiplexImage, panel: Panel) -> tuple[MultiplexImage, Panel]:
    """Keep the channels that are named, by name or marker key, in the order of the image."""
    wanted = dict.fromkeys(name.strip() for name in markers.split(",") if name.strip())
    entries = [panel[name] for name in image.channels]
    unknown = [m for m in wanted if not any(m in {entry.name, entry.key} for entry in entries)]
    if unknown:
        message = (
            f"expected channels of {image.name!r}, by name or accession, found "
            f"{', '.join(unknown)} as well. Its channels are: {', '.join(image.channels)}"
        )
        raise MarkerError(message)
    kept = [i for i, entry in enumerate(entries) if {entry.name, entry.key} & wanted.keys()]
    return image.select(kept), Panel(tuple(entries[i] for i in kept))


class _Known:
    """What a spora data set says of one of its tissues; nothing, of any other file."""

    def __init__(self, path: Path, name: str) -> None:
        self._dataset = SporaDataset(path) if path.is_dir() and claims(path) else None
        self._tissue = None if self._dataset is None else tissues_by_name(self._dataset)[name]
        self.tissue_id = "" if self._tissue is None else self._tissue.tissue_id
        self.patient_id = (self._tissue.patient_id or "") if self._tissue else ""

    def mask(self, shape: tuple[int, int]) -> "NDArray[np.int32] | None":
        """(Y, X) labels of the cells."""
        if self._dataset is None or self._tissue is None:
            return None
        return self._dataset.cell_mask(self._tissue, shape)

    def cells(self) -> "pd.DataFrame | None":
        """Give the rows of the tissue's cells."""
        if self._dataset is None or self._tissue is None:
            return None
        return self._dataset.cells_of(self._tissue)


def read_table(path: Path) -> "pd.DataFrame":
    """Read a table of cells, CSV or parquet.

    Raises
    ------
    ReadError
        It is missing or cannot be read.
    """
    import pandas as pd

    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        message = (
            f"expected a table of cells (CSV or parquet) at {str(path)!r}, found none that can be "
            f"read ({error}). Check the path, or export the table again."
        )
        raise ReadError(message) from error


def told(found: Embedding, out: Path) -> str:
    """Say what was made, then what a person should know."""
    count = len(found)
    plural = "patches" if found.level == "patch" else f"{found.level}s"
    what = found.level if count == 1 else plural
    tiles = "1 tile" if found.tiles == 1 else f"{found.tiles} tiles"
    stored = f", {found.stored_tiles} of them stored before" if found.stored_tiles else ""
    lines = [
        f"{out} ({found.names[1]}): {count} {what}, {found.tokens.shape[1]} values each, "
        f"{found.intensities.shape[1]} channels; {tiles}{stored}"
    ]
    return "\n".join([*lines, *(f"note: {text}" for text in found.warnings)])
