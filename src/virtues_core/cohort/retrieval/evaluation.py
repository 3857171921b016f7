"""How well a database retrieves: labels of the nearest tissues against tissues drawn at random.

Source: the paper, Methods, "Information retrieval". Every tissue is a query; tissues of its own
patient are never candidates, neither for retrieval nor for the draw.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from virtues_core.cohort.patients.wording import counted, some
from virtues_core.cohort.retrieval.comparison import (
    Compared,
    McNemar,
    compare,
    composition_distance,
    mcnemar,
)
from virtues_core.cohort.retrieval.database import TissueDatabase
from virtues_core.cohort.retrieval.entries import Stored
from virtues_core.cohort.retrieval.pixels import pixel_samples
from virtues_core.errors import ConfigError, InputError

Progress = Callable[[int, int, str], None]
SAME = 1e-4
"""Below this distance two tissues have the same tokens, up to rounding."""


@dataclass(frozen=True)
class RetrievalConfig:
    """What can be chosen about an evaluation."""

    labels: tuple[str, ...]
    """Clinical columns that a match should share with its query."""
    top: int = 3
    """Matches of each query."""
    pixels: int = 1000
    """Pixels drawn of each image for the sliced Wasserstein distance; 0 leaves it out."""
    projections: int = 100
    """Directions drawn for it."""
    draws: int = 2000
    """Bootstrap draws of patients."""
    seed: int = 0
    """Draws tissues, pixels, directions and patients."""

    def __post_init__(self) -> None:
        if not self.labels or len(set(self.labels)) < len(self.labels):
            message = f"labels: expected clinical columns, each once, found {self.labels!r}."
            raise ConfigError(message)
        for name, least in (("top", 1), ("pixels", 0), ("projections", 1), ("draws", 100)):
            if getattr(self, name) < least:
                message = f"{name}: expected {least} or more, found {getattr(self, name)}."
                raise ConfigError(message)


@dataclass(frozen=True)
class LabelScore:
    """How often matches share a label with their query."""

    precision: Compared
    """Mean share of the matches that do."""
    expected: float
    """What drawing at random gives on average over all draws."""
    test: McNemar
    """Of the cases (query and rank)."""
    values: Mapping[str, tuple[int, float, float]]
    """Value → tissues with it, mean precision of these, and that of the draw."""


@dataclass(frozen=True, eq=False)
class Case:
    """A query with its matches, and the tissues drawn for it."""

    query: Stored
    matches: tuple[Stored, ...]
    distances: tuple[float, ...]
    drawn: tuple[Stored, ...]
    candidates: int
    solved: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate_retrieval` found."""

    cases: tuple[Case, ...]
    labels: Mapping[str, LabelScore]
    composition: Compared | None
    """L1 distance of the cell type composition of the best match; None without compositions."""
    pixels: Compared | None
    """Sliced Wasserstein distance of the pixels of the best match; None without images."""
    notes: tuple[str, ...]


def evaluate_retrieval(
    database: TissueDatabase, config: RetrievalConfig, *, progress: Progress | None = None
) -> Evaluation:
    """Query with every tissue of a database, and compare with tissues drawn at random.

    Parameters
    ----------
    database
        With patients and the labels.
    config
        Labels and numbers.
    progress
        Called after each query and each image.

    Raises
    ------
    InputError
        A label is no column, has one value or is no category; a patient is not known; or there are
        fewer than two patients.
    """
    tissues, notes = _labelled(database, config)
    patients = np.array([one.patient_id for one in tissues])
    apart = tuple({one.tissue_id for one in database.tissues()} - {t.tissue_id for t in tissues})
    by_name = {one.tissue_id: one for one in tissues}
    cases = []
    for i, query in enumerate(tissues):
        rng = np.random.default_rng((config.seed, i))
        found = database.search(
            database.tokens(query.tissue_id),
            config.top,
            exclude_patient=query.patient_id,
            exclude_tissues=apart,
        )
        others = np.flatnonzero(patients != query.patient_id)
        drawn = rng.choice(others, len(found.tissue_ids), replace=False)
        cases.append(
            Case(
                query=query,
                matches=tuple(by_name[name] for name in found.tissue_ids),
                distances=found.distances,
                drawn=tuple(tissues[j] for j in drawn),
                candidates=found.candidates,
                solved=found.solved,
            )
        )
        if progress is not None:
            progress(i + 1, len(tissues), "query")
    scores = {label: _score(cases, tissues, label, config) for label in config.labels}
    composition = _compositions(cases, config, notes)
    pixels = _pixels(cases, tissues, config, notes, progress)
    whole = sum(case.candidates <= config.top for case in cases)
    if whole:
        notes.append(
            f"{whole} of {len(cases)} queries have {config.top} tissues of other patients or "
            "fewer: all of them are matches, whatever their distance, as in a draw at random."
        )
    same = [case.query.tissue_id for case in cases if case.distances[0] < SAME]
    if same:
        notes.append(
            f"{counted(len(same), 'query', 'queries')} with a match at a distance of 0, so the "
            f"same tissue under another name or patient: {some(same)}. They make the figures too "
            "good: remove one of each (`virtues db remove`)."
        )
    notes.append(
        "McNemar's test takes the cases (query and rank) as independent, which those of one "
        "patient are not: the intervals draw patients."
    )
    return Evaluation(tuple(cases), scores, composition, pixels, tuple(notes))


def _labelled(database: TissueDatabase, config: RetrievalConfig) -> tuple[list[Stored], list[str]]:
    """Give the tissues that have all labels, and say what was left out.

    Raises
    ------
    InputError
        As `evaluate_retrieval`.
    """
    every = database.tissues()
    database.tissues(dict.fromkeys(config.labels, ""))  # says which column is not there
    nobody = [one.tissue_id for one in every if not one.patient_id]
    if nobody:
        message = (
            f"expected the patient of each tissue, found none of {len(nobody)}: "
            f"{', '.join(nobody[:10])}. Build the database with --clinical and --patient: a query "
            "must not find tissues of its own patient."
        )
        raise InputError(message)
    kept = [one for one in every if all(label in one.clinical for label in config.labels)]
    if len({one.patient_id for one in kept}) < 2:
        message = (
            f"expected tissues of two patients with {' and '.join(config.labels)}, found "
            f"{len(kept)} tissues of {len({one.patient_id for one in kept})}."
        )
        raise InputError(message)
    for label in config.labels:
        values = {_value(one, label) for one in kept}
        if len(values) < 2 or len(values) > max(2, len(kept) // 2):
            message = (
                f"expected {label!r} to have two values or more that tissues share, found "
                f"{len(values)} among {len(kept)} tissues. Choose a category."
            )
            raise InputError(message)
    left = len(every) - len(kept)
    notes = [f"{left} of {len(every)} tissues lack a label and take no part."] if left else []
    return kept, notes


def _value(tissue: Stored, label: str) -> str:
    return str(tissue.clinical[label])


def _score(
    cases: Sequence[Case], tissues: Sequence[Stored], label: str, config: RetrievalConfig
) -> LabelScore:
    """Compare the labels of matches with those of the query."""
    own = [_value(case.query, label) for case in cases]
    hits, drawn = (
        [
            np.array([_value(one, label) == value for one in getattr(case, kind)])
            for case, value in zip(cases, own, strict=True)
        ]
        for kind in ("matches", "drawn")
    )
    shares = [float(hit.mean()) for hit in hits]
    by_chance = [float(hit.mean()) for hit in drawn]
    patients = [case.query.patient_id for case in cases]
    all_values = np.array([_value(one, label) for one in tissues])
    all_patients = np.array([one.patient_id for one in tissues])
    expected = [
        (all_values[all_patients != patient] == value).mean()
        for patient, value in zip(patients, own, strict=True)
    ]
    values = {}
    for value in sorted(set(own)):
        mine = [i for i, said in enumerate(own) if said == value]
        found, drawn_share = (float(np.mean([x[i] for i in mine])) for x in (shares, by_chance))
        values[value] = (len(mine), found, drawn_share)
    return LabelScore(
        precision=compare(shares, by_chance, patients, draws=config.draws, seed=config.seed),
        expected=float(np.mean(expected)),
        test=mcnemar(np.concatenate(hits), np.concatenate(drawn)),
        values=values,
    )


def _best(
    cases: Sequence[Case],
    distance: Callable[[Stored, Stored], float | None],
    config: RetrievalConfig,
) -> Compared | None:
    """Compare the best match, and the first tissue drawn, with the query."""
    found: list[tuple[float, float, str]] = []
    for case in cases:
        nearest = distance(case.query, case.matches[0])
        drawn = distance(case.query, case.drawn[0])
        if nearest is not None and drawn is not None:
            found.append((nearest, drawn, case.query.patient_id))
    if not found:
        return None
    retrieved, random, patients = zip(*found, strict=True)
    return compare(retrieved, random, patients, draws=config.draws, seed=config.seed)


def _compositions(
    cases: Sequence[Case], config: RetrievalConfig, notes: list[str]
) -> Compared | None:
    def distance(a: Stored, b: Stored) -> float | None:
        if a.composition is None or b.composition is None:
            return None
        return composition_distance(a.composition, b.composition)

    found = _best(cases, distance, config)
    if found is None or found.queries < len(cases):
        count = 0 if found is None else found.queries
        notes.append(f"cell types are known of {count} of {len(cases)} queries and their matches.")
    return found


def _pixels(
    cases: Sequence[Case],
    tissues: Sequence[Stored],
    config: RetrievalConfig,
    notes: list[str],
    progress: Progress | None,
) -> Compared | None:
    if not config.pixels:
        return None
    with pixel_samples(tissues, config.pixels, config.seed, progress) as samples:

        def distance(a: Stored, b: Stored) -> float | None:
            return samples.distance(a.tissue_id, b.tissue_id, config.projections, config.seed)

        found = _best(cases, distance, config)
        if samples.unread:
            notes.append(f"{len(samples.unread)} tissues have no image that can be read now.")
        if samples.rows or len(samples.unread) < len(tissues):
            notes.append(
                f"pixels are compared by the {len(samples.keys)} markers that all images show."
            )
    return found
