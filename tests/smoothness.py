"""Whether a window keeps moving: how long its thread computes without a turn of the event loop."""

import os
import time
from pathlib import Path

from qtpy.QtCore import Qt, QTimer


def stretched(limit):
    """Give more time where more processes want to run than there are cores."""
    return limit * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def waited_for_a_core():
    """Seconds in which this thread could have run, but other processes had the cores."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:  # not on Linux
        return 0.0


class Pulse:
    """Measures the longest gap between two turns of the event loop, in ms.

    ``busy`` is what the window's thread computed in it, ``own`` also counts what else it waited
    for, but for a core that another process had, and ``clock`` is all.
    """

    def __init__(self, parent):
        self.restart()
        self._timer = QTimer(parent)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(5)

    def _beat(self):
        now = self._now()
        gap = [1000 * (new - old) for new, old in zip(now, self._last, strict=True)]
        self.busy, self.own, self.clock = map(max, (self.busy, self.own, self.clock), gap)
        self._last = now

    def _now(self):
        clock = time.monotonic()
        return time.thread_time(), clock - waited_for_a_core(), clock

    def restart(self):
        self.busy = self.own = self.clock = 0.0
        self._last = self._now()

    def __str__(self):
        return f"{self.busy:.0f} / {self.own:.0f} / {self.clock:.0f} ms"


def check_smooth(pulse):
    """No stall of the window's own making; other processes may take the cores from it."""
    assert pulse.busy < stretched(100)  # the same work takes longer where others use the caches
    assert pulse.own < stretched(250)  # what it waited for was held up by other processes too
    assert pulse.clock < stretched(1000)
