"""A simulated cohort → a folder in the spora layout, one tissue in memory at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.files import replacing
from virtues_core.markers import Panel
from virtues_core.preprocess import Statistics, dataset_statistics, tile_origins, upper_quantiles
from virtues_core.simulate.cohort import Cohort
from virtues_core.simulate.panels import PanelPreset, panel_preset
from virtues_core.simulate.tissue import SimulatedTissue

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq

RESOLUTION = "1_0mpp"
STANDARDIZATION = Path("standardization") / "quantile_clipping_log1p" / "uq_0.99_image"
TILE_PX = 128
LEAST_TISSUE = 0.3
"""A tile with a smaller fraction of tissue is not listed."""

_NUCLEAR = ("DNA", "HistoneH3")
_CHUNK_PX = 512

OnTissue = Callable[[int, int, str], None]
"""Called after each tissue with its number from 1, how many there are, and its name."""


def new_folder(folder: Path) -> Path:
    """Check that a folder can be written without losing anything.

    Raises
    ------
    InputError
        There is something at that path.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        message = (
            f"expected a new or an empty folder, found something in {str(folder)!r}; "
            "choose another folder, or remove that one"
        )
        raise InputError(message)
    return folder


def write_spora(cohort: Cohort, folder: Path | str, *, on_tissue: OnTissue | None = None) -> Path:
    """Write a cohort as a dataset folder; it appears when it is complete.

    Besides the tables of the layout it holds ``metadata/clinical.csv``, a row a patient as a
    clinic has it, and, as the truth of the simulation,
    ``metadata/truth.parquet`` (burdens and risks of the patients), the niches of each cell in
    ``metadata/cells.parquet`` and of each pixel in ``segmentations/1_0mpp/niche_masks``.

    Parameters
    ----------
    cohort
        From `simulate_cohort`; its tissues are made one after the other.
    folder
        Where to; new or empty.
    on_tissue
        Called after each tissue.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    InputError
        There is something in the folder.
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    folder = new_folder(Path(folder))
    with replacing(folder) as root:
        (root / "metadata").mkdir(parents=True)
        cohort.tissues.to_parquet(root / "metadata" / "tissues.parquet", index=False)
        cohort.truth.to_parquet(root / "metadata" / "truth.parquet", index=False)
        cohort.clinical.to_csv(root / "metadata" / "clinical.csv", index=False)
        _Writer(cohort, root, on_tissue).write()
    return folder


class _Writer:
    """Writes the tissues and gathers what the tables need on the way."""

    def __init__(self, cohort: Cohort, root: Path, on_tissue: OnTissue | None) -> None:
        self.cohort, self.root, self.on_tissue = cohort, root, on_tissue
        self.done = 0
        self.cells: pq.ParquetWriter | None = None
        self.tiles: list[pd.DataFrame] = []
        self.upper: dict[str, NDArray[np.float32]] = {}

    def write(self) -> None:
        statistics = {}
        try:
            for dataset in self.cohort.config.datasets:
                statistics[dataset] = self._write_dataset(panel_preset(dataset))
        finally:
            if self.cells is not None:
                self.cells.close()
        self._write_tiles()
        for modality in self.cohort.tissues["modality"].unique():
            self._write_modality(str(modality), statistics)

    def _write_dataset(self, panel: PanelPreset) -> Statistics:
        keys = tuple(entry.key for entry in Panel.from_names(panel.names).entries)
        return dataset_statistics(panel.name, self._stream(panel), panel.names, keys)

    def _stream(self, panel: PanelPreset) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """Make and write the tissues of a dataset, and pass them on to be measured."""
        table = self.cohort.tissues
        for tissue_id in table.loc[table["dataset"] == panel.name, "tissue_id"]:
            tissue = self.cohort.tissue(tissue_id)
            self._write_tissue(tissue)
            self.done += 1
            if self.on_tissue is not None:
                self.on_tissue(self.done, len(self.cohort), tissue.name)
            yield tissue.pixels, tissue.tissue_mask

    def _write_tissue(self, tissue: SimulatedTissue) -> None:
        images = self.root / tissue.modality / RESOLUTION / "images"
        _write_ome_zarr(images / f"{tissue.name}.ome.zarr", tissue)
        masks = {
            "tissue_masks": tissue.tissue_mask,
            "cell_masks/instances": tissue.cell_mask,
            "niche_masks": tissue.niches,
        }
        for kind, mask in masks.items():
            path = self.root / "segmentations" / RESOLUTION / kind / f"{tissue.name}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, mask=mask)
        self._append_cells(tissue)
        self.tiles.append(_tiles(tissue))
        self.upper[tissue.name] = upper_quantiles(tissue.pixels, tissue.tissue_mask)

    def _append_cells(self, tissue: SimulatedTissue) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        cells = tissue.cells.copy()
        cells.insert(0, "tissue_id", tissue.name)
        table = pa.Table.from_pandas(cells, preserve_index=False)
        if self.cells is None:
            path = self.root / "metadata" / "cells.parquet"
            self.cells = pq.ParquetWriter(path, table.schema)
        self.cells.write_table(table)

    def _write_tiles(self) -> None:
        import pandas as pd

        path = self.root / "tiling" / RESOLUTION / "default" / f"{TILE_PX}_tile_coordinates.parquet"
        path.parent.mkdir(parents=True)
        pd.concat(self.tiles, ignore_index=True).to_parquet(path, index=False)

    def _write_modality(self, modality: str, statistics: dict[str, Statistics]) -> None:
        """Write the tables of channels and of statistics; the latter have one row a tissue."""
        import pandas as pd

        table = self.cohort.tissues
        table = table[table["modality"] == modality]
        panels = [panel_preset(str(name)) for name in table["dataset"].unique()]
        channels = pd.concat([_channel_table(panel) for panel in panels], ignore_index=True)
        channels.to_parquet(self.root / modality / "channels.parquet", index=False)
        names = channels["channel_name"].tolist()
        of_panel = {panel.name: panel.names for panel in panels}
        measured, upper, mean, std = [], [], [], []
        for tissue_id, dataset in zip(table["tissue_id"], table["dataset"], strict=True):
            own = of_panel[dataset]
            measured.append([name in own for name in names])
            upper.append(dict(zip(own, self.upper[tissue_id], strict=True)))
            mean.append(dict(zip(own, statistics[dataset].mean, strict=True)))
            std.append(dict(zip(own, statistics[dataset].std, strict=True)))
        index = pd.Index(table["tissue_id"], name="tissue_id")
        present = pd.DataFrame(measured, index, names)
        present.reset_index().to_parquet(
            self.root / modality / "channels_per_tissue.parquet", index=False
        )
        folder = self.root / modality / RESOLUTION / STANDARDIZATION
        folder.mkdir(parents=True)
        for file, rows in (
            ("image_level_upper_quantiles", upper),
            ("global_level_means", mean),
            ("global_level_stds", std),
        ):
            values = pd.DataFrame(rows, index, columns=names, dtype=np.float32)
            values.reset_index().to_parquet(folder / f"{file}.parquet", index=False)


def _channel_table(panel: PanelPreset) -> "pd.DataFrame":
    import pandas as pd

    entries = Panel.from_names(panel.names).entries
    return pd.DataFrame(
        {
            "channel_name": panel.names,
            "uniprot_id": [entry.accession for entry in entries],
            "qc_pass": [channel.marker is not None for channel in panel.channels],
            "is_nuclear_marker": [channel.marker in _NUCLEAR for channel in panel.channels],
        }
    )


def _tiles(tissue: SimulatedTissue) -> "pd.DataFrame":
    import pandas as pd

    origins = tile_origins(tissue.shape, size=TILE_PX, stride=TILE_PX)
    covered = np.array(
        [tissue.tissue_mask[y : y + TILE_PX, x : x + TILE_PX].mean() for y, x in origins]
    )
    origins = origins[covered >= LEAST_TISSUE]
    columns = {"tissue_id": tissue.name, "tile_id": np.arange(len(origins))}
    return pd.DataFrame(columns | {"row": origins[:, 0], "col": origins[:, 1]})


def _write_ome_zarr(path: Path, tissue: SimulatedTissue) -> None:
    """Write OME-Zarr 0.5 (zarr v3), one level, CYX: a chunk for each channel, few files."""
    import zarr

    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = {"type": "scale", "scale": [1.0, 1.0, 1.0]}
    dataset = {"path": "0", "coordinateTransformations": [scale]}
    ends = [int(plane.max()) for plane in tissue.pixels]
    channels = [
        {
            "label": name,
            "color": "FFFFFF",
            "active": True,
            "window": {"min": 0, "max": 65535, "start": 0, "end": max(end, 1)},
        }
        for name, end in zip(tissue.channels, ends, strict=True)
    ]
    ome = {
        "version": "0.5",
        "multiscales": [{"name": tissue.name, "axes": axes, "datasets": [dataset]}],
        "omero": {"channels": channels},
    }
    group = zarr.create_group(path, zarr_format=3, attributes={"ome": ome})
    chunks = (1, *(min(side, _CHUNK_PX) for side in tissue.shape))
    array = group.create_array(
        "0",
        shape=tissue.pixels.shape,
        dtype=tissue.pixels.dtype,
        chunks=chunks,
        shards=(len(tissue.channels), *chunks[1:]),
        dimension_names=["c", "y", "x"],
    )
    array[:] = tissue.pixels
