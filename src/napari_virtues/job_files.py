"""What the run directories of jobs say, read again and again while a window shows them. No Qt.

Nothing here writes: `virtues_core.jobs` does. All of it is called in a background thread.
"""

import csv
import itertools
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virtues_core.errors import VirtuesError
from virtues_core.jobs import Job, list_jobs
from virtues_core.jobs.launch import option
from virtues_core.run_dir import ARTIFACTS, LOG, METRICS, RUN, STATUS, Resources, RunRecord

UNREADABLE = "unreadable"
"""State of a run directory whose files say nothing: half-written, edited, or of a newer version."""
UNDER_WAY = frozenset({"waiting", "queued", "running"})
"""States in which a job can be cancelled."""
RESUMABLE = frozenset({"stopped", "failed", "lost"})
"""States in which a job can be gone on with."""
LOG_BYTES = 2**17
"""How much of the end of a log is shown."""
SHOWN = (".csv", ".h5ad", ".png", ".tif", ".tiff", ".zarr")
"""Endings of what a window can show."""
MOST_FILES = 2_000
"""Files of a folder that are looked at."""
CHECKPOINTS = {"checkpoints/best": "Best checkpoint", "checkpoint": "Last checkpoint"}


@dataclass(frozen=True)
class JobLine:
    """How a job stands, as a window shows it."""

    job: Job
    state: str
    """As in ``status.json``, with lost and unreadable."""
    command: str = ""
    """Subcommand of ``virtues``."""
    progress: float = 0.0
    """0 to 1."""
    seconds_left: float | None = None
    submitted: float | None = None
    """Seconds since 1970."""
    message: str = ""
    goes_on: bool = False
    """Whether resuming spares what was done before."""
    if_resumed: str = ""
    """What resuming does, in words."""
    resources: Resources | None = None
    results: tuple["Result", ...] = ()


@dataclass(frozen=True)
class Result:
    """Something that a job made."""

    title: str
    path: Path

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a model to be used."""
        return (self.path / "config.json").is_file()


class JobWatch:
    """Lists the jobs; a run directory whose files stay the same is not read again."""

    def __init__(self) -> None:
        self._ended: dict[Path, tuple[Any, JobLine]] = {}

    def read(self) -> tuple[JobLine, ...]:
        """Return all jobs that are known, the newest first."""
        lines = [self._line(job) for job in list_jobs()]
        here = {line.job.run_dir for line in lines}
        self._ended = {path: known for path, known in self._ended.items() if path in here}
        return tuple(sorted(lines, key=lambda line: -(line.submitted or 0.0)))

    def _line(self, job: Job) -> JobLine:
        stamp = tuple(_stamp(job.run_dir / name) for name in (RUN, STATUS, ARTIFACTS))
        known = self._ended.get(job.run_dir)
        if known is not None and known[0] == stamp:
            return known[1]
        line = _read_line(job)
        if line.state not in UNDER_WAY:
            self._ended[job.run_dir] = stamp, line
        return line


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _read_line(job: Job) -> JobLine:
    try:
        record, status = job.record, job.status
    except VirtuesError as error:
        when = _stamp(job.run_dir)
        submitted = None if when is None else when[0] / 1e9
        return JobLine(job, UNREADABLE, submitted=submitted, message=str(error))
    return JobLine(
        job=job,
        state=status.state,
        command=record.command,
        progress=1.0 if status.state == "finished" else min(1.0, max(0.0, status.progress)),
        seconds_left=status.seconds_left,
        submitted=record.submitted,
        message=status.message,
        goes_on=record.goes_on,
        if_resumed=record.if_resumed,
        resources=status.resources if status.state in UNDER_WAY else None,
        results=results_of(job.run_dir, record),
    )


def results_of(run_dir: Path, record: RunRecord) -> tuple[Result, ...]:
    """Return what a job made: its checkpoints, its artifacts by name, and what ``--out`` named.

    Of a folder that was written to, files are listed that can be shown, `MOST_FILES` at the most.
    """
    found = [Result(title, run_dir / name) for name, title in CHECKPOINTS.items()]
    found = [result for result in found if result.is_checkpoint]
    made = _in_folder(run_dir / ARTIFACTS)
    out = option(record.argv, "--out")
    if out is not None:
        path = Path(record.folder) / out
        whole = path.suffix in SHOWN or Result("", path).is_checkpoint
        if whole and path.exists():
            made.append(path)
        elif not whole:
            made += [file for file in _in_folder(path) if file.suffix in SHOWN]
    return (*found, *(Result(path.name, path) for path in made))


def _in_folder(folder: Path) -> list[Path]:
    """Return what is in a folder, without what is being written; nothing where there is none."""
    try:
        files = itertools.islice(folder.iterdir(), MOST_FILES)
        return sorted(path for path in files if path.name[0] != ".")
    except OSError:
        return []


def out_of(job: Job) -> Path | None:
    """Return what a job writes as its command's ``--out``; None where nothing says it."""
    try:
        record = job.record
    except VirtuesError:
        return None
    out = option(record.argv, "--out")
    return None if out is None else Path(record.folder) / out


class Tail:
    """What was added to a file of text lines since it was last read.

    Parameters
    ----------
    path
        It need not be there yet.
    most
        Bytes of its end that are read at the first time; None for all.
    """

    def __init__(self, path: Path, most: int | None = None) -> None:
        self.path = path
        self._most = most
        self._file: tuple[int, int] | None = None
        self._at = 0

    def read(self) -> tuple[bool, list[str]]:
        """Return whether the file was begun anew, and the lines that are complete since."""
        try:
            with self.path.open("rb") as file:
                return self._read(file)
        except OSError:
            anew, self._file, self._at = self._file is not None, None, 0
            return anew, []

    def _read(self, file: Any) -> tuple[bool, list[str]]:
        found = self.path.stat()
        same = self._file == (found.st_dev, found.st_ino) and found.st_size >= self._at
        cut = False
        if not same:
            self._file = found.st_dev, found.st_ino
            self._at = 0 if self._most is None else max(0, found.st_size - self._most)
            cut = self._at > 0
        file.seek(self._at)
        data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self._at += len(data)
        lines = data.decode("utf-8", errors="replace").split("\n")[cut:-1]
        return not same, [line.rstrip("\r").rpartition("\r")[2] for line in lines]


@dataclass(frozen=True)
class Metrics:
    """A job's ``metrics.csv``: as many numbers in each column, NaN where there is none."""

    columns: Mapping[str, list[float]] = field(default_factory=dict)

    @property
    def steps(self) -> list[float]:
        """Optimiser steps of the rows; their numbers where the table has none."""
        rows = max(map(len, self.columns.values()), default=0)
        return self.columns.get("step") or [float(row) for row in range(rows)]


class JobFiles:
    """Log and metrics of one job, as they grow."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._log = Tail(run_dir / LOG, LOG_BYTES)
        self._metrics = Tail(run_dir / METRICS)
        self._names: list[str] = []
        self._columns: dict[str, list[float]] = {}

    def log(self) -> tuple[bool, list[str]]:
        """Return whether the log was begun anew, and its new lines."""
        return self._log.read()

    def metrics(self) -> Metrics | None:
        """Return all metrics; None where nothing was added."""
        anew, lines = self._metrics.read()
        rows = csv.reader(lines)
        if anew:
            self._names = []
        if not self._names:
            self._names = next(rows, [])
            self._columns = {name: [] for name in self._names}
        for row in rows:
            values = _numbers(row)
            if len(values) == len(self._names):
                for name, value in zip(self._names, values, strict=True):
                    self._columns[name].append(value)
        if not anew and not lines:
            return None
        return Metrics({name: list(values) for name, values in self._columns.items()})


def _numbers(row: Iterable[str]) -> list[float]:
    """Read a row; none of it where something else than a number was put there."""
    try:
        return [float(text) if text else math.nan for text in row]
    except ValueError:
        return []


def duration(seconds: float) -> str:
    """Write how long something takes.

    Examples
    --------
    >>> duration(42), duration(250), duration(7 * 3600 + 600), duration(50 * 3600)
    ('42 s', '4 min', '7 h 10 min', '2 d 2 h')
    """
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def clock(seconds: float | None, now: float | None = None) -> str:
    """Write when something began: the time of today, or the date of another day."""
    if seconds is None:
        return ""
    then = time.localtime(seconds)
    today = time.localtime(now)
    if (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday):
        return time.strftime("%H:%M", then)
    return time.strftime("%Y-%m-%d", then)


def usage(resources: Resources | None) -> str:
    """Write what a job takes of the machine.

    Examples
    --------
    >>> usage(Resources(cpu_percent=190.0, ram_bytes=3 * 10**9))
    'CPU 190 % · RAM 3.0 GB'
    >>> usage(Resources(99.6, 3 * 10**9, gpu_bytes=20 * 10**9, gpu_percent=97.0))
    'CPU 100 % · RAM 3.0 GB · GPU 20.0 GB, 97 %'
    """
    if resources is None:
        return ""
    parts = [f"CPU {resources.cpu_percent:.0f} %", f"RAM {resources.ram_bytes / 1e9:.1f} GB"]
    if resources.gpu_bytes is not None:
        busy = "" if resources.gpu_percent is None else f", {resources.gpu_percent:.0f} %"
        parts.append(f"GPU {resources.gpu_bytes / 1e9:.1f} GB{busy}")
    return " · ".join(parts)
