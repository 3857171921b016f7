"""How long a person waits for types after clicks, in a real window.

    python benchmarks/clicking_wait.py [--cells 20000] [--width 512] [--clicks 120]

Cells are squares, with drawn tokens and intensities: what they say does not matter here. On a
machine without a display put ``xvfb-run -a -s "-screen 0 1600x1200x24"`` before it.
"""

import argparse
import time

import dask.array as da
import numpy as np
import pandas as pd
from qtpy.QtCore import QEventLoop, QTimer

import napari
from napari_virtues.cells_layers import Cells, cell_features
from napari_virtues.docks.cells import CellsDock
from napari_virtues.layers import placement
from virtues_core.image import MultiplexImage
from virtues_core.infer import Embedding

SIDE_PX = 20
"""Of a cell with the gap to the next."""
MARKERS = 40
TYPES = tuple("ABCDEF")


def grid_of_cells(count: int, width: int) -> tuple[MultiplexImage, np.ndarray, Embedding, list]:
    """Cells in a square: image, mask (Y, X), their tokens, and what they are."""
    rng = np.random.default_rng(0)
    across = round(count**0.5)
    cell = np.pad(np.ones((SIDE_PX - 4, SIDE_PX - 4), np.int32), 2)
    numbers = np.arange(1, across**2 + 1)
    mask = np.kron(numbers.reshape(across, across).astype(np.int32), cell)
    kind = rng.integers(0, len(TYPES), len(numbers))
    tokens = rng.normal(size=(len(TYPES), width))[kind] + 2 * rng.normal(size=(len(kind), width))
    keys = [f"P{i:05d}" for i in range(MARKERS)]
    place = (np.stack(np.divmod(numbers - 1, across)[::-1], axis=1) + 0.5) * SIDE_PX
    made = Embedding(
        level="cell",
        names=("cell_id", "grid"),
        numbers=numbers,
        tokens=tokens.astype(np.float32),
        intensities=rng.gamma(2, size=(len(kind), MARKERS)).astype(np.float32),
        centres_um=place,
        area_um2=np.full(len(kind), float(cell.sum())),
        var=pd.DataFrame({"key": keys, "in_model": True}, index=keys),
        provenance={"level": "cell", "panel": keys},
    )
    pixels = da.zeros((1, *mask.shape), chunks=(1, 1024, 1024), dtype=np.float32)
    image = MultiplexImage(pixels, ("DNA",), (1.0, 1.0), "grid")
    return image, mask, made, [TYPES[k] for k in kind]


class Stall:
    """The longest that the window's thread computes between two turns of its event loop."""

    def __init__(self) -> None:
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(5)
        self.restart()

    def restart(self) -> None:
        self.longest, self._last = 0.0, time.thread_time()

    def _beat(self) -> None:
        now = time.thread_time()
        self.longest, self._last = max(self.longest, now - self._last), now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--clicks", type=int, default=120)
    options = parser.parse_args()
    viewer = napari.Viewer()
    dock = CellsDock(viewer)
    viewer.window.add_dock_widget(dock)
    image, mask, embedding, truth = grid_of_cells(options.cells, options.width)
    layer = viewer.add_labels(mask, features=cell_features(embedding), **placement(image))
    for name in TYPES:
        dock.table.add(name)
    dock.cells = Cells(image, layer, mask, embedding)
    dock.types.begin(dock.cells)
    loop, stall = QEventLoop(), Stall()
    dock.types.typed.connect(loop.quit)
    each = options.clicks // 4
    print(f"{len(embedding):,} cells, {options.width} values, {mask.shape[0]:,} px a side")
    for clicks in range(each, options.clicks + 1, each):
        for row in range(clicks - each, clicks):
            dock.table.choose(truth[row])
            dock.types.click(*embedding.centres_um[row, ::-1])
        start = time.perf_counter()
        stall.restart()
        dock.type_button.click()
        loop.exec_()
        waited = time.perf_counter() - start
        right = np.mean(dock.types.types.names(0) == np.array(truth))
        said = f"{waited:.2f} s, longest stall {stall.longest * 1000:.0f} ms, {right:.0%} right"
        print(f"{len(dock.types.clicked)} clicks: {said}", flush=True)
        assert len(dock.types.clicked) == clicks
    viewer.close()


if __name__ == "__main__":
    main()
