"""Writing how a run stands, with a heartbeat, by the process that does the work."""

import contextlib
import dataclasses
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from virtues_core.errors import RunError, VirtuesError
from virtues_core.run_dir.records import (
    CANCEL,
    UNDER_WAY,
    Resources,
    Status,
    first_process,
    read_run,
    read_status,
    write_status,
)

HEARTBEAT_S = 5.0
"""Seconds between heartbeats."""
LOOK_S = 0.5
"""Seconds between two looks for news to write, and for a wish to cancel."""


class StatusWriter:
    """Writes ``status.json`` and its heartbeat, from a thread, while the block it heads goes on.

    The block that ends without an error leaves ``finished``, or what `end` said; a
    `VirtuesError` leaves ``failed`` with its text, a `KeyboardInterrupt` ``stopped``, anything else
    ``failed`` with its kind. A file ``cancel`` in the folder interrupts the main thread as Ctrl-C
    does.

    Parameters
    ----------
    run_dir
        Is made where it is missing.
    state
        What to begin with: running, or waiting.

    Raises
    ------
    RunError
        On entering the block: another process is at work in this run directory.
    """

    _current: ClassVar["StatusWriter | None"] = None

    def __init__(self, run_dir: Path, state: str = "running") -> None:
        self.run_dir = Path(run_dir)
        me = psutil.Process()
        self._status = Status(state, time.time(), pid=me.pid, host=socket.gethostname(),
                              created=me.create_time())  # fmt: skip
        self._meter = _Meter(me)
        self._news = True
        self._ended: tuple[str, str] | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._complained = False
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @staticmethod
    def current() -> "StatusWriter | None":
        """Return the one at work in this process; None where no run directory is written."""
        return StatusWriter._current

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._wish() > 0

    def _wish(self) -> int:
        """Time of the last wish to stop, in ns; 0 without one."""
        try:
            return (self.run_dir / CANCEL).stat().st_mtime_ns
        except OSError:
            return 0

    def update(
        self,
        progress: float | None = None,
        message: str | None = None,
        step: int | None = None,
        *,
        state: str | None = None,
    ) -> None:
        """Change what is given of the status; it is written within half a second.

        Cheap: it may be called for each step of a training. ``progress`` is 0 to 1.
        """
        given = {"progress": progress, "message": message, "step": step, "state": state}
        with self._lock:
            if progress is not None and self._status.started is None:
                given |= {"started": time.time(), "started_progress": progress}
            changed = {name: value for name, value in given.items() if value is not None}
            self._status = dataclasses.replace(self._status, **changed)  # type: ignore[arg-type]
            self._news = True

    def end(self, state: str, message: str = "") -> None:
        """Say how the run ended, to be written when the block ends: finished, stopped or failed."""
        self._ended = state, message

    def __enter__(self) -> Self:
        self._refuse_a_second()
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._write()
        self._thread.start()
        StatusWriter._current = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        with contextlib.suppress(KeyboardInterrupt):  # a cancel that came in the last moment
            self._thread.join()
        self._thread.join()
        StatusWriter._current = None
        state, message = _how_it_ended(error, self._ended or ("finished", ""), self.run_dir)
        progress = 1.0 if state == "finished" else None
        self.update(progress, message, state=state)
        self._write()

    def _refuse_a_second(self) -> None:
        try:
            there = read_status(self.run_dir)
        except RunError:  # there is none; or it cannot be read, and is written anew
            return
        if there.state in UNDER_WAY and there.pid not in {None, os.getpid()}:
            message = (
                f"expected that nobody is at work in {str(self.run_dir)!r}, found process "
                f"{there.pid} on {there.host}. Wait for it, or cancel it."
            )
            raise RunError(message)

    def _write(self) -> None:
        """Replace the file. A full disk must not end the work: it is said once, in the log."""
        with self._lock:
            self._status = status = dataclasses.replace(self._status, heartbeat=time.time())
            self._news = False
        try:
            write_status(self.run_dir, status)
        except VirtuesError as error:
            if not self._complained:
                with contextlib.suppress(OSError):  # the log may be on the same disk
                    print(f"the run goes on, but {error}", file=sys.stderr, flush=True)
            self._complained = True

    def _beat(self) -> None:
        heard = 0
        measured = 0.0
        while not self._over.wait(LOOK_S):
            if (wish := self._wish()) > heard:  # each is one Ctrl-C
                heard = wish
                interrupt_main()
            if time.time() - measured >= HEARTBEAT_S:
                measured = time.time()
                resources = self._meter.measure()
                with self._lock:
                    self._status = dataclasses.replace(self._status, resources=resources)
                    self._news = True
            if self._news:
                self._write()


@contextmanager
def run_status(run_dir: Path) -> Iterator[StatusWriter]:
    """Give the status of the run that this code is part of.

    That of the job, where a job runs this; else one of its own for ``run_dir``. Of a training
    in several processes the first one writes; what the others say is dropped.
    """
    current = StatusWriter.current()
    if current is not None:
        yield current
    elif not first_process():
        yield StatusWriter(run_dir)  # is never entered, so that it writes nothing
    else:
        (Path(run_dir) / CANCEL).unlink(missing_ok=True)  # a wish that was for an earlier start
        with StatusWriter(run_dir) as own:
            yield own


def _how_it_ended(
    error: BaseException | None, told: tuple[str, str], run_dir: Path
) -> tuple[str, str]:
    if error is None:
        return told
    if isinstance(error, KeyboardInterrupt):
        return "stopped", stopped_words(run_dir)
    if isinstance(error, VirtuesError):
        return "failed", str(error)
    return "failed", f"{type(error).__name__}: an error of the program; the log says more"


def stopped_words(run_dir: Path, how: str = "stopped") -> str:
    """Say of a run how it was ended, and what resuming does."""
    try:
        return f"{how}; {read_run(run_dir).if_resumed}"
    except RunError:  # nothing says what it is
        return how


def interrupt_main() -> None:
    """Interrupt the main thread as Ctrl-C does, on any system."""
    if hasattr(signal, "pthread_kill"):  # wakes the main thread where it waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        import _thread

        _thread.interrupt_main()


class _Meter:
    """Measures what this process and its children take."""

    def __init__(self, me: psutil.Process) -> None:
        self._me = me
        self._family: dict[int, psutil.Process] = {}

    def measure(self) -> Resources | None:
        """Measure since the last call; None where the system does not tell."""
        try:
            now = {process.pid: process for process in self._me.children(recursive=True)}
        except psutil.Error:
            return None
        now[self._me.pid] = self._me
        # the known ones remember the processor time of the last call
        self._family = {pid: self._family.get(pid, process) for pid, process in now.items()}
        cpu, ram = 0.0, 0
        for process in self._family.values():
            with contextlib.suppress(psutil.Error):
                cpu += process.cpu_percent()
                ram += process.memory_info().rss
        return Resources(round(cpu, 1), ram, *_gpu())


def _gpu() -> tuple[int | None, float | None]:
    """Ask PyTorch for memory and use of its CUDA device, where the run has begun to use it."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    begun = getattr(cuda, "is_initialized", None)  # missing while PyTorch is being imported
    if cuda is None or begun is None or not begun():
        return None, None
    try:
        busy: float | None = float(cuda.utilization())
    except (ImportError, RuntimeError, OSError):
        busy = None
    return int(cuda.memory_reserved()), busy
