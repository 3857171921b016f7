"""A run directory: what was asked, how it stands and what came out, in files that anyone can read.

::

    run.json       what was asked and by what versions (`RunRecord`)
    status.json    state, heartbeat, progress, message, resources (`Status`); replaced atomically
    metrics.csv    one row every few steps of a training
    log.txt        what the command printed
    cancel         there once somebody asked to stop
    checkpoints/   states to resume from, and the best checkpoint
    artifacts/     what came out: images, tables

The window, the command line and a person with a shell read the same files, so that a job outlives
whoever started it. The process that does the work writes the status, through `StatusWriter`.
"""

from virtues_core.run_dir.records import (
    ARTIFACTS,
    CANCEL,
    LOG,
    METRICS,
    RUN,
    STATUS,
    UNDER_WAY,
    Resources,
    RunRecord,
    Status,
    first_process,
    is_run_dir,
    read_json,
    read_run,
    read_status,
    update_run,
    versions,
    write_json,
    write_status,
)
from virtues_core.run_dir.writer import StatusWriter, run_status, stopped_words

__all__ = [
    "ARTIFACTS",
    "CANCEL",
    "LOG",
    "METRICS",
    "RUN",
    "STATUS",
    "UNDER_WAY",
    "Resources",
    "RunRecord",
    "Status",
    "StatusWriter",
    "first_process",
    "is_run_dir",
    "read_json",
    "read_run",
    "read_status",
    "run_status",
    "stopped_words",
    "update_run",
    "versions",
    "write_json",
    "write_status",
]
