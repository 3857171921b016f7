"""Rows of a database as they are read, held to what `put` stores: somebody may have edited them."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.retrieval.entries import Stored
from virtues_core.errors import ReadError

_NOT_FINITE = "NaN or infinity"


def stored(row: Sequence[Any]) -> Stored:
    """Make what is known of a tissue of its row.

    Parameters
    ----------
    row
        tissue_id, patient_id, clinical, composition, source, image, stamp, niches.

    Raises
    ------
    ReadError
        A value is not of its kind.
    """
    tissue_id, patient_id, clinical, shares, source, image, stamp, niches = row
    texts = {
        "tissue_id": tissue_id, "patient_id": patient_id, "source": source, "image": image,
        "stamp": stamp,
    }  # fmt: skip
    for name, value in texts.items():
        if not isinstance(value, str):
            raise damaged(tissue_id, f"{name} {_short(value)}")
    known = _table(tissue_id, "clinical", clinical, (str, int, float))
    parts = None if shares is None else _table(tissue_id, "composition", shares, (int, float))
    _check_niches(tissue_id, niches)
    return Stored(tissue_id, patient_id, known, parts, source, image, stamp, niches)


def tokens_of(
    rows: Sequence[tuple[int, int, Any]], dim: int, name: Callable[[int], Any]
) -> NDArray[np.float32]:
    """Make the tokens (Σ N, D) of tissues of their rows: number, niches, tokens.

    Parameters
    ----------
    rows
        Niches are one or more of each.
    dim
        D.
    name
        Number → name of a tissue, for what is told.

    Raises
    ------
    ReadError
        They are not N times D finite numbers of each.
    """
    for number, niches, blob in rows:
        if not isinstance(blob, bytes) or len(blob) != 4 * niches * dim:
            _check_bytes(name(number), "tokens", blob, niches * dim)
    values = np.frombuffer(b"".join(row[2] for row in rows), "<f4").reshape(-1, dim)
    wrong = _not_finite(values)
    if wrong is not None:
        number = np.repeat([row[0] for row in rows], [row[1] for row in rows])[wrong]
        raise damaged(name(int(number)), f"tokens with {_NOT_FINITE}")
    return values


def moments_of(
    rows: Sequence[Sequence[Any]], dim: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Make numbers (n,), niches (n,) and moments (n, 2 D) of rows of tissue_id and these.

    Raises
    ------
    ReadError
        They are not of their kind.
    """
    for tissue_id, _, niches, blob in rows:
        _check_niches(tissue_id, niches)
        _check_bytes(tissue_id, "moments", blob, 2 * dim)
    values = np.frombuffer(b"".join(row[3] for row in rows), "<f4").reshape(-1, 2 * dim)
    wrong = _not_finite(values)
    if wrong is not None:
        raise damaged(rows[wrong][0], f"moments with {_NOT_FINITE}")
    numbers, niches = (np.array([row[at] for row in rows], np.int64) for at in (1, 2))
    return numbers, niches, values


def picture_of(row: Sequence[Any]) -> bytes:
    """Make the picture of a tissue of its row: tissue_id, png.

    Raises
    ------
    ReadError
        It is no picture.
    """
    tissue_id, png = row
    if not isinstance(png, bytes):
        raise damaged(tissue_id, f"as its picture {_short(png)}")
    return png


def damaged(tissue_id: object, found: str) -> ReadError:
    """Say that what was read of a tissue is not what was stored."""
    message = (
        f"expected what `virtues db` stores of the tissue {_short(tissue_id)}, found {found}: the "
        "database was edited or is damaged. Restore it from a copy, or take the tissue out "
        "(`virtues db remove`) and add it again; else make it again with `virtues db build`."
    )
    return ReadError(message)


def _check_niches(tissue_id: object, niches: Any) -> None:
    if type(niches) is not int or niches < 1:
        raise damaged(tissue_id, f"{_short(niches)} niches")


def _check_bytes(tissue_id: object, name: str, blob: Any, count: int) -> None:
    """See that they are so many numbers of 32 bits."""
    if not isinstance(blob, bytes) or len(blob) != 4 * count:
        size = f"{len(blob)} bytes" if isinstance(blob, bytes) else _short(blob)
        raise damaged(tissue_id, f"{name} of {size} where {4 * count} bytes belong")


def _not_finite(values: NDArray[np.float32]) -> int | None:
    """Give the first row that has NaN or infinity."""
    flat = values.reshape(-1)
    if np.isfinite(np.dot(flat, flat)):  # as of almost all; that takes a fifth of the time
        return None
    wrong = ~np.isfinite(values).all(axis=1)
    return int(wrong.argmax()) if wrong.any() else None


def _table(tissue_id: str, name: str, text: Any, kinds: tuple[type, ...]) -> dict[str, Any]:
    """Read a JSON object whose values are of some kinds."""
    try:
        values = json.loads(text)
    except (TypeError, ValueError) as error:
        raise damaged(tissue_id, f"{name} {_short(text)} ({error})") from error
    if not isinstance(values, dict) or not all(_is(value, kinds) for value in values.values()):
        raise damaged(tissue_id, f"{name} {_short(text)}")
    return values


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not (isinstance(value, float) and not math.isfinite(value))


def _short(value: object, most: int = 60) -> str:
    """Show a value, its beginning where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
