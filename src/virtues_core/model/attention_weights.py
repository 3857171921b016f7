"""Attention weights themselves, for explanations: the normal path never holds them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from virtues_core.errors import InputError
from virtues_core.model.layout import Groups
from virtues_core.model.virtues import VirTues


def attention_weights(q: Tensor, k: Tensor, groups: Groups) -> Tensor:
    """Give softmax(q kᵀ / √d) within each sequence of a batch without gaps.

    Parameters
    ----------
    q, k
        (N, heads, d), a row a token.
    groups
        Which rows form a sequence: of spatial or marker attention, with its ``grid``.

    Returns
    -------
    Tensor
        (S, heads, L, L) float32 of S sequences of L tokens; the row is the token that attends, and
        sums to 1.

    Raises
    ------
    InputError
        The batch has gaps, or the attention is full.
    """
    if groups.grid is None:
        message = (
            "expected spatial or marker attention over a batch in which all samples show the same "
            "number of channels, found another one; give images of one panel, nothing masked."
        )
        raise InputError(message)
    inner = groups.grid[1]

    def sequences(x: Tensor) -> Tensor:
        table = torch.unflatten(x.float(), 0, (-1, inner))  # (outer, inner, heads, d)
        return table.permute(1, 2, 0, 3) if groups.across else table.transpose(1, 2)

    scores = sequences(q) @ sequences(k).transpose(-1, -2)
    return torch.softmax(scores / q.shape[-1] ** 0.5, dim=-1)


def first_marker_attention(
    model: VirTues, images: Sequence[Tensor], marker_embeddings: Sequence[Tensor]
) -> Tensor:
    """Give the attention weights of the encoder's first marker attention layer.

    The encoder runs up to that layer only; nothing is masked.

    Parameters
    ----------
    model
        Its encoder has a marker attention layer (a ``v`` in its pattern).
    images, marker_embeddings
        As `VirTues.forward` takes them, all of one number of channels C: (C, H, W) and (C, E).

    Returns
    -------
    Tensor
        (B, H/p, W/p, heads, 1 + C, 1 + C) float32, the patch summary token first: [..., m', m] is
        how much m' attends to m.

    Raises
    ------
    InputError
        The encoder has no marker attention, the images have different numbers of channels, or
        shapes do not fit.
    """
    pattern = model.config.encoder_pattern
    if "v" not in pattern:
        message = (
            f"expected a model with marker attention (a 'v' in its encoder_pattern), found "
            f"{pattern!r}; choose another checkpoint."
        )
        raise InputError(message)
    layout = model.layout(images, marker_embeddings, None)
    groups = layout.groups("v")
    states = model.states(images, marker_embeddings, layout)
    block, x, _ = next(
        state for state, letter in zip(states, pattern, strict=False) if letter == "v"
    )
    q, k, _ = block.queries_keys_values(x)
    return torch.unflatten(attention_weights(q, k, groups), 0, (layout.batch, *layout.grid))
