"""Trainings side by side, and how far they are."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import Generic, TypeVar

T = TypeVar("T")
OnStep = Callable[[int], None]
Progress = Callable[[int, int, str, str], None]
"""Told how many trainings are done, of how many; what they are called, and which one goes on."""
SECONDS = 0.3
"""Between two words about how far they are."""


@dataclass(frozen=True)
class Task(Generic[T]):
    """A training to do."""

    name: str
    """For people: of what, which run and fold."""
    do: Callable[[OnStep], T]
    """Calls what it is given with the number of its epoch; what that raises ends it."""


class Trainings:
    """Do trainings, as many at once as PyTorch may use threads, each by one of them.

    One training by several threads gains little, for much of it is quick work on small tables; and
    so the result does not depend on how many threads there are. On other devices one at a time.

    Parameters
    ----------
    device
        Where they take place.
    total
        How many there will be in all.
    progress
        Told now and then, by the thread that calls `run`; what it raises ends the work.
    """

    def __init__(
        self, device: str = "cpu", *, total: int = 0, progress: Progress | None = None
    ) -> None:
        self.device = device
        self._total, self._progress = total, progress
        self._before, self._latest = 0, ""

    def run(self, tasks: Sequence[Task[T]]) -> list[T]:
        """Do them all, and give what they gave, in order.

        Raises
        ------
        BaseException
            What one of them or ``progress`` raised, after the others have ended too.
        """
        import torch

        threads, over = torch.get_num_threads(), Event()
        pool = ThreadPoolExecutor(
            threads if self.device == "cpu" else 1,
            initializer=torch.set_num_threads,
            initargs=(1,),
            thread_name_prefix="training",
        )
        futures = [pool.submit(task.do, self._on_step(task.name, over)) for task in tasks]
        try:
            self._follow(futures)
            return [future.result() for future in futures]
        finally:
            over.set()
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)
            self._before += len(tasks)

    def _follow(self, futures: Sequence[Future[T]]) -> None:
        """Tell how far they are until all are done or one has failed."""
        going: set[Future[T]] = set(futures)
        while going:
            ended, going = wait(going, SECONDS)
            for future in ended:
                future.result()
            if self._progress is not None:
                done = self._before + len(futures) - len(going)
                self._progress(done, self._total, "training", self._latest if going else "")

    def _on_step(self, name: str, over: Event) -> OnStep:
        def step(epoch: int) -> None:
            if over.is_set():
                raise CancelledError
            self._latest = f", {name}, epoch {epoch}"

        return step
