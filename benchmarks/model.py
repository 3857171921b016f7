"""Speed of the model on this machine: against its own matrix products, and the plain way.

    python benchmarks/model.py [--device cuda] [--markers 40] [--write]

Every figure is a ratio within one run. ``--write`` puts the table into docs/benchmarks.md.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from plain import plain_forward

from virtues_core.model import PRESETS, ModelConfig, VirTues, reconstruction_loss
from virtues_core.train import MaskingConfig
from virtues_core.train.masking import draw_mask

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def seconds(device: torch.device, runs: int, *functions: Callable[[], object]) -> list[float]:
    """Median time of each call, after one that does not count; they take turns.

    So what else the machine does in the meantime falls on all of them alike.
    """
    taken: list[list[float]] = [[] for _ in functions]
    for i in range(runs + 1):
        for function, times in zip(functions, taken, strict=True):
            start = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if i:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in taken]


def product(device: torch.device, dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    """Give a large matrix product, whose FLOP/s are the ceiling, and its FLOPs."""
    side = 16384 if device.type == "cuda" else 4096
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out), 2.0 * side**3


def encoder_flops(config: ModelConfig, lengths: dict[str, list[int]]) -> float:
    """Multiply-adds x 2 of the encoder's blocks; lengths of the sequences by letter."""
    total = 0.0
    for letter in config.encoder_pattern:
        tokens = sum(lengths[letter])
        total += (
            tokens * _linear(config) + sum(4 * n * n for n in lengths[letter]) * config.model_dim
        )
    return total


def decoder_flops(config: ModelConfig, channels: int, positions: int) -> float:
    """Multiply-adds x 2 of the decoder's blocks, the exact shortcuts not subtracted."""
    tokens = 2 * positions
    one = tokens * _linear(config) + 4 * tokens * tokens * config.model_dim
    return len(config.decoder_pattern) * channels * one


def _linear(config: ModelConfig) -> float:
    return 2.0 * (4 * config.model_dim**2 + 2 * config.model_dim * config.feedforward_dim)


def lengths_of(masks: list[torch.Tensor] | None, channels: int, positions: int) -> dict:
    if masks is None:
        return {"h": [positions] * (channels + 1), "v": [channels + 1] * positions}
    visible = ~masks[0].flatten(1)
    return {
        "h": [positions, *visible.sum(1).tolist()],
        "v": (visible.sum(0) + 1).tolist(),
    }


@contextmanager
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def measure(device: torch.device, channels: int, runs: int) -> Iterator[tuple[str, str]]:
    torch.manual_seed(0)
    config = ModelConfig()
    model = VirTues(config).to(device).eval()
    image = torch.randn(channels, 128, 128, device=device)
    embedding = torch.randn(channels, 640, device=device) * 0.2
    positions = 256
    flops = encoder_flops(config, lengths_of(None, channels, positions))

    def encode(net: VirTues, dtype: torch.dtype) -> torch.Tensor:
        # all tokens of all layers: a layer asked for keeps the last block whole
        with inference():
            layout = net.layout([image.to(dtype)], [embedding.to(dtype)], None)
            return net.encode([image.to(dtype)], [embedding.to(dtype)], layout).tokens

    multiply, work = product(device, torch.float32)
    full, alone = seconds(device, runs, lambda: encode(model, torch.float32), multiply)
    top = work / alone
    yield f"float32 matrix product, {device.type}", f"{top / 1e9:.0f} GFLOP/s"
    yield "encoder, float32", f"{full:.3f} s, {flops / full / top:.0%} of the ceiling"
    exact = encode(model, torch.float32)[:positions]

    def one(net: VirTues) -> object:
        mask = torch.zeros(channels, 16, 16, dtype=torch.bool, device=device)
        mask[3] = True
        with inference():
            return net([image], [embedding], [mask], channels=[[3]])

    def plain() -> object:
        mask = torch.zeros(channels, 16, 16, dtype=torch.bool, device=device)
        mask[3] = True
        with inference():
            return plain_forward(model, [image], [embedding], [mask])

    ours, theirs = seconds(device, runs, lambda: one(model), plain)
    yield f"inpaint 1 of {channels}", f"{ours:.3f} s, {theirs / ours:.2f} x the plain way"
    low = VirTues(config).to(device)
    low.load_state_dict(model.state_dict())
    low.to(torch.bfloat16).eval()
    multiply, work = product(device, torch.bfloat16)
    half, full, alone = seconds(
        device,
        runs,
        lambda: encode(low, torch.bfloat16),
        lambda: encode(model, torch.float32),
        multiply,
    )
    cosine = torch.cosine_similarity(
        encode(low, torch.bfloat16)[:positions].float(), exact, dim=1
    ).min()
    top = work / alone
    yield f"bfloat16 matrix product, {device.type}", f"{top / 1e9:.0f} GFLOP/s"
    yield (
        "encoder, bfloat16, weights cast once",
        f"{half:.3f} s, {flops / half / top:.0%} of the ceiling, {full / half:.2f} x float32, "
        f"cosine of summaries >= {cosine:.5f}",
    )


def measure_training(
    device: torch.device, name: str, channels: int, runs: int
) -> Iterator[tuple[str, str]]:
    config = PRESETS[name]
    model = VirTues(config).to(device)
    generator = np.random.default_rng(0)
    batch = 1 if config.model_dim > 256 else 4
    masks = [
        torch.from_numpy(draw_mask(generator, channels, (16, 16), MaskingConfig())).to(device)
        for _ in range(batch)
    ]
    images = [torch.randn(channels, 128, 128, device=device) for _ in range(batch)]
    embeddings = [torch.randn(channels, 640, device=device) * 0.2] * batch
    flops = 3 * sum(
        encoder_flops(config, lengths_of([m], channels, 256)) + decoder_flops(config, channels, 256)
        for m in masks
    )

    low = device.type == "cuda"
    multiply, work = product(device, torch.bfloat16 if low else torch.float32)

    def step(forward: Callable[[], list[torch.Tensor]]) -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            loss = reconstruction_loss(forward(), images)
        loss.backward()

    ours, theirs, alone = seconds(
        device,
        runs,
        lambda: step(lambda: model(images, embeddings, masks).reconstruction),
        lambda: step(lambda: plain_forward(model, images, embeddings, masks)),
        multiply,
    )
    yield (
        f"training step, {name}, {batch} crop(s), {'bfloat16' if low else 'float32'}",
        f"{ours:.2f} s, {theirs / ours:.2f} x the plain way, {flops / ours / (work / alone):.0%} "
        "of the ceiling",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--markers", type=int, default=40)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    rows = []
    parts = [measure(device, options.markers, options.runs)]
    parts += [
        measure_training(device, name, options.markers, options.runs)
        for name in ("published", "small")
    ]
    for row in chain.from_iterable(parts):
        print("{}: {}".format(*row), flush=True)
        rows.append(row)
    text = f"Published size, {options.markers} markers, one crop of 128 px, {device}, torch "
    text += f"{torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}.\n\n"
    text += "| | |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows) + "\n"
    if options.write:
        write_section("model speed, " + device.type, "python benchmarks/model.py", text)


def write_section(title: str, command: str, text: str) -> None:
    """Replace (or add) a section of docs/benchmarks.md."""
    old = DOCS.read_text() if DOCS.exists() else "# Benchmarks\n"
    head = f"## {title}\n"
    before, _, after = old.partition(head)
    rest = after[after.index("\n## ") + 1 :] if "\n## " in after else ""
    section = f"{head}\n`{command}`\n\n{text}\n"
    DOCS.write_text(before.rstrip() + "\n\n" + section + rest)


if __name__ == "__main__":
    main()
