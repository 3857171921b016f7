"""The engine with a real child process that really crashes, hangs and runs out of memory."""

import os
import queue
import signal
import subprocess
import sys
import time

import engine_jobs
import numpy as np
import psutil
import pytest

from napari_virtues.engine import (
    Cancelled,
    Engine,
    Failed,
    Finished,
    Ready,
    Started,
    TileDone,
    transfer,
)
from virtues_core.errors import VirtuesError


class Listener:
    """Collects what an engine tells, from whatever thread."""

    def __init__(self, engine):
        self.events = queue.Queue()
        self.seen = []
        engine.event.connect(self.events.put)

    def until(self, kind, timeout=120.0):
        deadline = time.monotonic() + timeout
        while True:
            event = self.events.get(timeout=max(0.01, deadline - time.monotonic()))
            self.seen.append(event)
            if isinstance(event, kind):
                return event


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture
def listener(engine):
    return Listener(engine)


def test_nothing_starts_before_it_is_needed(engine, listener):
    assert engine.pid is None
    engine.cancel()
    engine.start()
    ready = listener.until(Ready)
    assert ready.pid == engine.pid
    assert ready.devices[-1] == "cpu"


def test_child_imports_no_window_library_and_lives_on_between_jobs(engine, listener):
    engine.submit(engine_jobs.Modules())
    first, modules = listener.until(Finished).result
    engine.submit(engine_jobs.Modules())
    second, _ = listener.until(Finished).result
    assert first == second == engine.pid
    roots = {name.split(".")[0] for name in modules}
    assert "torch" in roots
    assert not roots & {"napari", "qtpy", "PyQt6", "PySide6", "magicgui", "vispy"}


def test_window_process_imports_no_torch():
    code = (
        "import sys, napari_virtues.engine; "
        "sys.exit(any(m.split('.')[0] in ('torch', 'napari', 'qtpy') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("size", [10, 200_000])
def test_arrays_cross_both_ways(engine, listener, size):
    values = np.arange(size, dtype=np.float32)
    number = engine.submit(engine_jobs.Double(values=values))
    finished = listener.until(Finished)
    assert finished.number == number
    np.testing.assert_array_equal(finished.result["twice"], values * 2)


def test_big_arrays_go_beside_the_pipe_and_leave_no_file(tmp_path):
    big = np.arange(transfer.BIG_BYTES, dtype=np.uint8)
    small = big[:10]
    data = transfer.dumps((big, small), tmp_path)
    assert len(data) < 1000
    assert len(list(tmp_path.iterdir())) == 1
    again, little = transfer.loads(data, tmp_path)
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(again, big)
    np.testing.assert_array_equal(little, small)


def test_cancel_is_obeyed_within_a_second_and_the_child_kept(engine, listener):
    engine.submit(engine_jobs.Patient())
    listener.until(TileDone)
    pid, asked = engine.pid, time.monotonic()
    engine.cancel()
    listener.until(Cancelled)
    assert time.monotonic() - asked < 1.0
    engine.submit(engine_jobs.Modules())
    assert listener.until(Finished).result[0] == pid


def test_cancel_ends_a_child_that_does_not_listen(engine, listener):
    engine.submit(engine_jobs.Deaf())
    listener.until(TileDone)
    pid, asked = engine.pid, time.monotonic()
    engine.cancel()
    listener.until(Cancelled)
    assert time.monotonic() - asked < 1.0
    assert not psutil.pid_exists(pid)
    assert engine.batch_limit is None
    engine.submit(engine_jobs.Modules())
    assert listener.until(Finished).result[0] != pid


def test_killed_child_is_a_message_and_the_next_run_works_with_a_smaller_batch(engine, listener):
    engine.submit(engine_jobs.Deaf())
    listener.until(TileDone)
    os.kill(engine.pid, signal.SIGKILL)
    failed = listener.until(Failed)
    assert "memory" in failed.message
    assert "4 tiles" in failed.message
    assert failed.smaller_batch == 4
    engine.submit(engine_jobs.Double(values=np.ones(3)))
    assert listener.until(Started).batch_size == 4
    assert listener.until(Finished).result["batch"] == 4


def test_abort_is_told_with_the_log(engine, listener):
    engine.submit(engine_jobs.Abort())
    failed = listener.until(Failed)
    assert "SIGABRT" in failed.message
    assert "engine_jobs.py" in failed.detail  # where it happened, for a report
    assert "Traceback" not in failed.message
    engine.submit(engine_jobs.Double(values=np.ones(3)))
    listener.until(Finished)


def test_out_of_memory_halves_the_batch_until_it_fits(engine, listener):
    for expected in (4, 2):
        engine.submit(engine_jobs.Greedy())
        failed = listener.until(Failed)
        assert "memory ran out" in failed.message
        assert failed.smaller_batch == expected
    pid = engine.pid
    engine.submit(engine_jobs.Greedy())
    assert listener.until(Finished).result == 2
    assert engine.pid == pid


def test_a_users_mistake_is_its_own_message(engine, listener):
    engine.submit(engine_jobs.Mistake())
    failed = listener.until(Failed)
    assert failed.message == "expected 128 px, found 64 px; choose a larger image"
    assert failed.detail == ""
    assert failed.smaller_batch is None


def test_a_defect_is_told_without_its_traceback(engine, listener):
    engine.submit(engine_jobs.Mistake(own=True))
    failed = listener.until(Failed)
    assert "KeyError" in failed.message
    assert "Traceback" not in failed.message
    assert "Traceback" in failed.detail


def test_one_job_at_a_time(engine, listener):
    engine.submit(engine_jobs.Patient())
    assert engine.busy
    with pytest.raises(VirtuesError, match="still works on another run"):
        engine.submit(engine_jobs.Patient())
    engine.cancel()
    listener.until(Cancelled)
    assert not engine.busy


def test_close_ends_the_child_and_its_folder(engine, listener, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine.start()
    pid = listener.until(Ready).pid
    assert list(tmp_path.iterdir())
    engine.close()
    assert _gone(pid)
    assert not list(tmp_path.iterdir())
    with pytest.raises(VirtuesError, match="closed"):
        engine.submit(engine_jobs.Modules())


def test_child_dies_with_a_window_that_was_killed():
    code = (
        "import sys, time\n"
        "from napari_virtues.engine import Engine, Ready\n"
        "engine = Engine()\n"
        "tell = lambda e: isinstance(e, Ready) and print(e.pid, flush=True)\n"
        "engine.event.connect(tell)\n"
        "engine.start(); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as window:
        pid = int(window.stdout.readline())
        assert psutil.pid_exists(pid)
        window.kill()
    assert _gone(pid)


def _gone(pid, timeout=3.0):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_a_full_disk_is_told(engine, listener):
    engine.submit(engine_jobs.Filling())
    assert "could not be handed over" in listener.until(Failed).message


def test_what_cannot_cross_is_told_and_the_next_run_works(engine, listener):
    engine.submit(engine_jobs.Unpicklable())
    assert "exit code" in listener.until(Failed).message
    engine.submit(engine_jobs.Double(values=engine_jobs.Poison()))
    assert "exit code 70" in listener.until(Failed).message
    engine.submit(engine_jobs.Double(values=np.ones(3)))
    listener.until(Finished)


def test_a_child_that_cannot_start_is_told(engine, listener, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    engine.start()
    assert "could not reach the engine's process" in listener.until(Failed).message
    engine.submit(engine_jobs.Modules())
    failed = listener.until(Failed)
    assert failed.number == 1
    assert "could not reach the engine's process" in failed.message
    monkeypatch.undo()
    engine.submit(engine_jobs.Double(values=np.ones(3)))
    listener.until(Finished)
