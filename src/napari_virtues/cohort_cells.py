"""What was clicked in the results of a cohort → its tissues, and its cells lit in their images.

Knows no Qt. Reading is for a background thread; of ``cells.parquet`` a batch of rows is in memory
at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtues._reader import opening_layers
from napari_virtues.cells_intent import LIT
from napari_virtues.cells_layers import new_mask_layer, painted, type_colormap
from napari_virtues.layers import placement
from napari_virtues.linked_drawing import text_of, texts_of
from napari_virtues.space_cells import SELECTION_COLOR, color_of
from napari_virtues.state import LINK, ChannelLink
from napari_virtues.tissue_places import find_image, find_mask, kept_folders
from virtues_core.errors import InputError, ReadError, VirtuesError
from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels, Layer

    from virtues_core.cohort.patients.results import Results

PATIENT, TISSUE, CELL = "patient_id", "tissue_id", "cell_id"
TISSUES = "tissues"
"""Column of ``patients.csv``: the patient's tissues, with ``;`` between them."""
TRUE = "true"
"""How `text_of` writes a flag that is set."""
MOST_KINDS = 250
"""More different values are not told apart by colours."""
BATCH_ROWS = 2**18


@dataclass(frozen=True)
class LitTissue:
    """A tissue with cells of what was clicked."""

    tissue_id: str
    patient_id: str
    lit: int
    """Cells that are lit."""
    cells: int
    """Cells that took part in the analysis; 0 where it was not of cells."""


@dataclass(frozen=True, eq=False)
class Lit:
    """What was clicked."""

    title: str
    tissues: tuple[LitTissue, ...]
    """Those with most lit cells first."""
    path: Path | None = None
    """``cells.parquet``; None where the analysis tells nothing of cells."""
    column: str = ""
    """Of ``cells.parquet``: cells are lit whose value is one of `values`."""
    values: frozenset[str] = frozenset()
    kind: str = ""
    """Column of ``cells.parquet`` that colours lit cells; "" for one colour."""
    kinds: tuple[str, ...] = ()
    """Its values, in the order of their colours."""

    @property
    def cells(self) -> int:
        """Cells that are lit in all tissues."""
        return sum(tissue.lit for tissue in self.tissues)

    @property
    def patients(self) -> int:
        """Patients that have one of the tissues."""
        return len({tissue.patient_id for tissue in self.tissues if tissue.patient_id})


@dataclass(frozen=True, eq=False)
class OpenedTissue:
    """A tissue, ready to be shown."""

    tissue_id: str
    image: MultiplexImage
    panel: Panel
    """What its channels measure: looking that up takes a while."""
    layers: "tuple[Layer, ...]"
    """Of its channels, where they are wanted; then the mask and the lit cells, all hidden."""
    told: str = ""
    """What could not be shown, and why."""


def lit_by(results: "Results", column: str, value: str) -> Lit:
    """Find the tissues and cells of what was clicked. Slow for many cells.

    Parameters
    ----------
    results
        What `read_results` gave.
    column, value
        A patient (``patient_id``), a value of a column of ``cells.parquet`` or ``patients.csv``,
        or the name of a column of flags in ``cells.parquet``.

    Raises
    ------
    InputError
        Nothing is known by that name.
    ReadError
        The cells cannot be read.
    """
    title = f"{column.removesuffix('_id').replace('_', ' ')} {value}"
    path = results.cells
    known = _columns(path) if isinstance(path, Path) else {}
    patients = _patients(results, column, value)
    if column not in {PATIENT, *known} and known.get(value) == "bool":
        column, value, patients = value, TRUE, None
    if isinstance(path, Path) and column in known and column != PATIENT:
        return _of_cells(path, title, column, frozenset({value}), "")
    if patients is None:
        message = (
            f"expected a patient, or a value of a column that the results keep of patients or "
            f"cells, found {column} {value!r}. Run the analysis again."
        )
        raise InputError(message)
    if isinstance(path, Path):
        return _of_cells(path, title, PATIENT, frozenset(patients), _kind_column(known))
    table = results.patients
    pairs = zip(texts_of(table[PATIENT]), texts_of(table[TISSUES]), strict=True)
    listed = (
        LitTissue(name, patient, 0, 0)
        for patient, names in pairs
        if patient in patients
        for name in filter(None, names.split(";"))
    )
    return Lit(title, tuple(listed))


def open_tissue(
    stated: Mapping[str, str],
    lit: Lit,
    tissue_id: str,
    known: MultiplexImage | None = None,
    *,
    channels: bool = True,
) -> OpenedTissue:
    """Open a tissue with its cells lit.

    Parameters
    ----------
    stated
        Tissue → path of its image, as the analysis says.
    lit
        What was clicked.
    tissue_id
        One of its tissues.
    known
        Its image, where it is open.
    channels
        Whether layers of its channels are wanted.

    Raises
    ------
    InputError
        The image is nowhere.
    ReadError
        The image or the cells are damaged.
    """
    from napari.layers import Layer

    folders = kept_folders()
    image = known or find_image(tissue_id, stated.get(tissue_id, ""), folders)
    panel = Panel.from_names(image.channels)
    layers = [Layer.create(*x) for x in opening_layers(image)] if channels else []
    for layer in layers:
        layer.visible = False
    if lit.path is None:
        return OpenedTissue(tissue_id, image, panel, tuple(layers))
    try:
        labels = find_mask(tissue_id, image, folders)
    except VirtuesError as error:
        return OpenedTissue(tissue_id, image, panel, tuple(layers), str(error))
    cells = _cells_of(lit.path, lit, tissue_id)
    mask = new_mask_layer(image, labels, f"cells · {tissue_id}")
    mask.visible = False
    mask.features = cells.drop(columns="number").rename(columns={CELL: "index"})
    shown = cells[cells["number"] > 0]
    picture = np.zeros(labels.shape, np.uint8)
    if len(shown):
        picture = painted(labels, shown[CELL].to_numpy(np.int64), shown["number"].to_numpy())
    absent = int((~np.isin(shown[CELL], np.unique(labels))).sum())
    told = f"{absent:,} of the lit cells are not in the mask: is it another mask?" * bool(absent)
    layers += [mask, _lit_layer(image, lit, picture)]
    return OpenedTissue(tissue_id, image, panel, tuple(layers), told)


def _lit_layer(image: MultiplexImage, lit: Lit, picture: NDArray[np.uint8]) -> "Labels":
    import pandas as pd
    from napari.layers import Labels

    names = lit.kinds or (lit.title,)
    colors = [color_of(k) for k in range(len(lit.kinds))] or [SELECTION_COLOR]
    numbers = np.arange(1, len(names) + 1)
    return Labels(
        picture,
        name=f"{lit.title} · {image.name}",
        colormap=type_colormap(colors),
        opacity=0.7,
        visible=False,
        features=pd.DataFrame({"index": numbers, lit.kind or "lit": names}),
        metadata={LINK: ChannelLink(image), LIT: True},
        **placement(image),
    )


def _columns(path: Path) -> dict[str, str]:
    """Return the columns of a table of cells, and what they hold: bool, text, int or other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise ReadError(_damaged(path, error)) from error
    found = {}
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        whole = pa.types.is_integer(kind)
        found[column.name] = "text" if text else "int" if whole else str(kind)
    missing = {TISSUE, CELL, PATIENT} - set(found)
    if missing:
        message = (
            f"{path.name}: expected columns {TISSUE}, {CELL} and {PATIENT}, found no "
            f"{', '.join(sorted(missing))}. The results were edited: run the analysis again."
        )
        raise ReadError(message)
    return found


def _damaged(path: Path, error: Exception) -> str:
    found = f"found a damaged file ({error}); run the analysis again"
    return f"expected cells in {str(path)!r}, {found}"


def _kind_column(known: Mapping[str, str]) -> str:
    """Return the first column that says of what kind a cell is."""
    own = [name for name in known if name not in {TISSUE, CELL, PATIENT}]
    return next((name for name in own if known[name] in {"text", "int"}), "")


def _patients(results: "Results", column: str, value: str) -> set[str] | None:
    """Return the patients that have this value; None where there is no such column."""
    table = results.patients
    if column not in table:
        return None
    texts = zip(texts_of(table[PATIENT]), texts_of(table[column]), strict=True)
    found = {patient for patient, text in texts if text == value}
    return found or None


def _of_cells(path: Path, title: str, column: str, values: frozenset[str], kind: str) -> Lit:
    """Count the lit cells of each tissue, batch by batch."""
    counts: dict[str, list[Any]] = {}
    kinds: set[Any] = set()
    wanted = dict.fromkeys((TISSUE, PATIENT, column, *([kind] if kind else [])))
    for batch in _batches(path, list(wanted)):
        lit = _among(batch[column], values)
        tissues, names = batch[TISSUE].factorize()
        everyone = np.bincount(tissues, minlength=len(names))
        ours = np.bincount(tissues[lit], minlength=len(names))
        firsts = batch[PATIENT].to_numpy(object)[np.unique(tissues, return_index=True)[1]]
        for number, name in enumerate(names):
            entry = counts.setdefault(str(name), [text_of(firsts[number]), 0, 0])
            entry[1] += int(ours[number])
            entry[2] += int(everyone[number])
        if kind and len(kinds) <= MOST_KINDS:
            kinds.update(batch[kind][lit].dropna().unique())
    found = [LitTissue(name, *entry) for name, entry in counts.items() if entry[1]]
    found.sort(key=lambda tissue: (-tissue.lit, tissue.tissue_id))
    several = 1 < len(kinds) <= MOST_KINDS
    names = tuple(text_of(value) for value in sorted(kinds)) if several else ()
    return Lit(title, tuple(found), path, column, values, kind if several else "", names)


def _batches(path: Path, columns: list[str]) -> "Iterable[pd.DataFrame]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                yield batch.to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise ReadError(_damaged(path, error)) from error


def _cells_of(path: Path, lit: Lit, tissue_id: str) -> "pd.DataFrame":
    """Read the cells of a tissue, by ascending label: ``number`` is 0 for those not lit."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(dict.fromkeys(filter(None, (CELL, PATIENT, lit.column, lit.kind))))
    try:
        found = pq.read_table(path, columns=columns, filters=[(TISSUE, "==", tissue_id)])
        table = found.to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise ReadError(_damaged(path, error)) from error
    table = table.sort_values(CELL, ignore_index=True)
    chosen = _among(table[lit.column], lit.values)
    number = np.ones(len(table), np.uint8)
    if lit.kind:
        place = {name: at for at, name in enumerate(lit.kinds, start=1)}
        number = np.array([place.get(x, 0) for x in texts_of(table[lit.kind])], np.uint8)
    table["number"] = np.where(chosen, number, 0).astype(np.uint8)
    return table


def _among(column: "pd.Series[Any]", values: frozenset[str]) -> NDArray[np.bool_]:
    """Tell which of N values are among those."""
    codes, found = column.factorize()
    hits = np.array([*(text_of(value) in values for value in found), False])
    return hits[codes]
