"""Cell types from a few clicks, against all labels: simulated tissue, a person who knows each cell.

    python benchmarks/clicking.py [--panel imc-tumour] [--seeds 5] [--checkpoint demo] [--write]

Half of the cells of a tissue may be labelled, the other half is scored. All labels: a logistic
regression (L-BFGS, λ = 1) on that whole half, on tokens as they are and on standardised ones,
whichever is better. Clicks: three cells of each of six coarse classes at random, then those that
are offered, six at a time.
"""

import argparse
import platform

import numpy as np
from model import write_section
from transfer import cohort

from virtues_core.cohort import SimulatedClicker, TokenSpace, click_rounds, score
from virtues_core.cohort.classify import train
from virtues_core.evaluate import VirTuesTokens
from virtues_core.model import load_checkpoint

CLICKS = (3, 5, 10, 20)
FIRST_SEED = 401
SHARE = 0.9
"""Of the macro F1 with all labels, that clicks shall reach."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panel", default="imc-tumour")
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--stride", type=int, default=64)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    encoder = VirTuesTokens(load_checkpoint(options.checkpoint), options.stride)
    rows = []
    for seed in range(options.seeds):
        (tissue,) = cohort(options.panel, FIRST_SEED + seed, 1, options.size)
        (cells,) = encoder.encode([tissue])
        truth = np.array([tissue.labels.get(i, "") for i in cells.ids.tolist()])
        space = TokenSpace.of(cells.features)
        scored = np.random.default_rng(seed).random(len(truth)) < 0.5
        full = max(
            score(
                truth[scored], train(x[~scored], truth[~scored], "logistic").predict(x[scored])
            ).macro_f1
            for x in (cells.features, space.values)
        )
        rounds = list(click_rounds(space, SimulatedClicker(truth, seed=seed), scored=scored))
        classes = len(np.unique(truth))
        at = {len(one.rows) / classes: one.scores.macro_f1 for one in rounds}
        enough = [clicks for clicks, f1 in at.items() if f1 >= SHARE * full]
        rows.append((full, *(at[min(at, key=lambda c: abs(c - n))] for n in CLICKS)))
        first = f"{min(enough):.0f}" if enough else "more than 20"
        said = ", ".join(f"{f1:.3f}" for f1 in rows[-1])
        print(f"seed {seed}: {said}; {SHARE:.0%} with {first} clicks a class", flush=True)
    mean = np.mean(rows, axis=0)
    text = (
        f"{options.panel}, one tissue of {options.size} px, tiles every {options.stride} px, "
        f"{options.seeds} seeds, {platform.machine()}. Macro F1 on the cells never offered, "
        "mean (lowest to highest share of that with all labels):\n\n| | macro F1 |\n|---|---|\n"
        f"| all labels of half of the cells | {mean[0]:.3f} |\n"
    )
    for k, clicks in enumerate(CLICKS, start=1):
        shares = [row[k] / row[0] for row in rows]
        span = f"{min(shares):.0%} to {max(shares):.0%}"
        text += f"| {clicks} clicks a class | {mean[k]:.3f} ({span}) |\n"
    print(text)
    if options.write:
        write_section("cell types from clicks", "python benchmarks/clicking.py", text)


if __name__ == "__main__":
    main()
