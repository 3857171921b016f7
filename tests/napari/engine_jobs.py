"""Jobs that the engine's tests hand to a real child process; imported there too, so no Qt here."""

import os
import shutil
import sys
import time
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from napari_virtues.engine import TileDone
from virtues_core.errors import InputError


@dataclass(frozen=True, eq=False)
class _Job:
    batch_size: int = 8

    def with_batch_size(self, batch_size: int) -> Self:
        return replace(self, batch_size=batch_size)


@dataclass(frozen=True, eq=False)
class Modules(_Job):
    """Which modules the child has imported, and who it is."""

    def run(self, worker: Any) -> tuple[int, tuple[str, ...]]:
        import virtues_core.model  # noqa: F401

        return os.getpid(), tuple(sys.modules)


@dataclass(frozen=True, eq=False)
class Double(_Job):
    """Send an array there and back."""

    values: Any = None

    def run(self, worker: Any) -> Any:
        return {"twice": self.values * 2, "batch": self.batch_size}


@dataclass(frozen=True, eq=False)
class Patient(_Job):
    """Work until told to stop; asks often."""

    def run(self, worker: Any) -> None:
        for index in range(10_000):
            if worker.cancelled():
                raise InterruptedError
            tile = np.zeros((1, 128, 128), np.float32)
            worker.emit(TileDone(index, 10_000, (0, 0), ("CD20",), tile))
            time.sleep(0.01)


@dataclass(frozen=True, eq=False)
class Deaf(_Job):
    """Work for a minute and never ask whether to stop."""

    def run(self, worker: Any) -> None:
        worker.emit(TileDone(0, 1, (0, 0), (), np.zeros((0, 128, 128), np.float32)))
        time.sleep(60)


@dataclass(frozen=True, eq=False)
class Abort(_Job):
    """Crash as a broken native library does."""

    def run(self, worker: Any) -> None:
        os.abort()


@dataclass(frozen=True, eq=False)
class Greedy(_Job):
    """Ask PyTorch for more memory than there is, unless the batch is small."""

    def run(self, worker: Any) -> int:
        import torch

        if self.batch_size > 2:
            torch.empty(2**55)
        return self.batch_size


@dataclass(frozen=True, eq=False)
class Mistake(_Job):
    """Meet a user's mistake, or a defect of ours."""

    own: bool = False

    def run(self, worker: Any) -> None:
        if self.own:
            raise KeyError("nowhere")
        message = "expected 128 px, found 64 px; choose a larger image"
        raise InputError(message)


@dataclass(frozen=True, eq=False)
class Unpicklable(_Job):
    """Give back what cannot cross."""

    def run(self, worker: Any) -> Any:
        return lambda: None


class Poison:
    """Crosses to the child only: there it cannot be read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_fail, ())


def _fail() -> None:
    raise RuntimeError("cannot be read")


@dataclass(frozen=True, eq=False)
class Filling(_Job):
    """Give back a big array when there is no folder to put it."""

    def run(self, worker: Any) -> Any:
        shutil.rmtree(worker._folder)
        return np.zeros(10**6)
