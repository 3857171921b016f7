"""Tasks for workers that do what images do at their worst; importable by a worker process."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtues_core.errors import ReadError


@dataclass(frozen=True)
class Says:
    """Writes what a variable of its environment says."""

    out: Path
    variable: str = "CUDA_VISIBLE_DEVICES"

    @property
    def name(self) -> str:
        return self.out.stem

    @property
    def outputs(self) -> tuple[Path, ...]:
        return (self.out,)

    def signature(self) -> Mapping[str, Any]:
        return {"variable": self.variable}

    def run(self, on_tile: Callable[[int, int], None] | None = None) -> str:
        self.work()
        self.out.write_text(os.environ.get(self.variable, ""))
        return self.out.read_text()

    def work(self) -> None:
        time.sleep(0.5)


class Dies(Says):
    """Ends its worker, as a system without memory does."""

    def work(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Unreadable(Says):
    def work(self) -> None:
        raise ReadError("expected an image, found none")


class Breaks(Says):
    def work(self) -> None:
        raise ValueError("a library that was surprised")


class WorksTheSecondTime(Says):
    def work(self) -> None:
        tried = self.out.with_suffix(".tried")
        if not tried.exists():
            tried.touch()
            raise OSError("the network drive was away")


class Endless(Says):
    """Tells its process and how far it is."""

    def run(self, on_tile: Callable[[int, int], None] | None = None) -> str:
        self.out.with_suffix(".pid").write_text(str(os.getpid()))
        for i in range(600):
            time.sleep(0.1)
            if on_tile is not None:
                on_tile(i, 600)
        return ""
