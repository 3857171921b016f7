"""Trainings of tissue-level prediction against the same network left to PyTorch: time and memory.

    python benchmarks/tissue_level.py [--write]

Tokens are drawn. The comparator goes through whole batches tissue by tissue, as the formula is
written down, with PyTorch's gradient and its Adam; losses are asserted to be the same.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from cohort_cells import peak_mib
from model import write_section
from torch import Tensor
from torch.nn.functional import cross_entropy

from virtues_core.cohort.tissue_level import MilConfig
from virtues_core.cohort.tissue_level.network import GatedAttention
from virtues_core.cohort.tissue_level.side_by_side import Task, Trainings
from virtues_core.cohort.tissue_level.training import train

CASES = {
    "24 tissues of 140 cells, 128 values": (24, 140, 128),
    "24 tissues of 140 cells, 37 values": (24, 140, 37),
    "24 tissues of 1,024 cells, 512 values": (24, 1024, 512),
}
EPOCHS, REPEATS, TRAININGS = 3, 3, 6
LARGE = 50_000
"""Cells of the tissue whose memory is told, of 512 values."""

Losses = list[tuple[float, float]]


def drawn(tissues: int, cells: int, dim: int) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    bags = [rng.normal(size=(cells, dim)).astype(np.float32) for _ in range(tissues)]
    return bags, np.arange(tissues) % 2


def parts(tissues: int) -> tuple[np.ndarray, np.ndarray]:
    return np.split(np.arange(tissues), [tissues * 4 // 5])


class Plain:
    """The network as the formula is written down."""

    def __init__(self, bags: list[np.ndarray], seed: int) -> None:
        used = np.concatenate(bags).astype(np.float64)
        generator = torch.Generator().manual_seed(seed)
        self.network = GatedAttention(used.shape[1], 2, generator=generator)
        self.network.mean.copy_(torch.from_numpy(used.mean(0)))
        self.network.scale.copy_(torch.from_numpy(1 / used.std(0)))

    def __call__(self, bags: list[np.ndarray]) -> Tensor:
        network = self.network
        x = network.standardised(torch.from_numpy(np.concatenate(bags)))
        gated = torch.tanh(network.content(x)) * torch.sigmoid(network.gate(x))
        by_head = gated.unflatten(1, network.weight.shape)
        scores = torch.einsum("nhd,hd->nh", by_head, network.weight)
        sizes = [len(bag) for bag in bags]
        pooled = [
            torch.softmax(own, dim=0).T @ values
            for own, values in zip(scores.split(sizes), x.split(sizes), strict=True)
        ]
        return network.classifier(torch.stack(pooled).flatten(1))


def plain(bags: list[np.ndarray], labels: np.ndarray, seed: int, epochs: int) -> Losses:
    training, validation = parts(len(bags))
    model = Plain([bags[i] for i in training], seed)
    optimiser = torch.optim.Adam(model.network.parameters(), lr=MilConfig().learning_rate)
    orders, size = np.random.default_rng((seed, 5)), MilConfig().batch_size

    def loss_of(chosen: np.ndarray) -> Tensor:
        target = torch.from_numpy(labels[chosen])
        return cross_entropy(model([bags[i] for i in chosen]), target, reduction="none")

    losses = []
    for _ in range(epochs):
        shown, order = 0.0, orders.permutation(training)
        for chosen in (order[i : i + size] for i in range(0, len(order), size)):
            optimiser.zero_grad()
            loss = loss_of(chosen)
            loss.mean().backward()
            optimiser.step()
            shown += loss.sum().item()
        with torch.no_grad():
            losses.append((shown / len(order), loss_of(validation).mean().item()))
    return losses


def ours(
    bags: list[np.ndarray], labels: np.ndarray, seed: int, epochs: int, on_step=lambda _: None
) -> Losses:
    config = MilConfig(epochs=epochs, patience=epochs, instances=LARGE)
    found = train(config, bags, labels, 2, *parts(len(bags)), seed=seed, on_step=on_step)
    return list(found.losses)


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def row(title: str, size: tuple[int, int, int]) -> str:
    """Processor time of an epoch by one thread, the least of some, taken by turns."""
    bags, labels = drawn(*size)
    np.testing.assert_allclose(ours(bags, labels, 1, 2), plain(bags, labels, 1, 2), atol=2e-5)
    found = [
        [seconds(partial(way, bags, labels, 1, EPOCHS), time.process_time) for way in (plain, ours)]
        for _ in range(REPEATS)
    ]
    slow, quick = np.min(found, axis=0) / EPOCHS
    training, validation = (len(part) * size[1] for part in parts(size[0]))
    flop = 4 * size[2] * 2048 * (2 * training + validation)
    return (
        f"| {title} | {flop / 1e9:.1f} | {slow * 1e3:.0f} ms | {quick * 1e3:.0f} ms | "
        f"{slow / quick:.1f} | {flop / quick / 1e9:.0f} |"
    )


def side_by_side() -> str:
    """Several trainings with all threads, one after another and side by side, by the clock."""
    bags, labels = drawn(24, 140, 128)

    def one_by_one() -> None:
        for seed in range(TRAININGS):
            plain(bags, labels, seed, EPOCHS)

    def together() -> None:
        Trainings().run(
            [Task("", partial(ours, bags, labels, seed, EPOCHS)) for seed in range(TRAININGS)]
        )

    found = [
        [seconds(way, time.perf_counter) for way in (one_by_one, together)] for _ in range(REPEATS)
    ]
    slow, quick = np.min(found, axis=0)
    return (
        f"{TRAININGS} trainings of the first kind by {torch.get_num_threads()} threads: side by "
        f"side {slow / quick:.1f} times as quick, by the clock, as PyTorch's one after another."
    )


def peak(way: str) -> None:
    """Print the peak memory of a process that trains on, or tells, a large tissue."""
    torch.set_num_threads(1)
    bags, labels = drawn(5, LARGE // 100, 512)
    bags[0] = np.random.default_rng(1).standard_normal((LARGE, 512), np.float32)
    ours(bags[1:], labels[1:], 0, 1)
    before = peak_mib()
    if way == "tell":
        GatedAttention(512, 2).tell(torch.from_numpy(bags[0]))
    else:
        {"plain": plain, "ours": ours}[way](bags, labels, 0, 1)
    print(json.dumps({"before": before, "most": peak_mib()}))


def memory() -> str:
    found = {}
    for way in ("plain", "ours", "tell"):
        command = [sys.executable, __file__, "--peak", way]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        told = json.loads(done.stdout.splitlines()[-1])
        found[way] = f"{told['most'] - told['before']:,.0f} MiB"
    return (
        f"A tissue of {LARGE:,} cells x 512 ({LARGE * 2048 / 2**20:.0f} MiB), all of them trained "
        f"on: {found['ours']} more than before (PyTorch's gradient: {found['plain']}); to tell it: "
        f"{found['tell']}."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--peak", choices=["plain", "ours", "tell"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        peak(options.peak)
        return
    beside = side_by_side()
    torch.set_num_threads(1)
    lines = [
        "| | billions of multiplications and additions an epoch | PyTorch's gradient | here "
        "| ratio | billions a second |",
        "|---|---|---|---|---|---|",
        *(row(title, size) for title, size in CASES.items()),
        "",
        beside,
        "",
        memory(),
    ]
    text = "\n".join(lines)
    print(text)
    if options.write:
        command = "python benchmarks/tissue_level.py --write"
        write_section("trainings of tissue-level prediction", command, text)


if __name__ == "__main__":
    main()
