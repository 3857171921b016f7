"""Tables of cells, niches or tissues as `virtues embed` writes them, checked before they are used.

One row an object: ``X`` mean intensities, ``obsm["X_virtues"]`` (N, D) tokens, ``obs`` with
``tissue_id`` and, where known, ``patient_id``; ``var`` with ``key`` and ``in_model`` says what the
channels are, ``uns["virtues"]`` what the tokens were made with.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.classify import Labels
from virtues_core.errors import InputError, MarkerError, ReadError
from virtues_core.files import check_room, replacing

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

TOKENS = "X_virtues"
UNSURE = "unsure"
"""The type of a cell of whose type a classifier is less sure than was asked for."""
_MISSING = {"", "nan", "none", "na", "<na>", UNSURE}


@dataclass(frozen=True)
class Provenance:
    """What the tokens of a table were made with."""

    checkpoint: str
    """Its name, for people."""
    signature: str
    """Tells its weights from those of any other."""
    panel: tuple[str, ...]
    """Marker keys that the model was shown, each once, sorted."""
    level: str
    """cell, niche or tissue."""


def read_table(path: Path) -> "AnnData":
    """Read a table (``.h5ad`` or ``.zarr``) into memory.

    Raises
    ------
    ReadError
        Nothing is there, or it is no AnnData.
    """
    import anndata

    path = Path(path)
    if not path.exists():
        message = (
            f"expected a table of tokens at {str(path)!r}, found nothing. Check the path, or make "
            "one with `virtues embed`."
        )
        raise ReadError(message)
    try:
        return anndata.read_zarr(path) if path.suffix == ".zarr" else anndata.read_h5ad(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = (
            f"expected an AnnData (.h5ad or .zarr) at {str(path)!r}, found something else "
            f"({error}). Make it again with `virtues embed`."
        )
        raise ReadError(message) from error


def write_table(table: "AnnData", path: Path) -> None:
    """Write a table, ``.zarr`` or ``.h5ad`` by its ending; an older one is replaced when whole.

    Raises
    ------
    InputError
        The ending is neither.
    VirtuesError
        The disk is full or the folder cannot be written; the older one is untouched.
    """
    import anndata

    path = Path(path)
    if path.suffix not in {".h5ad", ".zarr"}:
        message = f"expected a name that ends in .h5ad or .zarr, found {path.name!r}."
        raise InputError(message)
    if path.suffix == ".h5ad":
        check_room(path, table.__sizeof__())
    with replacing(path) as new:
        if path.suffix == ".h5ad":
            table.write_h5ad(new)
            return
        settings = anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=False)
        with settings, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of what format 3 may become
            table.write_zarr(new)


def provenance(table: "AnnData") -> Provenance:
    """Read what the tokens of a table were made with.

    Raises
    ------
    InputError
        The table does not say: it was not made by `virtues embed`.
    """
    return provenance_of(table.uns.get("virtues"))


def provenance_of(told: object) -> Provenance:
    """Read what ``uns["virtues"]`` says; see `provenance`."""
    needed = ("checkpoint", "checkpoint_signature", "panel", "level")
    if not isinstance(told, Mapping) or any(name not in told for name in needed):
        message = (
            f"expected {', '.join(needed)} in uns['virtues'], found "
            f"{', '.join(map(str, told)) if isinstance(told, Mapping) else 'no such entry'}. "
            "Make the table with `virtues embed`."
        )
        raise InputError(message)
    return Provenance(
        checkpoint=str(told["checkpoint"]),
        signature=str(told["checkpoint_signature"]),
        panel=tuple(sorted({str(key) for key in told["panel"]})),
        level=str(told["level"]),
    )


def tokens(table: "AnnData") -> NDArray[np.float32]:
    """Give the tokens (N, D) of a table.

    Raises
    ------
    InputError
        There are none.
    """
    if TOKENS not in table.obsm:
        message = (
            f"expected tokens in obsm[{TOKENS!r}], found "
            f"{', '.join(map(repr, table.obsm.keys())) or 'nothing'} there. Make the table with "
            "`virtues embed`."
        )
        raise InputError(message)
    return np.asarray(table.obsm[TOKENS], dtype=np.float32)


def features_of(table: "AnnData", markers: Sequence[str]) -> NDArray[np.float32]:
    """Give tokens and, beside them, the intensities of M markers: (N, D + M).

    Raises
    ------
    InputError
        There are no tokens, or channels are not described.
    MarkerError
        A marker that no channel shows.
    """
    found = tokens(table)
    if not markers:
        return found
    means = np.asarray(table.X, dtype=np.float32)
    return np.concatenate([found, log_intensities(means, table.var, markers)], axis=1)


def log_intensities(
    means: NDArray[np.float32], var: "pd.DataFrame", markers: Sequence[str]
) -> NDArray[np.float32]:
    """Give the logarithm of mean intensities of markers (`signed_log`).

    Parameters
    ----------
    means
        (N, C) mean of each channel, raw units.
    var
        C rows with the columns ``key`` and ``in_model``, as `virtues embed` writes them.
    markers
        M marker keys; channels of one marker that the model saw are averaged.

    Returns
    -------
    numpy.ndarray
        (N, M) float32.

    Raises
    ------
    InputError
        No such columns.
    MarkerError
        A marker that no channel shows.
    """
    missing = [name for name in ("key", "in_model") if name not in var]
    if missing:
        message = (
            f"expected columns key and in_model in var, found no {' and no '.join(missing)}. Make "
            "the table with `virtues embed`."
        )
        raise InputError(message)
    keys = var["key"].astype(str).where(var["in_model"].astype(bool), "").to_numpy(str)
    lacking = sorted(set(markers) - set(keys))
    if lacking:
        message = (
            f"expected mean intensities of {len(markers)} markers, found none of "
            f"{', '.join(lacking)}. Use an image of the same panel, or learn from tokens alone "
            "(`virtues annotate fit`)."
        )
        raise MarkerError(message)
    columns = [signed_log(means[:, keys == marker]).mean(1) for marker in markers]
    return np.stack(columns, axis=1).astype(np.float32)


def signed_log(values: NDArray[Any]) -> NDArray[np.float32]:
    """Give log(1 + x) of intensities, as the model's pixels are taken.

    Of values below 0, as they are after background subtraction, -log(1 - x): the same curve, turned
    about 0, so that order is kept and nothing below -1 has no value.

    Parameters
    ----------
    values
        Raw units, of any shape.

    Examples
    --------
    >>> signed_log(np.array([-1.0, 0.0, 1.0]))
    array([-0.6931472,  0.       ,  0.6931472], dtype=float32)
    """
    values = np.asarray(values, dtype=np.float32)
    return np.asarray(np.copysign(np.log1p(np.abs(values)), values), dtype=np.float32)


def labels(table: "AnnData", column: str) -> tuple[Labels, NDArray[np.bool_]]:
    """Read the labels in a column of ``obs``.

    Returns
    -------
    names
        (N,) text; empty where there is none.
    known
        (N,) False where it is empty, NaN, or "unsure".

    Raises
    ------
    InputError
        No such column.
    """
    if column not in table.obs:
        message = (
            f"expected a column {column!r} in obs, found {', '.join(map(str, table.obs.columns))}."
            " Name one of those."
        )
        raise InputError(message)
    return known_labels(table.obs[column])


def known_labels(column: Any) -> tuple[Labels, NDArray[np.bool_]]:
    """Read a column of labels; see `labels`."""
    text = column.astype(object).where(column.notna(), "").astype(str).str.strip()
    known = ~text.str.lower().isin(_MISSING).to_numpy(bool)
    return np.where(known, text.to_numpy(str), "").astype(str), known


def patients(table: "AnnData") -> tuple[Labels, str]:
    """Give what rows must not be parted by: patients, or tissues where those are not known.

    Returns
    -------
    names
        (N,) of each row's patient; of its tissue where the column has gaps or is not there.
    unit
        "patient" or "tissue".

    Raises
    ------
    InputError
        The table knows neither.
    """
    for column, unit in (("patient_id", "patient"), ("tissue_id", "tissue")):
        if column in table.obs:
            names, known = labels(table, column)
            if known.all():
                return names, unit
    message = "expected a patient_id or a tissue_id for each row of obs, found neither."
    raise InputError(message)
