"""What the process of a job runs: ``python -m virtues_core.cli.worker RUN_DIR [--resume]``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from virtues_core.jobs.worker import work


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


def main(words: Sequence[str]) -> int:
    """Do the work of the job in a run directory."""
    run_dir, *rest = words
    return work(Path(run_dir), run_command, resume="--resume" in rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
