"""Jobs of a cluster: handed to SLURM by submitit, an extra."""

import contextlib
import dataclasses
import importlib.util
import os
import pkgutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from virtues_core.errors import ConfigError, RunError
from virtues_core.run_dir import LOG, RunRecord

FOLDER = "slurm"
"""In the run directory: what submitit keeps."""
SIGNAL_BEFORE_S = 120
"""So long before its time is over a job is told to save; at half of a shorter time."""


@dataclass(frozen=True)
class SlurmOptions:
    """What to ask of the cluster for a job."""

    partition: str = ""
    """Queue; empty for the cluster's own choice."""
    account: str = ""
    minutes: int = 24 * 60
    """Time limit; two minutes before it the job is stopped, as by a cancel."""
    gpus: int = 1
    """GPUs of each node; a process is started for each."""
    cpus: int = 8
    """Cores of each process."""
    memory_gb: int = 64
    """Memory of each node."""
    nodes: int = 1
    cluster: str = "slurm"
    """slurm; local tries the same on this machine, without a queue."""

    def __post_init__(self) -> None:
        for name, least in {"minutes": 1, "gpus": 0, "cpus": 1, "memory_gb": 1, "nodes": 1}.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                message = f"{name}: expected a whole number from {least} on, got {value!r}"
                raise ConfigError(message)
        if self.cluster not in {"slurm", "local"}:
            message = f"cluster: expected slurm or local, got {self.cluster!r}"
            raise ConfigError(message)

    @classmethod
    def from_words(cls, words: Sequence[str]) -> Self:
        """Read ``key=value`` words.

        Raises
        ------
        ConfigError
            A key is unknown or a value outside its range.

        Examples
        --------
        >>> SlurmOptions.from_words(["partition=gpu", "minutes=600"]).minutes
        600
        """
        fields = {field.name: field.type for field in dataclasses.fields(cls)}
        given: dict[str, Any] = {}
        for word in words:
            key, equals, value = word.partition("=")
            if key not in fields or not equals:
                message = f"expected key=value with a key of {', '.join(fields)}, got {word!r}"
                raise ConfigError(message)
            whole = fields[key] is int and value.isdecimal()
            given[key] = int(value) if whole else value
        return cls(**given)

    def as_dict(self) -> dict[str, Any]:
        """Give the values, for ``run.json``."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class ClusterRun:
    """The work of a job, in a process that the cluster starts."""

    worker: str
    """Name of the module whose ``main`` does it."""
    run_dir: Path
    resume: bool

    def __call__(self) -> int:
        """Work, with what is printed in the run's own log."""
        with (self.run_dir / LOG).open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        main = pkgutil.resolve_name(f"{self.worker}:main")
        words = [str(self.run_dir), *(["--resume"] if self.resume else [])]
        return int(main(words))


def send(run_dir: Path, name: str, options: SlurmOptions, worker: str, *, resume: bool) -> str:
    """Queue a job; return its number at the cluster.

    Raises
    ------
    RunError
        submitit is not installed, there is no SLURM here, or it refuses the job.
    """
    if importlib.util.find_spec("submitit") is None:
        message = "expected the package submitit for jobs on a cluster, found none."
        message += ' Install it: pip install "napari-virtues[slurm]"'
        raise RunError(message)
    import submitit

    asked: dict[str, Any] = {
        "name": name,
        "timeout_min": options.minutes,
        "mem_gb": options.memory_gb,
        "cpus_per_task": options.cpus,
        "gpus_per_node": options.gpus,
        "nodes": options.nodes,
        "tasks_per_node": max(1, options.gpus),
        "slurm_signal_delay_s": min(SIGNAL_BEFORE_S, 30 * options.minutes),
        "slurm_partition": options.partition or None,
        "slurm_account": options.account or None,
    }
    try:
        executor = submitit.AutoExecutor(folder=run_dir / FOLDER, cluster=options.cluster)
        executor.update_parameters(**{k: v for k, v in asked.items() if v is not None})
        job = executor.submit(ClusterRun(worker, run_dir, resume))
    except (RuntimeError, OSError, subprocess.CalledProcessError,
            submitit.core.utils.FailedJobError) as error:  # fmt: skip
        message = f"the job could not be queued: {error}."
        message += " Is this a machine of the cluster, with sbatch?"
        raise RunError(message) from error
    return str(job.job_id)


def cancel_queued(record: RunRecord) -> None:
    """Take a job out of the cluster's queue, where it still is; else it ends as it starts."""
    if record.cluster_id is not None and record.slurm.get("cluster") == "slurm":
        with contextlib.suppress(OSError):
            subprocess.run(["scancel", record.cluster_id], check=False, capture_output=True)
