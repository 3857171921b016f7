"""Whom an analysis learnt from, so that nobody takes what it says of them for a test.

Kept as digests, for signatures and models are given away: they name nobody. Patients of two cohorts
may be called alike, and one tissue may go by two names. So a tissue is known by what is in it, and
a patient by the tissues; names that are alike are only told of.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients.cells import CellTables
from virtues_core.cohort.patients.token_file import NUMBER

_GRAIN_UM = 0.1
_ROWS = 4
"""Whose tokens tell a tissue where positions do not: four equal to the last bit are no chance."""

_NAMES = 3
"""Of one tissue by mistake at the most; places that more tissues share were made alike."""


@dataclass(frozen=True)
class Seen:
    """Digests of patients' names, and of what is in their tissues (two a tissue, see `_marks`)."""

    patients: frozenset[str] = frozenset()
    tissues: frozenset[str] = frozenset()

    @classmethod
    def of(cls, cells: CellTables, owners: Mapping[str, str]) -> "Seen":
        """Write down tissues and patients.

        Parameters
        ----------
        cells
            Tables of tokens.
        owners
            ``tissue_id`` → patient, of those learnt from; a patient may be unknown ("").
        """
        names = frozenset(_digest("patient", name) for name in owners.values() if name)
        return cls(names, frozenset().union(*_marks(cells, owners).values()))

    @classmethod
    def together(cls, parts: "Iterable[Seen]") -> "Seen":
        """Join what several learnt from."""
        listed = list(parts)
        return cls(
            frozenset().union(*(part.patients for part in listed)),
            frozenset().union(*(part.tissues for part in listed)),
        )

    def known(self, cells: CellTables, owners: Mapping[str, str]) -> tuple[set[str], set[str]]:
        """Tell who of a cohort was learnt from.

        Parameters
        ----------
        cells, owners
            As in `of`, of the cohort that is asked for.

        Returns
        -------
        set of str
            Tissues that were, and all others of their patients.
        set of str
            Patients without such a tissue who are called as one who was.
        """
        marks = _marks(cells, owners)
        tissues = {name for name, own in marks.items() if own & self.tissues}
        patients = {owners[name] for name in tissues} - {""}
        theirs = {name for name, owner in owners.items() if owner in patients}
        others = set(owners.values()) - patients - {""}
        alike = {name for name in others if _digest("patient", name) in self.patients}
        return tissues | theirs, alike

    def as_json(self) -> dict[str, list[str]]:
        """Give what `from_json` reads."""
        return {"patients": sorted(self.patients), "tissues": sorted(self.tissues)}

    @classmethod
    def from_json(cls, told: Any) -> "Seen":
        """Read what `as_json` gave.

        Raises
        ------
        TypeError, KeyError
            It is something else.
        """
        parts = [told[name] for name in ("patients", "tissues")]
        if not all(isinstance(p, list) and all(isinstance(d, str) for d in p) for p in parts):
            message = "no lists of digests of patients and tissues"
            raise TypeError(message)
        return cls(*map(frozenset, parts))


def under_two_names(cells: CellTables, tissues: Iterable[str]) -> list[tuple[str, ...]]:
    """Find tissues that hold the same cells: one tissue, called in several ways.

    By where their cells are; where that is not known, or alike in many tissues, by the tokens of a
    few rows, which are read where two have equally many.

    Parameters
    ----------
    cells
        Tables of tokens.
    tissues
        Their names.

    Returns
    -------
    list of tuple of str
        The names of each tissue that has several.
    """
    rows = {name: own for name, own in _rows_of(cells, tissues).items() if len(own) >= _ROWS}
    places = _places(cells, rows)
    looks = {name: (len(own), places.get(name, "")) for name, own in rows.items()}
    alike = Counter(looks.values())
    names: dict[tuple[int, str, bytes], list[str]] = {}
    for name, own in rows.items():
        if alike[looks[name]] > 1:
            told = name in places and alike[looks[name]] <= _NAMES
            tokens = b"" if told else cells.take(own[:_ROWS]).tobytes()
            names.setdefault((*looks[name], tokens), []).append(name)
    return [tuple(sorted(own)) for own in names.values() if len(own) > 1]


def _marks(cells: CellTables, tissues: Iterable[str]) -> dict[str, set[str]]:
    """Sign tissues by how many rows they have and what is in them, in up to two ways.

    By the tokens of a few rows, whatever the tissue is called; and by where its cells are, which
    stays when an image is embedded again. Places that several tissues share tell none of them.
    """
    rows = _rows_of(cells, tissues)
    first = [own[:_ROWS] for own in rows.values()]
    tokens = np.split(
        cells.take(np.concatenate(first)) if first else np.empty((0, cells.dim), np.float32),
        np.cumsum([len(own) for own in first])[:-1],
    )
    marks = {
        name: {_digest("tokens", f"{len(own)}", content)}
        for (name, own), content in zip(rows.items(), tokens, strict=True)
    }
    places = _places(cells, rows)
    shared = Counter(places.values())
    for name, mark in places.items():
        if shared[mark] == 1:
            marks[name].add(mark)
    return marks


def _rows_of(cells: CellTables, tissues: Iterable[str]) -> dict[str, NDArray[np.int64]]:
    """Give the rows of each tissue, by the number of the cell."""
    table = cells.cells
    names = table["tissue_id"].cat.categories
    codes = table["tissue_id"].cat.codes.to_numpy()
    order = np.lexsort((table[NUMBER[cells.level]].to_numpy(), codes))
    ends = np.searchsorted(codes[order], np.arange(len(names) + 1))
    places = {str(name): order[ends[i] : ends[i + 1]] for i, name in enumerate(names)}
    return {name: places[name] for name in tissues}


def _places(cells: CellTables, rows: Mapping[str, NDArray[np.int64]]) -> dict[str, str]:
    """Sign tissues by where their cells are, unless that is not known or on a grid, as niches."""
    if cells.level != "cell":
        return {}
    where = cells.cells[["x_um", "y_um"]].to_numpy()
    marks = {}
    for name, own in rows.items():
        if np.isfinite(where[own]).all():
            places = np.round(where[own] / _GRAIN_UM).astype(np.int64)
            if all(2 * len(np.unique(axis)) > len(own) for axis in places.T):
                found = places[np.lexsort(places.T)]
                marks[name] = _digest("places", f"{len(own)}", found)
    return marks


def _digest(*parts: str | NDArray[Any]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else part.tobytes())
        found.update(b"\n")
    return found.hexdigest()[:32]
