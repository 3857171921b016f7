"""The distance between two sets of tokens: how exact, how long, and what samples make of it.

    python benchmarks/response.py

Tokens are drawn: five kinds of cells in 512 dimensions that differ by a few hundredths within a
kind, as those of a model do; the second set has other shares of the kinds.
"""

import argparse
import time
import warnings

import numpy as np
import ot

from virtues_core.cohort.response.distance import (
    EPSILON,
    ITERATIONS,
    repeated_wasserstein,
    wasserstein,
)

WIDTH, KINDS, SPREAD = 512, 5, 0.06


def clouds(count: int, *, same: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(KINDS, WIDTH)) * SPREAD
    shares = np.full(KINDS, 1 / KINDS)
    later = shares if same else np.array([0.1, 0.1, 0.2, 0.2, 0.4])
    return tuple(
        centres[rng.choice(KINDS, count, p=p)] + rng.normal(size=(count, WIDTH)) * SPREAD / 2
        for p in (shares, later)
    )


def from_nothing(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Iterate as many times from zero potentials: distance, and mass that is misplaced."""
    cost = ot.dist(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = ot.bregman.sinkhorn_log([], [], cost, EPSILON, numItermax=ITERATIONS // 10)
    off = np.abs(plan.sum(0) - 1 / len(b)).sum() + np.abs(plan.sum(1) - 1 / len(a)).sum()
    return float(np.sqrt((plan * cost).sum())), float(off)


def timed(work, *args, **settings):
    start = time.process_time()
    found = work(*args, **settings)
    return found, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, nargs="+", default=[250, 500, 1000])
    sizes = parser.parse_args().cells
    rows = []
    for count in sizes:
        a, b = clouds(count)
        own, seconds = timed(wasserstein, a, b)
        (other, off), slower = timed(from_nothing, a, b)
        rows.append(
            f"| {count:,} | {own.exact:.4f} | {own.transport:.4f} ({own.misplaced:.4f}) | "
            f"{other:.4f} ({off:.4f}) | {own.distance:.4f} | {slower / seconds:.1f} |"
        )
    print("\n".join(rows))
    for count in sizes:
        found = repeated_wasserstein(*clouds(4000, same=True), cells=count, draws=3)
        moved = repeated_wasserstein(*clouds(4000), cells=count, draws=3)
        for name, one in (("same", found), ("other shares", moved)):
            beyond = np.sqrt(max(0, one.distance**2 - one.shuffled**2))
            print(
                f"| {name} | {count:,} | {one.distance:.3f} ({one.low:.3f} to {one.high:.3f}) | "
                f"{one.shuffled:.3f} | {beyond:.3f} |"
            )


if __name__ == "__main__":
    main()
