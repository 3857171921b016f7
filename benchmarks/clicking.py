"""Cell types from a few clicks, against all labels: simulated tissue, a person who knows each cell.

    python benchmarks/clicking.py [--panel imc-tumour] [--first-seed 411] [--seeds 6]
                                  [--checkpoint demo] [--write]

Half of the cells of a tissue may be labelled, the other half is scored. Cells are told apart by
tokens and mean intensities together, as in the window, by tokens alone, and by mean intensities
alone. All labels: a logistic regression (L-BFGS, λ = 1) on that whole half, on the same values.
Clicks: three cells of each of six coarse classes at random, then those that are offered, six at a
time. How cells are offered and the two are weighed was chosen on seeds 401 to 403.
"""

import argparse
import platform

import numpy as np
from model import write_section
from transfer import cohort

from virtues_core.cohort import SimulatedClicker, TokenSpace, click_rounds, score
from virtues_core.cohort.classify import Labels, train
from virtues_core.evaluate import MeanIntensities, VirTuesTokens
from virtues_core.model import load_checkpoint

CLICKS = (3, 5, 10, 20)
SHARE = 0.9
"""Of the macro F1 with all labels, that clicks shall reach."""
NEVER = 99


def measure(space: TokenSpace, truth: Labels, seed: int) -> tuple[float, ...]:
    """Macro F1 with all labels and with each of `CLICKS`; clicks a class that suffice."""
    scored = np.random.default_rng(seed).random(len(truth)) < 0.5
    probe = train(space.values[~scored], truth[~scored], "logistic")
    full = score(truth[scored], probe.predict(space.values[scored])).macro_f1
    rounds = list(click_rounds(space, SimulatedClicker(truth, seed=seed), scored=scored))
    classes = len(np.unique(truth))
    at = {len(one.rows) / classes: one.scores.macro_f1 for one in rounds}
    enough = min((clicks for clicks, f1 in at.items() if f1 >= SHARE * full), default=NEVER)
    return (full, *(at[min(at, key=lambda c: abs(c - n))] for n in CLICKS), round(enough))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panel", default="imc-tumour")
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--first-seed", type=int, default=411)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--stride", type=int, default=64)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    encoder = VirTuesTokens(load_checkpoint(options.checkpoint), options.stride)
    rows: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        tissues = cohort(options.panel, seed, 1, options.size)
        (cells,), (means,) = encoder.encode(tissues), MeanIntensities().encode(tissues)
        truth = np.array([tissues[0].labels.get(i, "") for i in cells.ids.tolist()])
        spaces = {
            "both": TokenSpace.of(cells.features, means.features),
            "tokens": TokenSpace.of(cells.features),
            "intensities": TokenSpace.of(means.features),
        }
        for name, space in spaces.items():
            rows.setdefault(name, []).append(measure(space, truth, seed))
            said = ", ".join(f"{value:.3f}" for value in rows[name][-1][:-1])
            print(f"seed {seed}, {name}: {said}; {rows[name][-1][-1]} suffice", flush=True)
    text = (
        f"{options.panel}, one tissue of {options.size} px, tiles every {options.stride} px, "
        f"seeds {options.first_seed} to {seed}, {platform.machine()}. Macro F1 on the cells never "
        f"offered, mean (lowest share of that with all labels); clicks a class that reach "
        f"{SHARE:.0%} of it, by seed:\n\n| | {' | '.join(rows)} |\n|---|{'---|' * len(rows)}\n"
    )
    columns = [np.array(one) for one in rows.values()]
    text += f"| all labels | {' | '.join(f'{c[:, 0].mean():.3f}' for c in columns)} |\n"
    for k, clicks in enumerate(CLICKS, start=1):
        told = [f"{c[:, k].mean():.3f} ({(c[:, k] / c[:, 0]).min():.0%})" for c in columns]
        text += f"| {clicks} clicks a class | {' | '.join(told)} |\n"
    suffice = [", ".join(f"{n:.0f}" if n < NEVER else "> 20" for n in c[:, -1]) for c in columns]
    text += f"| suffice | {' | '.join(suffice)} |\n"
    print(text)
    if options.write:
        write_section("cell types from clicks", "python benchmarks/clicking.py", text)


if __name__ == "__main__":
    main()
