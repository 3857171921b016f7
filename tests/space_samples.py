"""Cells of a simulated tissue whose tokens tell their types, for tests of the Space dock."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from virtues_core.infer import Embedding
from virtues_core.infer.cells import CellMask, measure_cells
from virtues_core.read import read_image

GROUPS = {
    "tumour": ("tumour",),
    "lymphocyte": ("CD4_T", "CD8_T", "Treg", "B"),
}
OTHER = "other"


@dataclass(frozen=True, eq=False)
class KnownCells:
    embedding: Embedding
    groups: np.ndarray
    """(N,) what each is."""


def known_cells(tissue, width=16):
    """Measure the cells of a tissue; tokens lie around a centre for each of three groups."""
    image = read_image(tissue.image)
    mask = CellMask(tissue.labels, image.shape[1:])
    measured = measure_cells(image, mask)
    of_kind = {kind: name for name, kinds in GROUPS.items() for kind in kinds}
    groups = np.array([of_kind.get(tissue.types[i], OTHER) for i in mask.ids.tolist()])
    rng = np.random.default_rng(5)
    names = [*GROUPS, OTHER]
    centres = 3 * rng.normal(size=(len(names), width))
    tokens = centres[[names.index(name) for name in groups]] + rng.normal(size=(len(mask), width))
    embedding = Embedding(
        level="cell",
        names=("cell_id", image.name),
        numbers=np.asarray(mask.ids),
        tokens=tokens.astype(np.float32),
        intensities=np.asarray(measured.intensities),
        centres_um=measured.centres_px[:, ::-1] * np.asarray(image.pixel_size_um),
        area_um2=np.asarray(measured.area_px, float),
        var=pd.DataFrame(index=list(image.channels)),
        provenance={
            "level": "cell",
            "checkpoint": "made",
            "checkpoint_signature": "made",
            "panel": np.array(["P01732"], dtype=object),
        },
    )
    return KnownCells(embedding, groups)


def known_table(folder: Path, tissue) -> Path:
    """Write them as a table, with their groups and niches."""
    made = known_cells(tissue)
    table = made.embedding.to_anndata()
    table.obs["phenotype"] = pd.Categorical(made.groups)
    path = folder / "known.h5ad"
    table.write_h5ad(path)
    return path
