"""The files in the folder of an analysis: JSON, CSV and Parquet, written and read."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from virtues_core.errors import ReadError

if TYPE_CHECKING:
    import pandas as pd

ROW_GROUP = 2**18
"""Rows of cells that are read at once."""
_TEXT = ("patient_id", "tissue_id", "tissues")


def write_cells(cells: "pd.DataFrame | Path | None", path: Path) -> None:
    """Write rows of cells by groups, or take a file of them over."""
    if cells is None:
        return
    if isinstance(cells, Path):
        shutil.copyfile(cells, path)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.Schema.from_pandas(cells, preserve_index=False)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, max(1, len(cells)), ROW_GROUP):
            part = cells.iloc[start : start + ROW_GROUP]
            writer.write_table(pa.Table.from_pandas(part, schema, preserve_index=False))


def count_rows(path: Path) -> int:
    """Count the rows of cells; only the file's end is read.

    Raises
    ------
    ReadError
        It is no whole Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, str(error)) from error


def write_json(path: Path, values: Any) -> None:
    """Write values; what is no number is null."""
    text = json.dumps(_plain(values), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Make what JSON knows of a value; what is no number is null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)


def read_json(path: Path, kind: type) -> Any:
    """Read a dict or a list.

    Raises
    ------
    ReadError
        It cannot be read, or is of another kind.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(path, str(error)) from error
    if not isinstance(found, kind):
        raise unreadable(path, f"a {type(found).__name__} in it")
    return found


def read_csv(path: Path) -> "pd.DataFrame":
    """Read a table; names of patients and tissues are text.

    Raises
    ------
    ReadError
        It cannot be read.
    """
    import pandas as pd

    try:
        return pd.read_csv(
            path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False, na_values=[""]
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise unreadable(path, str(error)) from error


def unreadable(path: Path, why: str) -> ReadError:
    """Say that the folder of an analysis is not whole."""
    message = (
        f"expected the folder of an analysis, could not read {str(path)!r} ({why}). Choose a "
        "folder that `virtues stratify`, `biomarkers` and the like wrote, or run it again."
    )
    return ReadError(message)
