"""What the process of a job runs: ``python -m virtues_core.cli.worker RUN_DIR [--resume]``."""

import errno
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from virtues_core.jobs.worker import work

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""What the system says of a full disk."""


def run_command(argv: Sequence[str]) -> int:
    """Run a command line of ``virtues`` in this process; return its exit status.

    Raises
    ------
    VirtuesError
        What to mend is in the text.
    """
    from virtues_core.cli.main import app

    try:
        app(args=list(argv), prog_name="virtues")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


class _Log(io.FileIO):
    """The log, of which a full disk may take lines but not the job."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in FULL:
                raise
            return memoryview(data).nbytes


def main(words: Sequence[str]) -> int:
    """Do the work of the job in a run directory."""
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Log(1, "w", closefd=False)), encoding="utf-8", line_buffering=True
    )
    sys.stderr = sys.stdout
    run_dir, *rest = words
    return work(Path(run_dir), run_command, resume="--resume" in rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
