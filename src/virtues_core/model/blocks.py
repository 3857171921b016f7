"""The transformer block that encoder and decoder are made of."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from virtues_core.model.config import ModelConfig
from virtues_core.model.rope import Rotation, rotate, rotate_in_place

CHUNK_ROWS = 2048
"""Rows that inference on a CPU takes at a time: their hidden layer stays in the cache."""
PROJECTED_ROWS = 16384
"""Rows that it projects at a time: the largest matrix products are the fastest."""


class Block(nn.Module):
    """Pre-norm transformer block in two halves, so that the caller owns the attention between.

    Query, key and value are one projection; the published checkpoint's three are stacked into it
    (see ``published.py``).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, hidden = config.model_dim, config.feedforward_dim
        self.num_heads = config.num_heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)

    def queries_keys_values(
        self, x: Tensor, rotation: Rotation | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Project rows (N, D) to q, k, v, each (N, heads, d); q and k are turned by position."""
        width = self.qkv.out_features
        if _in_chunks(x):
            flat = x.new_empty(len(x), width)
            for rows in _chunks(len(x), PROJECTED_ROWS):
                torch.addmm(self.qkv.bias, self.norm1(x[rows]), self.qkv.weight.T, out=flat[rows])
            if rotation is not None:
                both = torch.unflatten(flat, -1, (3 * self.num_heads, -1))
                for rows in _chunks(len(x), CHUNK_ROWS):
                    rotate_in_place(both[rows, : 2 * self.num_heads], rotation, rows)
            q, k, v = torch.unflatten(flat, -1, (3, self.num_heads, -1)).unbind(1)
            return q, k, v
        projected = self.qkv(self.norm1(x))
        q, k, v = torch.unflatten(projected, -1, (3, self.num_heads, -1)).unbind(1)
        return (q, k, v) if rotation is None else (rotate(q, rotation), rotate(k, rotation), v)

    def queries(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """Project rows (N, D) to q (N, heads, d) alone."""
        dim = x.shape[-1]
        flat = nn.functional.linear(self.norm1(x), self.qkv.weight[:dim], self.qkv.bias[:dim])
        projected = torch.unflatten(flat, -1, (self.num_heads, -1))
        return projected if rotation is None else rotate(projected, rotation)

    def keys_values(self, x: Tensor, rotation: Rotation | None = None) -> tuple[Tensor, Tensor]:
        """Project rows (N, D) to k and v, each (N, heads, d)."""
        dim = x.shape[-1]
        both = nn.functional.linear(self.norm1(x), self.qkv.weight[dim:], self.qkv.bias[dim:])
        k, v = torch.unflatten(both, -1, (2, self.num_heads, -1)).unbind(1)
        return (k if rotation is None else rotate(k, rotation)), v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended (N, heads, d) to rows x (N, D), then the feed-forward."""
        if not _in_chunks(x):
            x = x + self.out(attended.flatten(1))
            hidden = nn.functional.gelu(self.expand(self.norm2(x)))
            added: Tensor = self.contract(hidden)
            return x + added
        done = x + self.out.bias
        flat = attended.flatten(1)
        for rows in _chunks(len(x), PROJECTED_ROWS):
            done[rows].addmm_(flat[rows], self.out.weight.T)
        hidden = x.new_empty(CHUNK_ROWS, self.expand.out_features)
        for rows in _chunks(len(x), CHUNK_ROWS):
            piece = done[rows]
            wide = hidden[: len(piece)]
            torch.addmm(self.expand.bias, self.norm2(piece), self.expand.weight.T, out=wide)
            torch.ops.aten.gelu_(wide)
            piece.add_(self.contract.bias).addmm_(wide, self.contract.weight.T)
        return done


class Blocks(nn.ModuleList):
    """Blocks in a row, one a letter of a pattern."""

    def __init__(self, config: ModelConfig, pattern: str) -> None:
        super().__init__(Block(config) for _ in pattern)

    def __iter__(self) -> Iterator[Block]:
        return cast("Iterator[Block]", super().__iter__())


def _in_chunks(x: Tensor) -> bool:
    """Without gradients on a CPU a table is taken a cache-sized piece at a time, in place."""
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and len(x) > CHUNK_ROWS
        and not torch.is_autocast_enabled("cpu")
    )


def _chunks(rows: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
