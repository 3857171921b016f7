"""A model of a label on disk: a checkpoint's folder, with one file more.

::

    config.json, model.safetensors, …   the fine-tuned checkpoint (see ``checkpoint.py``)
    label-head.safetensors              channel summary tokens and classifier; label and classes
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virtues_core.errors import CheckpointError, InputError
from virtues_core.files import replacing
from virtues_core.model.checkpoint import Checkpoint, save_checkpoint
from virtues_core.model.label_head import LabelHead
from virtues_core.model.strict import load_strictly

LABEL_FILE = "label-head.safetensors"
FEW = 10
"""Of fewer patients an interval says little: where none was missed it has no width."""
_LABEL, _CLASSES, _HELD_OUT = "label", "classes", "held_out"


@dataclass(frozen=True, eq=False)
class LabelModel:
    """A checkpoint that was fine-tuned to tell a label of tissues."""

    checkpoint: Checkpoint
    """Its encoder is fine-tuned together with the head; its decoder is as it was before, so that
    it is not for inpainting."""
    head: LabelHead
    """In evaluation mode, on the checkpoint's device."""
    label: str
    """Column of ``metadata/tissues.parquet``."""
    classes: tuple[str, ...]
    """K values of the label."""
    held_out: Mapping[str, Any] = field(default_factory=dict)
    """How well it did on patients kept out (`cohort.tissue_scores`); empty if unknown."""

    def told(self) -> str:
        """Say how far it can be relied on, in a line."""
        try:
            low, high = self.held_out["macro_f1_90"]
            few = self.held_out["patients"] < FEW
            return (
                f"on {self.held_out['patients']} patients kept out: macro F1 "
                f"{self.held_out['macro_f1']:.2f} (90 %: {low:.2f} to {high:.2f}), by chance "
                f"{self.held_out['macro_f1_by_chance']:.2f}"
                f"{'; too few patients to rely on' if few else ''}"
            )
        except (LookupError, TypeError, ValueError):
            return "not tested on other patients"


def save_label_model(model: LabelModel, folder: Path) -> None:
    """Write a folder; an older one at that place is replaced when the new one is whole.

    Raises
    ------
    InputError
        Something else is at that place.
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    from safetensors.torch import save

    check_place(folder)
    weights = {k: v.detach().cpu().contiguous() for k, v in model.head.state_dict().items()}
    described = {
        "format": "pt",
        _LABEL: model.label,
        _CLASSES: json.dumps(list(model.classes)),
        _HELD_OUT: json.dumps(dict(model.held_out)),
    }
    # no segmentation head and no intervals go along: the encoder they were made for is another
    checkpoint = dataclasses.replace(model.checkpoint, folder=None, calibration=None)
    with replacing(folder) as new:
        save_checkpoint(checkpoint, new)
        (new / LABEL_FILE).write_bytes(save(weights, metadata=described))


def check_place(folder: Path) -> None:
    """See that a model can be written to a folder without losing anything.

    Raises
    ------
    InputError
        There is something at that path, and no model of a label.
    """
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / LABEL_FILE).is_file()
    ):
        message = (
            f"expected a new folder, or one of virtues train-label, found something else at "
            f"{str(folder)!r}. Choose another."
        )
        raise InputError(message)


def load_label_model(checkpoint: Checkpoint) -> LabelModel:
    """Open what a fine-tuned checkpoint of `save_label_model` has beside its weights.

    Raises
    ------
    CheckpointError
        It is another checkpoint, the file is damaged, or the head does not fit the model.
    """
    from safetensors import SafetensorError, safe_open

    path = Path() if checkpoint.folder is None else checkpoint.folder / LABEL_FILE
    if not path.is_file():
        message = (
            f"expected a folder of virtues train-label with {LABEL_FILE}, found none in "
            f"{str(checkpoint.folder)!r}. Name that folder, or train one."
        )
        raise CheckpointError(message)
    try:
        with safe_open(path, framework="pt") as file:
            described = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}
        classes = tuple(str(name) for name in json.loads(described[_CLASSES]))
        held_out = dict(json.loads(described[_HELD_OUT]))
        label = described[_LABEL]
    except (SafetensorError, OSError, LookupError, ValueError, TypeError) as error:
        message = (
            f"{LABEL_FILE} in {str(checkpoint.folder)!r} is not a whole file of virtues "
            f"train-label ({error}). Copy the folder again, or train anew."
        )
        raise CheckpointError(message) from error
    head = LabelHead(checkpoint.config, len(classes))
    load_strictly(
        head, weights, "Expected the label head of this very model; copy the folder again."
    )
    device = next(checkpoint.model.parameters()).device
    head.to(device).eval().requires_grad_(requires_grad=False)
    return LabelModel(checkpoint, head, label, classes, held_out)
