"""Retrieval against chance: McNemar's test, compositions, means with intervals by patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_PATIENTS = 3
"""Fewer say nothing of how patients differ: no intervals."""
FEW_DISCORDANT = 25
"""Below, McNemar's test is the exact binomial one (Agresti 2013, "Categorical Data Analysis")."""


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two ways to retrieve on the same cases."""

    first: int
    """n₁, cases that the first way alone matched."""
    second: int
    """n₂, cases that the second way alone matched."""
    statistic: float | None
    """χ₀² = (n₁ - n₂)² / (n₁ + n₂); None where no case differs."""
    p: float | None
    """Two-sided."""
    exact: bool
    """Whether p is of the binomial distribution, since fewer than 25 cases differ."""


@dataclass(frozen=True)
class Compared:
    """A mean over queries, of matches and of tissues drawn at random."""

    queries: int
    retrieved: float
    random: float
    retrieved_interval: tuple[float, float] | None
    """95 %, patients drawn; None of fewer than three patients."""
    random_interval: tuple[float, float] | None
    difference_interval: tuple[float, float] | None
    """Of retrieved - random."""


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Test whether two ways match equally often, on the same n cases.

    χ₀² = (n₁ - n₂)² / (n₁ + n₂) has a chi-square distribution of one degree of freedom, without
    continuity correction, as in the paper; where fewer than 25 cases differ p is exact: n₁ is
    binomial of n₁ + n₂ and 1/2.

    Parameters
    ----------
    first, second
        (n,) whether each case was matched.

    Examples
    --------
    >>> matched = np.arange(100) < 60
    >>> found = mcnemar(matched, ~matched)
    >>> found.first, found.second, found.statistic, round(found.p, 4), found.exact
    (60, 40, 4.0, 0.0455, False)
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    n1, n2 = int((first & ~second).sum()), int((second & ~first).sum())
    if n1 + n2 == 0:
        return McNemar(0, 0, None, None, exact=True)
    table = [[int((first & second).sum()), n1], [n2, int((~first & ~second).sum())]]
    exact = n1 + n2 < FEW_DISCORDANT
    found = test(table, exact=exact, correction=False)
    return McNemar(n1, n2, (n1 - n2) ** 2 / (n1 + n2), float(found.pvalue), exact)


def composition_distance(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Sum the absolute differences of shares over all cell types: 0 the same, 2 none in common.

    Examples
    --------
    >>> composition_distance({"B": 0.5, "T": 0.5}, {"T": 0.75, "tumour": 0.25})
    1.0
    """
    return float(sum(abs(a.get(name, 0.0) - b.get(name, 0.0)) for name in {*a, *b}))


def compare(
    retrieved: Sequence[float],
    random: Sequence[float],
    patients: Sequence[str],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Compared:
    """Average values of queries, with 95 % intervals that draw patients with replacement.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", percentile intervals.

    Parameters
    ----------
    retrieved, random
        Q values of matches and of drawn tissues.
    patients
        Q, whose the queries are.
    draws
        Of patients.
    seed
        Draws them.
    """
    names, whose = np.unique(np.array(patients), return_inverse=True)
    values = np.stack([retrieved, random, np.subtract(retrieved, random)])  # (3, Q)
    means = values.mean(axis=1)
    ends: list[tuple[float, float] | None] = [None] * 3
    if len(names) >= LEAST_PATIENTS:
        rng = np.random.default_rng(seed)
        share = np.full(len(names), 1 / len(names))
        weights = rng.multinomial(len(names), share, size=draws)  # (draws, patients)
        sums = np.stack([np.bincount(whose, row, len(names)) for row in values])
        sizes = np.bincount(whose, minlength=len(names))
        drawn = weights @ sums.T / (weights @ sizes)[:, None]
        low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
        ends = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    return Compared(len(retrieved), float(means[0]), float(means[1]), *ends)


def told(found: Compared) -> dict[str, Any]:
    """Give a comparison as a row of a table."""
    row: dict[str, Any] = {"queries": found.queries}
    for name, value, ends in (
        ("retrieved", found.retrieved, found.retrieved_interval),
        ("random", found.random, found.random_interval),
        ("difference", found.retrieved - found.random, found.difference_interval),
    ):
        low, high = ends or (None, None)
        row |= {name: value, f"{name}_lower": low, f"{name}_upper": high}
    return row
