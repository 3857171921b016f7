"""What a run directory says, and what it says when it was killed, cut short or edited."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from virtues_core.errors import InputError, RunError
from virtues_core.run_dir import (
    CANCEL,
    RUN,
    STATUS,
    Status,
    StatusWriter,
    read_run,
    read_status,
    run_status,
    update_run,
    write_status,
)

HERE = socket.gethostname()


def running(**values: object) -> Status:
    """Status of a run that this process does."""
    me = psutil.Process()
    status = Status("running", time.time(), pid=me.pid, host=HERE, created=me.create_time())
    return replace(status, **values)  # type: ignore[arg-type]


def eventually(run_dir: Path, **wanted: object) -> Status:
    deadline = time.monotonic() + 20
    while True:
        status = read_status(run_dir)
        if all(getattr(status, name) == value for name, value in wanted.items()):
            return status
        assert time.monotonic() < deadline, (wanted, status)
        time.sleep(0.05)


def test_a_run_tells_how_it_stands_and_what_it_takes(tmp_path: Path) -> None:
    with StatusWriter(tmp_path / "run") as writer:
        assert StatusWriter.current() is writer
        writer.update(0.25, "tile 1 of 4", step=1)
        status = eventually(tmp_path / "run", progress=0.25, message="tile 1 of 4", step=1)
        assert (status.state, status.pid, status.host) == ("running", os.getpid(), HERE)
        while status.resources is None:
            status = read_status(tmp_path / "run")
        assert status.resources.ram_bytes > 10e6
    assert StatusWriter.current() is None
    ended = read_status(tmp_path / "run")
    assert (ended.state, ended.progress, ended.message) == ("finished", 1.0, "")


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (InputError("expected an image"), "failed", "expected an image"),
        (KeyboardInterrupt(), "stopped", "stopped; resume runs it again from the beginning"),
        (ValueError("patient 17"), "failed", "ValueError"),
    ],
)
def test_how_a_run_ended_is_told(
    tmp_path: Path, error: BaseException, state: str, told: str
) -> None:
    update_run(tmp_path, command="stratify")
    with pytest.raises(type(error)), StatusWriter(tmp_path):
        raise error
    status = read_status(tmp_path)
    assert status.state == state
    assert told in status.message
    assert "17" not in status.message  # what an error of the program says may be a patient's value


def test_the_time_left_goes_by_the_pace_of_this_start() -> None:
    status = running(heartbeat=200.0, started=100.0, started_progress=0.5, progress=0.75)
    assert status.seconds_left == pytest.approx(100)  # a quarter took 100 s, a quarter is left
    assert replace(status, progress=0.5).seconds_left is None
    assert replace(status, state="finished").seconds_left is None


def test_a_cancel_interrupts_as_ctrl_c_does(tmp_path: Path) -> None:
    # tests that a shell runs in the background ignore Ctrl-C, until somebody listens for it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), StatusWriter(tmp_path):
            (tmp_path / CANCEL).touch()
            time.sleep(20)
    finally:
        signal.signal(signal.SIGINT, before)
    assert read_status(tmp_path).state == "stopped"


def test_a_run_whose_process_is_gone_is_lost(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    status = running(pid=child.pid, created=psutil.Process(child.pid).create_time())
    write_status(tmp_path, status)
    assert read_status(tmp_path).state == "running"
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert read_status(tmp_path).state == "lost"  # though nobody has heard of its end yet
    child.communicate()
    assert read_status(tmp_path).state == "lost"


def test_a_number_that_another_process_has_now_is_lost(tmp_path: Path) -> None:
    write_status(tmp_path, running(created=psutil.Process().create_time() - 1000))
    assert read_status(tmp_path).state == "lost"


@pytest.mark.parametrize("where", [{"host": "elsewhere"}, {"pid": None}], ids=["host", "no pid"])
def test_of_another_machine_the_heartbeat_tells(tmp_path: Path, where: dict[str, object]) -> None:
    write_status(tmp_path, running(**where, heartbeat=time.time() - 30))
    assert read_status(tmp_path).state == "running"
    write_status(tmp_path, running(**where, heartbeat=time.time() - 90))
    assert read_status(tmp_path).state == "lost"


GOOD = {"format": 1, "state": "finished", "heartbeat": 1.0}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (json.dumps(GOOD)[:20], "half-written"),
        ("", "half-written"),
        (b"\xff\xfe\x00", "half-written"),
        ("[1, 2]", "found a list"),
        (json.dumps(GOOD | {"format": 2}), "newer"),
        (json.dumps(GOOD | {"format": "x"}), "newer"),
        (json.dumps(GOOD | {"state": "lost"}), "state 'lost'"),
        (json.dumps(GOOD | {"state": ["running"]}), "state"),
        (json.dumps(GOOD | {"progress": "half"}), "progress 'half'"),
        (json.dumps(GOOD | {"heartbeat": True}), "heartbeat True"),
        (json.dumps({"state": "running"}), "no heartbeat"),
        (json.dumps(GOOD | {"resources": {"cpu_percent": 1.0}}), "no ram_bytes"),
        (json.dumps(GOOD | {"resources": "much"}), "resources 'much'"),
        (None, "no status.json"),
    ],
)
def test_a_damaged_status_is_a_clear_message(
    tmp_path: Path, text: str | bytes | None, told: str
) -> None:
    if text is not None:
        (tmp_path / STATUS).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RunError, match=told) as caught:
        read_status(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"command": "pretr', "half-written"),
        ('{"format": 7, "command": "pretrain"}', "format 7"),
        ('{"argv": []}', "no command"),
        ('{"command": "embed", "argv": "embed"}', "argv 'embed'"),
        ('{"command": "embed", "argv": [1]}', "argv"),
        ('{"command": "embed", "resumable": 1}', "resumable 1"),
        (None, "no run.json"),
    ],
)
def test_a_damaged_record_is_a_clear_message(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / RUN).write_text(text)
    with pytest.raises(RunError, match=told):
        read_run(tmp_path)


def test_a_later_version_may_say_more_in_the_same_format(tmp_path: Path) -> None:
    (tmp_path / STATUS).write_text(json.dumps(GOOD | {"colour": "blue"}))
    assert read_status(tmp_path).state == "finished"


def test_a_record_is_added_to(tmp_path: Path) -> None:
    update_run(tmp_path, command="pretrain", argv=["pretrain"], device="cuda:0")
    update_run(tmp_path, config={"seed": 0})
    assert read_run(tmp_path).argv == ("pretrain",)
    assert json.loads((tmp_path / RUN).read_text())["config"] == {"seed": 0}


def test_two_processes_are_not_at_work_in_one_run(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        created = psutil.Process(child.pid).create_time()
        write_status(tmp_path, running(pid=child.pid, created=created))
        with pytest.raises(RunError, match=f"process {child.pid}"), StatusWriter(tmp_path):
            pytest.fail("entered")
        child.communicate()
    with StatusWriter(tmp_path):  # it is lost now, and may be gone on with
        pass


def test_the_first_of_several_processes_writes(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / CANCEL).touch()  # of an earlier start
    with run_status(tmp_path / "one") as job, run_status(tmp_path / "two") as within:
        assert within is job
        time.sleep(1)
    assert read_status(tmp_path / "one").state == "finished"
    assert not (tmp_path / "two").exists()
    monkeypatch.setenv("RANK", "1")
    with run_status(tmp_path / "three") as dropped:
        dropped.update(0.5)
    assert not (tmp_path / "three").exists()


FULL = """
import resource, sys, time
from pathlib import Path
from virtues_core.run_dir import StatusWriter
with StatusWriter(Path(sys.argv[1])) as status:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    for i in range(3):
        status.update(i / 3)
        time.sleep(0.7)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
def test_a_full_disk_does_not_end_the_work(tmp_path: Path) -> None:
    """Nothing can be written for a while: it is said once, and written when it can be again."""
    ran = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True,
                         text=True, check=False)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("the run goes on, but could not write 'status.json'") == 1
    assert read_status(tmp_path).state == "finished"
