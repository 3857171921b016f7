"""Many images: each is a task for a worker process of a dask cluster, here or elsewhere.

What fails is tried once more after all the others, then told; the rest goes on. What is there
already, made by the same request, is left as it is (see `virtues_core.infer.signed`). A worker
that dies costs the image that it had in hand one try, and no other: no more images are handed out
than there are workers.
"""

import logging
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from virtues_core.errors import InputError, VirtuesError
from virtues_core.infer.signed import Signed, is_made, sign

if TYPE_CHECKING:
    from distributed import Client, Future

TRIES = 2
"""How often an image is tried."""
_POLL_S = 0.2
_TILES = "virtues-tiles"
"""Topic of the messages that tell how far a worker is with an image."""
_TILES_EVERY_S = 1.0
_CONNECT_S = 10
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Task(Signed, Protocol):
    """What is to be done with one image: names and numbers, which can be sent to a worker."""

    @property
    def name(self) -> str:
        """What the image is called among the others."""

    def run(self, on_tile: Callable[[int, int], None] | None = None) -> str:
        """Do it and say what was made; an image that cannot be used raises."""


@dataclass(frozen=True)
class Outcome:
    """What became of one image."""

    name: str
    state: Literal["made", "kept", "failed"]
    """``kept``: it was there already, made by the same request."""
    said: str = ""
    """What was made, or why it was not."""
    trace: str = ""
    """Traceback of a failure that is not the user's."""


@dataclass(frozen=True)
class Cluster:
    """Where the work is done."""

    scheduler: str = ""
    """Address of a dask scheduler, such as ``tcp://host:8786``; by default worker processes are
    started on this machine, and end with the run."""
    environments: tuple[Mapping[str, str], ...] = ({},)
    """One worker each, of this machine: what it has in its environment; see `environments`."""


def environments(
    device: str, workers: int | None = None, *, visible: str | None = None
) -> tuple[dict[str, str], ...]:
    """Say what each worker of this machine shall have in its environment: one GPU, and its threads.

    Parameters
    ----------
    device
        ``cpu``, ``cuda`` or ``mps``.
    workers
        How many; by default one for each GPU, and one on other devices.
    visible
        GPUs to use, as ``CUDA_VISIBLE_DEVICES`` names them; by default all that PyTorch sees.

    Raises
    ------
    InputError
        Fewer than one worker.

    Examples
    --------
    >>> [found["CUDA_VISIBLE_DEVICES"] for found in environments("cuda", visible="2,3")]
    ['2', '3']
    >>> environments("cpu")
    ({},)
    """
    if workers is not None and workers < 1:
        message = f"workers: expected 1 or more, found {workers}."
        raise InputError(message)
    gpus: list[str] = []
    if device == "cuda":
        visible = _gpus() if visible is None else visible
        gpus = [name.strip() for name in visible.split(",") if name.strip()]
    count = workers or len(gpus) or 1
    shared: dict[str, str] = {}
    if count > 1:  # else the libraries of each would take all cores
        threads = str(max(1, (os.cpu_count() or 1) // count))
        shared = {name: os.environ.get(name, threads) for name in _THREADS}
    chosen = [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {} for i in range(count)]
    return tuple(shared | one for one in chosen)


def run_many(
    tasks: Sequence[Task],
    cluster: Cluster,
    *,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[float, str], None] | None = None,
) -> tuple[Outcome, ...]:
    """Do all tasks on a cluster, whatever becomes of some.

    Parameters
    ----------
    tasks
        One an image, with names that differ. Files must have the same paths on all workers.
    cluster
        Where.
    on_outcome
        Called with each outcome as it comes.
    on_progress
        Called some times a second with the share that is done, 0 to 1, and a message.

    Returns
    -------
    tuple of Outcome
        One a task, in their order.

    Raises
    ------
    VirtuesError
        The scheduler cannot be reached, or went away; what was made stays, and is not made again.
    """
    with _client(cluster) as client:
        run = _Run(client, tasks, on_outcome or _ignore, on_progress or _ignore)
        client.subscribe_topic(_TILES, run.hear)
        try:
            run.go_on_to_the_end()
        finally:
            client.cancel(list(run.running), reason="the run ended", force=True)
    return tuple(run.outcomes[task.name] for task in tasks)


class _Run:
    """Tasks that wait, those that run, and what became of the others."""

    def __init__(
        self,
        client: "Client",
        tasks: Sequence[Task],
        on_outcome: Callable[[Outcome], None],
        on_progress: Callable[[float, str], None],
    ) -> None:
        self._client = client
        self._waiting = deque((task, 1) for task in tasks)
        self._total = len(tasks)
        self._on_outcome, self._on_progress = on_outcome, on_progress
        self._shares: dict[str, float] = {}
        self.running: dict[Future[Outcome], tuple[Task, int]] = {}
        self.outcomes: dict[str, Outcome] = {}

    def go_on_to_the_end(self) -> None:
        """Hand out tasks, and take outcomes, until each has one."""
        while self._waiting or self.running:
            workers = self._workers()
            while self._waiting and len(self.running) < max(1, workers):
                task, tried = self._waiting.popleft()
                self.running[self._client.submit(_attempt, task, pure=False)] = task, tried
            for future in [future for future in self.running if future.done()]:
                self._take(future, *self.running.pop(future))
            self._tell(workers)
            time.sleep(_POLL_S)

    def _workers(self) -> int:
        if self._client.status != "running":
            message = (
                "expected a dask scheduler that stays until the end, found that it went away. "
                "Start it and run the same command again: what was made is not made again."
            )
            raise VirtuesError(message)
        return sum(self._client.nthreads().values())

    def _take(self, future: "Future[Outcome]", task: Task, tried: int) -> None:
        outcome = _outcome_of(future, task)
        self._shares.pop(task.name, None)
        if outcome.state == "failed" and tried < TRIES:
            self._waiting.append((task, tried + 1))
            return
        self.outcomes[task.name] = outcome
        self._on_outcome(outcome)

    def _tell(self, workers: int) -> None:
        done = len(self.outcomes)
        share = (done + sum(self._shares.values())) / max(1, self._total)
        failed = sum(outcome.state == "failed" for outcome in self.outcomes.values())
        said = f"{done} of {self._total} images"
        said += f", {failed} of them failed" if failed else ""
        self._on_progress(min(1.0, share), said if workers else f"{said}; waiting for a worker")

    def hear(self, event: tuple[float, tuple[str, float]]) -> None:
        """Take what a worker says of how far it is."""
        name, share = event[1]
        if name not in self.outcomes:
            self._shares[name] = share


def _attempt(task: Task) -> Outcome:
    """Do one task, on a worker."""
    try:
        signature = task.signature()
        if is_made(task, signature):
            return Outcome(task.name, "kept")
        said = task.run(_teller(task.name))
        sign(task, signature)
    except VirtuesError as error:
        return Outcome(task.name, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - one image may break any library; the others go on
        said = f"{type(error).__name__}: {error}"
        return Outcome(task.name, "failed", said, traceback.format_exc())
    return Outcome(task.name, "made", said)


def _teller(name: str) -> Callable[[int, int], None]:
    """Tell how far an image is, once a second."""
    from distributed import get_worker

    worker, last = get_worker(), 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _TILES_EVERY_S:
            last = time.monotonic()
            worker.log_event(_TILES, (name, done / total))

    return tell


def _outcome_of(future: "Future[Outcome]", task: Task) -> Outcome:
    from distributed import KilledWorker

    if future.status == "finished":
        found: Outcome = future.result()
        return replace(found, name=task.name)
    error = None if future.cancelled() else future.exception()
    if isinstance(error, KilledWorker):
        said = (
            "its worker process died in mid-work: ended from outside, or for want of memory. Free "
            "some, or give more to each worker"
        )
    else:
        said = "the scheduler gave it up" if error is None else f"{type(error).__name__}: {error}"
    return Outcome(task.name, "failed", said)


@contextmanager
def _client(cluster: Cluster) -> "Iterator[Client]":
    """Connect to a scheduler, or start one with workers here."""
    from distributed import Client

    with ExitStack() as stack:
        address = cluster.scheduler or stack.enter_context(local_workers(cluster.environments))
        try:
            client = Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            message = (
                f"expected a dask scheduler at {address!r}, found none ({error}). Give its address "
                "as `dask scheduler` prints it, such as tcp://host:8786."
            )
            raise InputError(message) from error
        yield stack.enter_context(client)


@contextmanager
def local_workers(environments: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Start a scheduler and a worker process for each environment, for this machine alone.

    Parameters
    ----------
    environments
        Of each worker: what is added to its environment.

    Yields
    ------
    str
        The scheduler's address; it and the workers end with the block.
    """
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    here = {"host": "127.0.0.1", "dashboard": False}
    worker = here | {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    scheduler = here | {"port": 0, "dashboard_address": ":0", "allowed_failures": 0}
    changed = {
        "distributed.deploy.lost-worker-timeout": "1 hour",  # else one that starts again is let go
        "distributed.nanny.pre-spawn-environ": {},  # else each worker has one thread
    }
    with (
        dask.config.set(changed),
        SpecCluster(
            scheduler={"cls": Scheduler, "options": scheduler},
            workers={
                i: {"cls": Nanny, "options": worker | {"env": dict(environment)}}
                for i, environment in enumerate(environments)
            },
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster.scheduler_address


def _gpus() -> str:
    """Name the GPUs that PyTorch sees, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    seen = ",".join(str(i) for i in range(torch.cuda.device_count()))
    return os.environ.get("CUDA_VISIBLE_DEVICES", seen)


def _ignore(*_: Any) -> None:
    pass
