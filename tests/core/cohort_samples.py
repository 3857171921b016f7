"""Tables of cells as `virtues embed` lays them out, with types that the tokens know."""

import numpy as np
import pandas as pd
from anndata import AnnData

TYPES = ("B", "T", "tumour")
PANEL = ("P01732", "P11836", "P06731", "stain:dna")
WIDTH = 12


def table(
    cells: int = 240,
    seed: int = 0,
    *,
    panel: tuple[str, ...] = PANEL,
    signature: str = "abc",
    level: str = "cell",
    spread: float = 1.0,
    patients: int = 4,
    types: tuple[str, ...] = TYPES,
) -> AnnData:
    """Cells of equally many of each type around fixed centres, dealt out to patients."""
    centres = np.random.default_rng(99).normal(size=(len(types), WIDTH)) * 1.5
    rng = np.random.default_rng(seed)
    kind = np.arange(cells) % len(types)
    tokens = centres[kind] + spread * rng.normal(size=(cells, WIDTH))
    patient = [f"P{seed}-{k}" for k in rng.integers(0, patients, cells)]
    obs = pd.DataFrame(
        {
            "tissue_id": [f"{p}-A" for p in patient],
            "cell_id": np.arange(1, cells + 1),
            "patient_id": patient,
            "phenotype": np.array(types)[kind],
        },
        index=[str(i) for i in range(cells)],
    )
    var = pd.DataFrame(
        {"accession": list(panel), "key": list(panel), "in_model": True},
        index=[f"c{i}" for i in range(len(panel))],
    )
    made = AnnData(X=rng.random((cells, len(panel))).astype(np.float32), obs=obs, var=var)
    made.obsm["X_virtues"] = tokens.astype(np.float32)
    made.uns["virtues"] = {
        "checkpoint": "tiny",
        "checkpoint_signature": signature,
        "panel": list(panel),
        "stride_px": 42,
        "level": level,
        "version": "0",
    }
    return made
