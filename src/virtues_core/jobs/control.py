"""What can be done to a job from outside: stop it, follow its log, remove it."""

import dataclasses
import shutil
import socket
import time
from collections.abc import Iterator

import psutil

from virtues_core.errors import RunError, VirtuesError
from virtues_core.files import replacing
from virtues_core.jobs.registry import Job, forget, jobs_root, list_jobs
from virtues_core.jobs.slurm import cancel_queued
from virtues_core.run_dir import (
    CANCEL,
    LOG,
    UNDER_WAY,
    Status,
    is_run_dir,
    stopped_words,
    write_status,
)

ENDED = frozenset({"finished", "stopped", "failed", "lost"})
"""States in which nothing is at work."""
FOLLOW_S = 0.3
"""Seconds between two looks at a log."""


def cancel(job: Job) -> None:
    """Ask a job to stop, as by Ctrl-C; a training saves first, which may take a while.

    Raises
    ------
    RunError
        It is not under way.
    """
    status = _under_way(job)
    with replacing(job.run_dir / CANCEL) as new:
        new.write_text("", encoding="utf-8")
    if status.state == "queued":
        cancel_queued(job.record)
        _stopped(job, status, "cancelled while it was queued")


def kill(job: Job) -> None:
    """End a job of this machine at once, children included; what was not saved is lost.

    Raises
    ------
    RunError
        It is not under way, or at work on another machine.
    """
    status = _under_way(job)
    if status.host != socket.gethostname() or status.pid is None:
        message = f"{job.name} has no process on this machine that could be ended at once."
        message += " Cancel it."
        raise RunError(message)
    try:
        process = psutil.Process(status.pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied as error:
            message = f"process {member.pid} of {job.name} is another user's."
            message += " Ask them to cancel it."
            raise RunError(message) from error
    psutil.wait_procs(family, timeout=10)
    _stopped(job, status, stopped_words(job.run_dir, "ended at once"))


def remove(job: Job) -> None:
    """Delete a job and its run directory, checkpoints and artifacts included.

    What it wrote elsewhere stays. Of a run directory that is gone only the entry is deleted.

    Raises
    ------
    RunError
        It is under way, or the folder is not, or not only, this job's run directory.
    """
    if job.run_dir.exists():
        _check_removable(job)
        try:
            shutil.rmtree(job.run_dir)
        except OSError as error:
            message = f"could not remove {error.filename!r}: {error.strerror}."
            message += f" Delete the folder {str(job.run_dir)!r} by hand."
            raise RunError(message) from error
    forget(job)


def follow(job: Job) -> Iterator[str]:
    """Give the text of a job's log as it comes, until the job has ended."""
    at = 0
    while True:
        ended = _state(job) in ENDED
        try:
            with (job.run_dir / LOG).open("rb") as log:
                log.seek(at)
                new = log.read()
        except FileNotFoundError:
            new = b""
        at += len(new)
        if new:
            yield new.decode("utf-8", errors="replace")
        if ended:
            return
        time.sleep(FOLLOW_S)


def _state(job: Job) -> str:
    return job.status.state


def _under_way(job: Job) -> Status:
    status = job.status
    if status.state not in {*UNDER_WAY, "queued"}:
        message = f"expected a job that is under way; {job.name} is {status.state}."
        raise RunError(message)
    return status


def _stopped(job: Job, status: Status, message: str) -> None:
    now = time.time()
    write_status(
        job.run_dir, dataclasses.replace(status, state="stopped", heartbeat=now, message=message)
    )


def _check_removable(job: Job) -> None:
    folder = job.run_dir
    try:
        state = _state(job)
    except VirtuesError:  # damaged: nothing that writes there would have left it so
        state = "lost"
    if state not in ENDED:
        message = f"{job.name} is {state}. Cancel it first, then remove it."
        raise RunError(message)
    if not is_run_dir(folder) or folder.is_symlink():
        message = f"{str(folder)!r} is not the folder of a run."
        message += " Look what it is, and delete it by hand."
        raise RunError(message)
    inside = [other.name for other in list_jobs() if folder in other.run_dir.parents]
    if inside or folder == jobs_root() or folder in jobs_root().parents:
        message = f"{str(folder)!r} holds other jobs: {', '.join(inside) or 'the list of all'}."
        message += " Remove those first."
        raise RunError(message)
