"""How well the features of cells tell their types, for several encoders side by side.

Source: the paper, Methods, "Cell-level tasks". Within a cohort: logistic regression (L-BFGS,
λ = 1), trained and tested on different patients. From one cohort to another: a random forest on
features of the markers that both show, trained on as many cells of each class.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort import classify
from virtues_core.cohort.annotate import LEAST_CELLS, LEAST_SHARED, usable
from virtues_core.cohort.classify import Labels, Method
from virtues_core.cohort.scores import TypingScores, score
from virtues_core.errors import InputError, MarkerError
from virtues_core.evaluate.bootstrap import LEAST_PATIENTS, F1Intervals, bootstrap_f1
from virtues_core.evaluate.encoders import Encoder
from virtues_core.evaluate.labelled import LabelledTissue
from virtues_core.model.split import Split


@dataclass(frozen=True, eq=False)
class ProbeReport:
    """Types told by each encoder's features, on the same cells."""

    encoders: dict[str, TypingScores]
    """By the encoder's name."""
    method: Method
    trained_on: int
    """Cells."""
    tested_on: int
    """Cells, of other patients or of the other cohort."""
    markers: tuple[str, ...]
    """Keys that the encoders were shown."""
    split: str
    """Whose parting into train and test it is."""
    warnings: tuple[str, ...] = ()
    intervals: dict[str, F1Intervals] = field(default_factory=dict)
    """By the encoder's name, where three patients or more were tested on."""

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON.

        "encoders" holds what `TypingScores.to_dict` gives, and where patients were drawn anew
        "macro_f1_interval" and each class's "f1_interval", (low, high).
        """
        encoders = {name: found.to_dict() for name, found in self.encoders.items()}
        for name, known in self.intervals.items():
            encoders[name]["macro_f1_interval"] = list(known.macro)
            for of_class, ends in known.classes.items():
                encoders[name]["classes"][of_class]["f1_interval"] = list(ends)
        return {
            "encoders": encoders,
            "method": self.method,
            "trained_on": self.trained_on,
            "tested_on": self.tested_on,
            "markers": list(self.markers),
            "split": self.split,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, eq=False)
class _Rows:
    """Labelled cells of a cohort, in the order of their tissues."""

    ids: tuple[NDArray[np.int64], ...]
    """Of each tissue, ascending."""
    labels: Labels
    """(N,)."""
    patients: Labels
    """(N,)."""
    split: Labels
    """(N,) train, test, or empty."""
    trained: Labels
    """(N,) train or validation, where the checkpoint says in which part its training had the
    patient; else empty."""


def evaluate_cells(
    cohort: Iterable[LabelledTissue],
    encoders: Sequence[Encoder],
    *,
    test_fraction: float = 0.2,
    least_cells: int = LEAST_CELLS,
    trained: Split | None = None,
    seed: int = 0,
) -> ProbeReport:
    """Train and test a linear probe on the labels of one cohort.

    It is tested on the patients that the cohort's own split keeps for it; without one on those
    that the checkpoint's training kept out; else on patients drawn at random.

    Parameters
    ----------
    cohort
        Tissues with labelled cells; gone through several times.
    encoders
        To compare.
    test_fraction
        Share of the patients to test on, where the cohort has no split of its own.
    least_cells
        Classes with fewer labelled cells are left out.
    trained
        Whom the checkpoint was trained on: a patient tested on who is among them is told of.
    seed
        Draws the patients.

    Raises
    ------
    InputError
        Fewer than two patients, or fewer than two classes that can be used.
    """
    rows = _rows(cohort, trained)
    used, notes = usable(rows.labels, rows.labels != "", "the labels", least_cells)
    test, split = _parted(rows, test_fraction, seed)
    train = used & ~test
    test = used & test & np.isin(rows.labels, np.unique(rows.labels[train]))
    if not test.any():
        message = (
            "expected patients to test on with classes that others show too, found none. Give "
            "more of the cohort."
        )
        raise InputError(message)
    known = np.unique(rows.patients[test & (rows.trained == "train")])
    if len(known):
        notes.append(
            f"the checkpoint was trained on images of {len(known)} of the "
            f"{len(np.unique(rows.patients[test]))} patients tested on: its tokens know them"
        )
    tested = _Tested(rows.labels[test], rows.patients[test], seed)
    for encoder in encoders:
        features = _features(encoder, cohort, rows)
        probe = classify.train(features[train], rows.labels[train], "logistic", seed=seed)
        tested.add(encoder.name, probe, features[test])
    keys = sorted({key for tissue in cohort for key in tissue.keys})
    return tested.report("logistic", int(train.sum()), keys, split, notes)


def evaluate_transfer(
    source: Iterable[LabelledTissue],
    target: Iterable[LabelledTissue],
    encoders: Sequence[Encoder],
    *,
    method: Method = "forest",
    least_cells: int = LEAST_CELLS,
    seed: int = 0,
) -> ProbeReport:
    """Train a classifier on the labels of one cohort and test it on another.

    Both are shown to the encoders with the markers alone that all their tissues share. Cells of
    the target whose class the source does not have are not counted.

    Parameters
    ----------
    source, target
        Tissues with labelled cells; gone through several times.
    encoders
        To compare.
    method
        ``forest`` as in the paper, or ``logistic``: a forest asks for one value at a time, while
        what tokens tell lies in sums of many.
    least_cells
        Classes of the source with fewer labelled cells are left out.
    seed
        Draws cells and trees.

    Raises
    ------
    MarkerError
        Fewer than three markers are shared.
    InputError
        Fewer than two classes in the source, or none of them in the target.
    """
    shared = _shared([source, target])
    here, there = _Only(source, shared), _Only(target, shared)
    known, asked = _rows(here), _rows(there)
    train, notes = usable(known.labels, known.labels != "", "the source's labels", least_cells)
    test = np.isin(asked.labels, np.unique(known.labels[train]))
    if not test.any():
        message = (
            f"expected cells of {', '.join(np.unique(known.labels[train]))} in the target, found "
            f"{', '.join(np.unique(asked.labels))}. Name its classes as the source does."
        )
        raise InputError(message)
    if not test.all():
        lost = ", ".join(np.unique(asked.labels[~test]))
        notes.append(f"not counted, the source has no such class: {lost}")
    tested = _Tested(asked.labels[test], asked.patients[test], seed)
    for encoder in encoders:
        features = _features(encoder, here, known)[train]
        fitted = classify.train(features, known.labels[train], method, seed=seed)
        tested.add(encoder.name, fitted, _features(encoder, there, asked)[test])
    return tested.report(method, int(train.sum()), shared, "source and target", notes)


class _Only:
    """A cohort seen through some markers."""

    def __init__(self, cohort: Iterable[LabelledTissue], keys: Iterable[str]) -> None:
        self._cohort, self._keys = cohort, tuple(keys)

    def __iter__(self) -> Any:
        return (tissue.only(self._keys) for tissue in self._cohort)


def _shared(cohorts: Sequence[Iterable[LabelledTissue]]) -> tuple[str, ...]:
    """Marker keys that every tissue shows, sorted."""
    keys = [set(tissue.keys) for cohort in cohorts for tissue in cohort]
    shared = set.intersection(*keys) if keys else set()
    if len(shared) < LEAST_SHARED:
        message = (
            f"expected {LEAST_SHARED} markers or more that all tissues show, found {len(shared)}"
            f"{': ' + ', '.join(sorted(shared)) if shared else ''}. Check the accessions "
            "(`virtues markers map`), or compare other cohorts."
        )
        raise MarkerError(message)
    return tuple(sorted(shared))


def _rows(cohort: Iterable[LabelledTissue], trained: Split | None = None) -> _Rows:
    """List the labelled cells that are in the masks."""
    ids, labels, patients, split, parts = [], [], [], [], []
    for tissue in cohort:
        present = np.unique(tissue.cell_mask).tolist()
        own = [cell for cell in present if cell in tissue.labels]
        ids.append(np.array(own, dtype=np.int64))
        labels += [tissue.labels[cell] for cell in own]
        patients += [tissue.patient] * len(own)
        split += [tissue.split or ""] * len(own)
        parts += [_part(tissue, trained)] * len(own)
    if not labels:
        message = "expected labelled cells that are in the masks, found none. Check the cell_ids."
        raise InputError(message)
    texts = (np.array(column, dtype=str) for column in (labels, patients, split, parts))
    return _Rows(tuple(ids), *texts)


def _part(tissue: LabelledTissue, trained: Split | None) -> str:
    if trained is None:
        return ""
    part = trained.part(tissue.dataset, tissue.patient) or trained.part_of_image(tissue.image)
    return part or ""


def _parted(rows: _Rows, fraction: float, seed: int) -> tuple[NDArray[np.bool_], str]:
    """Say which rows are to test on: as the cohort or the checkpoint's training had it."""
    if {"train", "test"} <= set(rows.split.tolist()):
        if not set(rows.patients[rows.split == "test"]) & set(rows.patients[rows.split == "train"]):
            return rows.split == "test", "the cohort's own"
    if {"train", "validation"} <= set(rows.trained.tolist()):
        return rows.trained == "validation", "as the checkpoint was trained"
    return classify.kept_out(rows.patients.tolist(), fraction, seed=seed), "patients at random"


def _features(
    encoder: Encoder, cohort: Iterable[LabelledTissue], rows: _Rows
) -> NDArray[np.float32]:
    """Encode a cohort and pick the rows: (N, F)."""
    parts = []
    for encoded, ids in zip(encoder.encode(cohort), rows.ids, strict=True):
        at = np.searchsorted(encoded.ids, ids)
        parts.append(encoded.features[at])
    return np.concatenate(parts).astype(np.float32)


class _Tested:
    """The rows to test on, and what each encoder's features said of them."""

    def __init__(self, labels: Labels, patients: Labels, seed: int) -> None:
        self._labels, self._patients, self._seed = labels, patients, seed
        self._scores: dict[str, TypingScores] = {}
        self._intervals: dict[str, F1Intervals] = {}

    def add(self, name: str, estimator: Any, features: NDArray[np.float32]) -> None:
        found = classify.probabilities(estimator, features)
        types = estimator.classes_[found.argmax(1)].astype(str)
        self._scores[name] = score(self._labels, types, found.max(1))
        known = bootstrap_f1(self._labels, types, self._patients, seed=self._seed)
        if known is not None:
            self._intervals[name] = known

    def report(
        self, method: Method, trained_on: int, keys: Sequence[str], split: str, notes: list[str]
    ) -> ProbeReport:
        patients = len(np.unique(self._patients))
        if patients < LEAST_PATIENTS:
            notes.append(
                f"no intervals: {patients} patient(s) tested on, {LEAST_PATIENTS} or more are "
                "drawn from"
            )
        return ProbeReport(
            self._scores, method, trained_on, len(self._labels), tuple(keys), split, tuple(notes),
            self._intervals,
        )  # fmt: skip
