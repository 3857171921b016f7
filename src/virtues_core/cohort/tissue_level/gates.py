"""The heads' scores of instances, and their gradient, in memory that is used again."""

import torch
from torch import Tensor, nn

ROWS = 1024
"""Instances at once."""


class Gates:
    """Score instances by each head; the gradient of that, written out.

    Head h scores x by w · g with g = t ⊙ s, t = tanh(V x), s = sigmoid(U x). With u the derivative
    of a loss by the scores, its derivative by w is Σ u g, by V Σ u a xᵀ and by U Σ u b xᵀ, where
    a = w ⊙ s ⊙ (1 - t²) and b = w ⊙ g ⊙ (1 - s) are found along with the scores.

    PyTorch finds the same, but goes through memory a dozen times for it, and takes that from the
    system anew each time.

    Parameters
    ----------
    content, gate
        V and U of all heads, one below the other: D → H · d.
    weight
        w of each head: (H, d).
    rows
        The most instances that come at once, if fewer than `ROWS`.
    """

    def __init__(self, content: nn.Linear, gate: nn.Linear, weight: Tensor, rows: int) -> None:
        self._content, self._gate, self._weight = content, gate, weight
        heads, width = weight.shape
        rows, dim = min(rows, ROWS), content.in_features
        self._g, self._a, self._b = weight.new_empty(3, heads, rows, width).unbind()
        self._weighed = weight.new_empty(heads, rows, dim)

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Score standardised instances (N, D) before the softmax: (H, N)."""
        return torch.cat([self._scores(part) for part in torch.split(x, ROWS)], dim=1)

    @torch.no_grad()
    def add_gradient(self, x: Tensor, upstream: Tensor) -> None:
        """Add to the gradient of all weights.

        Parameters
        ----------
        x
            (N, D), those that `scores` was called with last; up to `ROWS` are not gone through
            again.
        upstream
            (H, N) derivative of the loss by the scores.
        """
        heads, width = self._weight.shape
        for part, u in zip(torch.split(x, ROWS), torch.split(upstream, ROWS, dim=1), strict=True):
            if len(x) > ROWS:
                self._scores(part)
            rows, across = len(part), u[:, None]
            weighed = torch.mul(u[:, :, None], part, out=self._weighed[:, :rows])
            _gradient(self._weight).unsqueeze(1).baddbmm_(across, self._g[:, :rows])
            for layer, slope in ((self._content, self._a), (self._gate, self._b)):
                own = slope[:, :rows]
                _gradient(layer.weight).view(heads, width, -1).baddbmm_(own.mT, weighed)
                _gradient(layer.bias).view(heads, 1, width).baddbmm_(across, own)

    def _scores(self, x: Tensor) -> Tensor:
        """Score up to `ROWS` instances, and keep what their gradient takes."""
        found = x.new_empty(len(self._weight), len(x))
        for head, w in enumerate(self._weight):
            own = slice(head * len(w), (head + 1) * len(w))
            g, t, s = (room[head, : len(x)] for room in (self._g, self._a, self._b))
            torch.mm(x, self._content.weight[own].T, out=t).add_(self._content.bias[own]).tanh_()
            torch.mm(x, self._gate.weight[own].T, out=s).add_(self._gate.bias[own]).sigmoid_()
            torch.mul(t, s, out=g)
            torch.mv(g, w, out=found[head])
            torch.addcmul(s, g, t, value=-1, out=t).mul_(w)
            torch.addcmul(g, g, s, value=-1, out=s).mul_(w)
        return found


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
