"""All cells typed, from clicks or by a classifier, and ready to be shown: not in the GUI's thread.

Knows no Qt, and imports no PyTorch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_virtues.cells_layers import Cells, TypedView, typed_view
from napari_virtues.engine import CellTypes
from virtues_core.cohort import TokenSpace, Typed, least_sure, log_intensities, type_all

OFFERED = 24
"""Cells that are offered, one after the other, until all are typed again."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Types of N cells, and those to ask about."""

    space: TokenSpace
    """Made once, to be given again."""
    view: TypedView
    offers: Sequence[int]
    """Rows of the cells whose labels would say most."""


def typed_by_clicks(
    cells: Cells,
    space: TokenSpace | None,
    clicked: Mapping[int, str],
    order: Sequence[str],
    unsure_below: float,
) -> Outcome:
    """Type all cells from some clicked ones.

    Parameters
    ----------
    cells
        N cells, with tokens.
    space
        What the last call gave; None makes it.
    clicked
        Row → type.
    order, unsure_below
        As `typed_view` takes them.

    Raises
    ------
    InputError
        Clicks of fewer than two types.
    """
    space = space or _space_of(cells)
    found = type_all(space, list(clicked), list(clicked.values()))
    types = CellTypes(found.classes, found.probabilities, dict(clicked))
    return shown(cells, space, types, order, unsure_below)


def shown(
    cells: Cells,
    space: TokenSpace | None,
    types: CellTypes,
    order: Sequence[str],
    unsure_below: float,
) -> Outcome:
    """Paint types that are known, and choose whom to ask about; parameters as above."""
    space = space or _space_of(cells)
    known = Typed(types.classes, types.probabilities)
    offers = least_sure(space, known, OFFERED, labelled=list(types.clicked))
    view = typed_view(cells, types, order, unsure_below)
    return Outcome(space, view, offers.tolist())


def _space_of(cells: Cells) -> TokenSpace:
    own = cells.embedding
    if not cells.has_tokens:
        return TokenSpace.of(np.asarray(own.tokens))
    markers = sorted({str(key) for key in own.provenance["panel"]})
    means = np.asarray(own.intensities)
    return TokenSpace.of(np.asarray(own.tokens), log_intensities(means, own.var, markers))
