"""A simulated tissue with its cells in files, for tests of the Cells dock."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from virtues_core.read import write_labels, write_ome_tiff
from virtues_core.simulate import CELL_TYPES, simulate_tissue


@dataclass(frozen=True, eq=False)
class Tissue:
    """What is true of it, and where its files are."""

    image: Path
    mask: Path
    labels: np.ndarray
    """(Y, X)."""
    types: dict[int, str]
    """Label → type."""
    channels: tuple[str, ...]


def tissue_files(folder: Path, size: int = 192, seed: int = 3) -> Tissue:
    """Write a simulated tissue and the mask of its cells."""
    made = simulate_tissue("imc-tumour", (size, size), seed=seed)
    image, mask = folder / "tissue.ome.tiff", folder / "tissue_mask.tiff"
    write_ome_tiff(image, made.pixels, made.channels, (1.0, 1.0))
    write_labels(mask, made.cell_mask, (1.0, 1.0))
    ids, first = np.unique(made.cell_mask, return_index=True)
    kinds = made.cell_types.ravel()[first]
    types = {
        int(label): CELL_TYPES[kind - 1]
        for label, kind in zip(ids.tolist(), kinds.tolist(), strict=True)
        if label
    }
    return Tissue(image, mask, made.cell_mask, types, made.channels)
