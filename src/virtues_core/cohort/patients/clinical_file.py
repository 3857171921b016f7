"""A table as a clinic exports it (CSV, TSV, Parquet) → text, with gaps where nothing is known."""

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from virtues_core.errors import InputError, ReadError

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".csv", ".tsv", ".parquet")
MISSING = ("", "na", "n/a", "nan", "null", "none", "<na>", "#n/a", ".")
"""What is taken for a gap, in any case."""


def read_text(path: Path) -> "pd.DataFrame":
    """Read a table as text.

    A CSV may be parted by semicolons, as where decimals have commas; those become points.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv`` or ``.parquet``.

    Returns
    -------
    pandas.DataFrame
        The file's columns; each value text without blanks around it, or None where it is missing.

    Raises
    ------
    InputError
        Another ending, no rows, or two columns of one name.
    ReadError
        Nothing is there, or it cannot be read.
    """
    if path.suffix.lower() not in ENDINGS:
        message = (
            f"expected a clinical table that ends with {', '.join(ENDINGS)}, found {path.name!r}. "
            "Save it from the spreadsheet as CSV (UTF-8)."
        )
        raise InputError(message)
    if not path.is_file():
        message = f"expected a clinical table at {str(path)!r}, found no file. Check the path."
        raise ReadError(message)
    table = _parquet(path) if path.suffix.lower() == ".parquet" else _delimited(path)
    twice = [name for name, count in Counter(table.columns).items() if count > 1]
    if twice or not len(table):
        found = f"{', '.join(map(repr, twice))} twice" if twice else "no rows"
        message = (
            f"expected columns of different names and some rows in {path.name!r}, found {found}. "
            "Export the table again."
        )
        raise InputError(message)
    return table


def _delimited(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
        by = "\t" if path.suffix.lower() == ".tsv" else _separator(header)
        raw = pd.read_csv(
            path, sep=by, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig",
            quoting=csv.QUOTE_MINIMAL,
        )  # fmt: skip
    except (OSError, ValueError, csv.Error) as error:
        said = "its text is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        message = (
            f"expected rows of one length in UTF-8 in {str(path)!r}, could not read them ({said}). "
            "Save it from the spreadsheet as CSV (UTF-8)."
        )
        raise ReadError(message) from error
    table = raw.iloc[1:].reset_index(drop=True).map(_known)
    table.columns = pd.Index([str(name).strip() for name in raw.iloc[0]])
    return table.map(_with_points) if by == ";" else table


def _separator(header: str) -> str:
    return max(",;\t", key=header.count)


def _parquet(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        message = f"expected a Parquet table at {str(path)!r}, could not read it ({error}). "
        raise ReadError(message + "Export it again, or as CSV.") from error
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    return table.astype(object).where(table.notna(), None).map(as_text)


def as_text(value: object) -> str | None:
    """Write a name as a table has it, None where it is missing: 7.0 is 7."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of whole numbers with a gap is stored as floats
    return None if value is None else _known(str(value))


def _known(text: str) -> str | None:
    return None if text.strip().lower() in MISSING else text.strip()


def _with_points(text: str | None) -> str | None:
    """Write a decimal comma as a point."""
    if text is None:
        return None
    whole, comma, rest = text.partition(",")
    digits = whole.removeprefix("-").removeprefix("+")
    return f"{whole}.{rest}" if comma and digits.isdigit() and rest.isdigit() else text
