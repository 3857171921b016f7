"""Stratification where tissue tells nothing: how often each p-value is below 0.05; and its time.

    python benchmarks/stratify.py [--cohorts 300] [--cells 1000000] [--write]

Cohorts of 200 patients are compositions drawn at random beside survival drawn at random. The time
is that of `stratify` on cells of random tokens in a temporary folder, by a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from cohort_cells import make, peak_mib
from model import write_section

from virtues_core.cohort.patients import Columns, join, open_cells, read_clinical
from virtues_core.cohort.survival import (
    StratifyConfig,
    concordance,
    expected_events,
    logrank,
    merge_on_data,
    merge_out_of_fold,
    p_of,
    permuted,
    stratify,
)
from virtues_core.cohort.survival.compare import signed_logrank
from virtues_core.cohort.survival.states import patient_groups

PATIENTS, STATES, GROUPS, PERMUTATIONS = 200, 30, 4, 199
WAYS = {
    "groups, not merged, chi-squared": "groups",
    "merged on the data (paper), chi-squared": "on_data",
    "merged out of fold, chi-squared": "fold",
    "merged out of fold, by permutation (what is reported)": "permutation",
}


def null(seed: int) -> dict[str, float]:
    """P-values and concordances of one cohort without an effect."""
    rng = np.random.default_rng([seed, 1])  # not that of the folds, which are drawn by the seed
    composition = rng.dirichlet(np.ones(STATES), PATIENTS)
    event, censored = rng.exponential(1, PATIENTS), rng.exponential(1.5, PATIENTS)
    times, events = np.minimum(event, censored), event <= censored
    groups = patient_groups(composition, GROUPS, seed)
    on_data = merge_on_data(times, events, groups)[groups]
    told = merge_out_of_fold(times, events, groups, seed=seed).high
    expected = expected_events(times, events)

    def statistic(high: np.ndarray) -> float:
        return signed_logrank(times, events, high, expected)

    drawn = permuted(times, events, groups, statistic, draws=PERMUTATIONS, seed=seed)
    return {
        "groups": logrank(times, events, groups).p,
        "on_data": logrank(times, events, on_data).p,
        "fold": logrank(times, events, told).p if told.any() and not told.all() else 1.0,
        "permutation": p_of(statistic(told), drawn),
        "concordance_on_data": concordance(times, events, on_data).value,
        "concordance_fold": concordance(times, events, told).value,
    }


def below(p: float | None) -> bool:
    """Whether an effect would be told; not where a group has too few events for a p-value."""
    return p is not None and p < 0.05


def nulls(cohorts: int) -> list[tuple[str, str]]:
    found = [null(seed) for seed in range(cohorts)]
    rows = [
        (f"p < 0.05: {title}", f"{np.mean([below(one[key]) for one in found]):.1%}")
        for title, key in WAYS.items()
    ]
    for title, key in (("on the data", "on_data"), ("out of fold", "fold")):
        values = [one[f"concordance_{key}"] for one in found]
        error = np.std(values) / np.sqrt(cohorts)
        rows.append((f"concordance {title}, mean", f"{np.mean(values):.3f} ± {error:.3f}"))
    return rows


def timed(folder: Path) -> None:
    """Stratify what lies in a folder; print seconds and memory."""
    start = peak_mib()
    table = read_clinical(folder / "clinical.csv", Columns("patient", time="months", event="y"))
    joined = join(open_cells([folder]), table)
    clock, wall = time.process_time(), time.monotonic()
    stratify(joined, StratifyConfig(layout="pca"))
    print(
        json.dumps(
            {
                "cells": len(joined.cells),
                "patients": len(joined.patients),
                "processor_s": time.process_time() - clock,
                "wall_s": time.monotonic() - wall,
                "start_mib": start,
                "peak_mib": peak_mib(),
                "token_mib": len(joined.cells) * joined.cells.dim * 4 / 2**20,
            }
        )
    )


def time_of(cells: int) -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, cells, 128)
        rows = (folder / "clinical.csv").read_text().splitlines()
        months = np.random.default_rng(0).exponential(20, len(rows)).round(2)
        lines = [f"{row},{m}" for row, m in zip(rows[1:], months[1:], strict=True)]
        (folder / "clinical.csv").write_text("\n".join([f"{rows[0]},months", *lines]))
        command = [sys.executable, __file__, "--timed", name]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(ran.stdout)
    return [
        (
            f"`stratify`, {found['cells']:,} cells x 128, {found['patients']} patients, defaults "
            "but for the map (principal components): processor time",
            f"{found['processor_s']:.0f} s",
        ),
        (
            f"its peak memory, for {found['token_mib']:,.0f} MiB of tokens",
            f"{found['peak_mib']:,.0f} MiB ({found['start_mib']:,.0f} MiB of it at its start)",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=300)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--timed", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.timed:
        timed(options.timed)
        return
    rows = [*nulls(options.cohorts), *time_of(options.cells)]
    head = f"| {options.cohorts} cohorts of {PATIENTS} patients without an effect | |\n|---|---|\n"
    text = head + "\n".join(f"| {a} | {b} |" for a, b in rows) + "\n"
    print(text)
    if options.write:
        command = (
            f"python benchmarks/stratify.py --cohorts {options.cohorts} --cells {options.cells}"
        )
        write_section("risk groups of patients", f"OMP_NUM_THREADS=1 {command}", text)


if __name__ == "__main__":
    main()
