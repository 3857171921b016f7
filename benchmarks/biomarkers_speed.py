"""Clusters of many cells: how time and memory grow with the cells.

    python benchmarks/biomarkers_speed.py [--cells 20000 80000 320000] [--whole N …] [--write]

Tokens of 256 values around 60 centres are drawn block by block, as a cohort's are read from disk:
no more than a block and the sample are in memory. Told are processor seconds of all that discovery
does with cells (sample, components, neighbours, Leiden at 21 resolutions, joining the others,
shares of each patient), and the peak of memory so far. Last, the exponent of growth over the sizes
above the sample, and over the last step. ``--whole`` runs the command `virtues biomarkers discover`
on tables of so many cells with places, types and ten markers, by its defaults but for the sample
and ``--cells-below``, which grows with the cells.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from model import write_section

from virtues_core.cohort.biomarkers import DiscoverConfig
from virtues_core.cohort.biomarkers.clusters import keep_small, partitions

BLOCK = 65536
WIDTH = 256
PATIENTS = 100
COMMAND = """
import re, sys, time
from pathlib import Path
from virtues_core.cli.main import app
app(sys.argv[1:], standalone_mode=False)
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(time.process_time(), int(peak) / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[20_000, 80_000, 320_000])
    parser.add_argument("--most-cells", type=int, default=20_000)
    parser.add_argument("--whole", type=int, nargs="+", default=[])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    timed(5000, options.most_cells)  # compiles what UMAP's weights are made by
    lines, seconds = [], []
    for cells in options.cells:
        parts, clusters = timed(cells, options.most_cells)
        seconds.append(sum(parts.values()))
        told = " | ".join(f"{parts.get(name, 0):.1f}" for name in ("graph", "Leiden", "others"))
        lines.append(f"| {cells:,} | {told} | {seconds[-1]:.1f} | {clusters} | {peak():.0f} MiB |")
        print(lines[-1], flush=True)
    text = (
        f"At most {options.most_cells:,} cells clustered, {PATIENTS} patients, 21 resolutions, one "
        f"thread, {platform.machine()}; seconds of the processor:\n\n"
        "| cells | graph | Leiden | other cells | in all | clusters found | peak of memory |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(lines) + "\n\n" + grown(options, seconds)
    )
    if options.whole:
        text += "\n\n" + whole(options.whole, options.most_cells)
    print(text)
    if options.write:
        command = " ".join(
            ["OMP_NUM_THREADS=1 python benchmarks/biomarkers_speed.py", *sys.argv[1:]]
        )
        write_section("clusters of many cells", command, text)


def block(number: int, rows: int) -> np.ndarray:
    """Tokens of one block of cells."""
    rng = np.random.default_rng([7, number])
    centres = np.random.default_rng(6).normal(size=(60, WIDTH)).astype(np.float32)
    chosen = centres[rng.integers(0, 60, rows)]
    return chosen + rng.standard_normal((rows, WIDTH), np.float32)


def timed(cells: int, most: int) -> tuple[dict[str, float], int]:
    """Seconds of each part, less those of drawing tokens; clusters found."""
    drawn = 0.0

    def batches() -> Iterator[tuple[slice, np.ndarray]]:
        nonlocal drawn
        for start in range(0, cells, BLOCK):
            began = time.process_time()
            tokens = block(start // BLOCK, min(BLOCK, cells - start))
            drawn += time.process_time() - began
            yield slice(start, start + len(tokens)), tokens

    def take(rows: np.ndarray) -> np.ndarray:
        own = (tokens[rows[(rows >= part.start) & (rows < part.stop)] - part.start]
               for part, tokens in batches())  # fmt: skip
        return np.concatenate(list(own))

    parts: dict[str, float] = {}
    last = time.process_time()

    def progress(done: int, total: int, what: str) -> None:
        nonlocal last, drawn
        names = {"neighbours of cell": "graph", "resolution": "Leiden", "cell": "others"}
        now = time.process_time()
        parts[names[what]] = parts.get(names[what], 0) + now - last - drawn
        last, drawn = now, 0.0

    codes = np.random.default_rng(1).integers(0, PATIENTS, cells)
    resolutions = DiscoverConfig().resolutions
    labels, sampled = partitions(take, batches, codes, resolutions, most=most, progress=progress)
    found = keep_small(labels, sampled, resolutions, codes, PATIENTS, below=cells + 1)
    parts["others"] = parts.get("others", 0) + time.process_time() - last
    return parts, found.found


def grown(options: argparse.Namespace, seconds: list[float]) -> str:
    cells = np.array(options.cells, float)
    above = cells >= options.most_cells
    power = np.polyfit(np.log(cells[above]), np.log(np.array(seconds)[above]), 1)[0]
    last = np.log(seconds[-1] / seconds[-2]) / np.log(cells[-1] / cells[-2])
    return (
        f"Time grows with the cells to the power of {power:.2f} (fitted); {last:.2f} over the last "
        "step."
    )


def whole(sizes: list[int], most: int) -> str:
    """Run the command on tables of so many cells."""
    lines = []
    for cells in sizes:
        with tempfile.TemporaryDirectory() as name:
            write_cohort(Path(name), cells)
            words = [
                "biomarkers", "discover", "cells.h5ad", "--clinical", "clinical.csv", "--patient",
                "patient_id", "--outcome", "response", "--most-cells", str(most), "--cells-below",
                str(cells // 10), "--out", "found",
            ]  # fmt: skip
            start = time.perf_counter()
            ran = subprocess.run(
                [sys.executable, "-c", COMMAND, *words],
                cwd=name, check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            clock = time.perf_counter() - start
        used, most_mib = map(float, ran.stdout.splitlines()[-1].split())
        lines.append(f"| {cells:,} | {used:.0f} s | {clock:.0f} s | {most_mib:.0f} MiB |")
        print(lines[-1], flush=True)
    return (
        f"The whole command (`--most-cells {most}`, `--cells-below` a tenth of the cells), tables "
        f"of {WIDTH} values and 10 markers on disk:\n\n"
        "| cells | processor time | by the clock | peak of memory |\n|---|---|---|---|\n"
        + "\n".join(lines)
    )


def write_cohort(folder: Path, cells: int) -> None:
    """Write cells of 100 patients, of 60 kinds that say nothing of the outcome."""
    rng = np.random.default_rng(3)
    patients = np.sort(np.arange(cells) % PATIENTS)
    names = np.array([f"P{i:03d}" for i in range(PATIENTS)])
    obs = pd.DataFrame(
        {
            "tissue_id": pd.Categorical(names[patients]),
            "patient_id": pd.Categorical(names[patients]),
            "cell_id": np.arange(1, cells + 1),
            "cell_type": pd.Categorical(np.array(["tumour", "CD4 T", "B"])[np.arange(cells) % 3]),
        },
        index=np.arange(cells).astype(str),
    )
    keys = [f"K{i}" for i in range(10)]
    var = pd.DataFrame({"key": keys, "in_model": True}, index=keys)
    table = AnnData(X=rng.gamma(1, 1, (cells, 10)).astype(np.float32), obs=obs, var=var)
    parts = [block(i, min(BLOCK, cells - i * BLOCK)) for i in range(-(-cells // BLOCK))]
    table.obsm["X_virtues"] = np.concatenate(parts)
    table.obsm["spatial"] = rng.uniform(0, 1000, (cells, 2))
    table.write_h5ad(folder / "cells.h5ad")
    clinical = pd.DataFrame({"patient_id": names, "response": np.arange(PATIENTS) % 2})
    clinical.to_csv(folder / "clinical.csv", index=False)


def peak() -> float:
    """MiB that this process has had at most."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
