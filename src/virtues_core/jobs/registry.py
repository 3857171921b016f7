"""Which run directories are jobs: a small file for each, in one folder of the user."""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from virtues_core.errors import RunError, VirtuesError
from virtues_core.run_dir import (
    RunRecord,
    Status,
    is_run_dir,
    read_json,
    read_run,
    read_status,
    write_json,
)


@dataclass(frozen=True)
class Job:
    """A run directory that is known here; what it says is read anew each time."""

    name: str
    run_dir: Path

    @property
    def record(self) -> RunRecord:
        """What was asked; raises as `read_run`."""
        return read_run(self.run_dir)

    @property
    def status(self) -> Status:
        """How it stands, lost ones told; raises as `read_status`."""
        return read_status(self.run_dir)


def jobs_root() -> Path:
    """Folder that knows the jobs of this user: ``VIRTUES_JOBS``, or in the user's data folder."""
    chosen = os.environ.get("VIRTUES_JOBS")
    if chosen:
        return Path(chosen).absolute()
    return Path(platformdirs.user_data_dir("napari-virtues", appauthor=False)) / "jobs"


def list_jobs() -> tuple[Job, ...]:
    """Return all jobs, those whose run directory cannot be read included, the oldest first."""
    root = jobs_root()
    entries = sorted(root.glob("*.json")) if root.is_dir() else []
    jobs = [job for job in map(_read_entry, entries) if job is not None]
    return tuple(sorted(jobs, key=_submitted))


def find_job(name: str) -> Job:
    """Return the job of this name, or of this run directory, which need not be registered.

    Raises
    ------
    RunError
        There is none.
    """
    for job in list_jobs():
        if job.name == name:
            return job
    folder = Path(name)
    if is_run_dir(folder):
        resolved = folder.resolve()
        known = (job for job in list_jobs() if job.run_dir.resolve() == resolved)
        return next(known, Job(resolved.name, resolved))
    message = f"expected the name or the run directory of a job, found {name!r}."
    message += " `virtues jobs list` has the names."
    raise RunError(message)


def register(job: Job) -> None:
    """Make a job known; raises `VirtuesError` where the folder cannot be written."""
    write_json(_entry(job.name), {"run_dir": str(job.run_dir)})


def forget(job: Job) -> None:
    """Take a job off the list; its run directory stays."""
    _entry(job.name).unlink(missing_ok=True)


def is_known(name: str) -> bool:
    """Tell whether a job has this name."""
    return _entry(name).exists()


def _entry(name: str) -> Path:
    return jobs_root() / f"{name}.json"


def _read_entry(path: Path) -> Job | None:
    """Read an entry; None of one that was removed meanwhile, or that says nothing."""
    try:
        return Job(path.stem, Path(str(read_json(path)["run_dir"])))
    except (VirtuesError, KeyError):
        return None


def _submitted(job: Job) -> tuple[float, str]:
    try:
        return job.record.submitted or 0.0, job.name
    except VirtuesError:
        return 0.0, job.name
