"""One training of gated attention: Adam, stopped by the loss on patients kept out of it."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from virtues_core.cohort.tissue_level.config import MilConfig
from virtues_core.cohort.tissue_level.gates import ROWS
from virtues_core.cohort.tissue_level.network import GatedAttention

TOGETHER = 512
"""Instances of small tissues that are gone through at once: what is known of them, a few MiB, stays
near the core."""
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
    on_step: Callable[[int], None] = lambda _: None,
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
    on_step
        Called with the number of the epoch, from 1, before each handful of tissues is gone
        through; what it raises ends the training.
    """
    network = GatedAttention(
        bags[int(training[0])].shape[1], classes, heads=config.heads, hidden=config.hidden,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    _standardise(network, bags, training)
    learner = _Learner(network.to(device), bags, labels)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    generator = np.random.default_rng((seed, 5))
    losses: list[tuple[float, float]] = []
    best = copy.deepcopy(network.state_dict())
    for epoch in range(1, config.epochs + 1):
        step = partial(on_step, epoch)
        shown = 0.0
        order = generator.permutation(training)
        for start in range(0, len(order), config.batch_size):
            optimiser.zero_grad(set_to_none=False)
            shown += learner.learn(order[start : start + config.batch_size], step)
            optimiser.step()
        losses.append((shown / len(training), learner.loss(validation, step) / len(validation)))
        lowest = int(np.argmin([after for _, after in losses])) + 1
        if lowest == epoch:
            for name, value in network.state_dict().items():
                best[name].copy_(value)
        elif epoch - lowest >= config.patience:
            break
    network.load_state_dict(best)
    network.to("cpu").eval().requires_grad_(requires_grad=False)
    return Trained(network, tuple(losses))


class _Learner:
    """Losses of tissues and their gradients, some tissues at a time."""

    def __init__(self, network: GatedAttention, bags: Bags, labels: NDArray[np.int64]) -> None:
        self._network, self._bags, self._labels = network, bags, labels
        self._gates = network.gates(ROWS)

    def learn(self, chosen: NDArray[np.int64], step: Callable[[], None]) -> float:
        """Sum the tissues' losses, and add the gradient of their mean to that of the weights."""
        total = 0.0
        for piece in self._pieces(chosen):
            step()
            loss, x, scores = self._forward(piece)
            torch.autograd.backward(loss / len(chosen))
            self._gates.add_gradient(x, cast("Tensor", scores.grad))
            total += float(loss.detach())
        return total

    @torch.no_grad()
    def loss(self, chosen: NDArray[np.int64], step: Callable[[], None]) -> float:
        """Sum the tissues' losses."""
        total = 0.0
        for piece in self._pieces(chosen):
            step()
            total += float(self._forward(piece)[0])
        return total

    def _forward(self, piece: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        device = self._network.mean.device
        values = np.concatenate([self._bags[i] for i in piece], dtype=np.float32)
        x = self._network.standardised(torch.from_numpy(values).to(device))
        scores = self._gates.scores(x).requires_grad_()
        logits = self._network.logits(x, scores, [len(self._bags[i]) for i in piece])
        target = torch.from_numpy(self._labels[piece]).to(device)
        return cross_entropy(logits, target, reduction="sum"), x, scores

    def _pieces(self, chosen: NDArray[np.int64]) -> Iterator[list[int]]:
        """Part tissues into runs of `TOGETHER` instances at the most, or of one larger tissue."""
        piece: list[int] = []
        rows = 0
        for i in chosen.tolist():
            if piece and rows + len(self._bags[i]) > TOGETHER:
                yield piece
                piece, rows = [], 0
            piece.append(i)
            rows += len(self._bags[i])
        yield piece


def _standardise(network: GatedAttention, bags: Bags, training: NDArray[np.int64]) -> None:
    """Set the network's mean and scale to those of the instances trained on."""
    count, first, second = 0, 0.0, 0.0
    for i in training:
        count += len(bags[i])
        first = first + bags[i].sum(axis=0, dtype=np.float64)
        second = second + np.einsum("nd,nd->d", bags[i], bags[i], dtype=np.float64)
    mean = np.asarray(first / count)
    deviation = np.sqrt(np.maximum(0, second / count - mean**2))
    varies = deviation > 1e-6 * np.maximum(1e-6, np.abs(mean))
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    network.mean.copy_(torch.from_numpy(mean))
    network.scale.copy_(torch.from_numpy(scale))
