"""Train a segmentation head on masks, with the model's tokens as they are."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import cross_entropy

from virtues_core.errors import ConfigError, InputError
from virtues_core.model import SegmentationHead, VirTues
from virtues_core.model.instanseg import instanseg

SEED_SCALE = 15.0
"""A seed value of 0 is half as deep as a cell's middle; this times a half is its middle."""


@dataclass(frozen=True)
class HeadConfig:
    """How a segmentation head is trained."""

    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 4
    """Crops a step."""
    tile_px: int = 128
    """Side of a crop, px: a multiple of the model's patch."""
    learning_rate: float = 5e-4
    """AdamW's, after a warm-up over a tenth of the steps; it decays by a cosine to 0."""
    seed: int = 0
    """Draws first weights, crops and turns."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = {"seed": 0, "batch_size": 2, "tile_px": 32}.get(field.name, 1)
            if field.name == "learning_rate":
                if not value > 0:
                    message = f"learning_rate: expected more than 0, found {value}"
                    raise ConfigError(message)
            elif value < least:
                message = f"{field.name}: expected {least} or more, found {value}"
                raise ConfigError(message)


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image with the cells in it."""

    pixels: NDArray[np.float32]
    """(C, Y, X) model units."""
    embeddings: NDArray[np.float32]
    """(C, E) one marker embedding a channel."""
    labels: NDArray[np.int32]
    """(Y, X) cells from 1, 0 = background."""
    classes: NDArray[np.int64]
    """(Y, X) number of the cell type, 0 = none."""
    name: str = "image"

    def __post_init__(self) -> None:
        for what, plane in (("labels", self.labels), ("classes", self.classes)):
            if plane.shape != self.pixels.shape[1:]:
                message = (
                    f"{self.name}: expected {what} of the image's size {self.pixels.shape[1:]} "
                    f"(y, x) px, found {plane.shape}; choose the mask made for this image."
                )
                raise InputError(message)
        if not self.labels.any():
            message = f"{self.name}: expected a mask with cells, found none; choose another."
            raise InputError(message)


def relative_depth(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Tell how deep in its cell each pixel is.

    Parameters
    ----------
    labels
        (Y, X) cells from 1, 0 = background.

    Returns
    -------
    numpy.ndarray
        (Y, X) float32: distance to the nearest pixel outside of the cell, as a share of the
        greatest in that cell; 0 in the background.

    Examples
    --------
    >>> relative_depth(np.array([[0, 2, 2, 2, 0]] * 1)).tolist()
    [[0.0, 0.5, 1.0, 0.5, 0.0]]
    """
    depth = np.zeros(labels.shape, np.float32)
    for i, box in enumerate(ndimage.find_objects(labels)):
        if box is None:
            continue
        own = np.pad(labels[box] == i + 1, 1)
        # rows and columns that the image ends at are no border of the cell
        inner = _distance(own, box, labels.shape)
        depth[box] = np.maximum(depth[box], inner / inner.max())
    return depth


def _distance(
    own: NDArray[np.bool_], box: tuple[slice, ...], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Distance to the outside within a box; own has a rim of one pixel around it."""
    for axis, (part, size) in enumerate(zip(box, shape, strict=True)):
        for at_end, side in ((part.start == 0, 0), (part.stop == size, -1)):
            if at_end:
                own.swapaxes(0, axis)[side] = True
    distance = ndimage.distance_transform_edt(own) if not own.all() else np.ones(own.shape)
    inner = np.asarray(distance, np.float32)[1:-1, 1:-1]
    return np.where(own[1:-1, 1:-1], inner, 0).astype(np.float32)


def train_head(
    config: HeadConfig,
    model: VirTues,
    data: Sequence[LabelledImage],
    cell_types: int,
    *,
    on_step: Callable[[int, float], None] | None = None,
) -> SegmentationHead:
    """Train a head from fresh weights; the model stays as it is.

    The loss is InstanSeg's (Lovász hinge between each seed's pixels and its cell, and the mean
    distance of seed values from 15 (depth − 1/2)) and the cross-entropy of the types.

    Parameters
    ----------
    config
        The recipe.
    model
        Gives the tokens; in evaluation mode, on its device.
    data
        Images with their cells, at least one crop large each.
    cell_types
        Number of types, "None" included.
    on_step
        Called with the steps done and the loss of the last; a KeyboardInterrupt from it ends the
        training with the weights so far.

    Returns
    -------
    SegmentationHead
        In evaluation mode, on the model's device.

    Raises
    ------
    InputError
        There is no image, one is smaller than a crop, or InstanSeg is not installed.
    ConfigError
        The model cannot carry a head, or crops are no multiple of its patch.
    """
    _check(config, model, data)
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        head = SegmentationHead(model.config, cell_types=cell_types)
        _start(head, data)
        head.to(device).train()
        _fit(config, head, model, data, on_step)
    return head.eval()


def _start(head: SegmentationHead, data: Sequence[LabelledImage]) -> None:
    """Begin where little is wrong: pixels near a seed are of its cell, seeds are few.

    The offsets begin near 0, so that a pixel stands for itself; the classifier says yes up to
    about 6 px (1.5 of InstanSeg's units of 4 px) from the seed, and learns from there.
    """
    classifier = head.pixel_classifier
    covered = float(np.mean([(image.labels > 0).mean() for image in data]))
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.mul_(0.1)
        for i, (axis, sign) in enumerate([(0, 1), (0, -1), (1, 1), (1, -1)]):
            classifier.fc1.weight[i, axis] += sign
            classifier.fc2.weight[i, i] += 1
            classifier.fc3.weight[0, i] -= 2
        classifier.fc3.bias.add_(2 * 1.5)
        last = cast("torch.nn.Conv2d", cast("Any", head.decoder.decoder["decoder0_header"])[2])
        cast("Tensor", last.bias)[-1] = SEED_SCALE * (covered / 2 - 0.5)


def _fit(
    config: HeadConfig,
    head: SegmentationHead,
    model: VirTues,
    data: Sequence[LabelledImage],
    on_step: Callable[[int, float], None] | None,
) -> None:
    """Take the steps."""
    device = next(model.parameters()).device
    generator = np.random.default_rng(config.seed)
    depths = [relative_depth(image.labels) for image in data]
    processor = _loss_of_instances(head, device)
    optimiser = torch.optim.AdamW(head.parameters(), lr=config.learning_rate)
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _rate(step, config.steps)
        crops = [_crop(data, depths, config.tile_px, generator) for _ in range(config.batch_size)]
        loss = _loss(head, model, crops, processor, device)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        if on_step is not None:
            try:
                on_step(step + 1, float(loss.detach()))
            except KeyboardInterrupt:
                return


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: up over a tenth of the steps, then down by a cosine."""
    warm = min(1.0, (step + 1) / max(1, steps // 10))
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True, eq=False)
class _Crop:
    pixels: Tensor
    embeddings: Tensor
    planes: Tensor
    """(3, S, S) float32: labels, classes, depth."""


def _check(config: HeadConfig, model: VirTues, data: Sequence[LabelledImage]) -> None:
    if not data:
        message = "expected images with masks, found none; give one of each at least."
        raise InputError(message)
    if config.tile_px % model.config.patch_size:
        message = (
            f"tile_px: expected a multiple of {model.config.patch_size} px (the model's patch), "
            f"found {config.tile_px}"
        )
        raise ConfigError(message)
    for image in data:
        if min(image.labels.shape) < config.tile_px:
            message = (
                f"{image.name}: expected at least {config.tile_px} × {config.tile_px} px, found "
                f"{image.labels.shape} (y, x). Leave it out, or take smaller crops."
            )
            raise InputError(message)


def _loss_of_instances(head: SegmentationHead, device: torch.device) -> Any:
    """InstanSeg's loss without its seed term, which is added here from depths known before."""
    processor = instanseg(head.pixel_classifier, device)
    processor.seed_loss = lambda seeds, _labels, **_kwargs: seeds.sum() * 0
    return processor


def _crop(
    data: Sequence[LabelledImage],
    depths: Sequence[NDArray[np.float32]],
    size: int,
    generator: np.random.Generator,
) -> _Crop:
    """Draw a crop of an image, turned and flipped."""
    i = int(generator.integers(len(data)))
    image = data[i]
    y, x = (int(generator.integers(side - size + 1)) for side in image.labels.shape)
    window = (slice(y, y + size), slice(x, x + size))
    planes = np.stack([image.labels[window], image.classes[window], depths[i][window]])
    turns, flip = int(generator.integers(4)), generator.random() < 0.5

    def turned(stack: NDArray[Any]) -> Tensor:
        stack = np.rot90(stack, turns, axes=(1, 2))
        stack = stack[:, :, ::-1] if flip else stack
        return torch.from_numpy(np.ascontiguousarray(stack, np.float32))

    return _Crop(
        turned(image.pixels[(slice(None), *window)]),
        torch.from_numpy(image.embeddings),
        turned(planes),
    )


def _loss(
    head: SegmentationHead,
    model: VirTues,
    crops: Sequence[_Crop],
    processor: Any,
    device: torch.device,
) -> Tensor:
    """Loss of a batch of crops."""
    weight = next(model.parameters())
    with torch.no_grad():
        maps = head.token_maps(
            model,
            [crop.pixels.to(device, weight.dtype) for crop in crops],
            [crop.embeddings.to(device, weight.dtype) for crop in crops],
        )
    logits = head([tokens.float() for tokens in maps])
    labels, classes, depth = torch.stack([crop.planes for crop in crops]).to(device).unbind(1)
    first = logits.shape[1] - head.decoder_phenotypes.channels
    instances, types = logits[:, :first], logits[:, first:]
    with warnings.catch_warnings(action="ignore"):  # of what InstanSeg still calls
        # where no crop has both cells and background it gives a map of zeros
        loss: Tensor = processor(instances, labels[:, None].long()).sum()
    seeds = (instances[:, -1] - SEED_SCALE * (depth - 0.5)).abs().mean()
    total: Tensor = loss + seeds + cross_entropy(types, classes.long())
    return total
