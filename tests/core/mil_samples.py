"""Cohorts whose patients differ in a few cells of each tissue, in tables and a clinical file."""

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from virtues_core.cohort import write_table

WIDTH = 6
WITNESSES = 6
"""The first so many cells of a tissue of the grade ``high`` lie elsewhere in the tokens."""


def cohort(
    folder: Path,
    *,
    patients: int = 18,
    tissues: int = 2,
    cells: int = 30,
    seed: int = 0,
    effect: float = 5.0,
    patient_effect: float = 0.3,
    signature: str = "abc",
    first: int = 0,
    level: str = "cell",
) -> tuple[Path, Path]:
    """Write ``cells.h5ad`` and ``clinical.csv``, a row a patient; every second one is ``high``.

    ``effect`` is how far the witnesses lie from other cells, ``patient_effect`` how far patients
    lie from each other, both in standard deviations of cells.
    """
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng((seed, 11))
    tokens, rows = [], []
    for number in range(first, first + patients):
        own = rng.normal(size=WIDTH) * patient_effect
        for t in range(tissues):
            values = own + rng.normal(size=(cells, WIDTH))
            values[:WITNESSES, 1] += effect * (number % 2)
            tokens.append(values)
            rows += [(f"P{number:02d}-{t}", f"P{number:02d}", k + 1) for k in range(cells)]
    obs = pd.DataFrame(rows, columns=["tissue_id", "patient_id", f"{level}_id"])
    obs.index = obs.index.astype(str)
    keys = ["P01732", "P11836"]
    var = pd.DataFrame({"accession": keys, "key": keys, "in_model": True}, index=["CD8", "CD20"])
    made = AnnData(X=rng.random((len(obs), 2)).astype(np.float32), obs=obs, var=var)
    made.obsm["X_virtues"] = np.concatenate(tokens).astype(np.float32)
    made.obsm["spatial"] = rng.random((len(obs), 2)) * 100
    made.uns["virtues"] = {
        "checkpoint": "tiny", "checkpoint_signature": signature, "panel": keys, "level": level,
    }  # fmt: skip
    write_table(made, folder / "cells.h5ad")
    names = [f"P{number:02d}" for number in range(first, first + patients)]
    table = pd.DataFrame(
        {
            "patient": names,
            "grade": ["low", "high"] * (patients // 2),
            "part": np.where(np.arange(patients) < 2 * patients // 3, "train", "test"),
        }
    )
    table.to_csv(folder / "clinical.csv", index=False)
    return folder / "cells.h5ad", folder / "clinical.csv"
