"""Cohorts whose cells are known, one tissue at a time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.table import known_labels
from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.tokens import LEAST_TISSUE, niche_origins
from virtues_core.markers import Panel
from virtues_core.markers.registry import is_accession
from virtues_core.preprocess import tissue_mask
from virtues_core.read.spora import SporaDataset, Tissue

LEAST_NICHES = 3
"""Classes with fewer labelled niches are left out: an image has few of them."""


@dataclass(frozen=True, eq=False)
class LabelledTissue:
    """An image, its cells, and what they are."""

    image: MultiplexImage
    panel: Panel
    cell_mask: NDArray[np.int32]
    """(Y, X) labels, 0 = background."""
    labels: Mapping[int, str]
    """Class of the cells that have one, by label in the mask."""
    patient: str
    dataset: str = ""
    split: str | None = None
    """train or test, where the cohort says."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Marker keys of the channels that the model may see, each once, in their order."""
        used = (e.key for e in self.panel.entries if e.keep and e.key is not None)
        return tuple(dict.fromkeys(used))

    def only(self, keys: Iterable[str]) -> "LabelledTissue":
        """Leave only the channels that show one of these markers."""
        wanted = set(keys)
        kept = [i for i, e in enumerate(self.panel.entries) if e.keep and e.key in wanted]
        image = replace(
            self.image,
            pixels=self.image.pixels[kept],
            channels=tuple(self.image.channels[i] for i in kept),
            levels=(),
        )
        return replace(self, image=image, panel=Panel(tuple(self.panel.entries[i] for i in kept)))


class LabelledCohort:
    """The labelled tissues of a spora folder; each is opened when its turn comes, every time.

    Parameters
    ----------
    folder
        The data set.
    label
        Column of ``metadata/cells.parquet`` with the classes.

    Raises
    ------
    ReadError
        Not in the layout, or damaged.
    InputError
        No table of cells, no such column, or no tissue with a mask and labelled cells.
    """

    def __init__(self, folder: Path | str, label: str) -> None:
        self.label = label
        self._dataset = SporaDataset(folder)
        self._labels = self._read_labels(folder)
        self._tissues = [t for t in self._dataset.tissues if t.tissue_id in self._labels]
        if not self._tissues:
            message = (
                f"expected cells with a label in {label!r} in the images of {str(folder)!r}, found "
                "none. Name another column of metadata/cells.parquet."
            )
            raise InputError(message)

    def __len__(self) -> int:
        return len(self._tissues)

    def __iter__(self) -> Iterator[LabelledTissue]:
        return (self._open(tissue) for tissue in self._tissues)

    def _read_labels(self, folder: Path | str) -> dict[str, dict[int, str]]:
        table = self._dataset.cells()
        if table is None or self.label not in table.columns:
            found = "no such table" if table is None else ", ".join(map(str, table.columns))
            message = (
                f"expected a column {self.label!r} in metadata/cells.parquet of {str(folder)!r}, "
                f"found {found}. Name one that is there."
            )
            raise InputError(message)
        names, known = known_labels(table[self.label])
        labelled: dict[str, dict[int, str]] = {}
        rows = zip(table["tissue_id"].astype(str), table["cell_id"].astype(int), names, strict=True)
        for (tissue, cell, name), chosen in zip(rows, known, strict=True):
            if chosen:
                labelled.setdefault(tissue, {})[int(cell)] = str(name)
        return labelled

    def _open(self, tissue: Tissue) -> LabelledTissue:
        image = self._dataset.image(tissue)
        mask = self._dataset.cell_mask(tissue, image.shape[1:])
        if mask is None:
            message = (
                f"expected a mask of the cells of {tissue.tissue_id!r} in "
                "segmentations/…/cell_masks/instances, found none. Copy it there."
            )
            raise InputError(message)
        panel = Panel.from_names(image.channels)
        for position, channel in enumerate(self._dataset.channels(tissue)):
            told = channel.uniprot_id
            if not channel.qc_pass:
                panel = panel.assign(position, status="background")
            elif told and is_accession(told) and panel.keys[position] != told:
                panel = panel.assign(position, accession=told)
        return LabelledTissue(
            image=image,
            panel=panel,
            cell_mask=mask,
            labels=self._labels[tissue.tissue_id],
            patient=tissue.patient_id or tissue.tissue_id,
            dataset=tissue.dataset,
            split=tissue.split,
        )


class NicheCohort:
    """A cohort with its niches in place of its cells, for encoders that see none of the difference.

    Parameters
    ----------
    cohort
        Tissues with labelled cells; those without a niche are left out.
    """

    def __init__(self, cohort: Iterable[LabelledTissue]) -> None:
        self._cohort = cohort

    def __iter__(self) -> Iterator[LabelledTissue]:
        made = (niches_of(tissue) for tissue in self._cohort)
        return (tissue for tissue in made if tissue.cell_mask.any())


def niches_of(tissue: LabelledTissue) -> LabelledTissue:
    """Take niches for cells: the mask holds squares of 128 px side by side, numbered row by row.

    Source of what a niche is: the paper, Methods, "Aggregation into cell-, niche- and tissue-level
    representations". A niche has 30 % tissue or more. Its label is that of most pixels of its
    labelled cells; of equally many, the first by name. What is left at the right and at the bottom,
    less than 128 px, is cut off.
    """
    y, x = (n // TILE_PX * TILE_PX for n in tissue.image.shape[1:])
    image = replace(tissue.image, pixels=tissue.image.pixels[:, :y, :x], levels=())
    mask = np.zeros((y, x), np.int32)
    labels: dict[int, str] = {}
    found = tissue_mask(image.compute()) if mask.size else np.zeros((y, x), bool)
    for number, (top, left) in enumerate(niche_origins((y, x)).tolist(), start=1):
        window = (slice(top, top + TILE_PX), slice(left, left + TILE_PX))
        if found[window].mean() < LEAST_TISSUE:
            continue
        mask[window] = number
        ids, pixels = np.unique(tissue.cell_mask[window], return_counts=True)
        share: dict[str, int] = {}
        for cell, count in zip(ids.tolist(), pixels.tolist(), strict=True):
            if cell in tissue.labels:
                name = tissue.labels[cell]
                share[name] = share.get(name, 0) + count
        if share:
            labels[number] = min(share, key=lambda name: (-share[name], name))
    return replace(tissue, image=image, cell_mask=mask, labels=labels)
