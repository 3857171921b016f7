"""What is known of cells and channels beside the pixels: columns of the table of tokens."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.infer.prepare import PreparedImage
from virtues_core.markers import Panel

if TYPE_CHECKING:
    import pandas as pd

_OWN_COLUMNS = {"tissue_id", "cell_id", "area_um2"}


def known_of_cells(table: "pd.DataFrame", ids: NDArray[np.int64], tissue_id: str) -> dict[str, Any]:
    """Look up what a table says of cells: further columns of N values, empty where it says nothing.

    Parameters
    ----------
    table
        ``cell_id`` and other columns; with ``tissue_id``, only rows of this tissue count.
    ids
        (N,) labels of the cells.
    tissue_id
        The tissue.

    Raises
    ------
    InputError
        No column ``cell_id``, two rows for one cell, or none for any of the cells.
    """
    if "cell_id" not in table.columns:
        message = (
            "expected a column cell_id in the table of cells, found "
            f"{', '.join(map(str, table.columns)) or 'no columns'}. Name the label of each cell."
        )
        raise InputError(message)
    if "tissue_id" in table.columns:
        table = table[table["tissue_id"].astype(str) == tissue_id]
    if table["cell_id"].duplicated().any():
        twice = table.loc[table["cell_id"].duplicated(), "cell_id"].iloc[0]
        message = (
            f"expected one row a cell in the table of cells, found several for cell {twice}. "
            "Leave one of them, or add a column tissue_id."
        )
        raise InputError(message)
    found = table.set_index("cell_id").reindex(ids)
    if not table["cell_id"].isin(ids).any():
        message = (
            f"expected a table of the cells of {tissue_id!r}, found none of its {len(ids)} cells "
            "among the values of cell_id. Choose the table made for this mask."
        )
        raise InputError(message)
    return {
        str(name): category(column) if column.dtype == object else column.to_numpy()
        for name, column in found.items()
        if name not in _OWN_COLUMNS
    }


def category(values: Any) -> Any:
    """Give texts as a category, in which those that are missing stay so."""
    import pandas as pd

    texts = pd.Series(values, dtype=object)
    return pd.Categorical(texts.where(texts.isna(), texts.astype(str)))


def describe_channels(
    image: MultiplexImage, panel: Panel | None, prepared: PreparedImage
) -> "pd.DataFrame":
    """Say of each channel what it measures and whether the model saw it: C rows."""
    import pandas as pd

    named = Panel.from_names(image.channels) if panel is None else panel
    same = tuple(named.names) == image.channels
    entries = named.entries if same else tuple(named[name] for name in image.channels)
    names: list[str] = []
    for name in image.channels:  # names that repeat are told apart
        repeats = sum(other == name for other in image.channels[: len(names)])
        names.append(f"{name}-{repeats}" if repeats else name)
    return pd.DataFrame(
        {
            "accession": [entry.accession or "" for entry in entries],
            "key": [entry.key or "" for entry in entries],
            "symbol": [entry.symbol for entry in entries],
            "status": [entry.status for entry in entries],
            "in_model": [name in prepared.channels for name in names],
        },
        index=pd.Index(names, dtype=object),
    )
