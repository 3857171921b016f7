"""What the process of a job does: wait for its turn, run the command, say how it went."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from virtues_core.errors import RunError, VirtuesError
from virtues_core.jobs.devices import turn
from virtues_core.run_dir import StatusWriter, first_process, read_run, stopped_words

INTERRUPTED = 130
"""Exit status of a command that was interrupted, and saved what it had."""


def work(
    run_dir: Path, run_command: Callable[[Sequence[str]], int], *, resume: bool = False
) -> int:
    """Do the work of a job in this process, in its run directory.

    Parameters
    ----------
    run_dir
        Has a ``run.json`` by `submit`.
    run_command
        Runs a command line of ``virtues`` in this process; returns its exit status.
    resume
        Go on where the job stopped.

    Returns
    -------
    int
        The exit status for the process.
    """
    if not first_process():  # of a training on several devices: the first one waits and writes
        return run_command(_prepared(run_dir, resume=resume))
    _listen()
    try:
        record = read_run(run_dir)
        with StatusWriter(run_dir, "waiting") as status, turn(record, status):
            status.update(message="", state="running")
            code = run_command(_prepared(run_dir, resume=resume))
            _tell(status, code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except VirtuesError as error:
        print(f"virtues: {error}", file=sys.stderr, flush=True)
        return 1
    except Exception:  # noqa: BLE001 - the log is where it is looked for
        traceback.print_exc()
        return 1
    return code


def _prepared(run_dir: Path, *, resume: bool) -> list[str]:
    """Go to the folder that the job was submitted in; return the words of its command."""
    record = read_run(run_dir)
    try:
        os.chdir(record.folder)
    except OSError as error:
        message = f"expected the folder that the job was submitted in, {record.folder!r}: "
        message += f"{error.strerror}. Put it back, or submit the command anew."
        raise RunError(message) from error
    return [*record.argv, *(["--resume"] if resume and record.resumable else [])]


def _tell(status: StatusWriter, code: int) -> None:
    if code == INTERRUPTED or (code and status.cancelled):
        status.end("stopped", stopped_words(status.run_dir))
    elif code:
        status.end("failed", f"the command ended with exit status {code}; the log says why")


def _listen() -> None:
    """Take SIGTERM, and a cluster's warning that time runs out, as Ctrl-C.

    A process started in the background of a shell ignores Ctrl-C, and Python then leaves it so.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, _as_interrupt)


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    """Pass it on to whoever listens for Ctrl-C now: a training ends its step and saves."""
    signal.raise_signal(signal.SIGINT)
