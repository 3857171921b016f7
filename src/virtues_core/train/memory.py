"""How much memory a training step takes, and how many crops fit at once: found by trying."""

import dataclasses
import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil
import torch

from virtues_core.errors import DeviceError
from virtues_core.model import VirTues
from virtues_core.train.config import TrainConfig
from virtues_core.train.dataset import Sample
from virtues_core.train.masking import hide_patches
from virtues_core.train.module import Pretraining

MOST_ON_SEVERAL = 16
"""Crops at once where several devices share a step and none was named."""
_CPU_SHARE, _GPU_SHARE = 0.5, 0.9
"""Of the memory that is free when a run starts, what it may take."""
_SAID = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "alloc_failed",
    "could not create a primitive",  # oneDNN's words where its scratch memory is not given
)


@dataclass(frozen=True)
class StepCost:
    """What a training step takes, as measured."""

    device: str
    micro_batch_size: int
    """Crops at once."""
    seconds: float
    """For a whole optimiser step, its micro-batches together, without preparing crops."""
    peak_bytes: int
    """Memory of the device that PyTorch took at the most; on a CPU memory of the process."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a device's memory was exhausted."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _SAID)


def divisors(batch_size: int) -> list[int]:
    """Sizes that a micro-batch may have, ascending.

    Examples
    --------
    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    return [n for n in range(1, batch_size + 1) if batch_size % n == 0]


def smaller(config: TrainConfig) -> TrainConfig:
    """Halve the micro-batch, or a little more where the half does not divide the batch.

    Raises
    ------
    DeviceError
        It is one crop already.
    """
    now = int(config.micro_batch_size)
    if now == 1:
        raise DeviceError(_no_room(config))
    best = max(n for n in divisors(config.batch_size) if n <= now // 2)
    return dataclasses.replace(config, micro_batch_size=best)


def _no_room(config: TrainConfig) -> str:
    return (
        f"out of memory with a single crop of {config.crop_px} px: expected a device with more "
        "memory, or a smaller model, crop_px or decode_fraction. Saved steps are kept."
    )


def training_device(config: TrainConfig) -> torch.device:
    """Give the device that a config's accelerator names."""
    if config.accelerator in {"auto", "gpu", "cuda"} and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if config.accelerator in {"auto", "gpu", "mps"} and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def memory_budget(device: torch.device) -> int:
    """Bytes that a run may take on a device: most of what is free there now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(_GPU_SHARE * free) + torch.cuda.memory_reserved(device)
    taken = int(psutil.Process().memory_info().rss)
    return taken + int(_CPU_SHARE * psutil.virtual_memory().available)


def find_micro_batch(
    config: TrainConfig,
    markers: int,
    *,
    budget: int | None = None,
    on_try: Callable[[StepCost], None] | None = None,
) -> int:
    """Try micro-batches from one crop up, and give the largest that fits.

    What the next one will take is foreseen from the last one before it is tried, so that a machine
    without a limit of its own is not driven out of memory.

    Parameters
    ----------
    config
        The recipe.
    markers
        Channels of the widest panel.
    budget
        Bytes that may be taken; `memory_budget` by default.
    on_try
        Is told what each size took.

    Raises
    ------
    DeviceError
        Not even one crop fits.
    """
    if config.devices * config.nodes > 1:
        share = config.batch_size // (config.devices * config.nodes)
        return max([n for n in divisors(share) if n <= MOST_ON_SEVERAL], default=1)
    device = training_device(config)
    limit = memory_budget(device) if budget is None else budget
    fits, before, a_crop = 0, _taken(device), 0.0
    for size in divisors(config.batch_size):
        if before + size * a_crop > limit:
            break
        try:
            cost = measure_step(config, markers, micro_batch_size=size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            break
        if on_try is not None:
            on_try(cost)
        if cost.peak_bytes > limit:
            break
        fits, a_crop = size, (cost.peak_bytes - before) / size
    if not fits:
        raise DeviceError(_no_room(config))
    return fits


def measure_step(
    config: TrainConfig, markers: int, *, micro_batch_size: int | None = None
) -> StepCost:
    """Take a training step with noise for crops, and measure it.

    The crops are the most costly that a recipe draws: all markers, and as few hidden as may be.

    Parameters
    ----------
    config
        The recipe; its ``accelerator`` says where.
    markers
        Channels of the widest panel.
    micro_batch_size
        Crops at once; the config's by default (one where that is ``auto``).
    """
    given = 1 if config.micro_batch_size == "auto" else int(config.micro_batch_size)
    size = micro_batch_size or given
    device = training_device(config)
    with torch.random.fork_rng(devices=[]):  # a trial must not change what a run draws
        module = Pretraining(config, VirTues(config.model), None).to(device)
    try:
        with _peak(device) as peak:
            seconds = _second_step(module, [_costly(config, markers, device)] * size, device)
        accumulated = max(1, config.batch_size // (size * config.devices * config.nodes))
        return StepCost(str(device), size, seconds * accumulated, peak())
    finally:
        del module
        release_memory()


def _second_step(module: Pretraining, batch: Sequence[Sample], device: torch.device) -> float:
    """Seconds of the second of two steps: the first one compiles and fills caches."""
    optimizer = module.configure_optimizers()
    began = 0.0
    for _ in range(2):
        began = time.monotonic()
        with _arithmetic(module.config, device):
            loss = module.loss(batch)
        torch.autograd.backward(loss)
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return time.monotonic() - began


def release_memory() -> None:
    """Hand back what Python and the CUDA allocator hold of things that are gone."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _costly(config: TrainConfig, markers: int, device: torch.device) -> Sample:
    masking, size = config.masking, config.crop_px
    lowest = [masking.ratio[0]] * bool(masking.independent + masking.niche)
    lowest += [masking.marker_others[0]] * bool(masking.marker)
    grid = (size // config.model.patch_size,) * 2
    generator = np.random.default_rng(0)
    mask = hide_patches(generator, np.full(markers, min(lowest)), grid)
    decoded = max(1, round(config.decode_fraction * markers))
    pixels = generator.standard_normal((markers, size, size), np.float32)
    embedding = generator.standard_normal((markers, config.model.marker_embedding_dim), np.float32)
    return Sample(
        torch.from_numpy(pixels).to(device),
        torch.from_numpy(embedding).to(device),
        torch.from_numpy(mask).to(device),
        tuple(range(decoded)),
    )


def _arithmetic(config: TrainConfig, device: torch.device) -> torch.autocast:
    half = torch.float16 if config.precision == "16-mixed" else torch.bfloat16
    if device.type == "cpu":
        half = torch.bfloat16
    return torch.autocast(device.type, half, enabled=config.precision != "32-true")


def _taken(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


@contextmanager
def _peak(device: torch.device) -> Iterator[Callable[[], int]]:
    """Give a function that says how much was taken at the most since the block began."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: int(torch.cuda.max_memory_allocated(device))
        return
    process, ended = psutil.Process(), threading.Event()
    most = [_taken(device)]

    def watch() -> None:
        while not ended.wait(0.005):
            most[0] = max(most[0], int(process.memory_info().rss))

    watcher = threading.Thread(target=watch, name="peak memory", daemon=True)
    watcher.start()
    try:
        yield lambda: max(most[0], _taken(device))
    finally:
        ended.set()
        watcher.join()
