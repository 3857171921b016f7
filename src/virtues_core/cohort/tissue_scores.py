"""How well the label of tissues is told, and how sure one can be of that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.scores import TypingScores, score

REPEATS = 1000
"""Draws of patients, and of shuffled labels."""


@dataclass(frozen=True, eq=False)
class TissueScores:
    """Tissues of patients kept out: what was said of them set against their label."""

    scores: TypingScores
    """By class; a "cell" there is a tissue."""
    low: float
    high: float
    """Macro F1 of 90 % of the draws of as many patients, with replacement, is between these."""
    chance: float
    """Mean macro F1 when what was said is dealt out to the tissues anew."""
    patients: int

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur."""
        return self.scores.macro_f1

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return {
            "macro_f1": self.macro_f1,
            "macro_f1_90": [self.low, self.high],
            "macro_f1_by_chance": self.chance,
            "accuracy": self.scores.accuracy,
            "patients": self.patients,
            "tissues": int(self.scores.confusion.sum()),
            "classes": {
                name: {"f1": found.f1, "tissues": found.support}
                for name, found in self.scores.classes.items()
            },
        }


def score_tissues(
    labels: Sequence[str], said: Sequence[str], patients: Sequence[str], *, seed: int = 0
) -> TissueScores:
    """Set what was said of tissues against their labels.

    The interval is the percentile bootstrap over patients (Efron and Tibshirani 1993, chapter 13):
    tissues of one patient are drawn together, for they are not independent.

    Parameters
    ----------
    labels, said
        N classes.
    patients
        N patients.
    seed
        Of the draws.

    Raises
    ------
    InputError
        No tissue, or lengths that differ.

    Examples
    --------
    >>> found = score_tissues(["a", "a", "b", "b"], ["a", "a", "b", "b"], ["1", "2", "3", "4"])
    >>> found.macro_f1, found.low, found.high
    (1.0, 1.0, 1.0)
    """
    scores = score(np.array(labels), np.array(said))
    names = sorted({*labels, *said})
    truth, told = (np.array([names.index(name) for name in column]) for column in (labels, said))
    _, of_patient = np.unique(np.array(patients), return_inverse=True)
    rows = [np.flatnonzero(of_patient == p) for p in range(of_patient.max() + 1)]
    generator = np.random.default_rng((seed, 6))
    drawn, shuffled = [], []
    for _ in range(REPEATS):
        taken = np.concatenate([rows[p] for p in generator.integers(len(rows), size=len(rows))])
        drawn.append(_macro_f1(truth[taken], told[taken], len(names)))
        shuffled.append(_macro_f1(truth, generator.permutation(told), len(names)))
    low, high = np.quantile(drawn, [0.05, 0.95])
    return TissueScores(scores, float(low), float(high), float(np.mean(shuffled)), len(rows))


def _macro_f1(truth: NDArray[np.int64], told: NDArray[np.int64], count: int) -> float:
    """Mean over the classes that occur of 2 TP / (2 TP + FP + FN)."""
    right = np.bincount(truth[truth == told], minlength=count)
    real, found = np.bincount(truth, minlength=count), np.bincount(told, minlength=count)
    occur = real > 0
    return float((2 * right[occur] / (real[occur] + found[occur])).mean())
