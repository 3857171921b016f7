"""How well types agree with labels: F1 by class, confusion, calibration."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.classify import Labels
from virtues_core.errors import InputError

BINS = 10
"""Of the calibration curve, equally wide from 0 to 1."""


@dataclass(frozen=True)
class ClassScore:
    """One class."""

    f1: float
    precision: float
    recall: float
    support: int
    """Cells that bear the label."""


@dataclass(frozen=True)
class CalibrationBin:
    """Cells whose probability falls into one tenth from 0 to 1."""

    probability: float
    """Their mean."""
    right: float
    """Share of them whose type is the label."""
    cells: int


@dataclass(frozen=True, eq=False)
class TypingScores:
    """Types set against labels."""

    classes: dict[str, ClassScore]
    """Each class that some label names."""
    names: tuple[str, ...]
    """K names of rows and columns of `confusion`: all labels and types."""
    confusion: NDArray[np.int64]
    """(K, K) cells by label (row) and type (column)."""
    calibration: tuple[CalibrationBin, ...] = ()
    """Bins with cells in them; none where probabilities are not known."""

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that some label names."""
        return float(np.mean([found.f1 for found in self.classes.values()]))

    @property
    def accuracy(self) -> float:
        """Share of cells whose type is the label."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def calibration_error(self) -> float:
        """Mean distance of probability and share of right ones, weighted by cells; NaN if unknown.

        Source: Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian
        binning", the expected calibration error.
        """
        total = sum(found.cells for found in self.calibration)
        if not total:
            return float("nan")
        return sum(b.cells * abs(b.probability - b.right) for b in self.calibration) / total

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        described: dict[str, Any] = {
            "macro_f1": self.macro_f1,
            "accuracy": self.accuracy,
            "classes": {
                name: {
                    "f1": found.f1,
                    "precision": found.precision,
                    "recall": found.recall,
                    "support": found.support,
                }
                for name, found in self.classes.items()
            },
            "confusion": {"names": list(self.names), "cells": self.confusion.tolist()},
        }
        if self.calibration:
            described["calibration"] = [
                {"probability": b.probability, "right": b.right, "cells": b.cells}
                for b in self.calibration
            ]
            described["calibration_error"] = self.calibration_error
        return described


def score(
    labels: Labels, types: Labels, probability: NDArray[np.float32] | None = None
) -> TypingScores:
    """Set types against labels.

    A type that no label names (one found where there is none, or "unsure") counts as a miss of the
    cell's own class and has no score of its own; the macro-averaged F1 is over the classes that
    some label names.

    Parameters
    ----------
    labels
        (N,) what the cells are.
    types
        (N,) what they were taken for.
    probability
        (N,) of the type, 0 to 1, for the calibration curve; NaN = leave the cell out there.

    Raises
    ------
    InputError
        No cell, or lengths that differ.

    Examples
    --------
    >>> found = score(np.array(["a", "a", "b", "b"]), np.array(["a", "b", "b", "b"]))
    >>> round(found.classes["b"].f1, 3), round(found.macro_f1, 3)
    (0.8, 0.733)
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    if not len(labels) or len(labels) != len(types):
        message = (
            f"expected one type for each labelled cell, found {len(types)} types and "
            f"{len(labels)} labels. Give cells that have both."
        )
        raise InputError(message)
    named = [str(name) for name in np.unique(labels)]
    names = (*named, *(str(t) for t in np.unique(types) if str(t) not in set(named)))
    table = precision_recall_fscore_support(labels, types, labels=named, zero_division=0)
    classes = {
        name: ClassScore(float(f1), float(precision), float(recall), int(support))
        for name, precision, recall, f1, support in zip(named, *table, strict=True)
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A single label was found")  # its name is given
        counted = np.asarray(confusion_matrix(labels, types, labels=list(names)), dtype=np.int64)
    bins = () if probability is None else _calibration(labels == types, probability)
    return TypingScores(classes, names, counted, bins)


def _calibration(
    right: NDArray[np.bool_], probability: NDArray[np.float32]
) -> tuple[CalibrationBin, ...]:
    known = np.isfinite(probability)
    right, values = right[known], probability[known].astype(np.float64)
    place = np.minimum((values * BINS).astype(int), BINS - 1)
    return tuple(
        CalibrationBin(
            float(values[place == b].mean()), float(right[place == b].mean()), int(chosen)
        )
        for b, chosen in enumerate(np.bincount(place, minlength=BINS))
        if chosen
    )


def told(reports: dict[str, TypingScores], below: Sequence[Sequence[str]] = ()) -> str:
    """Say F1 by class in a table, one column for each of several ways.

    Parameters
    ----------
    reports
        By the name of the way.
    below
        Further rows: a title, and a text for each way.
    """
    columns: Sequence[str] = list(reports)
    names = list(dict.fromkeys(name for found in reports.values() for name in found.classes))
    rows = [["class", "cells", *columns]]
    for name in names:
        own = [found.classes.get(name) for found in reports.values()]
        cells = next(str(one.support) for one in own if one is not None)
        rows.append([name, cells, *("-" if one is None else f"{one.f1:.3f}" for one in own)])
    rows.append(["macro F1", "", *(f"{found.macro_f1:.3f}" for found in reports.values())])
    rows += [[title, "", *texts] for title, *texts in below]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )
