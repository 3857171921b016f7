"""What the model refuses to take, and why."""

from collections.abc import Sequence

import torch
from torch import Tensor

from virtues_core.errors import InputError
from virtues_core.model.config import ModelConfig


def checked_grid(
    images: Sequence[Tensor],
    marker_embeddings: Sequence[Tensor],
    masks: Sequence[Tensor] | None,
    config: ModelConfig,
) -> tuple[int, int]:
    """Check that the parts of a batch fit each other and the model.

    Parameters
    ----------
    images, marker_embeddings, masks
        As `VirTues.forward` takes them.
    config
        The model's sizes.

    Returns
    -------
    tuple of int
        (H, W) of the batch in patches.

    Raises
    ------
    InputError
        They do not fit.
    """
    if not images or len(images) != len(marker_embeddings):
        message = (
            f"expected one table of marker embeddings for each image, and one image at "
            f"least; got {len(images)} images and {len(marker_embeddings)} tables"
        )
        raise InputError(message)
    if masks is not None and len(masks) != len(images):
        message = f"expected one mask for each of {len(images)} images, got {len(masks)}"
        raise InputError(message)
    patch = config.patch_size
    height, width = images[0].shape[-2:]
    if height % patch or width % patch or not height or not width:
        message = f"expected sides that are multiples of {patch} px, got {height} x {width}"
        raise InputError(message)
    grid = (height // patch, width // patch)
    for i, (image, embedding) in enumerate(zip(images, marker_embeddings, strict=True)):
        if image.ndim != 3 or image.shape[1:] != (height, width) or not len(image):
            message = (
                f"sample {i}: expected pixels (C, {height}, {width}) with a channel at "
                f"least, got {tuple(image.shape)}"
            )
            raise InputError(message)
        _check_embedding(i, embedding, (len(image), config.marker_embedding_dim))
        if masks is not None:
            _check_mask(i, masks[i], (len(image), *grid))
    return grid


def checked_channels(
    channels: Sequence[Sequence[int]] | None, sizes: Sequence[int]
) -> Sequence[Sequence[int]]:
    """Check the channels to decode; None stands for all of them.

    Parameters
    ----------
    channels
        As `VirTues.forward` takes them.
    sizes
        C_i of each sample.

    Raises
    ------
    InputError
        A channel is not there, or is listed twice.
    """
    if channels is None:
        return [range(size) for size in sizes]
    if len(channels) != len(sizes):
        message = (
            f"expected channels to decode for each of {len(sizes)} images, got {len(channels)}"
        )
        raise InputError(message)
    for i, (chosen, size) in enumerate(zip(channels, sizes, strict=True)):
        if len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(size)):
            message = (
                f"sample {i}: expected channels to decode from 0 to {size - 1}, each once; "
                f"got {list(chosen)}"
            )
            raise InputError(message)
    return channels


def _check_embedding(i: int, embedding: Tensor, expected: tuple[int, int]) -> None:
    if embedding.shape != expected:
        message = f"sample {i}: expected marker embeddings {expected}, got {tuple(embedding.shape)}"
        raise InputError(message)


def _check_mask(i: int, mask: Tensor, expected: tuple[int, int, int]) -> None:
    if mask.shape != expected or mask.dtype != torch.bool:
        message = (
            f"sample {i}: expected a mask of bool {expected} in patches, "
            f"got {tuple(mask.shape)} of {mask.dtype}"
        )
        raise InputError(message)
