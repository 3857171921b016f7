"""Gated attention over the instances of a tissue, and a classifier of what it gathers."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

CHUNK = 4096
"""Instances that go through the attention at once when a tissue is told."""


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
    """

    mean: Tensor
    """(D,) of the instances trained on, which are standardised by it."""
    scale: Tensor
    """(D,) one over their standard deviation; 0 where that is 0."""

    def __init__(self, dim: int, classes: int, *, heads: int = 8, hidden: int = 256) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.content = nn.Linear(dim, heads * hidden)
        self.gate = nn.Linear(dim, heads * hidden)
        self.weight = nn.Parameter(torch.empty(heads, hidden))
        nn.init.normal_(self.weight, std=hidden**-0.5)
        self.classifier = nn.Linear(heads * dim, classes)

    def forward(self, bags: Sequence[Tensor]) -> Tensor:
        """Classify tissues.

        Parameters
        ----------
        bags
            B tissues (n_i, D), as the tables give them.

        Returns
        -------
        Tensor
            (B, K) logits.
        """
        sizes = [len(bag) for bag in bags]
        x = self.standardised(torch.cat(list(bags)))
        pooled = [
            torch.softmax(scores, dim=0).T @ own
            for scores, own in zip(
                torch.split(self.scores(x), sizes), torch.split(x, sizes), strict=True
            )
        ]
        logits: Tensor = self.classifier(torch.stack(pooled).flatten(1))
        return logits

    def standardised(self, x: Tensor) -> Tensor:
        """Give each value the mean 0 and the deviation 1 that it has among those trained on."""
        return (x - self.mean) * self.scale

    def scores(self, x: Tensor) -> Tensor:
        """Score standardised instances (N, D) by each head, before the softmax: (N, H)."""
        gated = torch.tanh(self.content(x)) * torch.sigmoid(self.gate(x))
        return torch.einsum("nhd,hd->nh", torch.unflatten(gated, 1, self.weight.shape), self.weight)

    @torch.no_grad()
    def tell(self, instances: Tensor) -> Told:
        """Classify one tissue of any size (N, D), some instances at a time."""
        chunks = [self.standardised(part) for part in torch.split(instances, CHUNK)]
        weights = torch.softmax(torch.cat([self.scores(part) for part in chunks]), dim=0)
        pooled = torch.zeros(self.weight.shape[0], instances.shape[1])
        for part, own in zip(chunks, torch.split(weights, CHUNK), strict=True):
            pooled += own.T @ part
        logits = self.classifier(pooled.flatten())
        return Told(torch.softmax(logits, dim=0), weights.mean(dim=1) * len(instances))
