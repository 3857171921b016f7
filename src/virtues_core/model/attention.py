"""One attention function over packed rows, with interchangeable backends.

The same numbers come out of every backend:

- ``sdpa``: PyTorch's ``scaled_dot_product_attention`` on padded batches (CPU, CUDA, MPS).
- ``varlen``: ``torch.nn.attention.varlen`` on CUDA, in 16-bit, where this PyTorch has it.
- ``flash``: the ``flash-attn`` package on CUDA, in 16-bit, where it is installed.
"""

import importlib.util
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from virtues_core.errors import ConfigError
from virtues_core.model.layout import Groups

Backend = Literal["auto", "sdpa", "varlen", "flash"]


def available_backends(device: torch.device, dtype: torch.dtype) -> tuple[Backend, ...]:
    """List the backends that can run on this device and type, the fastest first."""
    half = dtype in {torch.float16, torch.bfloat16}
    found: list[Backend] = []
    if device.type == "cuda" and half:
        if importlib.util.find_spec("flash_attn") is not None:
            found.append("flash")
        if importlib.util.find_spec("torch.nn.attention.varlen") is not None:
            found.append("varlen")
    return (*found, "sdpa")


def attention(
    q: Tensor, k: Tensor, v: Tensor, groups: Groups, *, backend: Backend = "auto"
) -> Tensor:
    """Attend within each sequence: softmax(q kᵀ / √d) v.

    Parameters
    ----------
    q
        (Nq, heads, d). Either one query for each of the N packed rows, or, for sequences along
        the outer axis of a full batch (``groups.across``), only of its first rows.
    k, v
        (N, heads, d).
    groups
        Which rows form a sequence.
    backend
        ``auto`` takes the fastest that runs here.

    Returns
    -------
    Tensor
        (Nq, heads, d).

    Raises
    ------
    ConfigError
        The backend asked for does not run on this device and type.
    """
    possible = available_backends(q.device, q.dtype)
    if backend not in {"auto", *possible}:
        message = (
            f"attention backend {backend!r} does not run on {q.device.type} in {q.dtype}; "
            f"expected one of: auto, {', '.join(possible)}"
        )
        raise ConfigError(message)
    chosen = possible[0] if backend == "auto" else backend
    if groups.grid is not None and (chosen == "sdpa" or len(q) != len(k)):
        return _attend_full(q, k, v, groups.grid, across=groups.across)
    if chosen == "sdpa":
        return _attend_padded(q, k, v, groups)
    return _attend_varlen(q, k, v, groups, chosen)


def _attend_full(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], *, across: bool) -> Tensor:
    """Attention in a batch without gaps: sequences are views of the table, nothing is copied."""
    inner = grid[1]

    def sequences(x: Tensor) -> Tensor:
        table = torch.unflatten(x, 0, (-1, inner))  # (outer, inner, heads, d)
        return table.permute(1, 2, 0, 3) if across else table.transpose(1, 2)

    attended = scaled_dot_product_attention(sequences(q), sequences(k), sequences(v))
    table = attended.permute(2, 0, 1, 3) if across else attended.transpose(1, 2)
    return torch.reshape(table, q.shape)


def _attend_padded(q: Tensor, k: Tensor, v: Tensor, groups: Groups) -> Tensor:
    """Gather sequences of nearly one length into padded batches, attend, put the rows back."""
    rows, results = [], []
    for bucket in groups.buckets:
        if bucket.rows.shape[1] == 1:  # a token alone attends to itself
            rows.append(bucket.rows.flatten())
            results.append(v[bucket.rows.flatten()])
            continue
        mask = None if bucket.valid is None else bucket.valid[:, None, None, :]
        query, key, value = (x[bucket.rows].transpose(1, 2) for x in (q, k, v))
        attended = scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
        if bucket.valid is None:
            rows.append(bucket.rows.flatten())
            results.append(attended.flatten(0, 1))
        else:
            rows.append(bucket.rows[bucket.valid])
            results.append(attended[bucket.valid])
    back = torch.argsort(torch.cat(rows))
    return torch.cat(results)[back]


def _attend_varlen(q: Tensor, k: Tensor, v: Tensor, groups: Groups, backend: Backend) -> Tensor:
    """Attend over sequences of any length without padding, on CUDA."""
    order, starts, longest = groups.order, groups.cumulative, groups.longest
    q, k, v = (x[order].contiguous() for x in (q, k, v))
    if backend == "flash":
        from flash_attn import flash_attn_varlen_func

        attended = flash_attn_varlen_func(q, k, v, starts, starts, longest, longest)
    else:
        from torch.nn.attention.varlen import varlen_attn

        attended = varlen_attn(q, k, v, starts, starts, longest, longest)
    return torch.empty_like(attended).index_copy(0, order, attended)
