"""A cohort of cells whose mix, or nothing, decides how long patients live."""

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from cohort_samples import PANEL, WIDTH

from virtues_core.cohort import write_table
from virtues_core.cohort.patients import Columns, PatientCells, join, open_cells, read_clinical

KINDS = 6
COLUMNS = Columns("patient", time="months", event="died", covariates=("age", "grade"))


def cohort(
    folder: Path, *, patients: int = 60, cells: int = 40, hazard: float = 6.0, seed: int = 0
) -> Path:
    """Write tables of cells (two files) and ``clinical.csv``; return the folder.

    Half of the patients are rich in cells of kind 0, which lie in a niche, and have ``hazard``
    times the hazard of the others, who are rich in kind 1.
    """
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(KINDS, WIDTH)) * 3
    bad = np.arange(patients) % 2 == 0
    names = np.array([f"P{i:03d}" for i in range(patients)])
    shares = np.full((patients, KINDS), 0.1)
    shares[np.arange(patients), np.where(bad, 0, 1)] = 0.5
    kind = np.concatenate([rng.choice(KINDS, cells, p=share) for share in shares])
    owner = np.repeat(names, cells)
    tokens = centres[kind] + rng.normal(size=(len(kind), WIDTH))
    obs = pd.DataFrame(
        {
            "tissue_id": [f"{name}-A" for name in owner],
            "cell_id": np.tile(np.arange(1, cells + 1), patients),
            "patient_id": owner,
            "cell_type": pd.Categorical(np.array([f"kind {k}" for k in range(KINDS)])[kind]),
            "niche": pd.Categorical(np.where(kind == 0, "hypoxic", "")),
        },
        index=[str(i) for i in range(len(kind))],
    )
    half = len(kind) // 2 // cells * cells
    for number, rows in enumerate((slice(0, half), slice(half, None))):
        write_table(_table(obs.iloc[rows], tokens[rows], rng), folder / f"cells{number}.h5ad")
    clinical(names, bad, hazard, rng).to_csv(folder / "clinical.csv", index=False)
    return folder


def clinical(
    names: np.ndarray, bad: np.ndarray, hazard: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Follow-up in months, with an age and a grade that say nothing."""
    count = len(names)
    event = rng.exponential(40 / np.where(bad, hazard, 1.0))
    censored = rng.uniform(20, 120, count)
    return pd.DataFrame(
        {
            "patient": names,
            "months": np.minimum(event, censored).round(2),
            "died": (event <= censored).astype(int),
            "age": rng.integers(40, 80, count),
            "grade": rng.choice(["low", "middle", "top"], count),
            "necrosis": rng.choice(["yes", "no"], count),
        }
    )


def _table(obs: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> AnnData:
    var = pd.DataFrame(
        {"accession": list(PANEL), "key": list(PANEL), "in_model": True},
        index=[f"c{i}" for i in range(len(PANEL))],
    )
    made = AnnData(X=rng.random((len(obs), len(PANEL))).astype(np.float32), obs=obs, var=var)
    made.obsm["X_virtues"] = tokens.astype(np.float32)
    made.uns["virtues"] = {
        "checkpoint": "tiny",
        "checkpoint_signature": "abc",
        "panel": list(PANEL),
        "stride_px": 42,
        "level": "cell",
        "version": "0",
    }
    return made


def joined(folder: Path, columns: Columns = COLUMNS, obs: tuple[str, ...] = ()) -> PatientCells:
    """Open what `cohort` wrote."""
    return join(open_cells([folder], obs), read_clinical(folder / "clinical.csv", columns))
