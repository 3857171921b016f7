"""Patch summary tokens → tokens of cells, niches and tissues.

Source: the paper, Methods, "Aggregation into cell-, niche- and tissue-level representations".
A cell's token is the mean of the patch summary tokens that it touches, over all tiles that cover
it, each weighted by the number of the cell's pixels in the patch. The token of a niche (one tile)
or of a tissue (all its tiles with enough tissue) is the mean of the patch summary tokens there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from virtues_core.errors import InputError
from virtues_core.infer.request import TILE_PX
from virtues_core.infer.rows import RowMeans

LEAST_TISSUE = 0.3
"""Share of a tile that must be tissue for a niche, as in the paper."""


def cell_tokens(
    patch_tokens: Any,
    origins: NDArray[np.integer[Any]] | Sequence[Sequence[int]],
    cell_mask: NDArray[np.integer[Any]],
    patch_size: int = 8,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Average patch tokens over the cells of a mask.

    Exactly the paper's definition: a patch weighs as many pixels as the cell has in it, summed
    over all tiles that cover the cell. One sparse product a tile.

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
    ids = np.unique(mask).astype(np.int64)
    ids = ids[ids > 0]
    numbered = number_cells(mask, ids)
    means: RowMeans | None = None
    for values, origin in zip(patch_tokens, at.tolist(), strict=True):
        tile = _tile(values, None if means is None else means.shape[1])
        means = means or RowMeans(len(ids), tile.shape[2], on_disk=False)
        side = (tile.shape[0] * patch_size, tile.shape[1] * patch_size)
        add_tile(means, window_at(numbered, origin, side), tile)
    if means is None:
        return ids[:0], np.empty((0, np.shape(patch_tokens)[-1]), np.float32)
    covered = means.weights > 0
    return ids[covered], np.asarray(means)[covered]


def add_tile(means: RowMeans, cells: NDArray[np.integer[Any]], tokens: NDArray[np.float32]) -> None:
    """Add the patch tokens of one tile to the means of the cells in it.

    Parameters
    ----------
    means
        (N, D), one row a cell.
    cells
        (h p, w p) number of the cell at each pixel, 1 … N; 0 = background.
    tokens
        (h, w, D).
    """
    rows, weights = pixel_counts(cells, tokens.shape[:2])
    if len(rows):
        sums = weights @ tokens.reshape(-1, tokens.shape[2])
        means.add(rows, sums, np.asarray(weights.sum(axis=1)).ravel())


def pixel_counts(
    cells: NDArray[np.integer[Any]], grid: tuple[int, int]
) -> tuple[NDArray[np.intp], sparse.csr_array]:
    """Count the pixels of each cell in each patch of a tile.

    Parameters
    ----------
    cells
        (h p, w p) number of the cell at each pixel, from 1; 0 = background.
    grid
        (h, w) patches.

    Returns
    -------
    rows
        (n,) number - 1 of each cell in the tile, ascending.
    weights
        (n, h w) float32, sparse.
    """
    height, width = cells.shape
    patches = grid[0] * grid[1]
    y = np.arange(height) // (height // grid[0])
    x = np.arange(width) // (width // grid[1])
    inside = cells > 0
    # cell and patch in one number: sorting it puts equal ones, and patches of a cell, together
    keys = cells[inside].astype(np.int64) * patches
    keys += (y[:, None] * grid[1] + x)[inside]
    keys.sort()
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    counts = np.diff(first, append=len(keys)).astype(np.float32)
    owner, patch = np.divmod(keys[first], patches)
    start = np.flatnonzero(np.diff(owner, prepend=-1))
    ends = np.append(start, len(owner))
    weights = sparse.csr_array((counts, patch, ends), shape=(len(start), patches))
    return owner[start] - 1, weights


def number_cells(labels: NDArray[np.integer[Any]], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each label its place, from 1, among the ascending ``ids`` (N,); 0 stays 0."""
    numbers = np.searchsorted(ids, labels) + 1
    return np.where(labels > 0, numbers, 0)


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


def _tile(values: Any, dim: int | None) -> NDArray[np.float32]:
    """Return the tokens of a tile (h, w, D) as an array; a tensor is brought to the CPU."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float().numpy()
    tile = np.ascontiguousarray(values, dtype=np.float32)
    if tile.ndim != 3 or dim not in {None, tile.shape[-1]}:
        message = (
            f"expected patch tokens (T, h, w, {'D' if dim is None else dim}), found a tile of "
            f"shape {tile.shape}. Give the patch summaries of one model."
        )
        raise InputError(message)
    return tile
