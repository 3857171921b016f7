"""Signatures carried to simulated cohorts, with an effect on survival and without.

    python benchmarks/biomarkers_transfer.py [--cohorts 24] [--patients 100] [--write]

Forests are fitted on the planted neighbourhoods of one cohort of 60 patients
(``tests/core/signature_samples.py``: cells whose tokens tell what lies around, no images) and taken
to others: the same number without an effect and with one (log hazard ratio 2 for one standard
deviation of the planted balance). Told is how often the 95 % interval of the score's concordance
leaves out 0.5, and how often the log-rank test of high against low gives p < 0.05.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from model import write_section

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "core"))

from signature_samples import write_cohort, write_discovery

from virtues_core.cohort.biomarkers import SignatureForest, TransferConfig, forests_of, transfer
from virtues_core.cohort.biomarkers.forest_file import save_forests

EFFECTS = (0.0, 2.0)
CONFIG = TransferConfig(draws=400)


@dataclass
class Told:
    """What the cohorts of one effect gave."""

    concordance: list[float]
    surely_above: int = 0
    surely_below: int = 0
    with_p: int = 0
    p_below: int = 0


def cohorts(
    forests: tuple[SignatureForest, ...], effect: float, count: int, patients: int, folder: Path
) -> Told:
    told = Told([])
    for seed in range(count):
        place = folder / f"{effect}-{seed}"
        files = write_cohort(place, patients=patients, seed=1000 + seed, effect=effect)
        found = transfer(files.joined(), forests, CONFIG)
        row = found.concordances.set_index("score").loc["signature score R"]
        told.concordance.append(float(row["concordance"]))
        told.surely_above += bool(row["lower"] > 0.5)
        told.surely_below += bool(row["upper"] < 0.5)
        if found.logrank.p is not None:
            told.with_p += 1
            told.p_below += found.logrank.p < 0.05
        print(f"effect {effect}, cohort {seed}: {row['concordance']:.3f}", flush=True)
    return told


def line(effect: float, told: Told, count: int) -> str:
    values = np.array(told.concordance)
    error = values.std(ddof=1) / np.sqrt(count)
    return (
        f"| {effect:g} | {values.mean():.3f} ± {error:.3f} | {told.surely_above} of {count} | "
        f"{told.surely_below} of {count} | {told.p_below} of {told.with_p} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cohorts", type=int, default=24)
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        source = write_cohort(folder / "source", patients=60, seed=1)
        discovery = write_discovery(source, folder / "discovery")
        forests = forests_of(discovery)
        size = save_forests(forests, folder / "forests") / 1e6
        tokens = source.joined().cells.take(np.arange(10_000))
        start = time.process_time()
        for forest in forests:
            forest.probability(tokens)
        each = (time.process_time() - start) / len(tokens) / len(forests) * 1e6
        rows = [
            line(e, cohorts(forests, e, asked.cohorts, asked.patients, folder), asked.cohorts)
            for e in EFFECTS
        ]
    scores = "; ".join(
        f"{f.name} {f.scores[0].auroc:.2f}, {f.scores[0].precision:.2f}, {f.scores[0].recall:.2f}"
        for f in forests
    )
    text = "\n".join(
        [
            f"Four planted signatures, {asked.patients} patients a cohort, one tissue of 160 µm "
            "each. Mean concordance with its standard error:",
            "",
            "| effect | concordance | interval above 0.5 | below 0.5 | log-rank p < 0.05 |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "Log-rank tests are of cohorts with five events or more in both strata. Forests on "
            f"patients kept out, AUROC, precision, recall: {scores}. They take {size:.1f} MB, and "
            f"{each:.1f} µs of a processor for a cell and forest ({tokens.shape[1]} values).",
        ]
    )
    print(text)
    if asked.write:
        write_section("signatures in another cohort", "python benchmarks/biomarkers_transfer.py",
                      text)  # fmt: skip


if __name__ == "__main__":
    main()
