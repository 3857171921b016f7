"""Starting a job, and going on with one."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from virtues_core.errors import ConfigError, InputError, RunError, VirtuesError
from virtues_core.jobs.registry import Job, is_known, jobs_root, list_jobs, register
from virtues_core.jobs.slurm import SlurmOptions, send
from virtues_core.run_dir import (
    CANCEL,
    LOG,
    UNDER_WAY,
    Status,
    is_run_dir,
    read_run,
    update_run,
    versions,
    write_status,
)

EXECUTORS = ("local", "slurm")
WORKER = "virtues_core.cli.worker"
"""Module that a job's process runs: it knows the commands, which this room does not."""
RESUMABLE = frozenset({"pretrain"})
"""Commands that take ``--run-dir`` and ``--resume``; any other is run again to go on with it."""
KEEPING = frozenset(
    {("embed",), ("segment",), ("markers", "embed"), ("db", "build"), ("db", "add")}
)
"""Those that, run again, leave out what they made before; any other starts anew."""
NOT_A_JOB = frozenset({"jobs", "demo"})
"""Commands that are for a terminal or open a window."""
DEVICE = re.compile(r"auto|cpu|mps|cuda:\d+(,cuda:\d+)*")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def submit(
    argv: Sequence[str],
    *,
    run_dir: Path | None = None,
    executor: str = "local",
    device: str = "auto",
    name: str = "",
    slurm: SlurmOptions | None = None,
) -> Job:
    """Start a command of ``virtues`` as a job; return at once.

    Parameters
    ----------
    argv
        The words after ``virtues``. Relative paths mean files in the current folder. With
        ``--resume`` a run that is there, such as one begun in a terminal, is gone on with as a job.
    run_dir
        Where its files go: a new or an empty folder. By default one in `jobs_root`, or what the
        command's own ``--run-dir`` says.
    executor
        ``local``: a process of this machine, which goes on when this one ends. ``slurm``: a job of
        the cluster.
    device
        Whose turn it waits for, on this machine: ``auto`` (the first GPU that is free; without one
        as ``cpu``), ``cpu`` (it does not wait), ``mps``, ``cuda:0`` as counted by ``nvidia-smi``,
        or several, ``cuda:0,cuda:1``. It is the only one that the command then sees.
    name
        Letters, digits, ``.``, ``_`` and ``-``; by default the command and the time.
    slurm
        What to ask of the cluster.

    Raises
    ------
    InputError
        The command cannot be a job.
    ConfigError
        The executor, device or name is none.
    RunError
        The run directory holds something already, or the process cannot be started.
    VirtuesError
        A folder cannot be written, or submitit is not installed.
    """
    words = tuple(argv)
    _check(words, executor, device, name)
    resuming = words[0] in RESUMABLE and "--resume" in words
    words = tuple(word for word in words if not (resuming and word == "--resume"))
    name = name or _free_name(words[0])
    folder = _run_dir(words, run_dir, jobs_root() / name)
    if words[0] in RESUMABLE and option(words, "--run-dir") is None:
        words = (*words, "--run-dir", str(folder))
    _check_folder(folder, resuming=resuming)
    job = Job(name, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot make the run directory {str(folder)!r}: {error.strerror}."
        message += " Choose another by --run-dir."
        raise RunError(message) from error
    update_run(folder, command=words[0], argv=list(words), name=name, executor=executor,
               device=_device(words, device), resumable=words[0] in RESUMABLE,
               keeps=not KEEPING.isdisjoint({words[:1], words[:2]}), folder=str(Path.cwd()),
               versions=versions())  # fmt: skip
    register(job)
    _start(job, resume=resuming, slurm=slurm or SlurmOptions())
    return job


def resume(job: Job, slurm: SlurmOptions | None = None) -> None:
    """Go on with a job that was stopped, failed or lost, as its record says (``if_resumed``).

    Raises
    ------
    RunError
        It is under way or finished, or was not started as a job.
    """
    record, state = job.record, job.status.state
    if state in {*UNDER_WAY, "queued", "finished"}:
        message = f"expected a job that was stopped, failed or lost; {job.name} is {state}."
        raise RunError(message)
    if not record.argv:
        message = f"{job.name} was started in a terminal, and no job knows its command."
        message += " Give that command there again, with --resume."
        raise RunError(message)
    _start(job, resume=True, slurm=slurm or SlurmOptions(**record.slurm))


def option(argv: Sequence[str], name: str) -> str | None:
    """Return what an option was given, as ``--name value`` or ``--name=value``.

    Examples
    --------
    >>> option(["pretrain", "--run-dir", "a"], "--run-dir")
    'a'
    >>> option(["embed", "--device=cpu"], "--device")
    'cpu'
    """
    for i, word in enumerate(argv):
        if word == name and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def _check(argv: tuple[str, ...], executor: str, device: str, name: str) -> None:
    if not argv or argv[0].startswith("-") or argv[0] in NOT_A_JOB:
        found = argv[0] if argv else "nothing"
        message = f"expected a long command, such as pretrain or embed, as a job; found {found}."
        message += " Run it without --executor."
        raise InputError(message)
    if executor not in EXECUTORS:
        message = f"executor: expected one of {', '.join(EXECUTORS)}, got {executor!r}"
        raise ConfigError(message)
    if not DEVICE.fullmatch(device):
        message = f"device: expected auto, cpu, mps or cuda:0 (cuda:0,cuda:1), got {device!r}"
        raise ConfigError(message)
    if name and not NAME.fullmatch(name):
        message = f"name: expected letters, digits, '.', '_' and '-', got {name!r}"
        raise ConfigError(message)
    if name and is_known(name):
        message = f"name: there is a job {name!r} already. Choose another, or remove that job."
        raise ConfigError(message)


def _free_name(command: str) -> str:
    base = f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (base, *(f"{base}-{i}" for i in range(2, 10_000)))
    return next(n for n in names if not is_known(n) and not (jobs_root() / n).exists())


def _run_dir(argv: tuple[str, ...], given: Path | None, otherwise: Path) -> Path:
    own = option(argv, "--run-dir") if argv[0] in RESUMABLE else None
    if own is not None and given is not None and Path(own).resolve() != Path(given).resolve():
        message = f"two run directories: --run-dir {own} in the command, and {str(given)!r}."
        message += " Give one."
        raise InputError(message)
    chosen = own or given
    return otherwise if chosen is None else Path(chosen).resolve()


def _check_folder(folder: Path, *, resuming: bool) -> None:
    holds_run = is_run_dir(folder)
    if resuming and not holds_run:
        message = f"nothing to resume: expected a run in {str(folder)!r}. Start without --resume."
        raise RunError(message)
    if resuming:
        read_run(folder)  # where it is damaged, say so before anything is changed
        known = next((job for job in list_jobs() if job.run_dir == folder), None)
        if known is not None:
            message = f"the run in {str(folder)!r} is the job {known.name} already."
            message += f" Go on with it by: virtues jobs resume {known.name}"
            raise RunError(message)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"expected a new or empty folder for the run, found {str(folder)!r} in use."
        remedy = "Go on with the run in it by --resume, or choose" if holds_run else "Choose"
        message += f" {remedy} another."
        raise RunError(message)


def _device(argv: tuple[str, ...], device: str) -> str:
    """Spare a command that was told to compute on the processor the waiting."""
    return "cpu" if device == "auto" and option(argv, "--device") == "cpu" else device


def _start(job: Job, *, resume: bool, slurm: SlurmOptions) -> None:
    (job.run_dir / CANCEL).unlink(missing_ok=True)
    executor = job.record.executor
    update_run(job.run_dir, submitted=time.time())
    state = "queued" if executor == "slurm" else "waiting"
    write_status(job.run_dir, Status(state, time.time(), host=socket.gethostname()))
    try:
        if executor == "slurm":
            update_run(job.run_dir, slurm=slurm.as_dict())
            number = send(job.run_dir, job.name, slurm, WORKER, resume=resume)
            update_run(job.run_dir, cluster_id=number)
        else:
            _detach(job.run_dir, resume=resume)
    except VirtuesError as error:
        write_status(job.run_dir, Status("failed", time.time(), message=str(error)))
        raise


def _detach(run_dir: Path, *, resume: bool) -> None:
    """Start the worker as a process that neither the window's nor the terminal's end reaches."""
    words = [str(run_dir), *(["--resume"] if resume else [])]
    command = [sys.executable, "-P", "-m", WORKER, *words]  # -P: no modules of the current folder
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    try:
        with (run_dir / LOG).open("ab") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                creationflags=flags,
            )
    except OSError as error:
        message = f"cannot start the job in {str(run_dir)!r}: {error}."
        raise RunError(message) from error
    # whoever started it hears of its end, so that no dead process is left behind
    threading.Thread(target=process.wait, name=f"job {process.pid}", daemon=True).start()
