"""Lint, type-check and test, with windows on the display that is there or on a virtual one.

Tests are shared out over the cores. Arguments go to pytest: ``make test ARGS="-k reader"``;
``ARGS="-n 0"`` runs them in one process, which a debugger needs.
"""

import os
import subprocess
import sys

from virtues_core.cli.doctor import display, missing_libraries, virtual_display, window_problem

PYTHON = (sys.executable, "-m")
CHECKS = (
    (*PYTHON, "ruff", "check", "."),
    (*PYTHON, "ruff", "format", "--check", "."),
    (*PYTHON, "mypy", "--num-workers", "2"),
)
WORKERS = ("-n", "logical", "--maxprocesses", "4", "--dist", "worksteal")
"""A worker holds up to 2.3 GB; who is done first takes half of what another has left."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
"""Threads of several workers wait for each other in loops that burn the cores."""


def pytest_command() -> list[str]:
    """Words that run pytest where it can open windows, if anywhere."""
    command = [*PYTHON, "pytest", "--no-fold-skipped", *WORKERS, *sys.argv[1:]]
    if missing_libraries():  # Qt cannot be imported; tests/conftest.py skips what needs it
        command += ["-p", "no:pytest-qt"]
    if display() is None:
        command = [*(virtual_display() or []), *command]
    return command


def main() -> int:
    """Run every check; 1 if one failed."""
    problem = window_problem()
    if problem:
        print(f"Window tests will be skipped: {problem}")
    environment = ONE_THREAD | os.environ
    if display() is None:
        platform = "xcb" if virtual_display() else "offscreen"
        environment.setdefault("QT_QPA_PLATFORM", platform)
    failed = []
    for command in (*CHECKS, pytest_command()):
        name = next(word for word in ("ruff", "mypy", "pytest") if word in command)
        print(f"-- {name}", flush=True)
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
