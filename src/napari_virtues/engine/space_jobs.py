"""Maps and clusters of cells, and tables with them, as jobs for the child."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_virtues.engine import messages
from napari_virtues.engine.cells_jobs import _OneByOne

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    from virtues_core.cohort.space import Features, Profiles
    from virtues_core.infer import Embedding

CELL_TYPE = "cell_type"
"""Column of ``obs`` that names of clusters are saved in."""


@dataclass(frozen=True, eq=False)
class SpaceResult:
    """What came of a `SpaceJob`."""

    points: "Mapping[Features, NDArray[np.float32]]"
    """Maps (N, 2); none where clusters were wanted."""
    clusters: NDArray[np.int64] | None
    """(N,) from 0, the largest first; None where a map was wanted."""
    profiles: "Profiles | None"
    """Of the clusters, markers that are alike side by side."""
    graphs: "Mapping[Features, csr_matrix]"
    """Neighbours, for the next job on the same cells."""


@dataclass(frozen=True, eq=False)
class SpaceJob(_OneByOne):
    """Lay cells out by one or both kinds of features, or find clusters by the first."""

    wanted: Literal["umap", "pca", "leiden"]
    features: "Mapping[Features, NDArray[np.float32]]"
    """(N, F) tokens or raw mean intensities, in the order in which they are shown."""
    intensities: NDArray[np.float32]
    """(N, C) for the profiles of clusters, raw."""
    markers: tuple[str, ...]
    graphs: "Mapping[Features, csr_matrix]"
    """Those that are at hand."""
    resolution: float = 1.0

    def run(self, worker: messages.Worker) -> SpaceResult:
        """Do it, in the child."""
        from virtues_core.cohort import space, space_table
        from virtues_core.cohort.table import signed_log

        graphs = dict(self.graphs)
        points: dict[Features, NDArray[np.float32]] = {}
        for kind, raw in self.features.items():
            values = signed_log(raw) if kind == "intensities" else raw
            if self.wanted != "pca" and kind not in graphs:
                worker.emit(messages.Loading("neighbours"))
                graphs[kind] = space.neighbour_graph(values)
            if self.wanted == "leiden":
                break
            worker.emit(messages.Loading("map"))
            points[kind] = space.project(values, self.wanted, graph=graphs.get(kind))
        if self.wanted != "leiden":
            return SpaceResult(points, None, None, graphs)
        worker.emit(messages.Loading("clusters"))
        clusters = space.leiden(graphs[next(iter(self.features))], resolution=self.resolution)
        profiles = space.marker_profiles(self.intensities, self.markers, clusters)
        return SpaceResult(points, clusters, space_table.side_by_side(profiles), graphs)


@dataclass(frozen=True, eq=False)
class CellTable:
    """What a table holds that the window shows."""

    path: Path
    tokens: NDArray[np.float32]
    """(N, D)."""
    intensities: NDArray[np.float32]
    """(N, C) raw."""
    markers: tuple[str, ...]
    centres_um: NDArray[np.float64] | None
    """(N, 2) (x, y)."""
    obs: "pd.DataFrame"
    """N rows."""


@dataclass(frozen=True, eq=False)
class ReadTableJob(_OneByOne):
    """Read a table of cells, niches or tissues."""

    path: Path

    def run(self, worker: messages.Worker) -> CellTable:
        """Do it, in the child."""
        from virtues_core.cohort import read_table, space_table
        from virtues_core.cohort.table import tokens

        worker.emit(messages.Loading("table"))
        table = read_table(self.path)
        centres = table.obsm.get("spatial")
        return CellTable(
            path=self.path,
            tokens=tokens(table),
            intensities=space_table.intensities(table),
            markers=tuple(str(name) for name in table.var_names),
            centres_um=None if centres is None else np.asarray(centres, dtype=np.float64),
            obs=table.obs,
        )


@dataclass(frozen=True, eq=False)
class SaveSpaceJob(_OneByOne):
    """Write cells with their clusters and the map as AnnData."""

    source: "Embedding | Path"
    """The cells, or the table that they were read from."""
    umap: NDArray[np.float32] | None
    """(N, 2)."""
    clusters: NDArray[np.int64] | None
    """(N,)."""
    names: tuple[str, ...]
    """Of the clusters; where a person changed any, they become the cells' types."""
    params: Mapping[str, Any]
    """How clusters were found."""
    path: Path

    def run(self, worker: messages.Worker) -> Path:
        """Do it, in the child."""
        from virtues_core.cohort import read_table, write_table

        worker.emit(messages.Loading("saving"))
        source = self.source
        table = read_table(source) if isinstance(source, Path) else source.to_anndata()
        self._add(table)
        write_table(table, self.path)
        return self.path

    def _add(self, table: "AnnData") -> None:
        import pandas as pd

        from virtues_core.cohort.space_table import LEIDEN, UMAP

        if self.umap is not None:
            table.obsm[UMAP] = self.umap
        if self.clusters is None:
            return
        numbers = [str(n) for n in range(len(self.names))]
        table.obs[LEIDEN] = pd.Categorical(self.clusters.astype(str), categories=numbers)
        table.uns[LEIDEN] = {"params": dict(self.params)}
        if list(self.names) != numbers:
            named = np.array(self.names, dtype=object)[self.clusters]
            table.obs[CELL_TYPE] = pd.Categorical(named)
