"""Work beside the GUI's thread, one piece after the other."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_virtues._widgets.notify import notify
from virtues_core.errors import VirtuesError

Answers = tuple[Callable[[Any], None] | None, Callable[[], None] | None]


class Background(QObject):
    """One worker thread; results come back to the GUI's thread.

    Work is done in the order of asking, so that a hundred ticks do not start a hundred threads
    and the window gets its turn between two results.
    """

    idle = Signal()
    """Nothing is left to do."""
    _ended = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="virtues-window")
        self._pending = 0
        self._closed = False
        self._ended.connect(self._deliver)

    @property
    def busy(self) -> bool:
        """Whether anything is being done or waits."""
        return self._pending > 0

    def run(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], None] | None = None,
        failed: Callable[[], None] | None = None,
    ) -> None:
        """Do ``work()`` in the worker thread, then ``done(result)`` in the GUI's thread.

        An error in either becomes a notification, and then ``failed()`` is called.
        """
        self._pending += 1
        future = self._pool.submit(work)
        future.add_done_callback(partial(self._hand_over, (done, failed)))

    def close(self) -> None:
        """Drop what waits, and the result of what is being done."""
        self._closed = True
        self._pending = 0
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _hand_over(self, answers: "Answers", future: "Future[Any]") -> None:
        if not self._closed:
            self._ended.emit(future, answers)

    def _deliver(self, future: "Future[Any]", answers: "Answers") -> None:
        done, failed = answers
        self._pending -= 1
        try:
            result = future.result()
            if done is not None:
                done(result)
        except Exception as error:  # noqa: BLE001 - whatever it is, the user is to see it
            notify(error)
            if failed is not None:
                failed()
        if not self.busy:
            self.idle.emit()


def attempt(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the work gives, or the user's mistake that it met."""
    try:
        return work(*arguments)
    except VirtuesError as error:
        return error
