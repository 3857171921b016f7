"""Fine-tune a model to tell a label of tissues from crops of them."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from virtues_core.errors import ConfigError, InputError
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model import VirTues
from virtues_core.model.label_head import LabelHead
from virtues_core.train.augment import random_turn
from virtues_core.train.dataset import TrainingImage, draw_window

HEAD_RATE = 10
"""New weights learn this many times as fast as the model's own."""
WEIGHT_DECAY = 0.04
MIN_TISSUE = 0.3
"""Share of a crop that is tissue, where there is such a place."""


@dataclass(frozen=True)
class LabelConfig:
    """How a model is fine-tuned for a label."""

    epochs: int = 20
    """At the most; an epoch shows each tissue ``crops_per_tissue`` times."""
    patience: int = 4
    """Epochs without a lower loss on the validation's patients after which it ends."""
    crops_per_tissue: int = 4
    """Crops of each tissue in an epoch, and in the validation."""
    batch_size: int = 8
    """Crops a step."""
    crop_px: int = 128
    """Side of a crop, px: a multiple of the model's patch."""
    learning_rate: float = 1e-4
    """AdamW's, of the encoder; it rises over the first epoch and falls by a cosine."""
    seed: int = 0
    """Draws first weights, crops and turns."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "learning_rate":
                if not 0 < value < math.inf:
                    message = f"learning_rate: expected more than 0, found {value}"
                    raise ConfigError(message)
            elif value < (0 if field.name == "seed" else 1):
                message = f"{field.name}: expected 1 or more, found {value}"
                raise ConfigError(message)


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """A normalised image on disk, with its class."""

    image: TrainingImage
    label: int
    """From 0 to K − 1."""


@dataclass(frozen=True)
class Epoch:
    """How an epoch went."""

    number: int
    """From 1."""
    loss: float
    """Mean of its steps."""
    validation_loss: float
    """Of the patients kept out to stop by; each class counts alike."""


@dataclass(frozen=True, eq=False)
class FittedLabel:
    """The weights of the best epoch."""

    model: VirTues
    """A copy of the model, its encoder fine-tuned; in evaluation mode."""
    head: LabelHead
    """In evaluation mode, on the model's device."""
    epochs: tuple[Epoch, ...]
    stopped: bool = False
    """Whether it was called off."""

    @property
    def best(self) -> Epoch:
        """The epoch whose weights these are."""
        return min(self.epochs, key=lambda epoch: epoch.validation_loss)


def fit_label(
    config: LabelConfig,
    model: VirTues,
    embeddings: MarkerEmbeddings,
    training: Sequence[LabelledImage],
    validation: Sequence[LabelledImage],
    classes: int,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> FittedLabel:
    """Fine-tune channel summary tokens, classifier and encoder on crops that bear a tissue's label.

    The loss is the cross-entropy, a class weighted by one over its share of the tissues. The
    weights of the epoch with the lowest loss on the validation are kept.

    Source: the paper, Methods, "Model inspection and visualization".

    Parameters
    ----------
    config
        The recipe.
    model
        To start from; stays as it is. The copy is on its device.
    embeddings
        Of all markers in the images.
    training, validation
        Of different patients; with each class in both.
    classes
        K.
    on_epoch
        Called after each epoch.
    stopped
        Asked after each step: yes ends the run, with the best weights so far.

    Raises
    ------
    InputError
        No image, one smaller than a crop, a class without a tissue to train on, or the model has
        too few layers.
    ConfigError
        Crops are no multiple of the model's patch.
    """
    _check(config, model, [*training, *validation])
    device = next(model.parameters()).device
    _class_weights(validation, classes)  # each class is in both
    weights = _class_weights(training, classes).to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        head = LabelHead(model.config, classes)
        head.start_from(model)
    tuned = copy.deepcopy(model).float()
    run = _Run(config, tuned, head.to(device), embeddings, weights)
    return run.fit(training, validation, on_epoch, stopped)


class _Run:
    """One fine-tuning."""

    def __init__(
        self,
        config: LabelConfig,
        model: VirTues,
        head: LabelHead,
        embeddings: MarkerEmbeddings,
        weights: Tensor,
    ) -> None:
        self.config, self.model, self.head = config, model, head
        self.embeddings, self.weights = embeddings, weights
        model.encoder.requires_grad_(requires_grad=True)
        self.generator = np.random.default_rng((config.seed, 4))
        self.optimiser = torch.optim.AdamW(
            [
                {"params": list(model.encoder.parameters()), "rate": config.learning_rate},
                {"params": list(head.parameters()), "rate": HEAD_RATE * config.learning_rate},
            ],
            weight_decay=WEIGHT_DECAY,
        )

    def fit(
        self,
        training: Sequence[LabelledImage],
        validation: Sequence[LabelledImage],
        on_epoch: Callable[[Epoch], None] | None,
        stopped: Callable[[], bool],
    ) -> FittedLabel:
        """Take the epochs, and go back to the best."""
        epochs: list[Epoch] = []
        best = self._state()
        ended = False
        while len(epochs) < self.config.epochs and not ended:
            losses = self._epoch(len(epochs), training, stopped)
            ended = stopped()
            if ended and epochs:
                break  # half an epoch is not set against whole ones
            found = Epoch(len(epochs) + 1, float(np.mean(losses)), self._validate(validation))
            epochs.append(found)
            if on_epoch is not None:
                on_epoch(found)
            first = min(epochs, key=lambda epoch: epoch.validation_loss)
            if found is first:
                best = self._state()
            elif found.number - first.number >= self.config.patience:
                break
        for module, state in zip((self.model, self.head), best, strict=True):
            module.load_state_dict(state)
            module.eval().requires_grad_(requires_grad=False)
        return FittedLabel(self.model, self.head, tuple(epochs), ended)

    def _state(self) -> list[dict[str, Tensor]]:
        return [
            {name: value.detach().clone() for name, value in module.state_dict().items()}
            for module in (self.model, self.head)
        ]

    def _epoch(
        self, number: int, training: Sequence[LabelledImage], stopped: Callable[[], bool]
    ) -> list[float]:
        """Show each tissue some times, in an order of its own; give the losses of the steps."""
        config = self.config
        order = self.generator.permutation(
            np.repeat(np.arange(len(training)), config.crops_per_tissue)
        )
        steps = np.array_split(order, math.ceil(len(order) / config.batch_size))
        losses: list[float] = []
        for step, chosen in enumerate(steps):
            done = number + (step + 1) / len(steps)  # in epochs
            falling = 0.5 * (1 + math.cos(math.pi * min(1.0, done / (config.epochs + 1))))
            for group in self.optimiser.param_groups:
                group["lr"] = group["rate"] * min(1.0, done) * falling
            crops = [training[i] for i in chosen.tolist()]
            loss = self._loss(crops, self.generator, turned=True).mean()
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.encoder.parameters(), 1.0)
            self.optimiser.step()
            losses.append(float(loss.detach()))
            if stopped():
                break
        return losses

    @torch.no_grad()
    def _validate(self, validation: Sequence[LabelledImage]) -> float:
        """Mean loss over the same crops each time, classes alike."""
        generator = np.random.default_rng((self.config.seed, 5))
        crops = [image for image in validation for _ in range(self.config.crops_per_tissue)]
        size = self.config.batch_size
        losses = torch.cat(
            [
                self._loss(crops[i : i + size], generator, turned=False)
                for i in range(0, len(crops), size)
            ]
        )
        labels = np.array([crop.label for crop in crops])
        found = losses.cpu().numpy()
        return float(np.mean([found[labels == k].mean() for k in np.unique(labels)]))

    def _loss(
        self, crops: Sequence[LabelledImage], generator: np.random.Generator, *, turned: bool
    ) -> Tensor:
        """Loss of each crop, drawn from its tissue: (B,); weighted by class in training."""
        device = self.weights.device
        pixels = [
            _crop(crop.image, generator, self.config.crop_px, turned=turned) for crop in crops
        ]
        logits = self.head(
            self.model,
            [torch.from_numpy(crop).to(device) for crop in pixels],
            [torch.from_numpy(self.embeddings.stack(c.image.keys)).to(device) for c in crops],
        )
        labels = torch.tensor([crop.label for crop in crops], device=device)
        weights = self.weights if turned else None
        return cross_entropy(logits, labels, weights, reduction="none")


def _crop(
    image: TrainingImage, generator: np.random.Generator, size: int, *, turned: bool
) -> NDArray[np.float32]:
    """Draw a crop (C, S, S) with enough tissue."""
    y, x = draw_window(generator, image.tissue, (size, size), MIN_TISSUE)
    pixels = np.load(image.pixels, mmap_mode="r")
    crop = np.asarray(pixels[:, y : y + size, x : x + size], np.float32)
    return random_turn(generator, crop) if turned else crop


def _class_weights(images: Sequence[LabelledImage], classes: int) -> Tensor:
    """One over the share of each class among the tissues, 1 on average over them: (K,)."""
    counts = np.bincount([image.label for image in images], minlength=classes)
    if len(counts) > classes or not counts.all():
        message = (
            f"expected tissues of each of {classes} classes to train on and to stop by, found "
            f"{counts.tolist()} of each. Give more of the cohort."
        )
        raise InputError(message)
    return torch.from_numpy((counts.sum() / (classes * counts)).astype(np.float32))


def _check(config: LabelConfig, model: VirTues, images: Sequence[LabelledImage]) -> None:
    if config.crop_px % model.config.patch_size:
        message = (
            f"crop_px: expected a multiple of {model.config.patch_size} px (the model's patch), "
            f"found {config.crop_px}"
        )
        raise ConfigError(message)
    for labelled in images:
        shape = labelled.image.tissue.shape
        if min(shape) < config.crop_px:
            message = (
                f"{labelled.image.name}: expected at least {config.crop_px} × {config.crop_px} px, "
                f"found {shape} (y, x). Leave it out."
            )
            raise InputError(message)
