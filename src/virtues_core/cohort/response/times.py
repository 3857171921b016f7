"""When tissues were taken: the time of each cell, and the order of the times."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

if TYPE_CHECKING:
    from virtues_core.cohort.patients import PatientCells

_WORDS = (
    ("screen", "base", "pre", "before", "diagnos"),
    ("on", "during", "week", "cycle", "day", "mid"),
    ("post", "after", "surg", "end", "follow"),
)
"""How names of times begin that come early, in the middle and late."""


def in_order(names: Sequence[str], given: str = "") -> tuple[str, ...]:
    """Put the names of times in order.

    Parameters
    ----------
    names
        That occur.
    given
        The order, as ``before, during, after``; those that it leaves out are left out. Without it
        numbers go by their value, and words by whether they begin as those of an early or of a
        late time do (baseline, pre, before; on, during, week; post, after, surgery), else by the
        alphabet.

    Raises
    ------
    InputError
        A time is given that does not occur, or twice; or fewer than two are left.

    Examples
    --------
    >>> in_order(["week 12", "baseline", "week 2"])
    ('baseline', 'week 2', 'week 12')
    >>> in_order(["after", "before", "during"], "before, after")
    ('before', 'after')
    """
    there = sorted(set(names))
    wanted = [name.strip() for name in given.split(",") if name.strip()]
    absent = [name for name in wanted if name not in there]
    if absent or len(set(wanted)) < len(wanted) or len(wanted or there) < 2:
        message = (
            f"expected two time points or more, each once, among {', '.join(there) or 'none'}; "
            f"found {', '.join(wanted or there) or 'none'}. Say them in their order, with commas "
            "between (--timepoints)."
        )
        raise InputError(message)
    return tuple(wanted or sorted(there, key=_place))


def _place(name: str) -> tuple[float, list[tuple[float, str]]]:
    low = name.strip().lower()
    stage = next((i for i, words in enumerate(_WORDS) if low.startswith(words)), 1)
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", low)
    return stage, [(float(p), "") if p[0].isdigit() else (-1.0, p) for p in parts]


def times_of_cells(
    joined: "PatientCells", column: str = ""
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Say of each cell when it was taken.

    Parameters
    ----------
    joined
        Cells and clinical table.
    column
        Of the tables of tokens; empty where the clinical table says it of each tissue.

    Returns
    -------
    numbers
        (N,) which of the names; -1 where that is not known.
    names
        Of the times, sorted.

    Raises
    ------
    InputError
        Neither says it.
    """
    cells = joined.cells.cells
    if column and column not in cells:
        message = (
            f"expected a column {column!r} of time points in the tables of tokens or in the "
            "clinical table, found none. Name the column, and with --tissue that of tissues where "
            "the clinical table has one row a tissue."
        )
        raise InputError(message)
    kinds = cells[column or "tissue_id"].astype("category").cat
    told = [str(value).strip() for value in kinds.categories]
    if not column:
        taken = joined.clinical.timepoints().str.strip()
        told = [str(taken.get(tissue, "")) for tissue in told]
    names = sorted(set(told) - {""})
    number = {name: i for i, name in enumerate(names)}
    place = np.array([number.get(name, -1) for name in told] + [-1])
    return place[kinds.codes.to_numpy()], tuple(names)
