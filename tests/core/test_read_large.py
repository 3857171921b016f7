"""Opening a 40 × 20,000 × 20,000 image takes under a second and under 200 MB."""

import json
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tifffile
import zarr

SHAPE = (40, 20_000, 20_000)
NAMES = [f"marker {i}" for i in range(SHAPE[0])]

OPEN = """
import json, re, sys, time
from pathlib import Path
import psutil
from virtues_core.read import can_read, image_names, read_image
start = time.perf_counter()
assert can_read(sys.argv[1])
names = image_names(sys.argv[1])
image = read_image(sys.argv[1])
opened = time.perf_counter()
corner = image.pixels[39, 19_000:, 19_000:].compute()
status = Path("/proc/self/status")  # the highest since this process began; elsewhere: now
if status.exists():
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) / 1e3
else:
    peak = psutil.Process().memory_info().rss / 1e6
print(json.dumps({
    "seconds": opened - start, "peak_mb": peak, "shape": image.shape, "name": image.channels[39],
    "sum": int(corner.sum()),
}))
"""


def write_tiff(path):
    """A tiled, compressed pyramid base: every tile is the same few bytes."""
    tile = np.zeros((1024, 1024), np.uint16)
    tile[0, 0] = 1
    packed = zlib.compress(tile.tobytes())
    count = SHAPE[0] * (-(-SHAPE[1] // 1024)) * (-(-SHAPE[2] // 1024))
    tifffile.imwrite(
        path,
        (packed for _ in range(count)),
        shape=SHAPE,
        dtype=np.uint16,
        tile=(1024, 1024),
        bigtiff=True,
        compression="zlib",
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": NAMES}},
    )
    return 1  # tiles begin at 18,432 and 19,456: one in the corner that is read


def write_zarr(path, zarr_format):
    """Chunks that were never written: the store is a description only, but for one."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    array = group.create_array("s0", shape=SHAPE, chunks=(1, 512, 512), dtype=np.uint16)
    array[39, 19_990, 19_990] = 5
    attributes = {
        "multiscales": [{"axes": [{"name": a} for a in "cyx"], "datasets": [{"path": "s0"}]}],
        "omero": {"channels": [{"label": n} for n in NAMES]},
    }
    group.attrs.update(attributes if zarr_format == 2 else {"ome": attributes})
    return 5


@pytest.mark.parametrize("kind", ["ome.tiff", "0.4.zarr", "0.5.zarr"])
def test_opening_is_quick_and_small(tmp_path, kind):
    path = tmp_path / f"large.{kind}"
    if kind == "ome.tiff":
        total = write_tiff(path)
    else:
        total = write_zarr(path, 2 if kind == "0.4.zarr" else 3)
    command = [sys.executable, "-W", "error", "-c", OPEN, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert found["shape"] == list(SHAPE)
    assert found["name"] == "marker 39"
    assert found["sum"] == total
    assert found["seconds"] < 1
    assert found["peak_mb"] < 200  # of the whole process, its libraries included
