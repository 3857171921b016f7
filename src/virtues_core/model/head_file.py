"""A segmentation head on disk: weights and names of classes, in one safetensors file."""

import json
from dataclasses import dataclass
from pathlib import Path

from virtues_core.errors import CheckpointError
from virtues_core.files import replacing
from virtues_core.model.checkpoint import HEAD_FILE, Checkpoint
from virtues_core.model.segmentation_head import CELL_TYPES, SegmentationHead

_TYPES_KEY, _SIGNATURE_KEY = "cell_types", "checkpoint_signature"
_BIAS = "{}.decoder.decoder0_header.2.bias"


@dataclass(frozen=True, eq=False)
class Head:
    """A segmentation head that fits a checkpoint."""

    network: SegmentationHead
    """In evaluation mode, on the checkpoint's device."""
    cell_types: tuple[str, ...]
    """What its cell type channels stand for."""
    instance_channels: int = 5
    signature: str = ""
    """Of the checkpoint whose tokens it was trained on (`infer.checkpoint_signature`); empty where
    the file does not tell."""


def load_head(checkpoint: Checkpoint, path: Path | None = None) -> Head:
    """Open the segmentation head of a checkpoint.

    Parameters
    ----------
    checkpoint
        The model whose tokens the head takes.
    path
        A file of `save_head` or a published one; by default `HEAD_FILE` in the checkpoint's
        folder.

    Raises
    ------
    CheckpointError
        There is none, it is no whole safetensors file, or does not fit the model.
    """
    if path is None:
        path = checkpoint.folder / HEAD_FILE if checkpoint.folder is not None else Path(HEAD_FILE)
    if not path.is_file():
        message = (
            f"expected a segmentation head, found none at {str(path)!r}. Use a checkpoint that has "
            "one (virtues download sp31), or train one on masks (virtues train-head)."
        )
        raise CheckpointError(message)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            described = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        message = (
            f"{path.name} is not a whole safetensors file ({error}). Copy, download or train the "
            "segmentation head again."
        )
        raise CheckpointError(message) from error
    sizes = []
    for part in ("decoder", "decoder_phenotypes"):
        bias = weights.get(_BIAS.format(part))
        if bias is None:
            message = (
                f"{path.name} lacks {_BIAS.format(part)}: expected the weights of a segmentation "
                "head, found others. Is this the right file?"
            )
            raise CheckpointError(message)
        sizes.append(len(bias))
    network = SegmentationHead(checkpoint.config, *sizes)
    network.load_published(weights)
    device = next(checkpoint.model.parameters()).device
    network.to(device).requires_grad_(requires_grad=False)
    types = _named_types(path, described, sizes[1])
    return Head(network, types, sizes[0], described.get(_SIGNATURE_KEY, ""))


def save_head(head: Head, path: Path) -> None:
    """Write a head; an older file at that place is replaced when the new one is whole.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    from safetensors.torch import save

    weights = {
        key: value.detach().cpu().clone().contiguous()
        for key, value in head.network.state_dict().items()
    }
    described = {"format": "pt", _TYPES_KEY: json.dumps(list(head.cell_types))}
    if head.signature:
        described[_SIGNATURE_KEY] = head.signature
    with replacing(path) as new:
        new.write_bytes(save(weights, metadata=described))


def _named_types(path: Path, described: dict[str, str], count: int) -> tuple[str, ...]:
    """Read the names of the cell types; the published nine where the file names none."""
    told = described.get(_TYPES_KEY)
    try:
        names = list(CELL_TYPES) if told is None else json.loads(told)
    except ValueError as error:
        message = f"{path.name}: its list of cell types is damaged. Train the head again."
        raise CheckpointError(message) from error
    if not isinstance(names, list) or len(names) != count:
        message = (
            f"{path.name}: expected the names of {count} cell types, found {names!r}. Is this the "
            "right file?"
        )
        raise CheckpointError(message)
    return tuple(str(name) for name in names)
