"""A dataset folder in the spora layout, for viewing and for training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import ReadError
from virtues_core.image import MultiplexImage
from virtues_core.read import zarr
from virtues_core.read._names import pick
from virtues_core.read.masks import read_labels

if TYPE_CHECKING:
    import pandas as pd

MODALITIES = ("imc", "codex", "cycif", "mibi")
RESOLUTION = "1_0mpp"
"""Folder name of the resolution that is read: 1 µm a pixel."""
PIXEL_SIZE_UM = (1.0, 1.0)
STANDARDIZATION = "quantile_clipping_log1p/uq_0.99_image"

_TISSUES = Path("metadata") / "tissues.parquet"
_KNOWN = ("tissue_id", "dataset", "patient_id", "specimen_id", "modality", "split")


@dataclass(frozen=True)
class Tissue:
    """One image of a dataset and what is known of it."""

    tissue_id: str
    modality: str
    dataset: str
    patient_id: str | None
    specimen_id: str | None
    split: str | None
    clinical: Mapping[str, Any]
    """The further columns of ``tissues.parquet``."""


@dataclass(frozen=True)
class SporaChannel:
    """One channel, as the dataset's table has it."""

    name: str
    uniprot_id: str | None
    qc_pass: bool
    is_nuclear_marker: bool


@dataclass(frozen=True, eq=False)
class StoredStatistics:
    """What standardises one tissue's channels: clip at ``upper``, log1p, then mean and std."""

    upper: NDArray[np.float32]
    """(C,) 99th percentile of this image, raw units; NaN where the dataset has none."""
    mean: NDArray[np.float32]
    """(C,) of the dataset, after log1p."""
    std: NDArray[np.float32]
    """(C,) of the dataset, after log1p."""


class SporaDataset:
    """A dataset folder; tables are read when it is opened, pixels and masks when asked for.

    Parameters
    ----------
    path
        The folder that holds ``metadata/tissues.parquet``.

    Raises
    ------
    ReadError
        Not in the layout, a damaged table, or no image of a known modality in it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._tables: dict[Path, pd.DataFrame] = {}
        if not (self.path / _TISSUES).is_file():
            message = (
                f"expected a spora dataset with {_TISSUES.as_posix()!r}, found none in "
                f"{str(self.path)!r}; give the dataset's own folder, not the one above it"
            )
            raise ReadError(message)
        self.tissues: tuple[Tissue, ...] = tuple(self._list_tissues())
        """Tissues that have an image, in the order of the table."""
        if not self.tissues:
            message = (
                f"expected images under {'|'.join(MODALITIES)}/{RESOLUTION}/images, found none "
                f"for the tissues of {str(self.path)!r}; check that the images were copied too"
            )
            raise ReadError(message)

    def tissue(self, tissue_id: str, modality: str | None = None) -> Tissue:
        """Find a tissue by its identifier (and modality, where it was imaged by several).

        Raises
        ------
        ReadError
            There is none.
        """
        for tissue in self.tissues:
            if tissue.tissue_id == tissue_id and modality in {None, tissue.modality}:
                return tissue
        message = (
            f"expected one of {len(self.tissues)} tissues of {str(self.path)!r}, found no "
            f"{tissue_id!r}" + (f" by {modality}" if modality else "") + "; look at the list with "
            "`virtues info`"
        )
        raise ReadError(message)

    def channels(self, tissue: Tissue) -> tuple[SporaChannel, ...]:
        """Channels measured in a tissue, in the order of its image.

        Raises
        ------
        ReadError
            The table of channels is missing or damaged.
        """
        table = self._table(Path(tissue.modality) / "channels.parquet", "channel_name")
        measured = self._measured(tissue, table)
        return tuple(
            SporaChannel(
                name=str(row["channel_name"]),
                uniprot_id=_text(row.get("uniprot_id")),
                qc_pass=_flag(row.get("qc_pass"), absent=True),
                is_nuclear_marker=_flag(row.get("is_nuclear_marker"), absent=False),
            )
            for row, kept in zip(table.to_dict("records"), measured, strict=True)
            if kept
        )

    def image(self, tissue: Tissue) -> MultiplexImage:
        """Open a tissue's image, its channels named by the dataset's table.

        Returns
        -------
        MultiplexImage
            ``pixels`` (C, Y, X), read when they are needed.

        Raises
        ------
        ReadError
            The image is damaged, or has another number of channels than the table.
        """
        path = _image_path(self.path, tissue.modality, tissue.tissue_id)
        image = zarr.read(path)
        channels = self.channels(tissue)
        if len(channels) != image.shape[0]:
            message = (
                f"expected {len(channels)} channels in {str(path)!r}, as channels.parquet and "
                f"channels_per_tissue.parquet say, found {image.shape[0]}; mend the tables"
            )
            raise ReadError(message)
        return replace(
            image,
            channels=tuple(c.name for c in channels),
            pixel_size_um=image.pixel_size_um or PIXEL_SIZE_UM,
            name=tissue.tissue_id,
        )

    def tissue_mask(
        self, tissue: Tissue, shape: tuple[int, int] | None = None
    ) -> NDArray[np.bool_] | None:
        """(Y, X), True in tissue; None where the dataset has none.

        Raises
        ------
        ReadError
            The mask is damaged or not of the image's ``shape`` (y, x).
        """
        found = self._mask("tissue_masks", tissue, shape)
        return None if found is None else found > 0

    def cell_mask(
        self, tissue: Tissue, shape: tuple[int, int] | None = None
    ) -> NDArray[np.int32] | None:
        """(Y, X) cell labels, 0 = background; None where the dataset has none.

        Raises
        ------
        ReadError
            The mask is damaged or not of the image's ``shape`` (y, x).
        """
        return self._mask("cell_masks/instances", tissue, shape)

    def cells(self) -> "pd.DataFrame | None":
        """``metadata/cells.parquet`` (tissue_id, cell_id, labels); None where there is none."""
        path = Path("metadata") / "cells.parquet"
        if not (self.path / path).is_file():
            return None
        return self._table(path, "tissue_id", "cell_id")

    def cells_of(self, tissue: Tissue) -> "pd.DataFrame | None":
        """Give the rows of a tissue's cells; None where the dataset has none."""
        table = self.cells()
        if table is None:
            return None
        own = table[table["tissue_id"].astype(str) == tissue.tissue_id]
        return None if own.empty else own

    def files_of(self, tissue: Tissue) -> tuple[Path, ...]:
        """Name the image of a tissue and its mask of cells, which need not be there."""
        image = _image_path(self.path, tissue.modality, tissue.tissue_id)
        return image, self._mask_path("cell_masks/instances", tissue)

    def tile_origins(self, tissue: Tissue, size: int = 128) -> NDArray[np.int64] | None:
        """Look up the stored tiles: (T, 2) top-left pixels (row, col); None where there are none.

        Parameters
        ----------
        tissue
            Which tissue.
        size
            Side of the tiles, in pixels.

        Raises
        ------
        ReadError
            The table is damaged.
        """
        path = Path("tiling") / RESOLUTION / "default" / f"{size}_tile_coordinates.parquet"
        if not (self.path / path).is_file():
            return None
        table = self._table(path, "tissue_id", "tile_id", "row", "col")
        rows = table[table["tissue_id"].astype(str) == tissue.tissue_id].sort_values("tile_id")
        return rows[["row", "col"]].to_numpy(np.int64)

    def statistics(self, tissue: Tissue) -> StoredStatistics | None:
        """Look up the quantiles, means and standard deviations of a tissue's channels.

        Returns
        -------
        StoredStatistics or None
            (C,) each, in the order of :meth:`channels`; None where the dataset has none.

        Raises
        ------
        ReadError
            A table is damaged.
        """
        folder = Path(tissue.modality) / RESOLUTION / "standardization" / STANDARDIZATION
        if not (self.path / folder).is_dir():
            return None
        names = [c.name for c in self.channels(tissue)]
        tables = ("image_level_upper_quantiles", "global_level_means", "global_level_stds")
        upper, mean, std = (
            _row(self._table(folder / f"{t}.parquet"), tissue.tissue_id, names) for t in tables
        )
        return StoredStatistics(upper, mean, std)

    def _list_tissues(self) -> list[Tissue]:
        table = self._table(_TISSUES, "tissue_id")
        found = []
        for row in table.to_dict("records"):
            listed = _text(row.get("modality"))
            tissue_id = str(row["tissue_id"])
            for modality in MODALITIES if listed is None else (listed.lower(),):
                if modality not in MODALITIES:
                    continue  # H&E and single stains are not multiplexed
                if _image_path(self.path, modality, tissue_id).is_dir():
                    found.append(self._tissue(tissue_id, modality, row))
        return found

    def _tissue(self, tissue_id: str, modality: str, row: Mapping[Any, Any]) -> Tissue:
        return Tissue(
            tissue_id=tissue_id,
            modality=modality,
            dataset=_text(row.get("dataset")) or self.path.name,
            patient_id=_text(row.get("patient_id")),
            specimen_id=_text(row.get("specimen_id")),
            split=_text(row.get("split")),
            clinical={str(k): v for k, v in row.items() if k not in _KNOWN},
        )

    def _measured(self, tissue: Tissue, channels: "pd.DataFrame") -> NDArray[np.bool_]:
        """Which rows of the table of channels were measured in a tissue."""
        path = Path(tissue.modality) / "channels_per_tissue.parquet"
        if not (self.path / path).is_file():
            return np.ones(len(channels), bool)
        table = self._table(path, "tissue_id")
        rows = table[table["tissue_id"].astype(str) == tissue.tissue_id]
        names = channels["channel_name"].astype(str)
        if rows.empty or not set(names) <= set(table.columns):
            message = (
                f"expected a row {tissue.tissue_id!r} and a column for each channel in "
                f"{str(self.path / path)!r}, found "
                + ("no such row" if rows.empty else "a channel without a column")
                + "; mend the table"
            )
            raise ReadError(message)
        return np.array([_flag(rows.iloc[0][name], absent=False) for name in names])

    def _mask(
        self, kind: str, tissue: Tissue, shape: tuple[int, int] | None
    ) -> NDArray[np.int32] | None:
        path = self._mask_path(kind, tissue)
        return read_labels(path, shape) if path.is_file() else None

    def _mask_path(self, kind: str, tissue: Tissue) -> Path:
        return self.path / "segmentations" / RESOLUTION / kind / f"{tissue.tissue_id}.npz"

    def _table(self, relative: Path, *columns: str) -> "pd.DataFrame":
        """Return a table, read once; check that ``columns`` are there."""
        if relative not in self._tables:
            self._tables[relative] = self._read_table(self.path / relative)
        table = self._tables[relative]
        missing = [c for c in columns if c not in table.columns]
        if missing:
            message = (
                f"expected the columns {', '.join(columns)} in {str(self.path / relative)!r}, "
                f"found no {', '.join(missing)}; mend the table"
            )
            raise ReadError(message)
        return table

    @staticmethod
    def _read_table(path: Path) -> "pd.DataFrame":
        import pandas as pd

        try:
            table: pd.DataFrame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            message = (
                f"expected a parquet table at {str(path)!r}, found none that can be read "
                f"({error}); copy the dataset again"
            )
            raise ReadError(message) from error
        if isinstance(table.index, pd.RangeIndex) or "tissue_id" in table.columns:
            return table
        return table.rename_axis(str(table.index.name or "tissue_id")).reset_index()


def claims(path: Path) -> bool:
    """Whether the folder has the table that every spora dataset has."""
    return (path / _TISSUES).is_file()


def names(path: Path) -> tuple[str, ...]:
    """List the tissues that have an image, with the modality where there are several.

    Raises
    ------
    ReadError
        Not in the layout, or damaged.
    """
    return tuple(tissues_by_name(SporaDataset(path)))


def read(path: Path, image: str | None = None) -> MultiplexImage:
    """Open the image of one tissue; the first by default.

    Raises
    ------
    ReadError
        Not in the layout, damaged, or there is no such tissue.
    """
    dataset = SporaDataset(path)
    tissues = tissues_by_name(dataset)
    index = pick(image, list(tissues), path)
    return replace(dataset.image(list(tissues.values())[index]), name=list(tissues)[index])


def tissues_by_name(dataset: SporaDataset) -> dict[str, Tissue]:
    """List the tissues by the names of their images: with the modality where there are several."""
    ids = [t.tissue_id for t in dataset.tissues]
    return {
        t.tissue_id if ids.count(t.tissue_id) == 1 else f"{t.tissue_id} ({t.modality})": t
        for t in dataset.tissues
    }


def _image_path(path: Path, modality: str, tissue_id: str) -> Path:
    return path / modality / RESOLUTION / "images" / f"{tissue_id}.ome.zarr"


def _row(table: "pd.DataFrame", tissue_id: str, names: list[str]) -> NDArray[np.float32]:
    """Values of one tissue, or of the dataset where its table has one row: (C,)."""
    if "tissue_id" in table.columns:
        own = table[table["tissue_id"].astype(str) == tissue_id]
        table = own if not own.empty or len(table) != 1 else table
    if table.empty:
        return np.full(len(names), np.nan, np.float32)
    return table.iloc[0].reindex(names).to_numpy(np.float32)


def _text(value: Any) -> str | None:
    """Return a cell of a table as text; None where it is empty."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return str(value).strip() or None


def _flag(value: Any, *, absent: bool) -> bool:
    """Return a cell of a table as yes or no."""
    return absent if _text(value) is None else bool(value)
