"""Kill a training at random moments, resume it each time, and compare with an undisturbed one.

    python benchmarks/kills.py --moments 20

A real process is killed (SIGKILL) each time, at a moment drawn from its start to the time that
normalising the images and a share of the steps take (``tests/core/killed_training.py``).
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "core"))
import killed_training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = killed_training.main(Path(folder), options.moments)
    ended = "the same weights, bit for bit" if found["same"] else "OTHER WEIGHTS"
    print(f"killed {found['killed']} times, saved steps then {found['states']}: {ended}")
    if not found["same"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
