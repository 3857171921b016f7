"""One table of tokens on disk (AnnData, .h5ad or .zarr): only what is asked for is read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients.clinical_file import as_text
from virtues_core.cohort.table import TOKENS, UNSURE, Provenance, log_intensities, provenance_of
from virtues_core.errors import InputError, ReadError

if TYPE_CHECKING:
    import pandas as pd

Rows = Literal["tokens", "intensities"]
RowLevel = Literal["cell", "niche", "patch"]
NUMBER = {"cell": "cell_id", "niche": "niche_id", "patch": "patch_id"}
"""The column that numbers the rows of a level."""
UNKNOWN = "an unknown model"
"""What is said to have made tokens where a table does not say."""
_SAID = (
    "checkpoint", "checkpoint_signature", "panel", "level", "image", "pixel_size_um",
)  # fmt: skip
_GAP, _RUN = 32, 4096
"""Rows that are wanted and lie closer than the first are read in one go, of the second at most."""


@dataclass(frozen=True, eq=False)
class TokenFile:
    """A table of N rows, whose tokens stay on disk."""

    path: Path
    rows: int
    """N."""
    dim: int
    """Width of its tokens."""
    made_with: Provenance
    image: str
    """The image file, as `virtues embed` was given it; empty where it does not say."""
    var: "pd.DataFrame"
    """Its channels; no rows where it has no mean intensities."""
    pixel_um: tuple[float, float] | None = None
    """(y, x) size of a pixel of that image, by which places are given; None where not said."""

    def read(
        self, rows: NDArray[np.int64] | slice, of: Rows, markers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Read some rows.

        Parameters
        ----------
        rows
            A slice, or sorted numbers.
        of
            tokens, or the logarithm of mean intensities of markers (`signed_log`).
        markers
            Keys of those markers.

        Returns
        -------
        numpy.ndarray
            (n, D) or (n, M).

        Raises
        ------
        ReadError
            The file is gone or broken.
        InputError
            A value is not finite.
        """
        found = self.values(rows, of, markers)
        if not np.isfinite(found).all():
            message = (
                f"expected finite {of} in {str(self.path)!r}, found NaN or infinity. Compute them "
                "again with `virtues embed`."
            )
            raise InputError(message)
        return found

    def values(
        self, rows: NDArray[np.int64] | slice, of: Rows, markers: Sequence[str]
    ) -> NDArray[np.float32]:
        """Read some rows as `read` does, NaN and infinity included."""
        with _opened(self.path) as group:
            stored = _matrix(group["X"] if of == "intensities" else group["obsm"][TOKENS])
            if isinstance(rows, slice):
                found = _dense(stored[rows])
            else:
                near = max(_GAP, (getattr(stored, "chunks", None) or (0,))[0])
                found = np.empty((len(rows), stored.shape[1]), np.float32)
                for run in _runs(rows, near):
                    first = int(rows[run.start])
                    block = _dense(stored[first : int(rows[run.stop - 1]) + 1])
                    found[run] = block[rows[run] - first]
        return found if of == "tokens" else log_intensities(found, self.var, markers)

    def patients_by(self, column: str) -> "pd.DataFrame | None":
        """Read who a column of ``obs`` says each tissue is of; None where there is no such column.

        Returns
        -------
        pandas.DataFrame
            Pairs of ``tissue_id`` and ``patient_id``, each once, text.

        Raises
        ------
        ReadError
            The file is gone or broken.
        """
        import pandas as pd

        with _opened(self.path) as group:
            obs = group["obs"]
            if column not in list(obs.attrs["column-order"]):
                return None
            pairs = pd.DataFrame(
                {
                    "tissue_id": _names_in(obs["tissue_id"]),
                    "patient_id": _names_in(obs[column]),
                }
            )
        return pairs.drop_duplicates().astype(str)


def open_token_file(
    path: Path, level: RowLevel, columns: Sequence[str]
) -> tuple[TokenFile, "pd.DataFrame"]:
    """Read what a table says of its rows, and nothing of the rows' tokens.

    Parameters
    ----------
    path
        ``.h5ad`` or ``.zarr``.
    level
        Of what its rows must be tokens.
    columns
        Further columns of ``obs`` to read.

    Returns
    -------
    file
    rows
        (N,) ``tissue_id``, ``cell_id`` (`NUMBER`; -1, -2, … where the table has none), and
        ``patient_id``, ``x_um``, ``y_um``, ``cell_type`` where it has them; see `CellTables.cells`.

    Raises
    ------
    ReadError
        Nothing is there, or it is no AnnData.
    InputError
        It has no tokens of that level, or lacks a column.
    """
    with _opened(path) as group:
        told = _said(group["uns"]["virtues"]) if "virtues" in group.get("uns", {}) else None
        try:
            made_with = Provenance(UNKNOWN, "", (), level) if told is None else provenance_of(told)
        except InputError as error:
            message = f"{path.name}: {error}"
            raise InputError(message) from error
        if made_with.level != level or TOKENS not in group["obsm"]:
            found = f"tokens of {several(made_with.level)}"
            found = found if TOKENS in group["obsm"] else "no tokens"
            message = (
                f"expected tokens of {several(level)} in {path.name!r}, found {found}. Make the "
                "table with "
                f"`virtues embed --level {level}`."
            )
            raise InputError(message)
        count, dim = group["obsm"][TOKENS].shape
        var = _channels(group, int(count))
        image = str(dict(told or {}).get("image", ""))
        size = np.ravel(dict(told or {}).get("pixel_size_um", ()))
        pixel_um = (float(size[0]), float(size[1])) if size.size == 2 else None
        file = TokenFile(path, int(count), int(dim), made_with, image, var, pixel_um)
        return file, _rows(group, file, columns)


def _said(stored: Any) -> Any:
    """Read what a table says that it was made with: only what is asked for, each takes 0.4 ms."""
    from anndata.io import read_elem

    if not hasattr(stored, "keys"):
        return read_elem(stored)
    return {name: read_elem(stored[name]) for name in _SAID if name in stored}


def _channels(group: Any, rows: int) -> "pd.DataFrame":
    """Read keys of the channels and whether the model saw them; no rows without intensities."""
    import pandas as pd
    from anndata.io import read_elem

    var, wanted = group["var"], ("key", "in_model")
    if "X" not in group or not set(wanted) <= set(var.attrs["column-order"]):
        return pd.DataFrame(columns=wanted)
    channels = read_elem(var[var.attrs["_index"]])
    shape = tuple(_matrix(group["X"]).shape)
    if shape != (rows, len(channels)):
        message = f"X of shape {shape} where {(rows, len(channels))} belongs"
        raise ValueError(message)
    return pd.DataFrame({name: read_elem(var[name]) for name in wanted}, index=channels)


def several(level: str) -> str:
    """Name the rows of a level.

    Examples
    --------
    >>> several("cell"), several("patch")
    ('cells', 'patches')
    """
    return f"{level}es" if level.endswith("ch") else f"{level}s"


def check_level(level: str) -> RowLevel:
    """Return the level of this name.

    Raises
    ------
    InputError
        Tables of that level are not read here.
    """
    for known in get_args(RowLevel):
        if level == known:
            return known  # type: ignore[no-any-return]
    message = f"expected a level out of {', '.join(get_args(RowLevel))}; found {level!r}."
    raise InputError(message)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an AnnData for reading."""
    import h5py
    import zarr

    if not path.exists():
        message = (
            f"expected a table of tokens at {str(path)!r}, found nothing. Check the path, or make "
            "one with `virtues embed`."
        )
        raise ReadError(message)
    try:
        if path.suffix == ".zarr":
            yield zarr.open_group(path, mode="r")
        else:
            with h5py.File(path, "r") as file:
                yield file
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_table(path, error) from error
    except Exception as error:
        if type(error).__name__ != "IORegistryError":  # anndata's, of no public name
            raise
        raise _no_table(path, error) from error


def _no_table(path: Path, error: Exception) -> ReadError:
    message = (
        f"expected an AnnData (.h5ad or .zarr) at {str(path)!r}, found something else ({error}). "
        "Make it again with `virtues embed`."
    )
    return ReadError(message)


def _rows(group: Any, file: TokenFile, columns: Sequence[str]) -> "pd.DataFrame":
    import pandas as pd
    from anndata.io import read_elem

    obs, number = group["obs"], NUMBER[file.made_with.level]
    there = list(obs.attrs["column-order"])
    lacking = [name for name in ("tissue_id", *columns) if name not in there]
    if lacking:
        remedy = (
            "Name one of those, or one of the clinical table: where that has a row a tissue, with "
            "--tissue."
            if set(lacking) <= set(columns)
            else "Name the tissue of each row there, as tables by `virtues embed` do."
        )
        message = (
            f"expected a column {' and '.join(map(repr, lacking))} in obs of {file.path.name!r}, "
            f"found {', '.join(map(str, there))}. {remedy}"
        )
        raise InputError(message)
    places = group["obsm"]["spatial"][:, :2] if "spatial" in group["obsm"] else None
    if places is None:
        places = np.full((file.rows, 2), np.nan)
    nobody = [""] * file.rows
    found: dict[str, Any] = {
        "tissue_id": _names_in(obs["tissue_id"]),
        number: (
            _whole(read_elem(obs[number]), number, file.path)
            if number in there
            else -1 - np.arange(file.rows, dtype=np.int64)  # of no label in a mask
        ),
        "patient_id": _names_in(obs["patient_id"]) if "patient_id" in there else names(nobody),
        "x_um": np.asarray(places[:, 0], np.float32),
        "y_um": np.asarray(places[:, 1], np.float32),
    }
    if "cell_type" in there:
        found["cell_type"] = _names_in(obs["cell_type"], unknown=UNSURE)
    for name in dict.fromkeys(columns):
        if name not in found:
            values = read_elem(obs[name])
            numeric = isinstance(values, np.ndarray) and values.dtype.kind in "biuf"
            found[name] = values if numeric else names(values)
    return pd.DataFrame(found)


def _whole(values: Any, column: str, path: Path) -> NDArray[np.int64]:
    """Check that rows are numbered by whole numbers."""
    given = np.asarray(values, np.float64)
    wrong = int((~np.isfinite(given) | (given != np.round(given))).sum())
    if wrong:
        message = (
            f"expected whole numbers as {column} in {path.name!r}, found {wrong:,} rows without. "
            "Make the table with `virtues embed`."
        )
        raise InputError(message)
    return np.asarray(values).astype(np.int64)


def names(values: Any, unknown: str = "") -> "pd.Categorical":
    """Make a category of text of what tells rows apart; what is missing is ``""``.

    Parameters
    ----------
    values
        (N,) text, numbers or a category.
    unknown
        Text that also means that nothing is known.
    """
    import pandas as pd

    found = pd.Categorical(values)
    return _named(np.asarray(found.codes), found.categories, unknown)


def _names_in(stored: Any, unknown: str = "") -> "pd.Categorical":
    """Read a column as `names` gives it; of a category its two arrays, in half the time."""
    from anndata.io import read_elem

    if stored.attrs.get("encoding-type") != "categorical":
        return names(read_elem(stored), unknown)
    codes, categories = np.asarray(stored["codes"][...]), read_elem(stored["categories"])
    if codes.dtype.kind not in "iu" or (
        codes.size and not -1 <= codes.min() <= codes.max() < len(categories)
    ):
        message = f"codes of a category that are not of its {len(categories)} values"
        raise ValueError(message)
    return _named(codes, categories, unknown)


def _named(codes: NDArray[Any], categories: Any, unknown: str) -> "pd.Categorical":
    import pandas as pd

    texts = ["", *(as_text(value) or "" for value in categories)]
    texts = ["" if text == unknown else text for text in texts]
    kinds, place = np.unique(np.array(texts, dtype=str), return_inverse=True)
    numbers = place[codes.astype(np.int64) + 1]
    found = pd.Categorical.from_codes(numbers, pd.Index(kinds.astype(object)))
    return found.remove_unused_categories()


def _matrix(stored: Any) -> Any:
    """Give rows of a matrix that is stored dense, or as SciPy's sparse ones are."""
    from anndata.io import sparse_dataset

    return stored if hasattr(stored, "shape") else sparse_dataset(stored)


def _dense(block: Any) -> NDArray[np.float32]:
    return np.asarray(block.toarray() if hasattr(block, "toarray") else block, dtype=np.float32)


def _runs(rows: NDArray[np.int64], near: int) -> Iterator[slice]:
    """Part sorted numbers where the next is far, or the run is long."""
    far = (np.diff(rows) > near) | (rows[1:] // _RUN != rows[:-1] // _RUN)
    ends = [0, *(np.flatnonzero(far) + 1).tolist(), len(rows)]
    return (slice(a, b) for a, b in pairwise(ends) if b > a)
