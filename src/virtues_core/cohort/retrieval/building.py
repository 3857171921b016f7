"""Images, or tables of niches, → tissues of a database, one at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients import CellTables, Clinical
from virtues_core.cohort.retrieval.database import TissueDatabase
from virtues_core.cohort.retrieval.entries import Stored, TissueEntry, Value
from virtues_core.cohort.retrieval.niches import SmallTissueError, central, niche_tokens
from virtues_core.cohort.retrieval.thumbnail import thumbnail
from virtues_core.errors import InputError, VirtuesError
from virtues_core.infer.listing import Listed
from virtues_core.infer.signed import image_stamps, stamp
from virtues_core.markers import Panel
from virtues_core.read import read_image
from virtues_core.read.spora import SporaDataset, claims, tissues_by_name

if TYPE_CHECKING:
    import pandas as pd

    from virtues_core.model import Checkpoint

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Added:
    """What became of the tissues that were to be stored, by name."""

    made: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """There already, from the same files."""
    small: tuple[str, ...] = ()
    """Left out: smaller than the central grid."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Name → why."""


@dataclass(frozen=True, eq=False)
class Known:
    """What tables say of tissues, besides what their own files say."""

    clinical: Clinical | None = None
    compositions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Tissue → cell type → share."""

    def of(self, own: Stored) -> Stored:
        """Add what is known of a tissue to what its file says; the tables count more."""
        patient, told = own.patient_id, dict(own.clinical)
        if self.clinical is not None:
            table, by_tissue = self.clinical.table, self.clinical.by_tissue
            if self.clinical.tissues is not None:
                patient = str(self.clinical.tissues.get(own.tissue_id, patient))
            if by_tissue is not None and own.tissue_id in by_tissue.index:
                told |= plain(by_tissue.loc[own.tissue_id].to_dict())
            elif patient in table.index:
                ours = table.drop(columns=self.clinical.columns.tissue, errors="ignore")
                told |= plain(ours.loc[patient].to_dict())
        shares = self.compositions.get(own.tissue_id, own.composition)
        return replace(own, patient_id=patient, clinical=told, composition=shares)


def plain(values: Mapping[Any, Any]) -> dict[str, Value]:
    """Keep of clinical values what is known, as JSON knows it.

    Examples
    --------
    >>> plain({"age": np.int64(60), "stage": None, "dead": np.bool_(True), "grade": float("nan")})
    {'age': 60, 'dead': True}
    """
    found: dict[str, Value] = {}
    for name, value in values.items():
        item = value.item() if isinstance(value, np.generic) else value
        if isinstance(item, float) and not np.isfinite(item):
            continue
        if item is None or (not isinstance(item, str | int | float) and str(item) in _GAPS):
            continue
        if item != "":
            found[str(name)] = item if isinstance(item, str | int | float) else str(item)
    return found


_GAPS = {"NaT", "<NA>", "nan", "None"}


def compositions(cells: "pd.DataFrame", column: str = "cell_type") -> dict[str, dict[str, float]]:
    """Count cell types: tissue → cell type → share of the tissue's cells of known type.

    Parameters
    ----------
    cells
        A row a cell: ``tissue_id`` and `column`.
    column
        With the types; empty, NaN and "unsure" are not known.

    Raises
    ------
    InputError
        A column is not there.
    """
    from virtues_core.cohort.table import known_labels

    missing = [name for name in ("tissue_id", column) if name not in cells]
    if missing:
        message = (
            f"expected columns tissue_id and {column} in a table of cells, found no "
            f"{' and no '.join(missing)} in {', '.join(map(str, cells.columns))}."
        )
        raise InputError(message)
    types, known = known_labels(cells[column])
    tissues = cells["tissue_id"].astype(str).to_numpy()
    found: dict[str, dict[str, float]] = {}
    for tissue in np.unique(tissues[known]):
        names, counts = np.unique(types[known & (tissues == tissue)], return_counts=True)
        found[str(tissue)] = dict(
            zip(names.tolist(), (counts / counts.sum()).tolist(), strict=True)
        )
    return found


class _Sources:
    """Spora data sets, each opened once."""

    def __init__(self) -> None:
        self._opened: dict[Path, tuple[SporaDataset, dict[str, dict[str, float]]]] = {}

    def about(self, listed: Listed) -> Stored:
        """Say what the image's own files say of it."""
        named = Stored(listed.name, source=str(listed.path), image=listed.image or "")
        if not (listed.path.is_dir() and claims(listed.path)):
            return named
        if listed.path not in self._opened:
            dataset = SporaDataset(listed.path)
            cells = dataset.cells()
            shares = {} if cells is None or "cell_type" not in cells else compositions(cells)
            self._opened[listed.path] = (dataset, shares)
        dataset, shares = self._opened[listed.path]
        tissue = tissues_by_name(dataset)[listed.image or ""]
        return replace(
            named,
            tissue_id=listed.image or "",
            patient_id=tissue.patient_id or "",
            clinical=plain(tissue.clinical),
            composition=shares.get(tissue.tissue_id),
        )


def add_images(
    database: TissueDatabase,
    images: Sequence[Listed],
    checkpoint: "Checkpoint",
    known: Known | None = None,
    *,
    panel: Path | None = None,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> Added:
    """Store tissues from their images; each is in the database as soon as it is computed.

    What is there from the same files is kept, and what tables say of it now is added.

    Parameters
    ----------
    database
        Where to.
    images
        As `list_images` gives them.
    checkpoint
        That of the database.
    known
        Clinical table and cell types, where there are any.
    panel
        CSV: what the channels are; from their names by default.
    batch_size
        Tiles that go through the model at once.
    progress
        Called after each image with how many are done, of how many.

    Raises
    ------
    CheckpointError
        The database was made by another checkpoint.
    """
    from virtues_core.infer import checkpoint_signature

    name = str(checkpoint.folder or "a checkpoint in memory")
    database.check_checkpoint(checkpoint_signature(checkpoint), name)
    channels = None if panel is None else Panel.from_csv(panel)
    of_panel = [] if panel is None else [stamp(panel)]
    sources, facts = _Sources(), known or Known()

    def about(listed: Listed) -> Stored:
        signed = "; ".join([*image_stamps(listed.path, listed.image), *of_panel])
        return replace(facts.of(sources.about(listed)), stamp=signed)

    def entry(listed: Listed, known_of_it: Stored) -> TissueEntry:
        image = read_image(listed.path, listed.image)
        settings = database.settings
        tokens = niche_tokens(image, channels, checkpoint, settings, batch_size=batch_size)
        return TissueEntry(known_of_it, tokens, thumbnail(image, channels))

    work = [_Tissue(one.name, partial(about, one), partial(entry, one)) for one in images]
    return _store(database, work, progress)


def add_tables(
    database: TissueDatabase,
    tables: CellTables,
    known: Known | None = None,
    *,
    progress: Progress | None = None,
) -> Added:
    """Store tissues from tables of their niches, with pictures where the images are still there.

    Parameters
    ----------
    database
        Where to.
    tables
        Of niches, opened with the columns ``y_px`` and ``x_px``.
    known, progress
        As `add_images`.

    Raises
    ------
    CheckpointError
        The database was made by another checkpoint.
    """
    database.check_checkpoint(tables.signature, str(tables.paths[0]))
    facts = known or Known()
    codes = tables.cells["tissue_id"].cat.codes.to_numpy()
    patients = tables.cells["patient_id"].astype(str)
    ends = np.cumsum([file.rows for file in tables.files])

    def about(name: str, rows: NDArray[np.intp]) -> Stored:
        file = tables.files[int(np.searchsorted(ends, rows[0], "right"))]
        patient, source = str(patients.iloc[rows[0]]), tables.images.get(name, "")
        return facts.of(Stored(name, patient, source=source, stamp=stamp(file.path)))

    def entry(rows: NDArray[np.intp], known_of_it: Stored) -> TissueEntry:
        origins = tables.cells[["y_px", "x_px"]].to_numpy(np.int64)[rows]
        kept = rows[central(origins, database.settings, known_of_it.tissue_id)]
        try:
            picture = thumbnail(read_image(known_of_it.source)) if known_of_it.source else b""
        except VirtuesError:  # images may have gone since: tokens are what counts
            picture = b""
        return TissueEntry(known_of_it, tables.take(kept), picture)

    work = []
    for code, name in enumerate(tables.cells["tissue_id"].cat.categories.astype(str)):
        rows = np.flatnonzero(codes == code)
        work.append(_Tissue(name, partial(about, name, rows), partial(entry, rows)))
    return _store(database, work, progress)


@dataclass(frozen=True, eq=False)
class _Tissue:
    """What there is to do for a tissue."""

    name: str
    about: Callable[[], Stored]
    entry: Callable[[Stored], TissueEntry]


def _added_to(old: Stored, new: Stored) -> Stored:
    """Keep what was known of a tissue where nothing else is said of it now."""
    shares = new.composition
    if shares is None and new.stamp == old.stamp:
        shares = old.composition
    return replace(
        new,
        patient_id=new.patient_id or old.patient_id,
        clinical={**old.clinical, **new.clinical},
        composition=shares,
    )


def _store(database: TissueDatabase, work: Sequence[_Tissue], progress: Progress | None) -> Added:
    """Store tissue by tissue, going on where one fails."""
    there = {one.tissue_id: one for one in database.tissues()}
    made, kept, small, failed = [], [], [], {}
    for done, one in enumerate(work, start=1):
        try:
            about = one.about()
            old = there.get(about.tissue_id)
            about = about if old is None else _added_to(old, about)
            if old is None or old.stamp != about.stamp:
                database.add([one.entry(about)], replacing=old is not None)
                made.append(about.tissue_id)
            else:
                if replace(about, niches=old.niches) != old:
                    database.describe(about)
                kept.append(about.tissue_id)
        except SmallTissueError:
            small.append(one.name)
        except VirtuesError as error:
            failed[one.name] = str(error)
        if progress is not None:
            progress(done, len(work), "tissue")
    return Added(tuple(made), tuple(kept), tuple(small), failed)
