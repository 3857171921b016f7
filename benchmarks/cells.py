"""Tokens of cells: how fast patches are added to cells, where the time goes, how memory grows.

    python benchmarks/cells.py [--checkpoint demo] [--write]

Every figure is a ratio within one run. ``--write`` puts the table into docs/benchmarks.md.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import torch
from model import write_section
from torch import nn

from virtues_core.cli.main import app
from virtues_core.infer import EmbedRequest, cell_tokens, embed
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import (
    Checkpoint,
    ModelConfig,
    VirTues,
    load_checkpoint,
    save_checkpoint,
)
from virtues_core.preprocess import tile_origins
from virtues_core.read import write_labels, write_ome_tiff
from virtues_core.simulate import simulate_tissue

DIM = 512
PATCH = 8


def discs(shape: tuple[int, int], count: int, seed: int = 0) -> np.ndarray:
    """(Y, X) int32 labels of so many round cells, which fill about two thirds of the image."""
    rng = np.random.default_rng(seed)
    step = np.sqrt(shape[0] * shape[1] / count)
    centres = np.array(
        [(y, x) for y in np.arange(step / 2, shape[0], step)
         for x in np.arange(step / 2, shape[1], step)]
    )  # fmt: skip
    mask = np.zeros(shape, np.int32)
    for label, (y, x) in enumerate(centres + rng.uniform(-2, 2, centres.shape), start=1):
        reach = int(step)
        top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
        window = mask[top : int(y) + reach, left : int(x) + reach]
        rows, columns = np.indices(window.shape)
        radius = step * rng.uniform(0.42, 0.54)
        window[(rows + top - y) ** 2 + (columns + left - x) ** 2 < radius**2] = label
    return mask


def patch_by_patch(
    tokens: np.ndarray, origins: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The plain way: look at each patch, add its token to each of the cells in it."""
    sums: dict[int, np.ndarray] = {}
    weights: dict[int, int] = {}
    for tile, (y, x) in zip(tokens, origins.tolist(), strict=True):
        for i in range(tile.shape[0]):
            for j in range(tile.shape[1]):
                top, left = y + PATCH * i, x + PATCH * j
                patch = mask[top : top + PATCH, left : left + PATCH]
                labels, counts = np.unique(patch, return_counts=True)
                for label, n in zip(labels.tolist(), counts.tolist(), strict=True):
                    if label:
                        sums[label] = sums.get(label, 0.0) + n * tile[i, j]
                        weights[label] = weights.get(label, 0) + n
    ids = np.array(sorted(sums))
    return ids, np.array([sums[i] / weights[i] for i in ids.tolist()])


def seconds(function, *arguments, runs: int = 7) -> float:
    """Least processor time of a call."""
    taken = []
    for _ in range(runs):
        start = time.process_time()
        function(*arguments)
        taken.append(time.process_time() - start)
    return min(taken)


def aggregation() -> Iterator[tuple[str, str]]:
    """200 tiles over 700 x 600 px with 2,000 cells; then 2 and 4 times the pixels."""
    rng = np.random.default_rng(0)
    found = []
    for times in (1, 2, 4):
        shape = (700 * times, 600)
        mask = discs(shape, 2000 * times)
        origins = tile_origins(shape, stride=42)
        origins = origins[np.linspace(0, len(origins) - 1, 200 * times).astype(int)]
        tokens = rng.normal(size=(len(origins), 16, 16, DIM)).astype(np.float32)
        ours = seconds(cell_tokens, tokens, origins, mask)
        found.append(ours)
        if times == 1:
            plain = seconds(patch_by_patch, tokens, origins, mask)
            ids, expected = patch_by_patch(tokens, origins, mask)
            same, values = cell_tokens(tokens, origins, mask)
            np.testing.assert_array_equal(ids, same)
            np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-4)
            yield (
                f"200 tiles, {len(ids)} cells, {DIM} values",
                f"{1e3 * ours:.0f} ms, {plain / ours:.0f} x a loop over patches (the mark is 20)",
            )
    yield (
        "with 2 and 4 times the pixels, cells and tiles",
        f"{found[1] / found[0]:.2f} and {found[2] / found[0]:.2f} times as long",
    )


def share(source: str) -> Iterator[tuple[str, str]]:
    """From image and mask to the written table: how much of the time is the model's."""
    tissue = simulate_tissue("imc-tumour", (256, 256), seed=0)
    image, mask = tissue.image, tissue.cell_mask
    checkpoint = published() if source == "published" else load_checkpoint(source)
    inside = [0.0]
    clock: list[float] = []
    checkpoint.model.register_forward_pre_hook(lambda *_: clock.append(time.perf_counter()))

    def after(*_: object) -> None:
        inside[0] += time.perf_counter() - clock.pop()

    checkpoint.model.register_forward_hook(after)
    embed(image, mask, None, checkpoint, EmbedRequest(stride_px=128))  # imports, allocations
    inside[0] = 0.0
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = embed(image, mask, None, checkpoint, cache=Path(folder) / "tokens")
        found.write(Path(folder) / "t.h5ad")
        whole = time.perf_counter() - start
    yield (
        f"{source} checkpoint, 256 x 256 px, {len(image.channels)} channels, {len(found)} cells",
        f"{whole:.1f} s for {found.tiles} tiles with the cache and the file, "
        f"{inside[0] / whole:.0%} of it in the model (the mark is 90 %)",
    )


def published() -> Checkpoint:
    """Give the published size with random weights."""
    torch.manual_seed(0)
    config = ModelConfig()
    names = simulate_tissue("imc-tumour", (128, 128), seed=0).image.channels
    keys = [key for key in Panel.from_names(names).keys if key is not None]
    model = VirTues(config).eval()
    return Checkpoint(
        model=model, config=config, embeddings=MarkerEmbeddings.stand_in(dict.fromkeys(keys))
    )


CHANNELS = ("CD3", "CD20", "CD68", "DNA1_Ir191")


def write_sample(folder: Path, side: int) -> None:
    """An image of side x side px with a cell every 20 px, made of one block repeated."""
    rng = np.random.default_rng(0)
    block = rng.poisson(3, (len(CHANNELS), 1000, 1000)).astype(np.uint16)
    mask = discs((1000, 1000), 2500)
    many = side // 1000
    pixels = da.tile(da.from_array(block, chunks=(1, 1000, 1000)), (1, many, many))
    write_ome_tiff(folder / f"{side}.tiff", pixels, CHANNELS, (1.0, 1.0))
    labels = np.tile(mask, (many, many))
    count = int(mask.max())
    for i, j in np.ndindex(many, many):
        part = labels[1000 * i : 1000 * (i + 1), 1000 * j : 1000 * (j + 1)]
        part[part > 0] += count * (i * many + j)
    write_labels(folder / f"{side}-cells.tiff", labels)


def small_model(folder: Path) -> None:
    """Few layers, but tokens of half the published width: what is held a cell is what counts."""
    torch.manual_seed(0)
    config = ModelConfig(model_dim=256, feedforward_dim=64, num_heads=4, encoder_pattern="v",
                         decoder_pattern="f")  # fmt: skip
    keys = [key for key in Panel.from_names(CHANNELS).keys if key is not None]
    model: nn.Module = VirTues(config)
    save_checkpoint(
        Checkpoint(model=model, config=config, embeddings=MarkerEmbeddings.stand_in(keys)), folder
    )


def peak(folder: Path, side: int) -> None:
    """Run the command in this process, and say how much memory it took at the most.

    By the kernel's count for this program alone (Linux): ``ru_maxrss`` starts from the peak of the
    process that started it.
    """
    app(
        [
            "embed", str(folder / f"{side}.tiff"), "--cells", str(folder / f"{side}-cells.tiff"),
            "--checkpoint", str(folder / "model"), "--stride", "128", "--device", "cpu",
            "--out", str(folder / f"{side}.h5ad"),
        ],
        standalone_mode=False,
    )  # fmt: skip
    status = Path("/proc/self/status").read_text()
    most = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    with h5py.File(folder / f"{side}.h5ad") as file:
        print(json.dumps({"peak_mib": most / 1024, "cells": len(file["obsm/X_virtues"])}))


def memory() -> Iterator[tuple[str, str]]:
    """2,000 and 8,000 px, each in a process of its own."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        small_model(Path(folder) / "model")
        for side in (2000, 8000):
            write_sample(Path(folder), side)
            ran = subprocess.run(
                [sys.executable, __file__, "--peak", folder, str(side)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            found[side] = json.loads(ran.stdout.splitlines()[-1])
    small, large = found[2000], found[8000]
    counts = f"2,000 px ({small['cells']} cells) and 8,000 px ({large['cells']} cells)"
    yield (
        f"peak memory of `virtues embed`, stride 128, {counts}",
        f"{small['peak_mib']:.0f} and {large['peak_mib']:.0f} MiB: "
        f"{large['peak_mib'] / small['peak_mib']:.2f} times (the mark is 1.2)",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="demo", help="demo, published (size), or a folder")
    parser.add_argument("--only", choices=["aggregation", "share", "memory"])
    parser.add_argument("--peak", nargs=2, metavar=("FOLDER", "SIDE"), help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.peak:
        peak(Path(options.peak[0]), int(options.peak[1]))
        return
    parts = {
        "aggregation": aggregation,
        "share": lambda: share(options.checkpoint),
        "memory": memory,
    }
    chosen = [options.only] if options.only else list(parts)
    rows = []
    for row in chain.from_iterable(parts[name]() for name in chosen):
        print("{}: {}".format(*row), flush=True)
        rows.append(row)
    text = f"torch {torch.__version__}, {torch.get_num_threads()} threads.\n\n"
    text += "| | |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows) + "\n"
    if options.write:
        write_section("tokens of cells", "python benchmarks/cells.py", text)


if __name__ == "__main__":
    main()
