"""Ratios of tumour cells to lymphocytes, which the clinic knows: what signatures are compared with.

Source: the paper, Methods, "Identification of FM-based biomarkers": "the ratio of tumor cells to
CD4+ T cells, CD8+ T cells, or B cells".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TUMOUR = "tumour"
LYMPHOCYTES = ("CD4 T", "CD8 T", "B")
KNOWN: dict[str, frozenset[str]] = {
    TUMOUR: frozenset({"tumour", "tumor", "cancer", "malignant", "carcinoma", "neoplastic"}),
    "CD4 T": frozenset({"cd4", "cd4t", "tcd4", "thelper", "helpert", "th"}),
    "CD8 T": frozenset({"cd8", "cd8t", "tcd8", "cytotoxict"}),
    "B": frozenset({"b"}),
}
"""What types are called, without case, marks and the word cell: "CD8+ T cells" is "cd8t"."""


@dataclass(frozen=True)
class RatioTypes:
    """Names of cell types that ratios are made of; those that are empty are told by `KNOWN`."""

    tumour: tuple[str, ...] = ()
    cd4: tuple[str, ...] = ()
    cd8: tuple[str, ...] = ()
    b: tuple[str, ...] = ()

    def of(self, types: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Give, for tumour cells and each lymphocyte, the types at hand that count as it.

        Raises
        ------
        InputError
            A type was named that is not at hand.

        Examples
        --------
        >>> RatioTypes().of(["Tumor", "CD8+ T cell", "vessel"])
        {'tumour': ('Tumor',), 'CD4 T': (), 'CD8 T': ('CD8+ T cell',), 'B': ()}
        """
        named = dict(zip(KNOWN, (self.tumour, self.cd4, self.cd8, self.b), strict=True))
        strange = sorted({name for names in named.values() for name in names} - set(types))
        if strange:
            message = (
                f"expected cell types of the tables, found no {', '.join(map(repr, strange))}; "
                f"there are {', '.join(map(repr, types)) or 'none'}. Name some of those."
            )
            raise InputError(message)
        return {
            kind: names or tuple(name for name in types if _bare(name) in KNOWN[kind])
            for kind, names in named.items()
        }


def cell_ratios(
    counts: NDArray[Any], types: Sequence[str], chosen: RatioTypes | None = None
) -> "pd.DataFrame":
    """Divide each patient's tumour cells by the lymphocytes of each kind.

    Parameters
    ----------
    counts
        (P, K) cells of each type.
    types
        K names.
    chosen
        Which of them count as what.

    Returns
    -------
    pandas.DataFrame
        P rows; a column "tumour / CD4 T" … of each kind that is among the types, none without
        tumour cells. Infinite where a patient has tumour cells and no such lymphocyte, NaN where
        neither.

    Raises
    ------
    InputError
        As `RatioTypes.of`.

    Examples
    --------
    >>> cell_ratios(np.array([[8, 4], [3, 0]]), ["tumour", "B cell"])["tumour / B"].tolist()
    [2.0, inf]
    """
    import pandas as pd

    counts = np.asarray(counts)
    kinds = (chosen or RatioTypes()).of(types)
    of_kind = {
        kind: counts[:, [list(types).index(name) for name in names]].sum(axis=1)
        for kind, names in kinds.items()
        if names
    }
    found = {}
    for kind in LYMPHOCYTES:
        if TUMOUR in of_kind and kind in of_kind:
            with np.errstate(divide="ignore", invalid="ignore"):
                found[f"{TUMOUR} / {kind}"] = of_kind[TUMOUR] / of_kind[kind]
    return pd.DataFrame(found, index=range(len(counts)))


def tertiles(values: NDArray[Any]) -> NDArray[np.float64]:
    """Say which third a value lies in, 1 to 3; equal values are in one third, NaN in none.

    Borders are values of patients (no interpolation), since a ratio may be infinite.

    Examples
    --------
    >>> tertiles(np.array([0.1, np.inf, 2.0, np.nan])).tolist()
    [1.0, 3.0, 2.0, nan]
    """
    values = np.asarray(values, float)
    known = ~np.isnan(values)
    found = np.full(len(values), np.nan)
    if known.any():
        borders = np.quantile(values[known], [1 / 3, 2 / 3], method="inverted_cdf")
        found[known] = 1 + np.searchsorted(borders, values[known], side="left")
    return found


def _bare(name: str) -> str:
    letters = "".join(letter for letter in name.casefold() if letter.isalnum())
    return letters.removesuffix("s").removesuffix("cell")
