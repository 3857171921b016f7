"""Kill a training at random moments, resume it each time, and compare with an undisturbed one.

    python benchmarks/kills.py --moments 20 [--write]

A real process is killed (SIGKILL) each time, at a random moment while it
starts (one of four) or trains (``tests/core/killed_training.py``).
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "core"))
import killed_training
from model import write_section


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = killed_training.main(Path(folder), options.moments)
    ended = "the same weights, bit for bit" if found["same"] else "OTHER WEIGHTS"
    text = f"Killed {found['killed']} times, saved steps then {found['states']}: {ended}."
    print(text)
    if options.write:
        write_section("a training that is killed", "python benchmarks/kills.py", text)
    if not found["same"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
