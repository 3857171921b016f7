"""Types from a few clicks: type all cells from some labelled ones, and offer those to label next.

Cells are told apart by their tokens and by the mean intensities of their markers, which a few
labels do not suffice to read out of tokens. Cells to offer are chosen by margin (the likeliest
class against the second) and spread over that space, so that neighbours in it are not asked for
twice. Source of the two parts: Scheffer et al. 2001, "Active hidden Markov models for information
extraction" (margin); Sener and Savarese 2018, "Active learning for convolutional neural networks:
a core-set approach" (greedy k-centre).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort import classify
from virtues_core.cohort.annotate import Classifier, fit_classifier
from virtues_core.cohort.classify import Labels
from virtues_core.cohort.scores import TypingScores, score
from virtues_core.cohort.table import features_of, labels
from virtues_core.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData

POOL = 3
"""Cells with small margins that are looked at for each one that is offered."""
FIRST = 3
"""Cells of each class that a simulated person marks to begin with."""


@dataclass(frozen=True, eq=False)
class TokenSpace:
    """What tells cells apart: tokens, and mean intensities beside them, standardised."""

    values: NDArray[np.float32]
    """(N, D + M): (x - mean) / scale of D token values and M markers."""
    mean: NDArray[np.float32]
    """(D + M,) over all cells."""
    scale: NDArray[np.float32]
    """(D + M,) standard deviation over all cells, 1 where a value is the same in all; of the
    markers divided by √(D / M), so that the few of them weigh as much as the many token values."""

    @classmethod
    def of(
        cls, tokens: NDArray[np.float32], intensities: NDArray[np.float32] | None = None
    ) -> "TokenSpace":
        """Standardise what is known of cells; done once, before the first click.

        Parameters
        ----------
        tokens
            (N, D).
        intensities
            (N, M) of markers, as `log_intensities` gives them; none for tokens alone.

        Raises
        ------
        InputError
            No cell, or values that are not finite.
        """
        parts = [tokens] if intensities is None else [tokens, intensities]
        for part in parts:
            classify.check_features(part)
        if not len(tokens):
            message = "expected cells to type, found none. Open a mask with cells."
            raise InputError(message)
        values = np.concatenate(parts, axis=1)
        mean, scale = values.mean(0), values.std(0)
        scale = np.where(scale > 0, scale, 1)
        width = tokens.shape[1]
        scale[width:] /= np.sqrt(width / max(1, values.shape[1] - width))
        return cls(((values - mean) / scale).astype(np.float32), mean, scale)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Typed:
    """All cells, typed from the labelled ones."""

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    """(N, K); of a labelled cell 1 for its label."""

    @property
    def types(self) -> Labels:
        """(N,) the likeliest class of each cell."""
        return np.asarray(np.array(self.classes)[self.probabilities.argmax(1)], dtype=str)

    @property
    def probability(self) -> NDArray[np.float32]:
        """(N,) of that class."""
        return np.asarray(self.probabilities.max(1))

    @property
    def margin(self) -> NDArray[np.float32]:
        """(N,) probability of the likeliest class less that of the second: 0 = undecided."""
        top = np.partition(self.probabilities, -2, axis=1)[:, -2:]
        return np.asarray(top[:, 1] - top[:, 0], dtype=np.float32)


def type_all(space: TokenSpace, rows: Sequence[int], labels: Sequence[str]) -> Typed:
    """Type all cells from a few labelled ones, by logistic regression (L-BFGS, λ = 1).

    Classes count alike, however many cells of each are labelled.

    Parameters
    ----------
    space
        N cells.
    rows
        Positions of the labelled ones; of one that is there twice the last label holds.
    labels
        What they are.

    Raises
    ------
    InputError
        Labels of fewer than two classes, an empty one, or a position that is no cell.
    """
    given = dict(zip(map(int, rows), map(str, labels), strict=True))
    if any(not 0 <= row < len(space) for row in given) or not all(given.values()):
        message = (
            f"expected labels of cells 0 to {len(space) - 1}, found an empty label or another "
            "cell. Mark cells of this image."
        )
        raise InputError(message)
    places, names = np.array(list(given), dtype=np.int64), np.array(list(given.values()), dtype=str)
    probe = _fitted(space.values[places], names)
    found = classify.probabilities(probe, space.values)
    found[places] = names[:, None] == probe.classes_[None, :]
    return Typed(tuple(map(str, probe.classes_)), found)


def classifier_of_clicks(table: "AnnData", label: str) -> Classifier:
    """Give what `type_all` learns from some labelled cells, as a classifier for other tables.

    Of this table's cells it says what `type_all` says, apart from the labelled ones, which are
    there what they were labelled. Other tables are standardised as this one.

    Parameters
    ----------
    table
        As `virtues embed` writes it, of all cells of the image.
    label
        Column of ``obs``; most cells have no label there.

    Raises
    ------
    InputError
        Labels of fewer than two classes, no tokens, or channels that are not described.
    """
    classifier = fit_classifier([table], label, "logistic", least_cells=1).classifier
    features = features_of(table, classifier.panel)
    space = TokenSpace.of(*np.split(features, [classifier.width], axis=1))
    names, known = labels(table, label)
    fitted = _fitted(space.values[known], names[known])
    probe = classify.unscaled(fitted, space.mean, space.scale)
    return replace(classifier, estimator=probe, markers=classifier.panel)


def _fitted(values: NDArray[np.float32], names: Labels) -> Any:
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(names)) < 2:
        message = (
            f"expected labelled cells of two types at the least, found only "
            f"{', '.join(np.unique(names)) or 'none'}. Mark cells of another type too."
        )
        raise InputError(message)
    probe = LogisticRegression(
        C=1 / classify.RIDGE,
        solver="lbfgs",
        class_weight="balanced",
        max_iter=classify.ITERATIONS,
    )
    return probe.fit(values, names)


def least_sure(
    space: TokenSpace,
    typed: Typed,
    count: int,
    *,
    labelled: Sequence[int] = (),
    skip: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Choose the cells whose labels would say most.

    Of the ``POOL * count`` unlabelled cells with the smallest margins: first the smallest, then
    each time the one that is farthest in token space from those chosen and those labelled.

    Parameters
    ----------
    space, typed
        The cells and their types.
    count
        How many; fewer are given where there are no more.
    labelled
        Positions that are not asked for again.
    skip
        (N,) True for other cells that are not to be asked for.

    Returns
    -------
    numpy.ndarray
        (count,) positions, best first.
    """
    done = np.asarray(labelled, dtype=np.int64)
    left = np.ones(len(space), bool) if skip is None else ~skip
    left[done] = False
    pool = np.flatnonzero(left)
    pool = pool[np.argsort(typed.margin[pool], kind="stable")][: POOL * count]
    size = len(pool)
    if not size or count < 1:
        return np.empty(0, np.int64)
    points = space.values[pool]
    nearest = np.full(size, np.inf, np.float32)
    for row in done:
        nearest = np.minimum(nearest, _distance(points, space.values[row]))
    chosen = [0]
    while len(chosen) < min(count, size):
        nearest = np.minimum(nearest, _distance(points, points[chosen[-1]]))
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
    return np.asarray(pool[chosen], dtype=np.int64)


def _distance(points: NDArray[np.float32], point: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.square(points - point).sum(1), dtype=np.float32)


class SimulatedClicker:
    """A person who knows every type: marks some cells to begin with, then those that are offered.

    Parameters
    ----------
    truth
        (N,) what each cell is; empty where even that person does not know.
    seed
        Draws the cells to begin with.
    """

    def __init__(self, truth: Labels, *, seed: int = 0) -> None:
        self.truth = np.asarray(truth, dtype=str)
        self._rng = np.random.default_rng((seed, 2))

    @property
    def classes(self) -> tuple[str, ...]:
        """The types there are."""
        return tuple(str(name) for name in np.unique(self.truth) if name)

    def first(
        self, each: int = FIRST, *, skip: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Choose cells of each type at random, none of those to skip (N,); positions."""
        left = np.ones(len(self.truth), bool) if skip is None else ~skip
        places = [np.flatnonzero(left & (self.truth == name)) for name in self.classes]
        drawn = [self._rng.permutation(own)[:each] for own in places]
        return np.concatenate(drawn).astype(np.int64)

    def answer(self, rows: Sequence[int]) -> list[str]:
        """Say what these cells are."""
        return [str(name) for name in self.truth[np.asarray(rows, dtype=np.int64)]]


@dataclass(frozen=True, eq=False)
class ClickRound:
    """What so many clicks gave."""

    rows: tuple[int, ...]
    """Positions of all cells labelled so far, in the order of the clicks."""
    labels: tuple[str, ...]
    scores: TypingScores
    """On the cells to score on that were not clicked."""


def click_rounds(
    space: TokenSpace,
    clicker: SimulatedClicker,
    *,
    clicks_per_class: int = 20,
    first: int = FIRST,
    per_round: int = 0,
    scored: NDArray[np.bool_] | None = None,
) -> Iterator[ClickRound]:
    """Let a simulated person click until the budget is spent.

    Parameters
    ----------
    space
        N cells.
    clicker
        Knows them.
    clicks_per_class
        The budget, times the number of classes, the first clicks included.
    first
        Cells of each class to begin with.
    per_round
        Cells that are offered at once; as many as there are classes by default.
    scored
        (N,) True for cells to score on, which are never clicked; by default all that were not
        clicked count, and any may be.

    Yields
    ------
    ClickRound
        After the first clicks and after each round.
    """
    known = clicker.truth != ""
    skip = ~known if scored is None else ~known | scored
    rows = clicker.first(first, skip=skip).tolist()
    budget = clicks_per_class * len(clicker.classes)
    while True:
        rows = rows[:budget]
        answers = clicker.answer(rows)
        typed = type_all(space, rows, answers)
        test = known & (~_at(rows, len(space)) if scored is None else scored)
        scores = score(clicker.truth[test], typed.types[test])
        yield ClickRound(tuple(rows), tuple(answers), scores)
        wanted = min(per_round or len(clicker.classes), budget - len(rows))
        offered = least_sure(space, typed, wanted, labelled=rows, skip=skip).tolist()
        if not offered:
            return
        rows += offered


def _at(rows: Sequence[int], size: int) -> NDArray[np.bool_]:
    found = np.zeros(size, bool)
    found[list(rows)] = True
    return found
