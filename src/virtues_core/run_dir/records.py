"""The files of a run directory: what is in them, reading and replacing them."""

import dataclasses
import json
import os
import platform
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import NoneType
from typing import Any

import psutil

from virtues_core import __version__
from virtues_core.errors import RunError
from virtues_core.files import replacing

RUN, STATUS, METRICS, LOG, CANCEL = (
    "run.json", "status.json", "metrics.csv", "log.txt", "cancel",
)  # fmt: skip
ARTIFACTS = "artifacts"
FORMAT = 1
"""Of ``run.json`` and ``status.json``; a newer one is refused."""
LOST_AFTER_S = 60.0
"""A run of another machine that was silent for so long is lost."""
SAME_START_S = 10.0
"""Start times of a process, as read twice, differ by less: the clock may be set in between."""
UNDER_WAY = frozenset({"waiting", "running"})
"""States in which a process lives, or died without a word."""
STATES = UNDER_WAY | {"queued", "finished", "stopped", "failed"}
"""States that are written; ``lost`` is what a reader concludes."""

_NUMBER = (int, float)
_STATUS_KINDS: dict[str, tuple[type, ...]] = {
    "state": (str,),
    "heartbeat": _NUMBER,
    "progress": _NUMBER,
    "message": (str,),
    "step": (int, NoneType),
    "pid": (int, NoneType),
    "host": (str, NoneType),
    "created": (*_NUMBER, NoneType),
    "started": (*_NUMBER, NoneType),
    "started_progress": _NUMBER,
    "resources": (dict, NoneType),
}
_RESOURCES_KINDS: dict[str, tuple[type, ...]] = {
    "cpu_percent": _NUMBER,
    "ram_bytes": (int,),
    "gpu_bytes": (int, NoneType),
    "gpu_percent": (*_NUMBER, NoneType),
}
_RUN_KINDS: dict[str, tuple[type, ...]] = {
    "command": (str,),
    "argv": (list,),
    "name": (str,),
    "executor": (str,),
    "device": (str,),
    "resumable": (bool,),
    "keeps": (bool,),
    "submitted": (*_NUMBER, NoneType),
    "folder": (str,),
    "cluster_id": (str, NoneType),
    "slurm": (dict,),
    "versions": (dict,),
}


@dataclass(frozen=True)
class RunRecord:
    """What was asked: the part of ``run.json`` that the runs of all commands share."""

    command: str
    """Subcommand of ``virtues``, such as ``pretrain``."""
    argv: tuple[str, ...] = ()
    """What follows ``virtues``; empty for a run that no job was made of."""
    name: str = ""
    """Name of the job; empty for a run that no job was made of."""
    executor: str = "here"
    """here (in a terminal), local (a process of its own) or slurm."""
    device: str = "auto"
    """Whose turn it waits for: auto, cpu (no turns), mps, cuda:0, or several, cuda:0,cuda:1."""
    resumable: bool = False
    """Whether ``--resume`` goes on where it stopped; else the same command is run again."""
    keeps: bool = False
    """Whether the same command, run again, leaves out what it made before."""
    submitted: float | None = None
    """Seconds since 1970."""
    folder: str = ""
    """Where it was started: relative paths in ``argv`` mean files there."""
    cluster_id: str | None = None
    """Number of the job at the cluster."""
    slurm: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What was asked of the cluster."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Versions of napari-virtues, Python and PyTorch."""

    @property
    def goes_on(self) -> bool:
        """Whether resuming spares what was done before."""
        return self.resumable or self.keeps

    @property
    def if_resumed(self) -> str:
        """What resuming does, in words.

        Examples
        --------
        >>> RunRecord("stratify").if_resumed
        'resume runs it again from the beginning'
        """
        if self.resumable:
            return "resume goes on from the last saved state"
        if self.keeps:
            return "resume goes on with what is not made yet"
        return "resume runs it again from the beginning"


@dataclass(frozen=True)
class Resources:
    """What a run takes, its child processes included."""

    cpu_percent: float
    """100 is one core."""
    ram_bytes: int
    gpu_bytes: int | None = None
    """Memory that PyTorch took of its CUDA device; None without one."""
    gpu_percent: float | None = None
    """How busy that device is; None where it does not say."""


@dataclass(frozen=True)
class Status:
    """How a run stands."""

    state: str
    """waiting (for its turn on a device), queued (at a cluster), running, finished, stopped (by a
    signal or a cancel), failed (the message says why), or lost (its process died without a word).
    What resuming does then says `RunRecord.if_resumed`."""
    heartbeat: float
    """Seconds since 1970 when the process last wrote."""
    progress: float = 0.0
    """0 to 1."""
    message: str = ""
    step: int | None = None
    pid: int | None = None
    host: str | None = None
    created: float | None = None
    """When the process started, seconds since 1970: tells it from a later one of its number."""
    started: float | None = None
    """When progress was first told, seconds since 1970; None before."""
    started_progress: float = 0.0
    """The progress told then: above 0 where a run was resumed."""
    resources: Resources | None = None

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time to the end, at the pace since ``started``; None without a pace."""
        if self.state != "running" or self.started is None:
            return None
        done = self.progress - self.started_progress
        return (self.heartbeat - self.started) * (1 - self.progress) / done if done > 0 else None


def read_status(run_dir: Path) -> Status:
    """Read how a run stands; one whose process is gone is ``lost``.

    Raises
    ------
    RunError
        The file is missing, half-written, hand-edited or of a newer version.
    """
    path = Path(run_dir) / STATUS
    values = _picked(path, read_json(path), _STATUS_KINDS, needed=("state", "heartbeat"))
    if values["state"] not in STATES:
        raise _edited(path, f"the state {values['state']!r}")
    if values.get("resources") is not None:
        needed = ("cpu_percent", "ram_bytes")
        picked = _picked(path, values["resources"], _RESOURCES_KINDS, needed=needed)
        values["resources"] = Resources(**picked)
    status = Status(**values)
    if status.state in UNDER_WAY and not _lives(status):
        return dataclasses.replace(status, state="lost")
    return status


def read_run(run_dir: Path) -> RunRecord:
    """Read what was asked of a run.

    Raises
    ------
    RunError
        The file is missing, half-written, hand-edited or of a newer version.
    """
    path = Path(run_dir) / RUN
    values = _picked(path, read_json(path), _RUN_KINDS, needed=("command",))
    argv = values.get("argv", [])
    if not all(isinstance(word, str) for word in argv):
        raise _edited(path, f"argv {argv!r}")
    return RunRecord(**values | {"argv": tuple(argv)})


def update_run(run_dir: Path, **values: Any) -> None:
    """Set values of ``run.json``, which is made where it is missing; others stay as they are.

    Raises
    ------
    RunError
        The file that is there cannot be read.
    VirtuesError
        The disk is full or read-only; the old file stands.
    """
    path = Path(run_dir) / RUN
    before = read_json(path) if path.is_file() else {}
    write_json(path, before | values)


def is_run_dir(folder: Path) -> bool:
    """Tell whether a folder is a run directory."""
    return (Path(folder) / RUN).is_file()


def versions() -> dict[str, str]:
    """Versions that a run is made by; PyTorch is asked for without being imported."""
    return {
        "napari-virtues": __version__,
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
    }


def first_process() -> bool:
    """Tell whether this is the only or first process of a training on several devices."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of a run directory.

    Raises
    ------
    RunError
        It is missing, half-written, no table, or of a newer version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        message = f"expected a run directory, found no {path.name} in {str(path.parent)!r}."
        raise RunError(message) from None
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: it is half-written or was edited ({error})."
        message += " Restore it, or remove the job and start anew."
        raise RunError(message) from None
    if not isinstance(values, dict):
        raise _edited(path, f"a {type(values).__name__}")
    written = values.get("format", FORMAT)
    if not isinstance(written, int) or written > FORMAT:
        message = (
            f"{path} has format {written!r}, and this version reads up to {FORMAT}: a newer "
            "napari-virtues wrote it. Update this one."
        )
        raise RunError(message)
    return values


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Replace a file of a run directory.

    Raises
    ------
    VirtuesError
        The disk is full or read-only; the old file stands.
    """
    with replacing(path) as new:
        new.write_text(json.dumps(dict(values) | {"format": FORMAT}, indent=1), encoding="utf-8")


def write_status(run_dir: Path, status: Status) -> None:
    """Replace ``status.json``.

    Raises
    ------
    VirtuesError
        The disk is full or read-only; the old file stands.
    """
    write_json(Path(run_dir) / STATUS, dataclasses.asdict(status))


def _picked(
    path: Path,
    values: Mapping[str, Any],
    kinds: Mapping[str, tuple[type, ...]],
    *,
    needed: tuple[str, ...],
) -> dict[str, Any]:
    """Give the values that are known, each of the kind that it shall be."""
    for name in needed:
        if name not in values:
            raise _edited(path, f"no {name}")
    found = {name: values[name] for name in kinds if name in values}
    for name, value in found.items():
        if type(value) not in kinds[name]:  # isinstance would take True for a number
            raise _edited(path, f"{name} {value!r}")
    return found


def _edited(path: Path, found: str) -> RunError:
    return RunError(
        f"{path}: expected what a run writes there, found {found}. Was it edited? Restore it, or "
        "remove the job and start anew."
    )


def _lives(status: Status) -> bool:
    """Tell whether the process that a status is of lives.

    Of another machine, and until the process has a number, the heartbeat tells.
    """
    if status.host != socket.gethostname() or status.pid is None:
        return time.time() - status.heartbeat < LOST_AFTER_S
    try:
        process = psutil.Process(status.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        created = process.create_time()
    except (psutil.Error, ValueError, OverflowError):
        return False
    return status.created is None or abs(created - status.created) < SAME_START_S
