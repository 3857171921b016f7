"""The SQLite file under a database of tissues: its tables, and what is read from and put into them.

::

    settings   name, value            checkpoint, signature, dim, crops, small
    tissues    number, tissue_id, patient_id, clinical (JSON), composition (JSON or NULL), source,
               image, stamp, niches (N), moments (2 D little-endian float32)
    tokens     number, tokens         (N, D) little-endian float32, row by row
    thumbnails number, png
"""

import difflib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.retrieval.distance import moment_bounds, moments
from virtues_core.cohort.retrieval.entries import Settings, Stored, TissueEntry
from virtues_core.cohort.retrieval.rows import moments_of, picture_of, stored, tokens_of
from virtues_core.errors import ConfigError, InputError, ReadError, VirtuesError

FORMAT = 1
_APPLICATION = 0x56544442
"""Marks the file as ours (the letters VTDB)."""
_PAGE_BYTES = 16384
"""Three rows with the moments of 512 values to a page."""
_WAIT_S = 60.0
"""How long to wait for another process that writes."""
_ROWS = 256
"""Rows of moments that are in memory at once: 1 MiB of 512 values, which a processor's cache
holds."""
_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE tissues (
    number INTEGER PRIMARY KEY, tissue_id TEXT NOT NULL UNIQUE, patient_id TEXT NOT NULL,
    clinical TEXT NOT NULL, composition TEXT, source TEXT NOT NULL, image TEXT NOT NULL,
    stamp TEXT NOT NULL, niches INTEGER NOT NULL, moments BLOB NOT NULL);
CREATE TABLE tokens (number INTEGER PRIMARY KEY, tokens BLOB NOT NULL);
CREATE TABLE thumbnails (number INTEGER PRIMARY KEY, png BLOB NOT NULL);
"""
_ABOUT = "tissue_id, patient_id, clinical, composition, source, image, stamp, niches"
_IS = """EXISTS (SELECT 1 FROM json_each(tissues.clinical) WHERE key = ? AND (
    CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(value AS TEXT) END
    = ? COLLATE NOCASE OR (type IN ('integer', 'real') AND value = ?)))"""
"""A clinical column has a value: as text, and as a number where it is one."""

Connection = sqlite3.Connection


@contextmanager
def transaction(path: Path, *, writing: bool = False) -> Iterator[Connection]:
    """Open the file for one piece of work that is done whole or not at all.

    Parameters
    ----------
    path
        The file, absolute.
    writing
        Whether it writes; then it waits until it is the only one that does.

    Raises
    ------
    ReadError
        The file is damaged or no SQLite file.
    VirtuesError
        It cannot be written, or another process does not let go of it.
    """
    connection: Connection | None = None
    try:
        uri = f"{path.as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
        yield connection
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    finally:
        if connection is not None:
            connection.close()  # and what was not committed is undone


def make(path: Path, settings: Settings) -> None:
    """Make the tables, empty, in a new file."""
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.executescript(_SCHEMA)
            rows = [(name, json.dumps(value)) for name, value in settings.to_dict().items()]
            connection.executemany("INSERT INTO settings VALUES (?, ?)", rows)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


def read_settings(connection: Connection, path: Path) -> Settings:
    """Read what all tissues have in common.

    Raises
    ------
    ReadError
        The file holds something else, or is of a newer format.
    """
    (kind,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if kind != _APPLICATION or version != FORMAT:
        found = f"format {version}" if kind == _APPLICATION else "a file of another kind"
        message = (
            f"expected a database of tissues of format {FORMAT} at {str(path)!r}, found {found}. "
            "Make one with `virtues db build`, or update napari-virtues."
        )
        raise ReadError(message)
    rows = connection.execute("SELECT name, value FROM settings").fetchall()
    try:
        return Settings(**{name: json.loads(value) for name, value in rows})
    except (TypeError, ValueError, ConfigError) as error:
        message = f"its settings are not whole: {error}"
        raise sqlite3.DatabaseError(message) from error


def count(connection: Connection) -> int:
    """Count the tissues."""
    return int(connection.execute("SELECT COUNT(*) FROM tissues").fetchone()[0])


def put(connection: Connection, entry: TissueEntry, tokens: NDArray[np.float64]) -> bool:
    """Store a tissue; False where one of its name is there."""
    row = (*_columns(entry.about), len(tokens), moments(tokens).astype("<f4").tobytes())
    try:
        number = connection.execute(
            f"INSERT INTO tissues ({_ABOUT}, moments) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row
        ).lastrowid
    except sqlite3.IntegrityError:
        return False
    blob = tokens.astype("<f4").tobytes()
    connection.execute("INSERT INTO tokens VALUES (?, ?)", (number, blob))
    connection.execute("INSERT INTO thumbnails VALUES (?, ?)", (number, entry.thumbnail))
    return True


def describe(connection: Connection, number: int, about: Stored) -> None:
    """Replace what is known of a tissue."""
    connection.execute(
        "UPDATE tissues SET patient_id = ?, clinical = ?, composition = ?, source = ?, image = ?, "
        "stamp = ? WHERE number = ?",
        (*_columns(about)[1:], number),
    )


def delete(connection: Connection, number: int) -> None:
    """Take a tissue out."""
    for table in ("tissues", "tokens", "thumbnails"):
        connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))


def find(connection: Connection, tissue_id: str) -> int | None:
    """Give the number of a tissue; None where it is not there."""
    rows = connection.execute("SELECT number FROM tissues WHERE tissue_id = ?", (tissue_id,))
    found = rows.fetchone()
    return None if found is None else int(found[0])


def number_of(connection: Connection, tissue_id: str, path: Path) -> int:
    """Give the number of a tissue.

    Raises
    ------
    InputError
        It is not there.
    """
    number = find(connection, tissue_id)
    if number is None:
        names = [name for (name,) in connection.execute("SELECT tissue_id FROM tissues")]
        raise InputError(_no_such("tissue", tissue_id, names, path))
    return number


def about(connection: Connection, number: int) -> Stored:
    """Read what is known of a tissue."""
    return stored(_row(connection, f"SELECT {_ABOUT} FROM tissues", number))


def tokens(
    connection: Connection, numbers: Sequence[int], niches: Sequence[int], dim: int
) -> NDArray[np.float32]:
    """Read the tokens (Σ N, D) of tissues of so many niches, one below the other as given."""
    those = "WHERE number IN (SELECT value FROM json_each(?))"
    asked = (json.dumps(list(numbers)),)
    blobs = dict(connection.execute(f"SELECT number, tokens FROM tokens {those}", asked))
    rows = [(number, n, blobs.get(number)) for number, n in zip(numbers, niches, strict=True)]

    def name(number: int) -> Any:
        return _row(connection, "SELECT tissue_id FROM tissues", number)[0]

    return tokens_of(rows, dim, name)


def thumbnail(connection: Connection, number: int) -> bytes:
    """Read the picture of a tissue."""
    return picture_of(
        _row(connection, "SELECT tissue_id, png FROM tissues LEFT JOIN thumbnails USING (number)",
             number)
    )  # fmt: skip


def those_where(
    connection: Connection, where: Mapping[str, str], path: Path
) -> tuple[str, list[Any]]:
    """Give the condition that clinical columns have these values, and what it is filled with.

    Raises
    ------
    InputError
        No tissue has such a column.
    """
    known = clinical_values(connection) if where else {}
    values: list[Any] = []
    for column, value in where.items():
        if column not in known:
            raise InputError(_no_such("clinical column", column, list(known), path))
        values += [column, value, _number_in(value)]
    return " AND ".join(["1", *[_IS] * len(where)]), values


def listed(connection: Connection, condition: str, values: Sequence[Any]) -> tuple[Stored, ...]:
    """List the tissues of a condition in the order of adding."""
    rows = connection.execute(
        f"SELECT {_ABOUT} FROM tissues WHERE {condition} ORDER BY number", list(values)
    )
    return tuple(stored(row) for row in rows)


def clinical_values(connection: Connection) -> dict[str, tuple[Any, ...]]:
    """List the clinical columns with their values, both sorted; booleans as true and false."""
    rows = connection.execute(
        "SELECT DISTINCT key, CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' "
        "ELSE value END AS said FROM tissues, json_each(tissues.clinical) ORDER BY key, said"
    )
    found: dict[str, list[Any]] = {}
    for column, value in rows:
        if not isinstance(column, str):
            message = "clinical values without a column"
            raise sqlite3.DatabaseError(message)
        found.setdefault(column, []).append(value)
    return {column: tuple(values) for column, values in found.items()}


def bounds(
    connection: Connection, query: NDArray[np.float64], condition: str, values: Sequence[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Bound the distances of the tissues of a condition by their moments, block by block.

    Returns
    -------
    numbers, niches
        (n,) of the candidates in the order of adding, and how many tokens each has.
    bounds
        (n,) each distance or less.
    """
    own = moments(query)
    rows = connection.execute(
        f"SELECT tissue_id, number, niches, moments FROM tissues WHERE {condition} ORDER BY number",
        list(values),
    )
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    while block := rows.fetchmany(_ROWS):
        numbers, niches, others = moments_of(block, len(own) // 2)
        parts.append((numbers, niches, moment_bounds(own, others)))
    first, second, third = zip(*parts, strict=True)
    return np.concatenate(first), np.concatenate(second), np.concatenate(third)


def _row(connection: Connection, select: str, number: int) -> Any:
    found = connection.execute(f"{select} WHERE number = ?", (number,)).fetchone()
    if found is None:
        message = f"no tissue of number {number}"
        raise sqlite3.DatabaseError(message)
    return found


def _columns(about: Stored) -> tuple[Any, ...]:
    """Give the columns of `_ABOUT` but the last."""
    shares = None if about.composition is None else _json(about.composition)
    clinical = _json(about.clinical)
    return (
        about.tissue_id, about.patient_id, clinical, shares, about.source, about.image, about.stamp,
    )  # fmt: skip


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), ensure_ascii=False, allow_nan=False)


def _number_in(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _no_such(what: str, name: str, names: Sequence[str], path: Path) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    shown = near or sorted(names)[:10]
    there = f"There are: {', '.join(shown)}." if shown else "There are none."
    hint = f"Did you mean {', '.join(near)}?" if near else there
    return f"expected a {what} of {path.name!r}, found no {name!r}. {hint}"


def _unusable(path: Path, error: sqlite3.Error) -> VirtuesError:
    """Say in plain words why SQLite does not go on."""
    said = str(error)
    if "locked" in said:
        message = (
            f"expected to be the one who writes {path.name!r}, found another process at it for "
            f"{_WAIT_S:.0f} s. Wait until that has ended, then run again."
        )
        return VirtuesError(message)
    if "readonly" in said or "full" in said:
        message = (
            f"could not write {str(path)!r}: {said}. Nothing was changed; free some space or copy "
            "the database to where it can be written, then run again."
        )
        return VirtuesError(message)
    message = (
        f"expected a database of tissues at {str(path)!r}, found none that can be read ({said}). "
        "Restore it from a copy, or make it again with `virtues db build`."
    )
    return ReadError(message)
