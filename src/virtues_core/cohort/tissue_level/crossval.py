"""Telling tissues of patients who were not trained on: folds by patient, several runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from virtues_core.cohort.scores import score
from virtues_core.cohort.tissue_level.config import MilConfig
from virtues_core.cohort.tissue_level.network import Told
from virtues_core.cohort.tissue_level.side_by_side import OnStep, Task, Trainings
from virtues_core.cohort.tissue_level.splits import check_apart, stopped_by
from virtues_core.cohort.tissue_level.training import Bags, Trained, train


@dataclass(frozen=True, eq=False)
class Tested:
    """What R runs said of tissues whose patients they had not seen."""

    probabilities: NDArray[np.float32]
    """(R, B, K); NaN of tissues that were not tested."""
    macro_f1: NDArray[np.float64]
    """(R,) of the tested tissues."""
    attention: tuple[NDArray[np.float32], ...]
    """Of each tissue the weight of its instances (n_i,), mean over the runs, 1 on average; empty
    of tissues that were not tested."""


def cross_validate(
    config: MilConfig,
    bags: Bags,
    whole: Callable[[int], NDArray[np.float32]],
    labels: NDArray[np.int64],
    patients: Sequence[str],
    fold: NDArray[np.int64],
    *,
    trainings: Trainings | None = None,
    name: str = "tokens",
) -> Tested:
    """Train on some patients, tell the others' tissues; each fold once a run.

    Source: the paper, Methods, "Tissue-level classification": runs differ in first weights,
    orders and validation patients, and are tested on the same tissues.

    Parameters
    ----------
    config
        The recipe.
    bags
        B tissues to train on (n_i, D).
    whole
        Gives all instances of a tissue, to tell it by.
    labels, patients
        Of the tissues.
    fold
        (B,) in which fold a tissue is tested, from 0; -1: never, always trained on.
    trainings
        Does them.
    name
        Of what describes the tissues, for people.

    Raises
    ------
    InputError
        A patient would be trained and tested on.
    """
    trainings = trainings or Trainings()
    parts, reading = int(fold.max()) + 1, Lock()

    def told(run: int, part: int, on_step: OnStep) -> dict[int, Told]:
        test = np.flatnonzero(fold == part)
        trained = one_training(
            config, bags, labels, patients, np.flatnonzero(fold != part), test,
            seed=_seed(config, run, part), device=trainings.device, on_step=on_step,
        )  # fmt: skip
        found = {}
        for i in test.tolist():
            on_step(len(trained.losses))
            with reading:
                values = whole(i)
            found[i] = trained.network.tell(torch.from_numpy(values))
        return found

    tasks = [
        Task(
            f"{name}: run {run + 1} of {config.runs}, fold {part + 1} of {parts}",
            partial(told, run, part),
        )
        for run in range(config.runs)
        for part in range(parts)
    ]
    return _joined(trainings.run(tasks), config.runs, labels, fold)


def _joined(
    found: Sequence[dict[int, Told]],
    runs: int,
    labels: NDArray[np.int64],
    fold: NDArray[np.int64],
) -> Tested:
    """Put together what the trainings said, run by run, fold by fold."""
    classes = int(labels.max()) + 1
    told = np.full((runs, len(labels), classes), np.nan, np.float32)
    attention: list[NDArray[np.float32]] = [np.zeros(0, np.float32) for _ in labels]
    for number, one in enumerate(found):
        run = number * runs // len(found)
        for i, said in one.items():
            told[run, i] = said.probabilities.numpy()
            weights = (said.attention / runs).numpy()
            attention[i] = weights if not run else attention[i] + weights
    tested = np.flatnonzero(fold >= 0)
    names = np.arange(classes).astype(str)
    f1 = [score(names[labels[tested]], names[run[tested].argmax(axis=1)]).macro_f1 for run in told]
    return Tested(told, np.array(f1), tuple(attention))


def one_training(
    config: MilConfig,
    bags: Bags,
    labels: NDArray[np.int64],
    patients: Sequence[str],
    others: NDArray[np.int64],
    test: NDArray[np.int64],
    *,
    seed: int,
    device: str = "cpu",
    on_step: OnStep = lambda _: None,
) -> Trained:
    """Train on tissues but for those of the validation's patients; none of the tested ones."""
    check_apart(patients, others, test)
    training, validation = stopped_by(patients, labels, others, config.validation, seed=seed)
    check_apart(patients, training, validation)
    return train(
        config, bags, labels, int(labels.max()) + 1, training, validation,
        seed=seed, device=device, on_step=on_step,
    )  # fmt: skip


def final_trainings(
    config: MilConfig,
    bags: Bags,
    labels: NDArray[np.int64],
    patients: Sequence[str],
    trainings: Trainings,
) -> list[Trained]:
    """Train once a run on all patients, to tell those of other cohorts."""

    def trained(run: int, on_step: OnStep) -> Trained:
        return one_training(
            config, bags, labels, patients, np.arange(len(bags)), np.arange(0),
            seed=_seed(config, run, -1), device=trainings.device, on_step=on_step,
        )  # fmt: skip

    return trainings.run(
        [
            Task(f"all patients: run {run + 1} of {config.runs}", partial(trained, run))
            for run in range(config.runs)
        ]
    )


def _seed(config: MilConfig, run: int, part: int) -> int:
    return int(np.random.SeedSequence((config.seed, run, part + 1)).generate_state(1)[0])
