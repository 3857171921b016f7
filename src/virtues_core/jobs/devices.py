"""Turns at a device: two jobs for one GPU come one after the other."""

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from virtues_core.errors import RunError, VirtuesError
from virtues_core.jobs.registry import jobs_root, list_jobs
from virtues_core.run_dir import RunRecord, StatusWriter

LOOK_S = 0.5
"""Seconds between two looks whether a device is free."""


@contextmanager
def turn(record: RunRecord, status: StatusWriter) -> Iterator[tuple[str, ...]]:
    """Wait for the turn at the device that a job asks for; give the devices, none for ``cpu``.

    First come, first served by the time of submission; the lock is the system's, which frees it
    when the process ends in whatever way. The process then sees only these CUDA devices.
    """
    choices = [] if record.executor == "slurm" else _choices(record.device)  # a cluster has its own
    if not choices:
        yield ()
        return
    told = " or ".join(",".join(choice) for choice in choices)
    status.update(message=f"waits for its turn on {told}")
    with ExitStack() as held:
        while True:
            taken = None if _earlier(record, status.run_dir) else _take_one(choices, held)
            if taken:
                break
            time.sleep(LOOK_S)
        _show_only(taken)
        yield taken


def _choices(device: str) -> list[tuple[str, ...]]:
    """Give sets of devices, any of which will do."""
    if device == "cpu":
        return []
    if device == "auto":
        return [(name,) for name in present_devices()]
    return [tuple(sorted(device.split(",")))]


def present_devices() -> tuple[str, ...]:
    """Name the GPUs of this machine, without PyTorch: ``cuda:0`` as nvidia-smi counts, or ``mps``.

    ``CUDA_VISIBLE_DEVICES`` is obeyed.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        return tuple(f"cuda:{name}" for name in names if name not in {"", "-1"})
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return ("mps",)
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30,
                                check=True).stdout  # fmt: skip
        count = sum(line.startswith("GPU ") for line in listed.splitlines())
        return tuple(f"cuda:{i}" for i in range(count))
    return ()


def _earlier(record: RunRecord, run_dir: Path) -> bool:
    """Tell whether a job that was submitted earlier waits for the same device."""
    for job in list_jobs():
        with contextlib.suppress(VirtuesError):
            status, other = job.status, job.record
            if (
                status.state == "waiting"
                and status.host == socket.gethostname()
                and job.run_dir != run_dir
                and (other.submitted or 0.0, job.name) < (record.submitted or 0.0, record.name)
                and _overlap(other.device, record.device)
            ):
                return True
    return False


def _overlap(one: str, other: str) -> bool:
    if "cpu" in {one, other}:
        return False
    return "auto" in {one, other} or bool(set(one.split(",")) & set(other.split(",")))


def _take_one(choices: list[tuple[str, ...]], held: ExitStack) -> tuple[str, ...]:
    """Lock all devices of the first choice that is free; nothing where none is."""
    folder = jobs_root() / "devices"
    for choice in choices:
        with ExitStack() as trying:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for name in choice:
                    file = f"{socket.gethostname()}-{name.replace(':', '-')}.lock"
                    trying.enter_context(FileLock(folder / file, timeout=0))
            except Timeout:
                continue
            except OSError as error:
                message = f"cannot wait for a turn on {choice[0]} in {str(folder)!r}: {error}."
                message += " Set VIRTUES_JOBS to a folder that locks."
                raise RunError(message) from error
            held.push(trying.pop_all())
            return choice
    return ()


def _show_only(devices: tuple[str, ...]) -> None:
    numbers = [name.partition(":")[2] for name in devices if name.startswith("cuda:")]
    if numbers and "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi counts
    if numbers:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(numbers)
