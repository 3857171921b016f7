"""Parting tissues by patient: to train on, to stop by, to test on."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients.wording import some
from virtues_core.errors import InputError

TRAIN, TEST = ("train", "training"), ("test", "testing", "held out")
"""What a column may say of a patient, in any case."""


def labels_by_patient(patients: Sequence[str], labels: NDArray[np.int64]) -> dict[str, int]:
    """Give each patient's commonest label; of two as common the lower.

    Examples
    --------
    >>> labels_by_patient(["a", "a", "a", "b"], np.array([1, 0, 1, 0]))
    {'a': 1, 'b': 0}
    """
    found: dict[str, Counter[int]] = {}
    for patient, label in zip(patients, labels.tolist(), strict=True):
        found.setdefault(patient, Counter())[label] += 1
    return {patient: min(own, key=lambda k: (-own[k], k)) for patient, own in sorted(found.items())}


def folds(
    patients: Sequence[str], labels: NDArray[np.int64], count: int, *, seed: int
) -> NDArray[np.int64]:
    """Deal patients out to folds, each class evenly.

    Parameters
    ----------
    patients, labels
        Of B tissues.
    count
        Of folds; fewer where the rarest class has fewer patients.
    seed
        Deals them.

    Returns
    -------
    numpy.ndarray
        (B,) fold of each tissue; all of a patient's are in one.

    Raises
    ------
    InputError
        A class has fewer than three patients: one to train on, one to stop by, one to test on.
    """
    from sklearn.model_selection import StratifiedKFold

    own = labels_by_patient(patients, labels)
    names, kinds = np.array(list(own)), np.array(list(own.values()))
    counts = np.unique(kinds, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < 3:
        message = (
            "expected two classes or more of three patients each, to train on, to stop by and to "
            f"test on, found {counts.tolist()} patients by class. Give more of the cohort, or "
            "choose "
            "another outcome."
        )
        raise InputError(message)
    dealt = StratifiedKFold(min(count, int(counts.min())), shuffle=True, random_state=seed)
    fold = {
        str(name): number
        for number, (_, chosen) in enumerate(dealt.split(names, kinds))
        for name in names[chosen]
    }
    return np.array([fold[patient] for patient in patients], np.int64)


def stopped_by(
    patients: Sequence[str],
    labels: NDArray[np.int64],
    training: NDArray[np.int64],
    share: float,
    *,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep patients out of a training to stop it by, each class evenly.

    Parameters
    ----------
    patients, labels
        Of B tissues.
    training
        Positions of those that may be trained on.
    share
        Of their patients to keep out; of each class one at the least, and one is left.
    seed
        Draws them.

    Returns
    -------
    training, validation
        Positions; no patient is in both.
    """
    own = labels_by_patient([patients[i] for i in training], labels[training])
    rng = np.random.default_rng((seed, 6))
    kept: set[str] = set()
    for label in sorted(set(own.values())):
        names = [name for name, kind in own.items() if kind == label]
        count = min(max(1, round(share * len(names))), len(names) - 1)
        kept.update(str(name) for name in rng.permutation(names)[:count])
    out = np.array([patients[i] in kept for i in training])
    return training[~out], training[out]


def read_split(told: Sequence[str], patients: Sequence[str]) -> NDArray[np.bool_]:
    """Read a column that says who is tested.

    Parameters
    ----------
    told
        Of B tissues: train or test.
    patients
        Whose they are.

    Returns
    -------
    numpy.ndarray
        (B,) True of those to test on.

    Raises
    ------
    InputError
        Another word, none of one kind, or a patient on both sides.
    """
    words = [text.strip().lower() for text in told]
    strange = sorted({text for text in words if text not in (*TRAIN, *TEST)})
    tested = np.array([word in TEST for word in words], bool)
    if strange or tested.all() or not tested.any():
        found = ", ".join(map(repr, strange)) or ("test alone" if tested.all() else "train alone")
        message = (
            f"expected train or test for each patient, found {found}. Mend the column, or leave it "
            "away and patients are dealt into folds."
        )
        raise InputError(message)
    check_apart(patients, np.flatnonzero(~tested), np.flatnonzero(tested))
    return tested


def check_apart(patients: Sequence[str], one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
    """See that no patient is on both sides of a split.

    Raises
    ------
    InputError
        One is; the message names some.
    """
    both = sorted({patients[i] for i in one} & {patients[i] for i in other})
    if both:
        message = (
            "expected each patient on one side of the split, found on both: "
            f"{some(both)}. Tissues of a patient are alike: give all of them to one side."
        )
        raise InputError(message)
