"""The *Space* dock: a map of the cells, clusters, and both against the image."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QFileDialog

from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.listening import listen
from napari_virtues._widgets.space_form import START, TITLES, SpaceForm
from napari_virtues._widgets.space_selection import SpaceSelection
from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.cells_layers import (
    legend,
    new_types_layer,
    outline,
    type_colormap,
    types_layer,
)
from napari_virtues.engine import (
    CellTable,
    ReadTableJob,
    SaveSpaceJob,
    SpaceJob,
    SpaceResult,
)
from napari_virtues.space_cells import (
    Coloring,
    SpaceCells,
    by_group,
    by_value,
    clusters_as_types,
    color_of,
    of_cells,
    of_table,
    show,
)
from napari_virtues.state import AppState, unwrapped
from virtues_core.cohort.space_table import LIMIT
from virtues_core.infer.token_table import check_suffix

if TYPE_CHECKING:
    from napari_virtues.cells_layers import Cells, TypedView

TABLES = "AnnData (*.h5ad)"
CLUSTERS = "Clusters"
MOST_LISTED = 24
"""Names in the legend."""


class SpaceDock(SpaceForm):
    """Asks the engine for maps and clusters, and shows them."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        self.viewer = unwrapped(napari_viewer)
        self.bridge = EngineBridge.of(self.viewer)
        super().__init__(self.bridge)
        self.state = AppState.of(self.viewer)
        self.engine = self.bridge.engine
        self.selected = SpaceSelection(self.viewer, self)
        self.cells: SpaceCells | None = None
        """The chosen ones."""
        self.points: dict[str, NDArray[np.float32]] = {}
        """Kind of features → map (N, 2)."""
        self.numbers: NDArray[np.int64] | None = None
        """(N,) number of each cell's cluster."""
        self.job: SpaceJob | None = None
        """The last one that was asked for."""
        self._maps: dict[str, NDArray[np.float32]] = {}
        self._graphs: Mapping[Any, Any] = {}
        self._params: dict[str, Any] = {}
        self._turns = Turns(self)
        self._turn = 0
        self._connect()
        self._choose()
        if self.state.cells is not None:
            self._on_cells(self.state.cells)

    def showEvent(self, event: Any) -> None:
        """Start the engine ahead of the first run."""
        super().showEvent(event)
        self.engine.start()

    def open_table(self, path: Path | str) -> None:
        """Take the rows of a table by ``virtues embed``."""
        self.run.begin(lambda: ReadTableJob(Path(path)), self._on_table)

    def compute(self, wanted: Literal["umap", "pca", "leiden"]) -> None:
        """Lay the chosen cells out, or find clusters; answers as the buttons do."""
        if self.cells is None:
            self.run.message.say(START)
            return
        cells, kinds = self.cells, self.features_box.currentData()
        job = SpaceJob(
            wanted=wanted,
            features={kind: getattr(cells, kind) for kind in kinds},
            intensities=cells.intensities,
            markers=cells.markers,
            graphs={kind: self._graphs[kind] for kind in kinds if kind in self._graphs},
            resolution=self.resolution.value(),
        )
        self.job = job
        self.run.begin(lambda: job, partial(self._on_result, cells, job))

    def show_types(self) -> None:
        """Colour the cells in the image by the names of their clusters."""
        cells, numbers = self.cells, self.numbers
        if cells is None or numbers is None:
            return
        if cells.in_image is None:
            self.run.message.say(
                "these cells are in no image of the window; open the image of that name and its "
                "mask, then the table again"
            )
            return
        work = partial(clusters_as_types, cells.in_image, numbers, self.table.names)
        self.background.run(work, lambda found: self._turns.begin(self._put_types(*found)))

    def save(self, path: Path | str) -> None:
        """Write the cells with clusters, names and map as AnnData."""
        if self.cells is None:
            return
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".h5ad")
        job = SaveSpaceJob(
            source=self.cells.source,
            umap=self._maps.get("umap"),
            clusters=self.numbers,
            names=self.table.names,
            params=self._params,
            path=path,
        )
        self.run.begin(partial(_checked, job), self._on_saved)

    def _connect(self) -> None:
        self.run.asked.connect(partial(self.compute, "umap"))
        self.pca_button.clicked.connect(lambda: self.compute("pca"))
        self.cluster_button.clicked.connect(lambda: self.compute("leiden"))
        self.open_button.clicked.connect(self._pick_table)
        self.save_button.clicked.connect(self._pick_output)
        self.types_button.clicked.connect(self.show_types)
        self.source_box.currentIndexChanged.connect(self._choose)
        self.color_box.currentIndexChanged.connect(self._recolor)
        self.lasso_button.toggled.connect(self._on_lasso)
        self.draw_button.clicked.connect(self._draw)
        self.selected.changed.connect(self._light_up)
        self.table.chosen.connect(self._on_rows)
        self.table.renamed.connect(self._recolor)
        for plot in self.plots.values():
            plot.lassoed.connect(self.selected.select)
        listen(self, (self.state.cells_changed, self._on_cells))

    def _on_cells(self, cells: "Cells") -> None:
        self._take(of_cells(cells))

    def _on_table(self, table: CellTable) -> None:
        self._take(of_table(table, self.viewer))

    def _take(self, cells: SpaceCells) -> None:
        """List cells, in the place of others of that name, and choose them."""
        blocker = QSignalBlocker(self.source_box)
        text = f"{cells.name}: {len(cells):,} cells"
        same = [i for i in range(self.source_box.count()) if self._listed(i).name == cells.name]
        for index in reversed(same):
            self.source_box.removeItem(index)
        self.source_box.addItem(text, cells)
        self.source_box.setCurrentIndex(self.source_box.count() - 1)
        del blocker
        self._choose()

    def _listed(self, index: int) -> SpaceCells:
        cells: SpaceCells = self.source_box.itemData(index)
        return cells

    def _choose(self, *_: Any) -> None:
        self.cells = self.source_box.currentData()
        self.points, self.numbers, self._graphs = {}, None, {}
        self._maps, self._params = {}, {}
        cells = self.cells
        self.selected.begin(0 if cells is None else len(cells), cells and cells.in_image)
        for button in (self.run.run_button, self.pca_button, self.cluster_button):
            button.setEnabled(cells is not None)
        self.draw_button.setEnabled(cells is not None and cells.in_image is not None)
        self.run.status.setText(START if cells is None else "")
        self.map.hide()
        self.clusters.hide()

    def _on_result(self, cells: SpaceCells, job: SpaceJob, found: SpaceResult) -> None:
        if cells is not self.cells:
            return  # others were chosen meanwhile
        self._graphs = {**self._graphs, **found.graphs}
        if found.clusters is None or found.profiles is None:
            self._show_maps(job, found)
            self._list_colors()
            return
        self.numbers = found.clusters
        kind = next(iter(job.features))
        self._params = {"resolution": job.resolution, "features": kind, "random_state": 0}
        self.table.show_profiles(found.profiles, LIMIT)
        self.clusters.show()
        self.run.status.setText(f"{len(found.profiles.names)} clusters.")
        self._list_colors(CLUSTERS)

    def _show_maps(self, job: SpaceJob, found: SpaceResult) -> None:
        self.points = {str(kind): points for kind, points in found.points.items()}
        self._maps[job.wanted] = next(iter(self.points.values()))
        for kind, plot in self.plots.items():
            plot.setVisible(kind in self.points)
            if kind in self.points:
                plot.show_points(self.points[kind], f"{job.wanted.upper()} of {TITLES[kind]}")
        self.map.show()
        self._light_up()

    def _list_colors(self, wanted: str | None = None) -> None:
        """List what points can be coloured by, and choose one."""
        if self.cells is None:
            return
        chosen = wanted or self.color_box.currentText()
        blocker = QSignalBlocker(self.color_box)
        self.color_box.clear()
        if self.numbers is not None:
            self.color_box.addItem(CLUSTERS, ("clusters", ""))
        for name in self.cells.groups:
            self.color_box.addItem(name, ("group", name))
        for name in self.cells.markers:
            self.color_box.addItem(name, ("marker", name))
        self.color_box.setCurrentIndex(max(0, self.color_box.findText(chosen)))
        del blocker
        self._recolor()

    def _recolor(self, *_: Any) -> None:
        chosen = self.color_box.currentData()
        if self.cells is None or chosen is None:
            return
        kind, name = chosen
        if kind == "clusters" and self.numbers is not None:
            names = self.table.names
            colors = {name: color_of(names.index(name)) for name in names}
            work = partial(_by_cluster, self.numbers, names, colors)
        elif kind == "group":
            work = partial(by_group, self.cells.known[name].to_numpy(object))
        else:
            work = partial(by_value, self.cells.intensities[:, self.cells.markers.index(name)])
        self._turn += 1
        self.background.run(work, partial(self._on_colors, self._turn))

    def _on_colors(self, turn: int, found: Coloring) -> None:
        if turn != self._turn:
            return
        for kind in self.points:
            self.plots[kind].color(found.argb)
        listed = [f'<span style="color:{c}">■</span>&nbsp;{n}' for n, c in found.legend]
        more = len(listed) - MOST_LISTED
        self.legend.setText(
            " &nbsp; ".join(listed[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
        )

    def _light_up(self) -> None:
        rows = self.selected.rows
        for plot in self.plots.values():
            plot.light_up(rows)
        if self.cells is not None:
            self.selection.setText(f"{len(rows):,} of {len(self.cells):,} selected")

    def _on_rows(self, chosen: NDArray[np.int64]) -> None:
        if self.numbers is not None:
            self.selected.select(np.flatnonzero(np.isin(self.numbers, chosen)))

    def _on_lasso(self, on: bool) -> None:  # noqa: FBT001 - Qt's signal
        for plot in self.plots.values():
            plot.lasso = on

    def _draw(self) -> None:
        self.selected.draw()

    def _put_types(self, view: "TypedView", colors: list[str]) -> Steps:
        where = None if self.cells is None else self.cells.in_image
        if where is None:
            return
        layers = self.viewer.layers
        layer = types_layer(self.viewer, where.image, where.level)
        if layer is None:
            layer = new_types_layer(where, view, colors, where.level)
            yield
            outline(where.layer, on=True)
            yield
            at = layers.index(where.layer) if where.layer in layers else len(layers)
            yield from self._turns.in_two(partial(layers.insert, at, layer))
            layers.selection.active = where.layer if where.layer in layers else None
            yield
            yield from self._turns.in_two(partial(show, layer))
        else:
            layer.colormap = type_colormap(colors)
            yield
            layer.data = view.picture
            yield
            layer.features = legend(view)
        yield
        column = f"{where.level}_type"
        if column in where.layer.features:
            where.layer.features[column] = view.names.astype(object)
        self.run.status.setText(f"{len(view.order) - 1} types are shown in the image.")
        self._list_colors()
        yield

    def _on_saved(self, path: Path) -> None:
        self.run.status.setText(f"Saved {path.name}.")

    def _pick_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Table of cells", filter=TABLES)
        if path:
            self.open_table(path)

    def _pick_output(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the cells", "clusters.h5ad", TABLES)
        if path:
            self.save(path)


def _by_cluster(
    numbers: NDArray[np.int64], names: tuple[str, ...], colors: Mapping[str, str]
) -> Coloring:
    return by_group(np.array(names, dtype=object)[numbers], colors)


def _checked(job: SaveSpaceJob) -> SaveSpaceJob:
    """Refuse a path of another ending before cells are handed over."""
    check_suffix(job.path)
    return job
