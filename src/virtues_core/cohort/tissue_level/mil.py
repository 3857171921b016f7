"""Telling an outcome by tissues: how well on patients kept out, against comparators."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients import PatientCells
from virtues_core.cohort.tissue_level.bags import Tissues, aligned, as_class, labelled_tissues
from virtues_core.cohort.tissue_level.config import MilConfig
from virtues_core.cohort.tissue_level.side_by_side import Progress, Trainings
from virtues_core.cohort.tissue_level.splits import folds, labels_by_patient, read_split
from virtues_core.cohort.tissue_scores import TissueScores, score_tissues
from virtues_core.errors import InputError

LEAST_PATIENTS = 5
"""Of each class, tested; of fewer nothing is said beyond the figures themselves."""
TOKENS, INTENSITIES = "tokens", "mean intensities"


@dataclass(frozen=True, eq=False)
class Encoder:
    """One way to describe tissues, and how well an outcome is told by it."""

    name: str
    macro_f1: NDArray[np.float64]
    """(R,) of each run, over the tested tissues."""
    probabilities: NDArray[np.float32]
    """(R, B, K); NaN of tissues that were not tested."""
    scores: TissueScores
    """Of the class that the runs say together, by the mean of their probabilities."""
    p: float | None = None
    """One-sided: that the tokens' runs are better than these; None of the tokens themselves, and
    where too few patients were tested."""


@dataclass(frozen=True, eq=False)
class TissueLevel:
    """What came of it."""

    config: MilConfig
    outcome: str
    """The column."""
    tissues: Tissues
    fold: NDArray[np.int64]
    """(B,) in which fold a tissue was tested; -1: it was trained on alone."""
    encoders: tuple[Encoder, ...]
    """The tokens first, then what they are compared with."""
    attention: tuple[NDArray[np.float32], ...]
    """Of each tissue the weights of its instances in ``tissues.rows``, by trainings that had not
    seen its patient; empty where it was not tested."""
    networks: tuple[Any, ...]
    """R `GatedAttention`, trained on all patients, for other cohorts."""
    few: bool
    """Whether a class has fewer than five patients among those tested."""
    notes: tuple[str, ...]


def tissue_level(
    joined: PatientCells,
    config: MilConfig | None = None,
    *,
    outcome: str = "",
    against: Mapping[str, PatientCells] | None = None,
    device: str = "cpu",
    announce: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> TissueLevel:
    """Learn to tell an outcome by tissues, and measure that on patients who were kept out.

    Gated attention over the instances (cells, niches) of each tissue; a fold's patients, or those
    whom the clinical table says to test on, are told by trainings on the others. The same with mean
    intensities of the same instances, and with other tables.

    Source: the paper, Methods, "Tissue-level classification".

    Parameters
    ----------
    joined
        Instances and clinical table.
    config
        The recipe.
    outcome
        Column of the clinical table, of two classes or more; by default the one named as outcome.
    against
        Name → the same tissues described otherwise.
    device
        Where to train.
    announce
        Told what there is to train before that begins.
    progress
        Told how many trainings are done, of how many, and which one goes on; what it raises ends
        the work.

    Raises
    ------
    InputError
        Too few patients of a class, an odd split, or tissues missing from what is compared with.
    """
    config = config or MilConfig()
    outcome = outcome or joined.clinical.columns.outcome
    tissues = labelled_tissues(joined, outcome)
    fold, how = _folds(joined, tissues, config)
    kinds, notes = _encoders(joined, tissues, outcome, against or {})
    total, what = _planned(kinds, int(fold.max()) + 1, config)
    if announce is not None:
        announce(what)
    trainings = Trainings(device, total=total, progress=progress)
    found, networks = _trained(kinds, fold, config, trainings)
    few = _fewest(tissues, fold) < LEAST_PATIENTS
    told = [*joined.notes, *tissues.notes, how, *notes]
    if few:
        told.insert(0, f"a class has fewer than {LEAST_PATIENTS} patients to test on: no interval "
                       "and no p-value")  # fmt: skip
    encoders = [_encoder(name, one, tissues, fold, config.seed) for name, one in found.items()]
    if not few:
        encoders[1:] = [_compared(encoders[0], one) for one in encoders[1:]]
    attention = found[TOKENS].attention
    return TissueLevel(
        config, outcome, tissues, fold, tuple(encoders), attention, networks, few, tuple(told)
    )


def _folds(
    joined: PatientCells, tissues: Tissues, config: MilConfig
) -> tuple[NDArray[np.int64], str]:
    """Say in which fold each tissue is tested, and tell how that came about."""
    if not config.split:
        fold = folds(tissues.patients, tissues.labels, config.folds, seed=config.seed)
        return fold, f"tested by {int(fold.max()) + 1} folds of patients"
    table = joined.clinical.table
    if config.split not in table:
        message = (
            f"expected a column {config.split!r} of train and test in the clinical table, found "
            "none. Name one that is there (--split), or none for folds."
        )
        raise InputError(message)
    told = table[config.split].map(as_class)
    tested = read_split([told[patient] for patient in tissues.patients], tissues.patients)
    for part, what in ((tested, "test"), (~tested, "train")):
        own = labels_by_patient(
            [p for p, used in zip(tissues.patients, part, strict=True) if used],
            tissues.labels[part],
        )
        lacking = set(range(len(tissues.classes))) - set(own.values())
        if lacking:
            message = (
                f"expected patients of each class to {what} on, found none of "
                f"{', '.join(tissues.classes[k] for k in sorted(lacking))}. Leave the split away "
                "and patients are dealt into folds."
            )
            raise InputError(message)
    return np.where(tested, 0, -1), f"tested on the patients of {config.split!r}"


def _encoders(
    joined: PatientCells, tissues: Tissues, outcome: str, against: Mapping[str, PatientCells]
) -> tuple[dict[str, Tissues], list[str]]:
    """Give the ways to describe the tissues, the tokens first."""
    kinds, notes = {TOKENS: tissues}, []
    if joined.cells.marker_keys:
        kinds[INTENSITIES] = labelled_tissues(joined, outcome, "intensities")
    else:
        notes.append("not compared with mean intensities: the tables share no marker")
    for name, other in against.items():
        if name in kinds:
            message = f"expected names other than {', '.join(kinds)} to compare with, found {name}."
            raise InputError(message)
        kinds[name] = aligned(labelled_tissues(other, outcome), tissues, name)
    return kinds, notes


def _planned(kinds: Iterable[str], parts: int, config: MilConfig) -> tuple[int, str]:
    """Count the trainings, and say of what they are."""
    each = config.runs * parts
    said = [f"{each} by {name}" for name in kinds]
    total = each * len(said) + config.runs
    return total, (
        f"{total} trainings of {config.epochs} epochs at the most: {', '.join(said)} (runs x "
        f"folds: {config.runs} x {parts}), {config.runs} on all patients"
    )


def _trained(
    kinds: Mapping[str, Tissues],
    fold: NDArray[np.int64],
    config: MilConfig,
    trainings: Trainings,
) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Give what was said of patients kept out by each description, and networks of all patients."""
    from virtues_core.cohort.tissue_level.crossval import cross_validate, final_trainings

    found: dict[str, Any] = {}
    final = []
    for name, own in kinds.items():
        bags = own.drawn(config.instances, seed=config.seed)
        found[name] = cross_validate(
            config, bags, own.instances, own.labels, own.patients, fold,
            trainings=trainings, name=name,
        )  # fmt: skip
        if name == TOKENS:
            final = final_trainings(config, bags, own.labels, own.patients, trainings)
    return found, tuple(one.network for one in final)


def _fewest(tissues: Tissues, fold: NDArray[np.int64]) -> int:
    """Count the tested patients of the rarest class."""
    tested = fold >= 0
    own = labels_by_patient(
        [p for p, used in zip(tissues.patients, tested, strict=True) if used],
        tissues.labels[tested],
    )
    return min(list(own.values()).count(k) for k in range(len(tissues.classes)))


def _encoder(
    name: str, found: Any, tissues: Tissues, fold: NDArray[np.int64], seed: int
) -> Encoder:
    tested = np.flatnonzero(fold >= 0)
    said = found.probabilities[:, tested].mean(axis=0).argmax(axis=1)
    scores = score_tissues(
        [tissues.classes[k] for k in tissues.labels[tested]],
        [tissues.classes[k] for k in said],
        [tissues.patients[i] for i in tested],
        seed=seed,
    )
    return Encoder(name, found.macro_f1, found.probabilities, scores)


def _compared(tokens: Encoder, other: Encoder) -> Encoder:
    """Test whether the runs of the tokens are better, by Mann and Whitney's test, one-sided."""
    from scipy.stats import mannwhitneyu

    found = mannwhitneyu(tokens.macro_f1, other.macro_f1, alternative="greater")
    return Encoder(
        other.name, other.macro_f1, other.probabilities, other.scores, float(found.pvalue)
    )
