"""Tokens that tell what a cell is and what lies around it, made from the truth, not by a model.

For questions about patients that need no image: what a cohort's statistics find, and what they must
not find.
"""

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError
from virtues_core.simulate.biology import CELL_TYPES, STATES
from virtues_core.simulate.tissue import SimulatedCells

RADIUS_UM = 15.0
"""Wider surroundings are shared with so many cells of the tissue that clusters become those of one
patient; narrower ones tell less of the niche."""
NOISE = 0.02
"""Standard deviation of what is added to each value, whose own is about 0.2."""
WIDTH = 48


def neighbourhood_tokens(
    cells: SimulatedCells, *, radius_um: float = RADIUS_UM, noise: float = NOISE, seed: int = 0
) -> NDArray[np.float32]:
    """Describe each cell by its type and states and the mean of those of the cells around it.

    Both are mixed by one fixed matrix, as no value of a model's token is of one type either.

    Parameters
    ----------
    cells
        N cells.
    radius_um
        How far the surroundings reach.
    noise
        Standard deviation of normal noise on each value.
    seed
        Of the noise.

    Returns
    -------
    numpy.ndarray
        (N, 48).

    Raises
    ------
    InputError
        A radius or a noise below 0.

    Examples
    --------
    >>> from virtues_core.simulate import simulate_cells
    >>> neighbourhood_tokens(simulate_cells(shape=(64, 64))).shape[1]
    48
    """
    from scipy.spatial import cKDTree

    if radius_um < 0 or noise < 0:
        message = f"expected a radius and a noise of 0 or more, found {radius_um} and {noise}."
        raise InputError(message)
    table = cells.cells
    kinds = table["cell_type"].to_numpy()[:, None] == np.array(CELL_TYPES)
    own = np.concatenate([kinds, table[list(STATES)].to_numpy()], axis=1).astype(np.float32)
    tree = cKDTree(table[["y_um", "x_um"]].to_numpy())
    joined = tree.sparse_distance_matrix(tree, radius_um, output_type="coo_matrix").tocsr()
    joined.data[:] = 1
    joined.setdiag(1)
    around = (joined @ own) / np.asarray(joined.sum(1)).reshape(-1, 1)
    both = np.concatenate([own, around], axis=1)
    mixing = np.random.default_rng(0).normal(0, WIDTH**-0.5, (both.shape[1], WIDTH))
    tokens = both @ mixing + np.random.default_rng(seed).normal(0, noise, (len(both), WIDTH))
    return np.asarray(tokens, dtype=np.float32)
