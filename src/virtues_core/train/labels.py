"""Labels of the tissues of a cohort: parted by patient, and learnt."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from virtues_core.errors import InputError
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model import Checkpoint
from virtues_core.model.label_file import LabelModel
from virtues_core.read.spora import SporaDataset, Tissue
from virtues_core.train.label import Epoch, FittedLabel, LabelConfig, LabelledImage, fit_label
from virtues_core.train.sources import (
    Source,
    TrainingData,
    embeddings_for,
    prepare,
    source_of_tissue,
)

LEAST_PATIENTS = 3
"""Of a class: one each to train on, to stop by and to test on."""
KEPT_OUT = 0.2
"""Share of a class's patients to stop by, and to test on; one at the least."""
LEAST_PX = 128
"""Side of the smallest tissue that is used."""
_MISSING = {"", "nan", "na", "n/a", "none", "unknown"}


@dataclass(frozen=True, eq=False)
class LabelledTissue:
    """One tissue of a cohort, not read yet."""

    source: Source
    label: int
    """Number of its class."""
    part: str
    """train, validation or test; all tissues of a patient are in one."""


@dataclass(frozen=True, eq=False)
class LabelledTissues:
    """The tissues of a cohort that have a label."""

    tissues: tuple[LabelledTissue, ...]
    classes: tuple[str, ...]
    """K values of the label, sorted."""
    split: str
    """Whose parting into train and test it is."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""

    def of(self, part: str) -> tuple[LabelledTissue, ...]:
        """Give the tissues of one part."""
        return tuple(tissue for tissue in self.tissues if tissue.part == part)


def labelled_tissues(folder: Path, column: str, *, seed: int = 0) -> LabelledTissues:
    """Read which tissue bears which label, and part them by patient.

    The cohort's own split into train and test is kept where no patient is in both and each class
    is; else a fifth of each class's patients is kept out to test on. A fifth of the rest is kept
    out to stop by. A patient whose tissues differ counts for the commoner label.

    Parameters
    ----------
    folder
        In the spora layout.
    column
        Of ``metadata/tissues.parquet``.
    seed
        Draws the patients.

    Raises
    ------
    ReadError
        Not in the layout, or damaged.
    InputError
        There is no such column, or fewer than two classes have three patients or more.
    """
    dataset = SporaDataset(folder)
    known: dict[str, list[Tissue]] = defaultdict(list)
    columns = {name for tissue in dataset.tissues for name in tissue.clinical}
    if column not in columns:
        message = (
            f"expected a column {column!r} in metadata/tissues.parquet of {str(folder)!r}, found "
            f"{', '.join(sorted(columns)) or 'no clinical column'}. Name one that is there."
        )
        raise InputError(message)
    small = [t for t in dataset.tissues if min(dataset.image(t).shape[1:]) < LEAST_PX]
    for tissue in dataset.tissues:
        if tissue not in small:
            known[_text(tissue.clinical[column])].append(tissue)
    notes = []
    if small:
        told = ", ".join(tissue.tissue_id for tissue in small[:5])
        notes.append(f"left out, smaller than {LEAST_PX} px: {len(small)} tissues ({told})")
    if without := known.pop("", []):
        notes.append(f"left out: {len(without)} tissues without a {column}")
    few = [name for name, own in known.items() if len({*map(_patient, own)}) < LEAST_PATIENTS]
    if len(known) - len(few) < 2:
        told = "; ".join(f"{n} ({len({*map(_patient, own)})})" for n, own in sorted(known.items()))
        message = (
            f"expected two values of {column!r} or more with {LEAST_PATIENTS} patients each, to "
            f"train on, to stop by and to test on; found (patients): {told[:300] or 'none'}. Name "
            "a column of classes, or give more of the cohort."
        )
        raise InputError(message)
    if few:
        notes.append(f"left out, fewer than {LEAST_PATIENTS} patients: {', '.join(sorted(few))}")
    classes = tuple(sorted(set(known) - set(few)))
    labelled = [(tissue, k) for k, name in enumerate(classes) for tissue in known[name]]
    part, split = _parted(labelled, np.random.default_rng((seed, 3)))
    tissues = tuple(
        LabelledTissue(source_of_tissue(dataset, tissue), k, part[_patient(tissue)])
        for tissue, k in labelled
    )
    return LabelledTissues(tissues, classes, split, tuple(notes))


@dataclass(frozen=True, eq=False)
class TunedLabel:
    """What came of a cohort's labels."""

    model: LabelModel
    fitted: FittedLabel
    stand_ins: tuple[str, ...]
    """Marker keys without a protein's embedding, learnt by name only."""


def tune_for_label(
    config: LabelConfig,
    tissues: LabelledTissues,
    label: str,
    checkpoint: Checkpoint,
    cache: Path,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> TunedLabel:
    """Fine-tune a checkpoint on the tissues to train on; those to test on are not opened.

    Pixels are standardised by the statistics of the tissues at hand, dataset by dataset, which the
    new checkpoint keeps.

    Parameters
    ----------
    config
        The recipe.
    tissues
        Of `labelled_tissues`.
    label
        Its column.
    checkpoint
        To start from.
    cache
        Folder for normalised images.
    on_epoch, stopped
        As `fit_label` takes them.

    Raises
    ------
    InputError, ConfigError
        As `fit_label` and `sources.prepare`.
    """
    used = (*tissues.of("train"), *tissues.of("validation"))
    data = prepare([tissue.source for tissue in used], cache)
    table, stand_ins = embeddings_for(
        data.keys, checkpoint.embeddings, checkpoint.config.marker_embedding_dim
    )
    made = {image.pixels: image for image in data.images}
    training, validation = (
        [
            LabelledImage(made[tissue.source.normalised(cache)], tissue.label)
            for tissue in tissues.of(part)
        ]
        for part in ("train", "validation")
    )
    fitted = fit_label(
        config,
        checkpoint.model,
        table,
        training,
        validation,
        len(tissues.classes),
        on_epoch=on_epoch,
        stopped=stopped,
    )
    tuned = _checkpoint(checkpoint, fitted, data, table, label, tissues.classes)
    model = LabelModel(tuned, fitted.head, label, tissues.classes)
    return TunedLabel(model, fitted, stand_ins)


def _checkpoint(
    before: Checkpoint,
    fitted: FittedLabel,
    data: TrainingData,
    table: MarkerEmbeddings,
    label: str,
    classes: tuple[str, ...],
) -> Checkpoint:
    origin = "a model in memory" if before.folder is None else before.folder.name
    datasets = ", ".join(sorted({found.dataset for found in data.statistics}))
    card = (
        f"# VirTues, fine-tuned to tell {label}\n\n"
        f"Classes: {', '.join(classes)}. Started from {origin}; fine-tuned on tissues of {datasets}"
        f", epoch {fitted.best.number} of {len(fitted.epochs)}. For `virtues attention IMAGE "
        "--label-model`; its decoder was not trained along, so it is not for inpainting.\n\n"
        "What it says of a tissue is research, not a diagnosis.\n"
    )
    return replace(
        before,
        model=fitted.model,
        embeddings=table,
        statistics=(*data.statistics, *before.statistics),
        trained_keys=tuple(sorted({*before.trained_keys, *data.keys})),
        calibration=None,
        card=card,
        folder=None,
    )


def _parted(
    labelled: list[tuple[Tissue, int]], generator: np.random.Generator
) -> tuple[dict[str, str], str]:
    """Say of each patient in which part it is, and whose parting that is."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    said: dict[str, set[str | None]] = defaultdict(set)
    for tissue, k in labelled:
        counts[_patient(tissue)][k] += 1
        said[_patient(tissue)].add(tissue.split)
    own = {patient: found.most_common(1)[0][0] for patient, found in sorted(counts.items())}
    test = {patient for patient in own if said[patient] == {"test"}}
    clean = all(len(parts) == 1 for parts in said.values())
    left = Counter(own[patient] for patient in own if patient not in test)
    every = set(own.values())
    if clean and {own[patient] for patient in test} == every and all(left[k] >= 2 for k in every):
        split = "the cohort's own"
    else:
        test, split = _dealt(own, own, generator), "patients at random"
    validation = _dealt([patient for patient in own if patient not in test], own, generator)
    part = {p: "test" if p in test else "validation" if p in validation else "train" for p in own}
    return part, split


def _dealt(
    patients: Iterable[str], label: dict[str, int], generator: np.random.Generator
) -> set[str]:
    """Draw a fifth of the patients of each class, one at the least."""
    of_class: dict[int, list[str]] = defaultdict(list)
    for patient in patients:
        of_class[label[patient]].append(patient)
    return {
        str(patient)
        for own in of_class.values()
        for patient in generator.permutation(own)[: max(1, round(KEPT_OUT * len(own)))]
    }


def _patient(tissue: Tissue) -> str:
    return f"{tissue.dataset}/{tissue.patient_id or tissue.tissue_id}"


def _text(value: Any) -> str:
    """Read a cell of a table as the name of a class; empty where there is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of whole numbers with gaps
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in _MISSING | {"<na>", "nat"} else text
