"""One training of gated attention: Adam, stopped by the loss on patients kept out of it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from virtues_core.cohort.tissue_level.config import MilConfig
from virtues_core.cohort.tissue_level.network import GatedAttention

Bags = Sequence[NDArray[np.float32]]
"""B tissues (n_i, D)."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The weights of the epoch with the lowest loss on the validation."""

    network: GatedAttention
    """In evaluation mode."""
    losses: tuple[tuple[float, float], ...]
    """Of each epoch: mean loss of its tissues in training, and of the validation's."""

    @property
    def best(self) -> int:
        """That epoch, from 1."""
        return 1 + int(np.argmin([validation for _, validation in self.losses]))


def train(
    config: MilConfig,
    bags: Bags,
    labels: NDArray[np.int64],
    classes: int,
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    *,
    seed: int,
    device: str = "cpu",
    on_epoch: Callable[[int], None] = lambda _: None,
) -> Trained:
    """Fit gated attention to tissues with labels.

    Source: the paper, Methods, "Tissue-level classification": Adam, cross-entropy,
    early stopping by the validation's loss. Instances are standardised by those trained on, which
    the paper does not tell of: tokens of cells differ by a few hundredths.

    Parameters
    ----------
    config
        The recipe.
    bags
        Tissues; only those of the two parts are opened.
    labels
        (B,) from 0 to K - 1.
    classes
        K.
    training, validation
        Positions of tissues, of different patients.
    seed
        Draws first weights and orders.
    device
        Where to train.
    on_epoch
        Called after each epoch with its number, from 1; what it raises ends the training.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = GatedAttention(
            bags[int(training[0])].shape[1], classes, heads=config.heads, hidden=config.hidden
        )
    _standardise(network, bags, training)
    network.to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    generator = np.random.default_rng((seed, 5))

    def loss_of(chosen: NDArray[np.int64]) -> Tensor:
        batch = [torch.from_numpy(np.array(bags[i], np.float32)).to(device) for i in chosen]
        target = torch.from_numpy(labels[chosen]).to(device)
        return cross_entropy(network(batch), target, reduction="none")

    def batches(order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [order[i : i + config.batch_size] for i in range(0, len(order), config.batch_size)]

    losses: list[tuple[float, float]] = []
    best = copy.deepcopy(network.state_dict())
    for epoch in range(1, config.epochs + 1):
        shown = 0.0
        for chosen in batches(generator.permutation(training)):
            loss = loss_of(chosen)
            optimiser.zero_grad()
            loss.mean().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            shown += float(loss.detach().sum())
        with torch.no_grad():
            kept = sum(float(loss_of(chosen).sum()) for chosen in batches(validation))
        losses.append((shown / len(training), kept / len(validation)))
        on_epoch(epoch)
        lowest = int(np.argmin([after for _, after in losses])) + 1
        if lowest == epoch:
            best = copy.deepcopy(network.state_dict())
        elif epoch - lowest >= config.patience:
            break
    network.load_state_dict(best)
    network.to("cpu").eval().requires_grad_(requires_grad=False)
    return Trained(network, tuple(losses))


def _standardise(network: GatedAttention, bags: Bags, training: NDArray[np.int64]) -> None:
    """Set the network's mean and scale to those of the instances trained on."""
    count, first, second = 0, 0.0, 0.0
    for i in training:
        values = np.asarray(bags[i], np.float64)
        count += len(values)
        first, second = first + values.sum(axis=0), second + (values**2).sum(axis=0)
    mean = np.asarray(first / count)
    deviation = np.sqrt(np.maximum(0, second / count - mean**2))
    varies = deviation > 1e-6 * np.maximum(1e-6, np.abs(mean))
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    network.mean.copy_(torch.from_numpy(mean))
    network.scale.copy_(torch.from_numpy(scale))
