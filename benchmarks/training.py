"""Is training kept waiting for crops, and what does decoding fewer channels give?

    python benchmarks/training.py [--minutes 2] [--dataset imc-immune] [--write]

Loader: a simulated cohort is written as OME-Zarr in the spora layout, normalised once, and crops
are drawn as a run draws them, in the training process; beside it the crops that a step consumes.
Decoding: runs of equal minutes on that cohort with all channels decoded in a step and with a part
of them; validation loss is always over all channels, on patients kept out. Two seeds each.
"""

import argparse
import csv
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from model import write_section

from virtues_core.model import PRESETS
from virtues_core.model.config import ModelConfig
from virtues_core.simulate import CohortConfig, simulate_cohort, write_spora
from virtues_core.train import TrainConfig
from virtues_core.train.dataset import CropDataset
from virtues_core.train.loop import pretrain
from virtues_core.train.memory import measure_step
from virtues_core.train.sources import Source, embeddings_for, prepare, sources_of_spora

SMALL = ModelConfig(
    model_dim=64, feedforward_dim=128, num_heads=4, encoder_pattern="hv", decoder_pattern="ff"
)
RECIPE = TrainConfig(
    model=SMALL,
    batch_size=4,
    micro_batch_size=4,
    learning_rate=1e-3,
    warmup=0.05,
    precision="bf16-mixed",
    validate_every_steps=20,
    reconstruct_every_steps=10**6,
    checkpoint_every_steps=10**6,
    accelerator="cpu",
)


def crops_a_second(sources: list[Source], cache: Path, number: int) -> float:
    """How many crops the loader gives, one after the other in this process."""
    data = prepare(sources, cache)
    table, _ = embeddings_for(data.keys, None, 640)
    drawn = CropDataset(data.images, table, RECIPE)
    for k in range(8):
        drawn[k]
    began = time.perf_counter()
    for k in range(8, 8 + number):
        drawn[k]
    return number / (time.perf_counter() - began)


def feeding(sources: list[Source], folder: Path, number: int) -> list[str]:
    """Say what the loader gives beside what steps of three models take."""
    given = crops_a_second(sources, folder / "cache", number)
    markers = max(sum(key is not None for key in source.keys) for source in sources)
    lines = [
        f"{markers} markers; the loader gives {given:.0f} crops/s, one core each.",
        "",
        "| model | crops/s of a step | the loader gives |",
        "|---|---|---|",
    ]
    for name, model in (
        ("small (benchmark)", SMALL),
        *((n, PRESETS[n]) for n in ("demo", "small")),
    ):
        cost = measure_step(dataclasses.replace(RECIPE, model=model), markers)
        taken = RECIPE.batch_size / cost.seconds
        lines.append(f"| {name} | {taken:.1f} | {given / taken:.0f} x |")
    return lines


def decoding(sources: list[Source], folder: Path, minutes: float) -> list[str]:
    """Say the time a step and the loss at equal time."""
    lines = [
        f"{minutes:g} minutes each:",
        "",
        "| decoded | seed | steps | processor s a step | validation loss | data wait |",
        "|---|---|---|---|---|---|",
    ]
    for seed in range(2):  # in turn, for other work on the machine comes and goes
        for fraction in (1.0, 0.25):
            config = dataclasses.replace(
                RECIPE, decode_fraction=fraction, max_minutes=minutes, seed=seed
            )
            run_dir = folder / f"{fraction}-{seed}"
            began = time.process_time()
            result = pretrain(config, sources, run_dir, quiet=True)
            taken = (time.process_time() - began) / result.steps
            with (run_dir / "metrics.csv").open() as file:
                rows = list(csv.DictReader(file))
            waited = np.mean([float(row["data_wait"]) for row in rows])
            lines.append(
                f"| {fraction:g} | {seed} | {result.steps} | {taken:.3f} | {rows[-1]['val_loss']} "
                f"| {100 * waited:.1f} % |"
            )
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--crops", type=int, default=200)
    parser.add_argument("--dataset", default="imc-immune")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cohort = CohortConfig(
            datasets=(options.dataset,), patients=options.patients, tissues_per_patient=1,
            test_fraction=0, size_px=256, seed=5,
        )  # fmt: skip
        write_spora(simulate_cohort(cohort), folder / "cohort")
        sources = sources_of_spora([folder / "cohort"])
        fed = feeding(sources, folder, options.crops)
        print("\n".join(fed), flush=True)
        text = "\n".join([*fed, "", *decoding(sources, folder, options.minutes)])
    print(text)
    if options.write:
        write_section("training", "python benchmarks/training.py", text)


if __name__ == "__main__":
    main()
