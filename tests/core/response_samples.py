"""A cohort whose tissues were taken before and after a treatment, in tables and a clinical file."""

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from virtues_core.cohort import write_table

WIDTH = 6
TIMES = ("before", "after")


def cohort(
    folder: Path,
    *,
    patients: int = 12,
    cells: int = 60,
    shift: float = 2.0,
    without: tuple[str, ...] = (),
) -> tuple[Path, Path]:
    """Write one table and ``clinical.csv``, a row a tissue; every second patient responds.

    Cells of responders move by ``shift`` (of a spread of 1 within a tissue) along the first token
    after treatment. ``without`` names tissues, ``P3-after``, that were never taken.
    """
    rng = np.random.default_rng(7)
    tokens, rows, clinical = [], [], []
    for number in range(patients):
        own = rng.normal(size=WIDTH) * 0.2
        for time in TIMES:
            tissue = f"P{number}-{time}"
            if tissue in without:
                continue
            moved = np.zeros(WIDTH)
            moved[0] = shift * (time == "after") * (number % 2)
            tokens.append(own + moved + rng.normal(size=(cells, WIDTH)))
            rows += [(tissue, f"P{number}", time, k + 1) for k in range(cells)]
            clinical.append((tissue, f"P{number}", time, ("no", "yes")[number % 2]))
    obs = pd.DataFrame(rows, columns=["tissue_id", "patient_id", "when", "cell_id"])
    obs.index = obs.index.astype(str)
    var = pd.DataFrame({"accession": "P11836", "key": "P11836", "in_model": True}, index=["CD20"])
    made = AnnData(X=np.ones((len(obs), 1), np.float32), obs=obs, var=var)
    made.obsm["X_virtues"] = np.concatenate(tokens).astype(np.float32)
    made.obsm["spatial"] = rng.random((len(obs), 2)) * 100
    made.uns["virtues"] = {
        "checkpoint": "tiny", "checkpoint_signature": "abc", "panel": ["P11836"], "level": "cell",
    }  # fmt: skip
    write_table(made, folder / "cells.h5ad")
    table = pd.DataFrame(clinical, columns=["tissue", "patient", "visit", "responded"])
    table.to_csv(folder / "clinical.csv", index=False)
    return folder / "cells.h5ad", folder / "clinical.csv"
