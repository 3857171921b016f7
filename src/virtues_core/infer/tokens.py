"""Patch summary tokens → tokens of cells, niches and tissues.

Source: the paper, Methods, "Aggregation into cell-, niche- and tissue-level representations".
A cell's token is the mean of the patch summary tokens that it touches, over all tiles that cover
it, each weighted by the number of the cell's pixels in the patch. The token of a niche (one tile)
or of a tissue (all its tiles with enough tissue) is the mean of the patch summary tokens there.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from virtues_core.errors import InputError
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.rows import RowMeans

LEAST_TISSUE = 0.3
"""Share of a tile that must be tissue for a niche, as in the paper."""
_TILES_AT_ONCE = 1024
"""Tiles in one sparse product."""
_CACHED_TILES = 16
"""Tiles whose pixels are sorted at once: they fit in a processor's cache."""
_TABLE_LABELS = 2**22
"""Labels up to this are numbered by a table; larger ones are searched for."""


def cell_tokens(
    patch_tokens: Any,
    origins: NDArray[np.integer[Any]] | Sequence[Sequence[int]],
    cell_mask: NDArray[np.integer[Any]],
    patch_size: int = 8,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Average patch tokens over the cells of a mask.

    Exactly the paper's definition: a patch weighs as many pixels as the cell has in it, summed
    over all tiles that cover the cell. One sparse product takes several tiles.

    Parameters
    ----------
    patch_tokens
        (T, h, w, D) tokens of T tiles, an array or tensor; or T × (h, w, D).
    origins
        (T, 2) top-left pixel (y, x) of each tile. A tile may stick out of the mask on any side:
        what lies outside holds no cell.
    cell_mask
        (Y, X) cell labels, 0 = background.
    patch_size
        Side of a patch, px.

    Returns
    -------
    cell_ids
        (N,) int64 labels of the cells that a tile covers, ascending. A cell that no tile covers
        has no token and is left out.
    tokens
        (N, D) float32.

    Raises
    ------
    InputError
        Shapes do not fit each other, or the mask holds something other than whole numbers from 0.

    Examples
    --------
    A cell with two pixels in a patch of token 1 and one in a patch of token 4:

    >>> mask = np.array([[5, 5, 5, 0]])
    >>> cell_tokens(np.array([[[[1.0], [4.0]]]]), [[0, 0]], np.repeat(mask, 2, 0), patch_size=2)
    (array([5]), array([[2.]], dtype=float32))
    """
    mask = checked_labels(cell_mask)
    at = np.asarray(origins)
    if at.ndim != 2 or at.shape != (len(patch_tokens), 2) or at.dtype.kind not in "iu":
        message = (
            f"expected the top-left pixels (y, x) of {len(patch_tokens)} tiles as whole numbers "
            f"({len(patch_tokens)}, 2), found {at.shape} of {at.dtype}. Give one for each tile."
        )
        raise InputError(message)
    ids = labels_in([mask])
    numbered = CellNumbers(ids).of(mask)
    means: RowMeans | None = None
    for start in range(0, len(at), _TILES_AT_ONCE):
        part = slice(start, start + _TILES_AT_ONCE)
        tiles = _tiles(patch_tokens[part], None if means is None else means.shape[1])
        counter = PatchCounter(tiles.shape[1:3], patch_size)
        side = (tiles.shape[1] * patch_size, tiles.shape[2] * patch_size)
        windows = [window_at(numbered, origin, side) for origin in at[part].tolist()]
        rows, counts, totals = counter.count(windows)
        sums = counts @ tiles.reshape(-1, tiles.shape[3])
        if len(at) <= _TILES_AT_ONCE:
            sums /= totals[:, None].astype(np.float32)
            return ids[rows], np.asarray(sums)
        means = means or RowMeans(len(ids), tiles.shape[3], on_disk=False)
        means.add(rows, sums, totals)
    if means is None:
        return ids[:0], np.empty((0, np.shape(patch_tokens)[-1]), np.float32)
    covered = means.weights > 0
    return ids[covered], np.asarray(means)[covered]


class PatchCounter:
    """Counts the pixels of cells in the patches of tiles.

    Parameters
    ----------
    grid
        (h, w) patches of a tile.
    patch_size
        Side of a patch, px.
    """

    def __init__(self, grid: tuple[int, int], patch_size: int) -> None:
        self._grid = grid
        self._patch_size = patch_size
        self._patches = grid[0] * grid[1]

    def count(
        self, cells: Sequence[NDArray[np.integer[Any]]]
    ) -> tuple[NDArray[np.int64], sparse.csc_array, NDArray[np.float64]]:
        """Count in B tiles.

        Parameters
        ----------
        cells
            B × (h p, w p) number of the cell at each pixel, 1 … N; 0 = background.

        Returns
        -------
        rows
            (n,) number - 1 of the cells, ascending.
        counts
            (n, B h w) pixels of each in each patch, sparse.
        totals
            (n,) their sums.
        """
        parts = [
            self._runs(cells[i : i + _CACHED_TILES], i * self._patches)
            for i in range(0, len(cells), _CACHED_TILES)
        ]
        numbers, patches, pixels = (np.concatenate(found) for found in zip(*parts, strict=True))
        ids = labels_in([numbers])
        rows = CellNumbers(ids).of(numbers).astype(np.int64) - 1
        per_patch = np.bincount(patches, minlength=len(cells) * self._patches)
        ends = np.concatenate([[0], np.cumsum(per_patch)])
        # by patch, as it is: so tokens are read once, from the first to the last
        counts = sparse.csc_array((pixels, rows, ends), shape=(len(ids), len(per_patch)))
        totals = np.bincount(rows, pixels, len(ids)).astype(np.float64)
        return ids - 1, counts, totals

    def _runs(
        self, cells: Sequence[NDArray[np.integer[Any]]], before: int
    ) -> tuple[NDArray[np.integer[Any]], NDArray[np.intp], NDArray[np.float32]]:
        """Give each cell of each patch: its number, the patch, and its pixels there."""
        patches = self._by_patch(cells)
        patches.sort(axis=1)  # pixels of one cell in one patch now follow on one another
        first = _starts(patches)
        numbers = patches.ravel()[first]
        pixels = np.diff(first, append=patches.size)
        cells_at = np.flatnonzero(numbers)
        found = first[cells_at] // patches.shape[1] + before
        return numbers[cells_at], found, pixels[cells_at].astype(np.float32)

    def _by_patch(self, cells: Sequence[NDArray[np.integer[Any]]]) -> NDArray[np.integer[Any]]:
        """Put the pixels of each patch in a row: (B h w, p p)."""
        (h, w), p = self._grid, self._patch_size
        found = np.empty((len(cells), h, w, p, p), cells[0].dtype)
        for target, numbers in zip(found, cells, strict=True):
            target[:] = numbers.reshape(h, p, w, p).swapaxes(1, 2)
        patches: NDArray[np.integer[Any]] = found.reshape(-1, p * p)
        return patches


def _starts(rows: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Say where, in the flat table, a row begins or another value follows in it."""
    values = rows.ravel()
    new = np.empty(values.size, bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    new[:: rows.shape[1]] = True
    return np.flatnonzero(new)


class CellNumbers:
    """Numbers the labels of cells from 1 to N.

    Parameters
    ----------
    ids
        (N,) labels, ascending, above 0.
    """

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self._ids = ids
        self._table: NDArray[np.integer[Any]] | None = None
        if len(ids) and ids[-1] <= _TABLE_LABELS:
            small = len(ids) <= np.iinfo(np.uint16).max
            self._table = np.zeros(int(ids[-1]) + 1, np.uint16 if small else np.int32)
            self._table[ids] = np.arange(1, len(ids) + 1)

    def of(self, labels: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        """Give labels (…), each among the ids or 0, as numbers; 0 stays 0."""
        if self._table is not None:
            numbers: NDArray[np.integer[Any]] = self._table[labels]
            return numbers
        return np.where(labels > 0, np.searchsorted(self._ids, labels) + 1, 0)


def labels_in(parts: Iterable[NDArray[np.integer[Any]]]) -> NDArray[np.int64]:
    """List the labels above 0 that arrays hold: (N,) int64, ascending."""
    found = [np.empty(0, np.int64)]
    for part in parts:
        if part.size and part.max() <= _TABLE_LABELS:
            seen = np.zeros(int(part.max()) + 1, bool)
            seen[part] = True
            found.append(np.flatnonzero(seen))
        else:
            found.append(np.unique(part).astype(np.int64))
    ids = found[1] if len(found) == 2 else np.unique(np.concatenate(found))
    return ids[ids > 0]


def window_at(
    labels: NDArray[np.integer[Any]], origin: Sequence[int], size: tuple[int, int]
) -> NDArray[Any]:
    """Cut (h, w) pixels out of labels (Y, X), with 0 where the window sticks out."""
    inner, outer = [], []
    for start, length, end in zip(origin, size, labels.shape, strict=True):
        first, last = max(start, 0), max(min(start + length, end), 0)
        outer.append(slice(first, max(last, first)))
        inner.append(slice(first - start, max(last, first) - start))
    found = labels[tuple(outer)]
    if found.shape == size:
        return found
    window = np.zeros(size, labels.dtype)
    if found.size:
        window[tuple(inner)] = found
    return window


def niche_origins(
    shape: tuple[int, int], *, size: int = TILE_PX, stride: int = TILE_PX
) -> NDArray[np.int64]:
    """Lay a grid of whole tiles over an image, from its top-left pixel; none overlap by default.

    What is left at the right and at the bottom, less than ``stride``, is in no tile.

    Parameters
    ----------
    shape
        (Y, X) of the image, px.
    size
        Side of a tile, px.
    stride
        Step from tile to tile, px.

    Returns
    -------
    numpy.ndarray
        (T, 2) int64: top-left (y, x) of each tile, row by row.

    Examples
    --------
    >>> niche_origins((140, 300)).tolist()
    [[0, 0], [0, 128]]
    """
    rows, columns = (range(0, n - size + 1, stride) for n in shape)
    return np.array([(y, x) for y in rows for x in columns], dtype=np.int64).reshape(-1, 2)


def checked_labels(labels: Any) -> NDArray[np.integer[Any]]:
    """Return labels as an array.

    Raises
    ------
    InputError
        Not (Y, X), not whole numbers, or negative.
    """
    found = np.asarray(labels)
    if found.dtype.kind == "b":
        found = found.astype(np.uint8)
    if found.ndim != 2 or found.dtype.kind not in "iu" or (found.size and found.min() < 0):
        message = (
            "expected cell labels (Y, X) as whole numbers from 0, found shape "
            f"{found.shape} of {found.dtype}"
            + (f" with {found.min()}" if found.size and found.dtype.kind in "if" else "")
            + ". Number the cells from 1, with 0 for background."
        )
        raise InputError(message)
    return found


def _tiles(values: Any, dim: int | None) -> NDArray[np.float32]:
    """Return tokens of tiles (B, h, w, D) as an array; tensors are brought to the CPU."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float().numpy()
    shapes = {np.shape(value) for value in values}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 3 or dim not in {None, shape[-1]}:
        message = (
            "expected patch tokens (T, h, w, D), every tile of one shape, found tiles of shape "
            f"{', '.join(str(np.shape(value)) for value in values[:2])}. Give the patch summaries "
            "of one model."
        )
        raise InputError(message)
    return np.ascontiguousarray(values, dtype=np.float32)
