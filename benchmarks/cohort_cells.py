"""Cells of a cohort: read piece by piece, joined with patients; memory beside that of the tokens.

    python benchmarks/cohort_cells.py [--cells 1000000] [--dim 128] [--write]

Tables of 100,000 cells in 20 tissues each are made in a temporary folder (4 bytes a value) and read
by a process of its own, whose peak memory is told in three stages.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from model import write_section

from virtues_core.cohort import write_table
from virtues_core.cohort.patients import Columns, join, open_cells, proportions, read_clinical

CELLS, TISSUES = 100_000, 20
"""Of a table."""
TISSUES_OF_PATIENT = 4


def make(folder: Path, cells: int, dim: int) -> None:
    """Tables as `virtues embed` lays them out, and the clinical table of their patients."""
    rng = np.random.default_rng(0)
    patients = []
    for number in range(max(1, cells // CELLS)):
        tissue = np.repeat(np.arange(TISSUES), CELLS // TISSUES) + TISSUES * number
        patient = tissue // TISSUES_OF_PATIENT
        patients += np.unique(patient).tolist()
        obs = pd.DataFrame(
            {
                "tissue_id": pd.Categorical([f"T{t:05d}" for t in tissue]),
                "cell_id": np.tile(np.arange(1, CELLS // TISSUES + 1), TISSUES),
                "patient_id": pd.Categorical([f"P{p:05d}" for p in patient]),
                "cell_type": pd.Categorical(np.array(list("ABC"))[rng.integers(0, 3, CELLS)]),
            },
            index=[f"T{t:05d}:{i}" for i, t in enumerate(tissue)],
        )
        var = pd.DataFrame({"key": ["P11836"], "in_model": [True]}, index=["CD20"])
        table = AnnData(X=rng.random((CELLS, 1), np.float32), obs=obs, var=var)
        table.obsm["X_virtues"] = rng.random((CELLS, dim), np.float32)
        table.obsm["spatial"] = rng.random((CELLS, 2)) * 1000
        table.uns["virtues"] = {
            "checkpoint": "random",
            "checkpoint_signature": "0",
            "panel": ["P11836"],
            "level": "cell",
        }
        write_table(table, folder / f"t{number:04d}.h5ad")
    rows = [f"P{p:05d},{p % 2}" for p in sorted(set(patients))]
    (folder / "clinical.csv").write_text("\n".join(["patient,y", *rows]))


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def read(folder: Path) -> None:
    """Open, join, go through all tokens in batches, take 10,000 cells from anywhere."""
    start, found = peak_mib(), {}
    clock = time.process_time()
    cells = open_cells([folder])
    joined = join(cells, read_clinical(folder / "clinical.csv", Columns("patient", outcome="y")))
    found["open_s"], clock = time.process_time() - clock, time.process_time()
    found["table_mib"] = peak_mib() - start
    groups = np.empty(len(cells), np.int32)
    for rows, tokens in cells.batches():
        groups[rows] = tokens[:, :8].argmax(1)
    found["batches_s"], clock = time.process_time() - clock, time.process_time()
    shares = proportions(groups, joined.codes, 8, len(joined.patients))
    taken = cells.take(np.random.default_rng(0).integers(0, len(cells), 10_000))
    found["take_s"] = time.process_time() - clock
    found |= {
        "start_mib": start,
        "peak_mib": peak_mib(),
        "cells": len(cells),
        "patients": len(shares),
        "token_mib": len(cells) * taken.shape[1] * 4 / 2**20,
    }
    print(json.dumps(found))


def told(found: dict[str, float]) -> list[tuple[str, str]]:
    cells = found["cells"]
    return [
        (
            f"tokens of {cells:,.0f} cells of {found['patients']:,.0f} patients",
            f"{found['token_mib']:,.0f} MiB",
        ),
        (
            "peak memory of the process that opens, joins and reads them all",
            f"{found['peak_mib']:,.0f} MiB, {found['peak_mib'] / found['token_mib']:.2f} of that "
            f"({found['start_mib']:,.0f} MiB of it before anything is opened)",
        ),
        (
            "of it what is known of each cell, while it is put together",
            f"{found['table_mib'] * 2**20 / cells:.0f} bytes a cell",
        ),
        (
            "processor time: open and join; read all; 10,000 cells from anywhere",
            f"{found['open_s']:.1f}, {found['batches_s']:.1f} and {found['take_s']:.1f} s",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.read:
        read(options.read)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.cells, options.dim)
        command = [sys.executable, __file__, "--read", folder]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = told(json.loads(ran.stdout))
    text = "| | |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows) + "\n"
    print(text)
    if options.write:
        command = f"python benchmarks/cohort_cells.py --cells {options.cells} --dim {options.dim}"
        write_section("cells of a cohort", f"OMP_NUM_THREADS=1 {command}", text)


if __name__ == "__main__":
    main()
