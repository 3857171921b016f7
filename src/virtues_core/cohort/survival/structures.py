"""Which patients have which tissue structure, and how much more often those of high risk do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.survival.risk import RiskRatio, risk_ratio
from virtues_core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 50
"""Of a column of structures: one with more is a number or a name."""
_NO = frozenset({"", "0", "0.0", "no", "n", "false", "none", "nan"})
_YES = frozenset({"1", "1.0", "yes", "y", "true"})


@dataclass(frozen=True, eq=False)
class Structure:
    """Presence of one structure in P patients."""

    name: str
    present: NDArray[np.bool_]
    """(P,)."""
    known: NDArray[np.bool_]
    """(P,) whether it is known of the patient."""

    def risk_ratio(self, high: NDArray[np.bool_]) -> RiskRatio:
        """Compare patients of high risk, (P,) bool, with the others, where it is known."""
        return risk_ratio(self.present[self.known], high[self.known])


def structures_of(
    names: Sequence[str],
    cells: "pd.DataFrame",
    codes: NDArray[np.integer],
    clinical: "pd.DataFrame",
    *,
    least_cells: int = 1,
) -> list[Structure]:
    """Tell which patients have which structures.

    Parameters
    ----------
    names
        Columns of the cells or of the clinical table. One of 0 and 1 (or yes and no, true and
        false) is one structure, one of names is a structure for each name.
    cells
        N rows.
    codes
        (N,) patient of each cell, its row in ``clinical``; below 0 for cells of others.
    clinical
        P rows, one a patient.
    least_cells
        Cells of a patient that must bear it for the structure to be there.

    Raises
    ------
    InputError
        A column that is in neither table, in both, or whose values are no categories.

    Examples
    --------
    >>> import pandas as pd
    >>> cells = pd.DataFrame({"niche": ["vessel", "", "vessel", "follicle"]})
    >>> patients = pd.DataFrame(index=["a", "b"])
    >>> found = structures_of(["niche"], cells, np.array([0, 0, 1, 1]), patients)
    >>> [(s.name, s.present.tolist()) for s in found]
    [('niche: follicle', [False, True]), ('niche: vessel', [True, True])]
    """
    found: list[Structure] = []
    for name in names:
        if (name in cells.columns) == (name in clinical.columns):
            where = "both" if name in cells.columns else "neither"
            message = (
                f"expected structures in a column of the cells or of the clinical table, found "
                f"{name!r} in {where}. Give the name of one that is in one of them."
            )
            raise InputError(message)
        if name in cells.columns:
            found += _of_cells(name, cells[name], codes, len(clinical), least_cells)
        else:
            found += _of_patients(name, clinical[name])
    return found


def _of_cells(
    name: str, values: "pd.Series", codes: NDArray[np.integer], patients: int, least: int
) -> list[Structure]:
    numbers, categories = _categories(name, values)
    known = np.ones(patients, bool)
    found = []
    for title, own in _named(name, categories):
        bearing = np.isin(numbers, own) & (codes >= 0)
        counts = np.bincount(codes[bearing], minlength=patients)
        found.append(Structure(title, counts >= least, known))
    return found


def _of_patients(name: str, values: "pd.Series") -> list[Structure]:
    numbers, categories = _categories(name, values)
    known = (numbers >= 0) & (values.astype(str) != "").to_numpy()
    return [
        Structure(title, np.isin(numbers, own), known) for title, own in _named(name, categories)
    ]


def _categories(name: str, values: "pd.Series") -> tuple[NDArray[np.int64], dict[str, int]]:
    """Give each row the number of its value, -1 if missing, and the values that mean presence."""
    import pandas as pd

    numbers, found = pd.factorize(values)
    categories = {str(c): i for i, c in enumerate(found) if str(c).lower() not in _NO}
    if len(categories) > MOST_CATEGORIES:
        message = (
            f"expected up to {MOST_CATEGORIES} structures in {name!r}, found {len(categories)} "
            "different values. Name a column of categories."
        )
        raise InputError(message)
    return numbers, dict(sorted(categories.items()))


def _named(name: str, categories: dict[str, int]) -> list[tuple[str, list[int]]]:
    """Titles of structures, each with the numbers of the values that mean it."""
    if all(category.lower() in _YES for category in categories):
        return [(name, list(categories.values()))] if categories else []
    return [(f"{name}: {category}", [number]) for category, number in categories.items()]
