"""The window's end of the engine: starts the child, hands it jobs, outlives its crashes."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from psygnal import Signal

from napari_virtues.engine import messages
from napari_virtues.engine.session import Session
from virtues_core.errors import VirtuesError

GRACE_S = 0.5
"""How long a job may take to obey a request to stop before the child is ended."""


@dataclass(frozen=True)
class _Begin:
    """Start the child, if it does not run."""


@dataclass(frozen=True)
class _Submit:
    run: messages.Run


@dataclass(frozen=True)
class _Stop:
    """Cancel the job that runs."""


@dataclass(frozen=True)
class _Close:
    """End the child and this engine's thread."""


@dataclass(frozen=True, eq=False)
class _Heard:
    session: Session
    event: messages.Event


@dataclass(frozen=True, eq=False)
class _Died:
    session: Session


_Note = _Begin | _Submit | _Stop | _Close | _Heard | _Died


class Engine:
    """Runs one job at a time in a child process that keeps the model between jobs.

    Nothing starts before the first `start` or `submit`. All methods return at once and may be
    called from the thread of the window; all that happens is told through `event`, which is
    emitted from a background thread: marshal it to the window's thread before touching widgets.

    Every submitted job ends with exactly one `Finished`, `Failed` or `Cancelled` that carries its
    number. After a crash of the child, or want of memory there, jobs run with half the batch.
    """

    event = Signal(object)
    """An `Event` from the child or about it."""

    def __init__(self, *, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._notes: queue.Queue[_Note] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._current: messages.Run | None = None  # written under the lock
        self._deadline: float | None = None
        self._stopping = False
        self._closed = False
        self._numbers = 0
        self.batch_limit: int | None = None
        """Most tiles at once, since the child ran out of memory or crashed; None: no limit."""

    @property
    def pid(self) -> int | None:
        """The child's process id; None while none runs."""
        session = self._session
        return session.pid if session is not None else None

    @property
    def busy(self) -> bool:
        """Whether a job was submitted that has not ended."""
        return self._current is not None

    def start(self) -> None:
        """Start the child ahead of the first job; `Ready` tells when it is up."""
        self._note(_Begin())

    def submit(self, job: messages.Job) -> int:
        """Hand a job to the child, starting it if need be.

        Returns
        -------
        int
            The job's number, which its last event carries.

        Raises
        ------
        VirtuesError
            Another job runs, or the engine was closed.
        """
        with self._lock:
            if self._closed or self._current is not None:
                why = "is closed" if self._closed else "still works on another run"
                message = f"the engine {why}; wait for it to end, or cancel it, then run again"
                raise VirtuesError(message)
            self._numbers += 1
            self._current = messages.Run(self._numbers, job)
        self._note(_Submit(self._current))
        return self._numbers

    def cancel(self) -> None:
        """Stop the job that runs; without one, do nothing."""
        self._note(_Stop())

    def close(self) -> None:
        """End the child and forget about it; waits for a moment at the most."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        session = self._session
        if session is not None:
            session.kill()
        if self._thread is not None:
            self._notes.put(_Close())
            if self._thread is not threading.current_thread():
                self._thread.join(timeout=1.0)

    def _note(self, note: _Note) -> None:
        with self._lock:
            if self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
                self._thread.start()
        self._notes.put(note)

    def _serve(self) -> None:
        """Handle notes one after the other: all changes of state happen in this thread."""
        handlers: dict[type, Callable[..., None]] = {
            _Begin: self._on_begin,
            _Submit: self._on_submit,
            _Stop: self._on_stop,
            _Heard: self._on_heard,
            _Died: self._on_died,
        }
        while True:
            try:
                note = self._notes.get(timeout=self._patience())
            except queue.Empty:
                self._on_patience_lost()
                continue
            if isinstance(note, _Close):
                break
            handlers[type(note)](note)
        if self._session is not None:
            self._session.end()

    def _patience(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _on_patience_lost(self) -> None:
        self._deadline = None
        if self._session is not None:
            self._session.kill()  # its death is noted, and answered there

    def _on_begin(self, _note: _Begin) -> None:
        try:
            self._running()
        except OSError as error:
            self.event.emit(messages.Failed(0, _could_not_start(error)))

    def _running(self) -> Session:
        if self._session is None:
            self._session = Session(
                heard=lambda session, event: self._notes.put(_Heard(session, event)),
                died=lambda session: self._notes.put(_Died(session)),
            )
        return self._session

    def _on_submit(self, note: _Submit) -> None:
        try:
            session = self._running()
            job = note.run.job
            if self.batch_limit is not None and job.batch_size > self.batch_limit:
                job = job.with_batch_size(self.batch_limit)
            run = replace(note.run, job=job)
            with self._lock:
                self._current = run
            session.send(run)
            self.event.emit(messages.Started(run.number, job.batch_size))
        except BrokenPipeError:
            return  # the child just died: that is noted on its own
        except OSError as error:
            self._end(messages.Failed(note.run.number, _could_not_start(error)))

    def _on_stop(self, _note: _Stop) -> None:
        if self._current is None or self._stopping or self._session is None:
            return
        self._stopping = True
        self._deadline = time.monotonic() + self._grace_s
        try:
            self._session.send(messages.Cancel(self._current.number))
        except OSError:
            self._session.kill()

    def _on_heard(self, note: _Heard) -> None:
        event = note.event
        on_the_way = messages.Ready | messages.Loading | messages.Progress | messages.TileDone
        if isinstance(event, on_the_way):
            self.event.emit(event)
        elif isinstance(event, messages.OutOfMemory):
            self._end(self._failed(f"memory ran out in the engine ({event.message})"))
        else:
            self._end(event)

    def _on_died(self, note: _Died) -> None:
        if note.session is not self._session:
            return
        self._session = None
        reason = note.session.end()
        if self._current is None:
            return  # nobody waits for it: the next job starts another
        if self._stopping:
            self._end(messages.Cancelled(self._current.number))
            self._on_begin(_Begin())  # warm again for the next job
        else:
            self._end(self._failed(f"the engine stopped unexpectedly: {reason.what}", reason.log))

    def _failed(self, what: str, detail: str = "") -> messages.Failed:
        """Halve the batch for the jobs to come, and say so."""
        run = self._current
        if run is None:
            return messages.Failed(0, what, detail=detail)
        self.batch_limit = max(1, run.job.batch_size // 2)
        tiles = "1 tile" if self.batch_limit == 1 else f"{self.batch_limit} tiles"
        message = f"{what}. Run again: it starts afresh, with {tiles} at once"
        if run.job.batch_size == 1:
            message += "; if it fails again, hide fewer markers, crop the image or use the CPU"
        return messages.Failed(run.number, f"{message}.", self.batch_limit, detail)

    def _end(self, event: messages.Event) -> None:
        with self._lock:
            self._current = None
        self._stopping = False
        self._deadline = None
        self.event.emit(event)


def _could_not_start(error: OSError) -> str:
    return (
        f"could not reach the engine's process: {error.strerror or error}. "
        "Close other programs or free some disk space, then run again."
    )
