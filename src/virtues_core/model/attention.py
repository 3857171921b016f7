"""One attention function over packed rows, with interchangeable backends.

The same numbers come out of every backend:

- ``sdpa``: PyTorch's ``scaled_dot_product_attention`` on padded batches (CPU, CUDA, MPS).
- ``varlen``: ``torch.nn.attention.varlen`` on CUDA, in 16-bit, where this PyTorch has it.
- ``flash``: the ``flash-attn`` package on CUDA, in 16-bit, where it is installed.
"""

import importlib.util
from collections.abc import Callable
from typing import Any, Literal

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

    attended = attend_sequences(sequences(q), sequences(k), sequences(v))
    table = attended.permute(2, 0, 1, 3) if across else attended.transpose(1, 2)
    return torch.reshape(table, q.shape)


def _attend_padded(q: Tensor, k: Tensor, v: Tensor, groups: Groups) -> Tensor:
    """Gather sequences of nearly one length into padded batches, attend, put the rows back."""
    padding = groups.padding
    gather: Callable[..., Tensor] = _Gather.apply
    ungather: Callable[..., Tensor] = _Ungather.apply
    tables = [gather(x, padding.rows, padding.place) for x in (q, k, v)]
    attended = []
    sizes = [bucket.count * bucket.length for bucket in padding.buckets]
    for bucket, *flat in zip(
        padding.buckets, *(torch.split(table, sizes) for table in tables), strict=True
    ):
        if bucket.length == 1:  # a token alone attends to itself
            attended.append(flat[2])
            continue
        shape = (bucket.count, bucket.length)
        mask = None if bucket.valid is None else bucket.valid[:, None, None, :]
        query, key, value = (torch.unflatten(x, 0, shape).transpose(1, 2) for x in flat)
        attended.append(attend_sequences(query, key, value, mask).transpose(1, 2).flatten(0, 1))
    return ungather(torch.cat(attended), padding.place)


class _Gather(torch.autograd.Function):
    """Take rows to their padded places. Padding gets no gradient, so that backward is a gather."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (place,) = ctx.saved_tensors
        return grad.index_select(0, place), None, None


class _Ungather(torch.autograd.Function):
    """Take padded rows back to their own places; backward puts zeros on padding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.rows = len(x)
        return x.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        table = grad.new_zeros(ctx.rows, *grad.shape[1:])
        return table.index_copy_(0, place, grad), None


def attend_sequences(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attend in sequences of one length: q (S, heads, L, d), k and v (S, heads, M, d).

    ``mask`` is bool, broadcast to (S, heads, L, M), True = attend. In training on a CPU, 16-bit
    input is attended in float32: the backward pass in bfloat16 is the slower one there.
    """
    if q.device.type == "cpu" and torch.is_grad_enabled():
        with torch.autocast("cpu", enabled=False):
            attended = scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask)
        return attended.to(q.dtype)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask)


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
