"""What crosses the pipe between the window and the child that owns the model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray


class Worker(Protocol):
    """What a job finds in the child while it runs."""

    def emit(self, event: "Event") -> None:
        """Send an event to the window."""

    def cancelled(self) -> bool:
        """Whether the window asked to stop; ask often."""

    def checkpoint(self, name: str, device: str) -> Any:
        """Return the checkpoint, loaded on the device; kept for the next job that wants it."""


class Job(Protocol):
    """Something the child does: a picklable frozen dataclass."""

    @property
    def batch_size(self) -> int:
        """How many tiles go through the model at once."""

    def with_batch_size(self, batch_size: int) -> Self:
        """Return the same job with another batch size."""

    def run(self, worker: Worker) -> Any:
        """Do the work in the child and return a picklable result."""


@dataclass(frozen=True)
class Run:
    """Window → child: do this job."""

    number: int
    job: Job


@dataclass(frozen=True)
class Cancel:
    """Window → child: stop that job at the next chance."""

    number: int


@dataclass(frozen=True)
class Ready:
    """The child is up and has looked for devices."""

    pid: int
    devices: tuple[str, ...]
    """What PyTorch finds here, fastest first: of "cuda", "mps", "cpu"."""


@dataclass(frozen=True)
class Started:
    """A job was handed to the child."""

    number: int
    batch_size: int
    """Tiles at once: what was asked for, or fewer after a crash or want of memory."""


@dataclass(frozen=True)
class Loading:
    """The child reads something before it can compute."""

    what: str


@dataclass(frozen=True)
class Progress:
    """So much of a job is done."""

    done: int
    """Tiles."""
    total: int


@dataclass(frozen=True)
class TileDone:
    """One tile of the image is done."""

    index: int
    total: int
    origin: tuple[int, int]
    """Top-left pixel (y, x)."""
    channels: tuple[str, ...]
    prediction: NDArray[np.float32]
    """(K, 128, 128), model units, one plane for each of ``channels``."""


@dataclass(frozen=True)
class Finished:
    """The job is done."""

    number: int
    result: Any


@dataclass(frozen=True)
class Failed:
    """The job, or the child itself, broke; the next job works again."""

    number: int
    message: str
    """What was expected, what was found and what to do, for the person at the window."""
    smaller_batch: int | None = None
    """The batch size the next job will run with, after a crash or want of memory."""
    detail: str = ""
    """For a report to the developers; empty for a user's own mistake."""


@dataclass(frozen=True)
class Cancelled:
    """The job was stopped because the window asked for it."""

    number: int


@dataclass(frozen=True)
class OutOfMemory:
    """Child → window: the job did not fit into memory; the engine makes a `Failed` of it."""

    number: int
    message: str


Event = (
    Ready | Started | Loading | Progress | TileDone | Finished | Failed | Cancelled | OutOfMemory
)
Send = Callable[[Event], None]
