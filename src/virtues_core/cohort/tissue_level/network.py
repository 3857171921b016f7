"""Gated attention over the instances of a tissue, and a classifier of what it gathers."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from virtues_core.cohort.tissue_level.gates import ROWS, Gates


class Told(NamedTuple):
    """A tissue's class, and where it was looked for."""

    probabilities: Tensor
    """(K,), of sum 1."""
    attention: Tensor
    """(N,) weight of each instance, mean over the heads, as a multiple of an even share: 1 on
    average over the tissue."""


class GatedAttention(nn.Module):
    """Attention-based pooling of a set of instances, gated, with several heads.

    Head h weighs instance k by softmax over k of w_h · (tanh(V_h x_k) ⊙ sigmoid(U_h x_k)); what the
    heads gather, Σ_k weight_hk x_k, is joined and projected to the classes.

    Source: Ilse, Tomczak and Welling 2018, "Attention-based deep multiple instance learning",
    eq. 9; the paper, Methods, "Tissue-level classification".

    Parameters
    ----------
    dim
        D, of an instance.
    classes
        K.
    heads
        H.
    hidden
        Width of V_h and U_h.
    generator
        Draws the first weights.
    """

    mean: Tensor
    """(D,) of the instances trained on, which are standardised by it."""
    scale: Tensor
    """(D,) one over their standard deviation; 0 where that is 0."""

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        heads: int = 8,
        hidden: int = 256,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.content = _Linear(dim, heads * hidden, generator)
        self.gate = _Linear(dim, heads * hidden, generator)
        self.weight = nn.Parameter(torch.empty(heads, hidden))
        nn.init.normal_(self.weight, std=hidden**-0.5, generator=generator)
        self.classifier = _Linear(heads * dim, classes, generator)

    def standardised(self, x: Tensor) -> Tensor:
        """Give each value the mean 0 and the deviation 1 that it has among those trained on."""
        return (x - self.mean) * self.scale

    def gates(self, rows: int) -> Gates:
        """Score instances by each head, up to so many at once."""
        return Gates(self.content, self.gate, self.weight, rows)

    def logits(self, x: Tensor, scores: Tensor, sizes: Sequence[int]) -> Tensor:
        """Classify tissues by what the heads gather.

        Parameters
        ----------
        x
            (N, D) standardised instances, those of B tissues one after another.
        scores
            (H, N).
        sizes
            How many instances each tissue has.

        Returns
        -------
        Tensor
            (B, K), differentiable by the scores.
        """
        owner = torch.repeat_interleave(torch.tensor(sizes)).to(x.device)
        others = owner != torch.arange(len(sizes), device=x.device)[:, None, None]
        weights = torch.softmax(scores.masked_fill(others, -torch.inf), dim=2)
        logits: Tensor = self.classifier((weights @ x).flatten(1))
        return logits

    @torch.no_grad()
    def tell(self, instances: Tensor) -> Told:
        """Classify one tissue of any size (N, D), some instances at a time."""
        gates = self.gates(len(instances))
        parts = torch.split(instances, ROWS)
        scores = torch.cat([gates.scores(self.standardised(part)) for part in parts], dim=1)
        weights = torch.softmax(scores, dim=1)
        pooled = torch.zeros(self.weight.shape[0], instances.shape[1])
        for part, own in zip(parts, torch.split(weights, ROWS, dim=1), strict=True):
            pooled += own @ self.standardised(part)
        logits = self.classifier(pooled.flatten())
        return Told(torch.softmax(logits, dim=0), weights.mean(dim=0) * len(instances))


class _Linear(nn.Linear):
    """A linear layer with PyTorch's own first weights, drawn by a generator of one's own."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator | None) -> None:
        self._generator = generator
        super().__init__(inputs, outputs)

    def reset_parameters(self) -> None:
        """Draw the first weights."""
        most = self.in_features**-0.5
        for values in (self.weight, self.bias):
            nn.init.uniform_(values, -most, most, generator=self._generator)
