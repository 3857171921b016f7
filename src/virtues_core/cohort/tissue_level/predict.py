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
from virtues_core.cohort.tissue_level.model_file import MilModel, digest
from virtues_core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of tissues."""

    tissues: "pd.DataFrame"
    """A row a tissue: tissue_id, patient_id, instances, predicted; of each class ``p_<class>``,
    mean over the runs, ``least_<class>`` and ``most_<class>``, what a run says at the least and at
    the most; ``trained_on``, whether its patient was."""
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
    attention = np.zeros(len(cells), np.float32)
    told: list[dict[str, Any]] = []
    for done, (name, own) in enumerate(zip(names, rows, strict=True)):
        if progress is not None:
            progress(done, len(names), "tissue")
        values = torch.from_numpy(cells.take(own))
        said = [network.tell(values) for network in model.networks]
        attention[own] = np.mean([one.attention.numpy() for one in said], axis=0)
        patient = str(cells.cells["patient_id"].iloc[own[0]])
        told.append(
            {"tissue_id": name, "patient_id": patient, "instances": len(own)}
            | by_class(np.stack([one.probabilities.numpy() for one in said]), model.classes)
            | {"trained_on": bool(patient) and digest(patient) in model.trained_on}
        )
    table = pd.DataFrame(told)
    known = sorted(set(table.loc[table["trained_on"], "patient_id"]))
    notes = [f"this model, {model.told}"]
    if known:
        notes.append(
            f"trained on {counted(len(known), 'patient')} of these ({some(known)}): what is said "
            "of "
            "them is no test"
        )
    return Prediction(table, attention, tuple(notes))


def by_class(probabilities: NDArray[np.float32], classes: tuple[str, ...]) -> dict[str, Any]:
    """Sum up what R runs say (R, K) of a tissue: predicted, and of each class mean, least, most."""
    mean = probabilities.mean(axis=0)
    row: dict[str, Any] = {"predicted": classes[int(mean.argmax())]}
    for k, name in enumerate(classes):
        row[f"p_{name}"] = float(mean[k])
        row[f"least_{name}"] = float(probabilities[:, k].min())
        row[f"most_{name}"] = float(probabilities[:, k].max())
    return row
