"""Simulated cohorts as tables of cells whose tokens tell what lies around: no images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from virtues_core.cohort import write_table
from virtues_core.cohort.patients import Columns, PatientCells, join, open_cells, read_clinical
from virtues_core.cohort.patients.results import Results, cells_of, write_results
from virtues_core.simulate import CohortConfig, simulate_cohort
from virtues_core.simulate.tokens import neighbourhood_tokens

SURVIVAL = Columns("patient_id", time="survival_months", event="event")
PIXEL_UM = (0.5, 2.0)


@dataclass(frozen=True)
class Files:
    """What a person would have."""

    cells: Path
    clinical: Path

    def joined(self, columns: Columns = SURVIVAL) -> PatientCells:
        return join(open_cells([self.cells], ("niche",)), read_clinical(self.clinical, columns))


def write_cohort(
    folder: Path,
    *,
    patients: int,
    seed: int,
    effect: float = 3.0,
    signature: str = "abc",
    size_px: int = 160,
) -> Files:
    """Write the cells of a cohort, one tissue a patient, and its clinical table."""
    config = CohortConfig(
        patients=patients, tissues_per_patient=1, size_px=size_px, effect=effect, seed=seed
    )
    cohort = simulate_cohort(config)
    tissues = [cohort.cells(name) for name in cohort.tissues["tissue_id"]]
    obs = pd.concat(
        [
            t.cells[["cell_id", "cell_type", "niche"]].assign(tissue_id=t.name, patient_id=patient)
            for t, patient in zip(tissues, cohort.tissues["patient_id"], strict=True)
        ]
    )
    obs.index = [str(i) for i in range(len(obs))]
    names = tissues[0].markers
    var = pd.DataFrame({"key": [f"K{name}" for name in names], "in_model": True}, index=names)
    table = AnnData(X=np.concatenate([t.expression for t in tissues]), obs=obs, var=var)
    places = np.concatenate([t.cells[["x_um", "y_um"]].to_numpy() for t in tissues])
    table.obsm["spatial"] = places
    tokens = [neighbourhood_tokens(t, seed=i) for i, t in enumerate(tissues)]
    table.obsm["X_virtues"] = np.concatenate(tokens)
    table.uns["virtues"] = {
        "checkpoint": "truth",
        "checkpoint_signature": signature,
        "panel": var["key"].tolist(),
        "level": "cell",
        "pixel_size_um": np.array(PIXEL_UM),
    }
    folder.mkdir(exist_ok=True)
    write_table(table, folder / "cells.h5ad")
    cohort.patients.to_csv(folder / "clinical.csv", index=False)
    return Files(folder / "cells.h5ad", folder / "clinical.csv")


DIRECTIONS = {
    "RS1": "response",
    "RS2": "response",
    "NRS1": "non-response",
    "NRS2": "non-response",
}


def planted(joined: PatientCells) -> dict[str, np.ndarray]:
    """The neighbourhoods that the outcome depends on, each in two parts by cell type."""
    cells = joined.cells.cells.astype({"niche": str, "cell_type": str})
    hub = (cells["niche"] == "immune_hub").to_numpy()
    suppressive = (cells["niche"] == "suppressive_niche").to_numpy()
    lead = cells["cell_type"].isin(["CD8_T", "CD4_T", "M2_macrophage"]).to_numpy()
    return {
        "RS1": hub & lead,
        "RS2": hub & ~lead,
        "NRS1": suppressive & lead,
        "NRS2": suppressive & ~lead,
    }


def write_discovery(files: Files, out: Path) -> Path:
    """Write the folder that a discovery would leave that found just what was planted."""
    joined = files.joined()
    signatures = [{"name": name, "direction": way} for name, way in DIRECTIONS.items()]
    where = {"cells": [str(files.cells)], "folder": str(out.parent), "clinical": ""}
    found = Results(
        analysis="biomarkers",
        summary={"signatures": signatures} | where,
        patients=joined.patient_rows(),
        cells=cells_of(joined, **planted(joined)),
    )
    return write_results(found, out)
