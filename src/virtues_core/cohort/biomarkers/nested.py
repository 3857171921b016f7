"""The estimate that a reader may believe: clusters are chosen by patients that are not judged.

Clusters are found without the outcome, from all cells; ranks, choice and joint model are made anew
from the patients trained on in each split. The figure is the mean over splits of the AUROC within
the patients held out. Over cohorts in which nothing is to be found its expectation is 0.5: held-out
patients are drawn apart from those trained on. (Scores pooled over folds do not have that: folds
differ in their intercepts, which lean against the fold held out. Within one cohort whose outcomes
are dealt out anew the mean lies a little below 0.5, for what is over-represented among those
trained on is missing among the others; the permutation test allows for it: both sides have it.)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.prediction import (
    Array,
    Masks,
    Outcome,
    concordance,
    held_out_scores,
    joint_scores,
    rank_aurocs,
    score_aurocs,
    splits,
)
from virtues_core.cohort.biomarkers.ranks import rank_borders, ranks
from virtues_core.cohort.biomarkers.selection import Chosen, choose

Progress = Callable[[int, int, str], None]
_ENDS = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class NestedSplits:
    """Who is held out, and within those trained on, who is held out while clusters are chosen."""

    outer: Masks
    """(F, P)."""
    inner: tuple[Masks, ...]
    """F of (G, patients trained on)."""


@dataclass(frozen=True, eq=False)
class Nested:
    """What came of each split."""

    aurocs: Array
    """(F,) of the joint model on the patients held out."""
    chosen: tuple[Chosen, ...]
    """F choices of clusters."""
    scores: Array
    """(F, P) log-odds of the patients held out; nan of those trained on."""

    @property
    def auroc(self) -> float:
        """Mean over the splits."""
        return float(self.aurocs.mean())


@dataclass(frozen=True, eq=False)
class Null:
    """What the whole procedure gives when outcomes are dealt out to patients by chance."""

    nested: Array
    """(B,) nested AUROC."""
    paper: Array
    """(B,) the paper's estimate, whose clusters are chosen on the patients that it is made of."""


@dataclass(frozen=True, eq=False)
class PaperSplits:
    """Splits of the paper's own estimate."""

    univariate: Masks
    """(F, P) for choosing clusters."""
    joint: Masks
    """(G, P) for judging those chosen."""


def nested_splits(
    outcome: Outcome, folds: int, repeats: int, inner_repeats: int, seed: int = 0
) -> NestedSplits:
    """Part patients into folds, and those trained on once more.

    Parameters
    ----------
    outcome
        (P,).
    folds
        Of the outer and of the inner partitions.
    repeats, inner_repeats
        Outer and inner partitions.
    seed
        Of all of them.

    Raises
    ------
    InputError
        Too few patients of one outcome among those trained on.
    """
    outer = splits(outcome, folds, repeats, seed)
    inner = tuple(
        splits(outcome[~test], folds, inner_repeats, seed + 1 + n) for n, test in enumerate(outer)
    )
    return NestedSplits(outer, inner)


def least_patients(folds: int) -> int:
    """Give how many patients of each outcome nested splits take.

    Examples
    --------
    >>> least_patients(4)
    6
    """
    least = folds
    while least - -(-least // folds) < folds:
        least += 1
    return least


def nested_aurocs(
    proportions: Array, outcome: Outcome, parts: NestedSplits, each: int = 2
) -> Nested:
    """Choose clusters and fit the joint model within each split, judge on the patients held out.

    Parameters
    ----------
    proportions
        (P, K) share of a patient's cells in each cluster.
    outcome
        (P,).
    parts
        The splits.
    each
        Signatures of each direction.
    """
    scores = np.full(parts.outer.shape, np.nan)
    chosen = []
    for n, (test, inner) in enumerate(zip(parts.outer, parts.inner, strict=True)):
        trained = ~test
        borders = rank_borders(proportions[trained])
        known = ranks(proportions[trained], borders)
        alone = rank_aurocs(known, outcome[trained], inner).mean(0)
        choice = choose(alone, known, outcome[trained], each)
        columns = list(choice.all)
        all_ranks = ranks(proportions[:, columns], borders[:, columns])
        scores[n, test] = joint_scores(all_ranks, outcome, trained)[test]
        chosen.append(choice)
    return Nested(score_aurocs(scores, outcome), tuple(chosen), scores)


def paper_estimate(
    all_ranks: NDArray[np.int8], outcome: Outcome, parts: PaperSplits, each: int = 2
) -> tuple[Array, Chosen, Array]:
    """Choose clusters on all patients and judge them on the same, as the paper does.

    Parameters
    ----------
    all_ranks
        (P, K) ranks by the tertiles of all patients.
    outcome
        (P,).
    parts
        The splits.
    each
        Signatures of each direction.

    Returns
    -------
    tuple
        (K,) mean AUROC of each cluster alone; the choice; (G, P) log-odds that the joint model
        gives to patients held out.
    """
    alone = rank_aurocs(all_ranks, outcome, parts.univariate).mean(0)
    choice = choose(alone, all_ranks, outcome, each)
    return alone, choice, held_out_scores(all_ranks[:, list(choice.all)], outcome, parts.joint)


def permuted(
    proportions: Array,
    outcome: Outcome,
    parts: NestedSplits,
    paper: PaperSplits,
    *,
    each: int = 2,
    permutations: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> Null:
    """Deal outcomes out to patients by chance and go through the whole procedure each time.

    The splits stay with the outcomes (they are stratified by them), patients' cells are dealt out.

    Parameters
    ----------
    proportions, outcome, parts, paper, each
        As `nested_aurocs` and `paper_estimate`.
    permutations
        How many.
    seed
        Of the permutations.
    progress
        Told after each: how many, of how many, what.
    """
    rng = np.random.default_rng(seed)
    all_ranks = ranks(proportions)
    found = np.empty((2, permutations))
    for n in range(permutations):
        order = rng.permutation(len(outcome))
        found[0, n] = nested_aurocs(proportions[order], outcome, parts, each).auroc
        scores = paper_estimate(all_ranks[order], outcome, paper, each)[2]
        found[1, n] = score_aurocs(scores, outcome).mean()
        if progress is not None:
            progress(n + 1, permutations, "permutation")
    return Null(*found)


def permutation_p(found: float, null: Array) -> float:
    """Give the share of permutations that do as well, the one found among them.

    Source: Phipson and Smyth 2010, "Permutation P-values should never be zero".

    Examples
    --------
    >>> permutation_p(0.8, np.array([0.5, 0.6, 0.9]))
    0.5
    """
    return float((1 + (null >= found - 1e-12).sum()) / (1 + len(null)))


def patient_interval(
    scores: Array, outcome: Outcome, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Give a 95 % interval of the mean AUROC over splits by drawing patients with replacement.

    Patients' scores stay as they are, so that what another choice of clusters or another fit would
    change is not in it. Pairs count as often as they were held out together.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", percentile intervals.

    Parameters
    ----------
    scores
        (F, P) of the patients held out in each split; nan of the others.
    outcome
        (P,).
    draws
        How often.
    seed
        Of the draws.
    """
    case, control = np.flatnonzero(outcome == 1), np.flatnonzero(outcome == 0)
    right, pairs = np.zeros((2, len(case), len(control)))
    for row in scores:
        test = np.isfinite(row)
        place = np.ix_(test[case], test[control])
        right[place] += concordance(row[test], outcome[test])
        pairs[place] += 1
    drawn = np.random.default_rng(seed).multinomial(
        len(outcome), np.full(len(outcome), 1 / len(outcome)), size=draws
    )
    hits = np.einsum("dc,cn,dn->d", drawn[:, case], right, drawn[:, control], optimize=True)
    of = np.einsum("dc,cn,dn->d", drawn[:, case], pairs, drawn[:, control], optimize=True)
    low, high = np.quantile(hits[of > 0] / of[of > 0], _ENDS)
    return float(low), float(high)
