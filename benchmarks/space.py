"""The map of many cells: frames a second while it is moved, and how soon a selection is seen.

    xvfb-run -a python benchmarks/space.py [--cells 200000] [--selected 50000] [--write]

A map of simulated groups in a window of 600 x 500 px is moved by a pixel a frame and painted each
time; pyqtgraph's scatter plot and vispy's markers are set beside it. A selection goes from the
lasso to a mask of as many cells as are to be selected twice over, 11 x 11 px each, in a napari
window, until the highlight was painted. Times are of the clock, and of the processor as the
window's thread had it. Last, what neighbours, clusters and UMAP of tokens of 256 values take of
the processor, compiling included.
"""

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
from model import write_section
from qtpy.QtWidgets import QApplication

FRAMES = 30
SIZE = (600, 500)
CELL_PX = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--selected", type=int, default=50_000)
    parser.add_argument("--mapped", type=int, default=20_000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    app = QApplication.instance() or QApplication([])
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(20, 2))
    group = rng.integers(0, 20, options.cells)
    points = (centres[group] + 0.4 * rng.normal(size=(options.cells, 2))).astype(np.float32)
    argb = (np.uint32(0xFF000000) | rng.integers(0x404040, 0xFFFFFF, 20).astype(np.uint32))[group]
    lines = []
    for name, way in (
        ("this map", ours),
        ("pyqtgraph", pyqtgraph_scatter),
        ("vispy", vispy_markers),
    ):
        clock, own = pan(app, way(points, argb))
        lines.append(f"| {name} | {1e3 * clock:.0f} ms | {1e3 * own:.0f} ms | {1 / own:.0f} |")
        print(lines[-1], flush=True)
    clock, own = select(app, options.selected)
    lines.append(f"\n{options.selected:,} of {2 * options.selected:,} cells selected by a lasso: "
                 f"{1e3 * clock:.0f} ms until the image shows it ({1e3 * own:.0f} ms of the "
                 "window's thread).")  # fmt: skip
    print(lines[-1], flush=True)
    lines.append(mapped(options.mapped))
    print(lines[-1])
    text = (
        f"{options.cells:,} points in {SIZE[0]} x {SIZE[1]} px, Xvfb, software OpenGL, "
        f"{platform.machine()}:\n\n"
        "| | a frame, clock | a frame, thread of the window | frames a second, of the thread |\n"
        "|---|---|---|---|\n" + "\n".join(lines)
    )
    if options.write:
        write_section("map of cells", "xvfb-run -a python benchmarks/space.py", text)


def pan(app: QApplication, step: Callable[[int], None]) -> tuple[float, float]:
    """Seconds a frame: of the clock, and of this thread."""
    for k in range(3):
        step(k)
        app.processEvents()
    clock, own = time.perf_counter(), time.thread_time()
    for k in range(3, 3 + FRAMES):
        step(k)
        app.processEvents()
    return (time.perf_counter() - clock) / FRAMES, (time.thread_time() - own) / FRAMES


def ours(points: np.ndarray, argb: np.ndarray) -> Callable[[int], None]:
    from napari_virtues._widgets.scatter import Scatter

    plot = Scatter()
    plot.resize(*SIZE)
    plot.show()
    plot.show_points(points, "")
    plot.color(argb)
    return lambda k: moved(plot, k)


def pyqtgraph_scatter(points: np.ndarray, argb: np.ndarray) -> Callable[[int], None]:
    import pyqtgraph as pg

    plot = pg.PlotWidget()
    plot.resize(*SIZE)
    brushes = [pg.mkBrush(f"#{int(c) & 0xFFFFFF:06x}") for c in np.unique(argb)]
    place = np.unique(argb, return_inverse=True)[1]
    plot.addItem(
        pg.ScatterPlotItem(
            x=points[:, 0], y=points[:, 1], size=3, pen=None, brush=[brushes[i] for i in place]
        )
    )
    plot.show()
    return lambda k: moved(plot, k)


def moved(plot: object, k: int) -> None:
    plot.setXRange(-8 + 0.02 * k, 8 + 0.02 * k, padding=0)
    plot.viewport().repaint()


def vispy_markers(points: np.ndarray, argb: np.ndarray) -> Callable[[int], None]:
    from vispy import scene
    from vispy.gloo import gl

    canvas = scene.SceneCanvas(size=SIZE, show=True, keys=None)
    view = canvas.central_widget.add_view()
    view.camera = scene.PanZoomCamera(rect=(-8, -8, 16, 16))
    markers = scene.visuals.Markers(parent=view.scene)
    color = np.ascontiguousarray(argb).view(np.uint8).reshape(-1, 4)[:, [2, 1, 0, 3]] / 255
    markers.set_data(points, size=3, edge_width=0, face_color=color.astype(np.float32))

    def step(k: int) -> None:
        view.camera.rect = (-8 + 0.02 * k, -8, 16, 16)
        canvas.native.repaint()
        gl.glFinish()

    return step


def select(app: QApplication, selected: int) -> tuple[float, float]:
    """Seconds from the end of a lasso until the highlight was painted."""
    import dask.array as da
    import pandas as pd

    import napari
    from napari_virtues.cells_layers import Cells
    from napari_virtues.docks.space import SpaceDock
    from napari_virtues.engine import SpaceJob, SpaceResult
    from napari_virtues.layers import placement
    from virtues_core.image import MultiplexImage
    from virtues_core.infer import Embedding

    side = int(np.ceil(np.sqrt(2 * selected)))
    count = side * side
    labels = np.arange(1, count + 1, dtype=np.int32).reshape(side, side)
    labels = labels.repeat(CELL_PX, 0).repeat(CELL_PX, 1)
    labels[::CELL_PX] = labels[:, ::CELL_PX] = 0
    image = MultiplexImage(da.zeros((1, *labels.shape)), ("DNA",), (1.0, 1.0), "squares")
    grid = np.mgrid[:side, :side].reshape(2, -1)[::-1].T * CELL_PX + CELL_PX / 2
    embedding = Embedding(
        level="cell",
        names=("cell_id", "squares"),
        numbers=np.arange(1, count + 1),
        tokens=np.zeros((count, 2), np.float32),
        intensities=np.zeros((count, 1), np.float32),
        centres_um=grid,
        area_um2=np.full(count, 100.0),
        var=pd.DataFrame(index=["DNA"]),
        provenance={},
    )
    viewer = napari.Viewer(show=True)
    layer = viewer.add_labels(labels, **placement(image))
    dock = SpaceDock(viewer)
    dock.resize(460, 820)
    dock.show()
    dock.state.add(image)
    dock.state.cells = Cells(image, layer, labels, embedding)
    points = np.random.default_rng(0).random((count, 2)).astype(np.float32)
    found = SpaceResult({"tokens": points}, None, None, {})
    job = SpaceJob("umap", {"tokens": points}, points, (), {})
    dock._on_result(dock.cells, job, found)
    rows = np.flatnonzero(points[:, 0] < selected / count)
    times = []
    for _ in range(4):  # the first makes the layer
        dock.selected.select(np.empty(0, np.int64))
        settle(app, dock)
        done: list[int] = []
        dock.selected.shown.connect(lambda done=done: done.append(1))
        clock, own = time.perf_counter(), time.thread_time()
        dock.plots["tokens"].lassoed.emit(rows)
        while not done:
            app.processEvents()
        viewer.window._qt_viewer.canvas.native.repaint()
        times.append((time.perf_counter() - clock, time.thread_time() - own))
    print(f"{len(rows):,} rows selected, {len(times)} times: {times}")
    dock.engine.close()
    viewer.close()
    return float(np.median([t[0] for t in times[1:]])), float(np.median([t[1] for t in times[1:]]))


def mapped(count: int) -> str:
    """Say what neighbours, clusters and a map of so many tokens take."""
    from virtues_core.cohort import space

    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(20, 256))[rng.integers(0, 20, count)] + rng.normal(size=(count, 256))
    laps = [time.process_time()]
    graph = space.neighbour_graph(tokens)
    laps.append(time.process_time())
    space.leiden(graph)
    laps.append(time.process_time())
    space.project(tokens, graph=graph)
    laps.append(time.process_time())
    search, clusters, layout = np.diff(laps)
    return (
        f"\nTokens of {count:,} cells: neighbours {search:.1f} s, clusters {clusters:.1f} s, UMAP "
        f"{layout:.1f} s of the processor."
    )


def settle(app: QApplication, dock: object) -> None:
    end = time.monotonic() + 1
    while time.monotonic() < end or dock.background.busy:
        app.processEvents()


if __name__ == "__main__":
    main()
