"""Print constraints.txt for the environment that runs this: what base, app and test need, no more.

Run it in an environment where the tests passed: ``.venv/bin/python scripts/constraints.py``.
"""

from collections import defaultdict
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HEADER = """\
# What the tests ran with: pip install -c constraints.txt ".[app]"
# Made by scripts/constraints.py; torch without a build tag, so that the CPU and CUDA builds fit.
"""


def needed(name: str, extras: set[str]) -> set[str]:
    """Names of every installed distribution that ``name[extras]`` asks for, itself excepted."""
    seen: dict[str, set[str]] = defaultdict(set)
    waiting = [(name, extras | {""})]
    while waiting:
        current, wanted = waiting.pop()
        wanted = wanted - seen[canonicalize_name(current)]
        if not wanted:
            continue
        seen[canonicalize_name(current)] |= wanted
        for line in metadata.requires(current) or []:
            asked = Requirement(line)
            if asked.marker is None or any(asked.marker.evaluate({"extra": e}) for e in wanted):
                waiting.append((asked.name, set(asked.extras) | {""}))
    return set(seen) - {canonicalize_name(name)}


if __name__ == "__main__":
    print(HEADER, end="")
    for found in sorted(needed("napari-virtues", {"app", "test"})):
        print(f"{found}=={Version(metadata.version(found)).public}")
