"""A small cohort on disk: tables of cells, a clinical table, and images of some tissues."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from virtues_core.cohort.patients.results import LinkedPlot, Results, write_results
from virtues_core.read import write_labels, write_ome_tiff

SIDE = 6
"""Cells of a tissue: SIDE x SIDE squares."""
CELL_PX = 16
CHANNELS = ("DNA1_Ir191", "CD20_Dy161", "CD3_Er170")
PANEL = ("stain:dna", "P11836", "P07766")
WIDTH = 8


@dataclass(frozen=True)
class SmallCohort:
    """Where its files are, and what is true of it."""

    tables: Path
    clinical: Path
    images: Path
    patients: tuple[str, ...]
    kinds: dict[str, np.ndarray]
    """Tissue → (cells,) kind of each cell, 0 to 2, in the order of labels from 1."""


def squares() -> np.ndarray:
    """A mask (Y, X): squares with a gap of 2 px, numbered row by row from 1."""
    labels = np.zeros((SIDE * CELL_PX, SIDE * CELL_PX), np.int32)
    for number in range(SIDE * SIDE):
        y, x = (CELL_PX * k + 1 for k in divmod(number, SIDE))
        labels[y : y + CELL_PX - 2, x : x + CELL_PX - 2] = number + 1
    return labels


def small_cohort(
    folder: Path, *, patients: int = 24, images: int = 4, seed: int = 0
) -> SmallCohort:
    """Write it; patients of two sorts differ in what their tissues are made of and in survival."""
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(3, WIDTH))
    names = tuple(f"P{k:02}" for k in range(patients))
    kinds, obs, tokens, told = {}, [], [], {}
    for k, patient in enumerate(names):
        tissue = f"{patient}-A"
        share = (0.6, 0.3, 0.1) if k % 2 else (0.1, 0.3, 0.6)
        kinds[tissue] = rng.choice(3, SIDE * SIDE, p=share)
        for label, kind in enumerate(kinds[tissue], start=1):
            row, column = divmod(label - 1, SIDE)
            obs.append((tissue, label, patient, f"type {kind}", CELL_PX * column, CELL_PX * row))
        tokens.append(centres[kinds[tissue]] + 0.3 * rng.normal(size=(SIDE * SIDE, WIDTH)))
        if k < images:
            told[tissue] = _write_image(folder / "images", tissue, rng)
    columns = ["tissue_id", "cell_id", "patient_id", "cell_type", "x", "y"]
    tables = folder / "tokens"
    tables.mkdir(parents=True)
    for tissue, rows in pd.DataFrame(obs, columns=columns).groupby("tissue_id", sort=False):
        at = np.arange(len(rows)) + rows.index[0]
        _table(rows, np.vstack(tokens)[at], told.get(tissue, tissue)).write(
            tables / f"{tissue}.h5ad"
        )
    months = np.where(np.arange(patients) % 2, 8.0, 40.0) * rng.uniform(0.5, 1.5, patients)
    table = pd.DataFrame(
        {
            "Patient ID": names,
            "OS months": months.round(1),
            "Vital status": (rng.random(patients) < 0.8).astype(int),
            "Response": np.where(np.arange(patients) % 2, "yes", "no"),
            "Age": rng.integers(40, 80, patients),
        }
    )
    table.loc[0, "Age"] = np.nan
    table.to_csv(folder / "clinical.csv", index=False)
    return SmallCohort(tables, folder / "clinical.csv", folder / "images", names, kinds)


def _write_image(folder: Path, tissue: str, rng: np.random.Generator) -> str:
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    labels = squares()
    pixels = rng.poisson(5, (len(CHANNELS), *labels.shape)).astype(np.uint16)
    pixels[0] += (40 * (labels > 0)).astype(np.uint16)
    path = folder / f"{tissue}.ome.tiff"
    write_ome_tiff(path, pixels, CHANNELS, (1.0, 1.0))
    write_labels(folder / "masks" / f"{tissue}.tiff", labels)
    return str(path)


def _table(rows: pd.DataFrame, tokens: np.ndarray, image: str) -> AnnData:
    obs = rows.drop(columns=["x", "y"]).reset_index(drop=True)
    obs.index = [f"{t}:{c}" for t, c in zip(obs["tissue_id"], obs["cell_id"], strict=True)]
    for name in ("tissue_id", "patient_id", "cell_type"):
        obs[name] = obs[name].astype("category")
    var = pd.DataFrame(
        {"accession": ["", *PANEL[1:]], "key": PANEL, "in_model": True, "symbol": CHANNELS},
        index=list(CHANNELS),
    )
    made = AnnData(X=np.ones((len(obs), len(PANEL)), np.float32), obs=obs, var=var)
    made.obsm["X_virtues"] = tokens.astype(np.float32)
    made.obsm["spatial"] = rows[["x", "y"]].to_numpy(np.float64) + CELL_PX / 2
    made.uns["virtues"] = {
        "checkpoint": "tiny", "checkpoint_signature": "abc", "panel": list(PANEL), "stride_px": 42,
        "level": "cell", "version": "0", "image": image,
    }  # fmt: skip
    return made


def analysis_folder(cohort: SmallCohort, out: Path) -> Path:
    """Write results of these patients: a group each, a curve a group, a state of each cell."""
    tissues = [f"{patient}-A" for patient in cohort.patients]
    groups = np.where(np.arange(len(tissues)) % 2, "low", "high")
    patients = pd.DataFrame(
        {"patient_id": cohort.patients, "tissues": tissues, "group": groups,
         "score": np.linspace(0, 1, len(tissues))}
    )  # fmt: skip
    states = np.concatenate([cohort.kinds[tissue] for tissue in tissues])
    size = SIDE * SIDE
    cells = pd.DataFrame(
        {
            "tissue_id": pd.Categorical(np.repeat(tissues, size)),
            "cell_id": np.tile(np.arange(1, size + 1), len(tissues)),
            "patient_id": pd.Categorical(np.repeat(cohort.patients, size)),
            "state": states.astype(np.int32),
            "hub": states == 2,
        }
    )
    curves = pd.DataFrame(
        {
            "group": ["high"] * 3 + ["low"] * 3,
            "time": [0.0, 10, 40] * 2,
            "survival": [1.0, 0.9, 0.8, 1.0, 0.4, 0.1],
            "lower": [1.0, 0.7, 0.5, 1.0, 0.2, np.nan],
            "upper": [1.0, 1.0, 0.9, 1.0, 0.6, np.nan],
        }
    )
    shares = pd.DataFrame(
        [(group, state, 0.2 + 0.1 * state - 0.3 * (group == "low"))
         for group in ("high", "low") for state in range(3)],
        columns=["group", "state", "change"],
    )  # fmt: skip
    signatures = pd.DataFrame(
        {"signature": ["hub"], "auroc": [0.7], "lower": [0.6], "upper": [0.8]}
    )
    results = Results(
        "example",
        {"logrank_p": None, "command": "virtues stratify tokens", "folder": str(out.parent),
         "images": {name: f"images/{name}.ome.tiff" for name in tissues[:3]}},
        patients,
        cells,
        {"curves": curves, "shares": shares, "signatures": signatures},
        (
            LinkedPlot(
                "curves", "Survival", "steps", "curves", "time", "survival", by="group",
                link="group", x_title="months", y_title="alive",
            ),
            LinkedPlot(
                "scores", "Scores", "points", "patients", "score", "score", by="group",
                link="patient_id",
            ),
            LinkedPlot(
                "signatures", "Signatures", "bars", "signatures", "signature", "auroc",
                link="signature",
            ),
            LinkedPlot(
                "shares", "Shares", "heat", "shares", "state", "group", by="change", link="state"
            ),
        ),
        ("no p-value: fewer than five events in a group",),
    )  # fmt: skip
    return write_results(results, out)
