"""Jobs: long commands of ``virtues`` as processes of their own, each with a run directory.

A job outlives whoever started it: it is a detached process of this machine, or a job of a cluster,
and all that is known of it is in its run directory. ``submit`` starts one, ``list_jobs`` finds them
again, from any process.
"""

from virtues_core.jobs.control import cancel, follow, kill, remove
from virtues_core.jobs.launch import resume, submit
from virtues_core.jobs.registry import Job, find_job, jobs_root, list_jobs
from virtues_core.jobs.slurm import SlurmOptions

__all__ = [
    "Job",
    "SlurmOptions",
    "cancel",
    "find_job",
    "follow",
    "jobs_root",
    "kill",
    "list_jobs",
    "remove",
    "resume",
    "submit",
]
