"""What a forward pass costs as the number of markers grows: VirTues beside CA-MAE.

Source: the paper, Methods, "Scaling analysis": c = m × t, where m is the memory of a forward pass
of a batch and t its time, after warm-up runs.
"""

import multiprocessing
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from virtues_core.errors import ConfigError, DeviceError
from virtues_core.evaluate.camae import CAMAE, CAMAEConfig
from virtues_core.model import ModelConfig, VirTues

MODELS = ("VirTues", "CA-MAE")
CROP_PX = 128


@dataclass(frozen=True)
class ForwardCost:
    """Cost of encoding a batch of crops, nothing hidden."""

    model: str
    """One of `MODELS`."""
    markers: int
    parameters: int
    """Of the whole model, decoders included."""
    seconds: float
    """Mean time of a batch."""
    memory_bytes: int
    """Most memory in use: on a GPU what was allocated on it, weights included; on a CPU by how much
    the process grew from before the model was made."""

    @property
    def cost(self) -> float:
        """Memory × time, in GiB · s."""
        return self.memory_bytes / 2**30 * self.seconds


@dataclass(frozen=True)
class ScalingRequest:
    """How to measure; the defaults are the paper's."""

    markers: tuple[int, ...] = (10, 20, 40, 80)
    batch_size: int = 16
    warmup: int = 10
    runs: int = 100
    device: str = "cpu"
    size: ModelConfig = field(default_factory=ModelConfig)
    """VirTues' sizes; CA-MAE gets the same width, heads and number of encoder blocks."""

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "warmup": 0, "runs": 1}
        if not self.markers or min(self.markers) < 1:
            message = f"markers: expected numbers of 1 or more, got {list(self.markers)}"
            raise ConfigError(message)
        for name, low in least.items():
            if getattr(self, name) < low:
                message = f"{name}: expected {low} or more, got {getattr(self, name)}"
                raise ConfigError(message)


def measure_scaling(
    request: ScalingRequest, said: Callable[[ForwardCost], None] = lambda _: None
) -> list[ForwardCost]:
    """Measure both models at each number of markers, each in a process of its own.

    Parameters
    ----------
    request
        What to measure.
    said
        Is told each figure as it comes.

    Raises
    ------
    DeviceError
        A measurement ended without a result: most often the memory did not do.
    """
    found = []
    context = multiprocessing.get_context("spawn")
    for markers in request.markers:
        for model in MODELS:
            answers: Any = context.SimpleQueue()
            child = context.Process(target=_answer, args=(answers, model, markers, request))
            child.start()
            child.join()
            if child.exitcode or answers.empty():
                message = (
                    f"{model} with {markers} markers and {request.batch_size} crops did not "
                    f"finish on {request.device} (exit {child.exitcode}). Take fewer markers or a "
                    "smaller batch."
                )
                raise DeviceError(message)
            found.append(answers.get())
            said(found[-1])
    return found


def _answer(answers: Any, model: str, markers: int, request: ScalingRequest) -> None:
    answers.put(measure_forward(model, markers, request))


def measure_forward(model: str, markers: int, request: ScalingRequest) -> ForwardCost:
    """Measure one model at one number of markers, in this process."""
    device = torch.device(request.device)
    before = _peak_bytes(device)
    torch.manual_seed(0)
    net, forward = _make(model, markers, request, device)
    with torch.inference_mode():
        for _ in range(request.warmup):
            forward()
        _wait(device)
        start = time.perf_counter()
        for _ in range(request.runs):
            forward()
        _wait(device)
    seconds = (time.perf_counter() - start) / request.runs
    parameters = sum(p.numel() for p in net.parameters())
    return ForwardCost(model, markers, parameters, seconds, _peak_bytes(device) - before)


def _make(
    model: str, markers: int, request: ScalingRequest, device: torch.device
) -> tuple[nn.Module, Callable[[], Any]]:
    size, batch = request.size, request.batch_size
    images = torch.randn(batch, markers, CROP_PX, CROP_PX, device=device)
    if model == "VirTues":
        virtues = VirTues(size).to(device).eval()
        embedding = torch.randn(markers, size.marker_embedding_dim, device=device)
        of_sample: list[Tensor] = list(images)
        nothing: Sequence[Sequence[int]] = [[]] * batch
        return virtues, lambda: virtues(of_sample, [embedding] * batch, None, channels=nothing)
    config = CAMAEConfig(
        tuple(f"marker {i}" for i in range(markers)),
        model_dim=size.model_dim,
        num_heads=size.num_heads,
        encoder_blocks=len(size.encoder_pattern),
        decoder_dim=size.model_dim,
        patch_size=size.patch_size,
    )
    camae = CAMAE(config).to(device).eval()
    return camae, lambda: camae.patch_tokens(images)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_bytes(device: torch.device) -> int:
    """Most memory in use so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    system = platform.system()
    if system == "Linux":  # its ru_maxrss holds what the parent process had, too
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    if system == "Darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    import psutil

    return int(psutil.Process().memory_info()._asdict()["peak_wset"])
