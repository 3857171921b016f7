"""Telling tissues of other patients by a model that was trained on a cohort."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients.cells import CellTables
from virtues_core.cohort.patients.token_file import several
from virtues_core.cohort.patients.wording import counted, some
from virtues_core.cohort.tissue_level.bags import tissue_rows
from virtues_core.cohort.tissue_level.model_file import MilModel
from virtues_core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of tissues."""

    tissues: "pd.DataFrame"
    """A row a tissue: tissue_id, patient_id, instances, predicted; of each class ``p_<class>``,
    mean over the runs, ``least_<class>`` and ``most_<class>``, what a run says at the least and at
    the most; ``trained_on``, whether it was, or another tissue of its patient."""
    attention: NDArray[np.float32]
    """(N,) weight of each row of the tables, mean over heads and runs, 1 on average over its
    tissue."""
    notes: tuple[str, ...]


def predict(
    model: MilModel,
    cells: CellTables,
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> Prediction:
    """Tell tissues, by all their instances and all runs.

    Parameters
    ----------
    model
        Of `virtues classify fit`.
    cells
        Tables of the same level, by the same checkpoint.
    progress
        Told how many tissues are done, of how many.

    Raises
    ------
    InputError
        Tables of another checkpoint or level.
    """
    import pandas as pd
    import torch

    dim = len(model.networks[0].mean)
    if (cells.signature, cells.level, cells.dim) != (model.signature, model.level, dim):
        message = (
            f"expected tokens of {several(model.level)} by the checkpoint that the model was "
            f"fitted on ({dim} values, {model.signature!r}), found tokens of "
            f"{several(cells.level)} by {cells.files[0].made_with.checkpoint!r} "
            f"({cells.dim} values, {cells.signature!r}). "
            "Embed the images again with that one, or fit a model to these."
        )
        raise InputError(message)
    names, rows = tissue_rows(cells.cells)
    patients = cells.cells["patient_id"]
    owners = {name: str(patients.iloc[own[0]]) for name, own in zip(names, rows, strict=True)}
    seen, alike = model.trained_on.known(cells, owners)
    attention = np.zeros(len(cells), np.float32)
    told: list[dict[str, Any]] = []
    for done, (name, own) in enumerate(zip(names, rows, strict=True)):
        if progress is not None:
            progress(done, len(names), "tissue")
        values = torch.from_numpy(cells.take(own))
        said = [network.tell(values) for network in model.networks]
        attention[own] = np.mean([one.attention.numpy() for one in said], axis=0)
        told.append(
            {"tissue_id": name, "patient_id": owners[name], "instances": len(own)}
            | by_class(np.stack([one.probabilities.numpy() for one in said]), model.classes)
            | {"trained_on": name in seen}
        )
    table = pd.DataFrame(told)
    notes = [f"this model, {model.told}", *_told(seen, alike)]
    return Prediction(table, attention, tuple(notes))


def _told(seen: set[str], alike: set[str]) -> list[str]:
    """Say which of the tissues the model knows, and which patients it may know."""
    told = []
    if seen:
        told.append(
            f"trained on {counted(len(seen), 'tissue')} of these, or on others of their patients "
            f"({some(seen)}): what is said of them is no test"
        )
    if alike:
        told.append(
            f"{counted(len(alike), 'patient')} called as one that was trained on, with other "
            f"tissues ({some(alike)}): if they are the same people, this is no test"
        )
    return told


def by_class(probabilities: NDArray[np.float32], classes: tuple[str, ...]) -> dict[str, Any]:
    """Sum up what R runs say (R, K) of a tissue: predicted, and of each class mean, least, most."""
    mean = probabilities.mean(axis=0)
    row: dict[str, Any] = {"predicted": classes[int(mean.argmax())]}
    for k, name in enumerate(classes):
        row[f"p_{name}"] = float(mean[k])
        row[f"least_{name}"] = float(probabilities[:, k].min())
        row[f"most_{name}"] = float(probabilities[:, k].max())
    return row
