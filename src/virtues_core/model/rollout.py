"""Attention rollout: what a patch's summary is made of, followed back through all blocks."""

import torch
from torch import Tensor

from virtues_core.errors import InputError
from virtues_core.model.attention_weights import attention_weights
from virtues_core.model.virtues import VirTues


def attention_rollout(
    model: VirTues, image: Tensor, marker_embeddings: Tensor, start: Tensor
) -> Tensor:
    """Follow attention back from patch summaries to all tokens.

    ::

        r ← r (A_l + I) / 2        for l = L … 1

    where A_l is the attention of block l, averaged over heads, between all tokens (0 between
    tokens that do not attend to each other), and the identity stands for the residual path.

    Source: Abnar and Zuidema 2020, "Quantifying attention flow in transformers", with the sparse
    attention of the paper, Methods, "VirTues Encoder".

    Parameters
    ----------
    model
        Its encoder has spatial and marker attention only.
    image
        (C, H, W) preprocessed.
    marker_embeddings
        (C, E).
    start
        (S, H/p, W/p) how much of each patch summary to start from; a row sums to 1.

    Returns
    -------
    Tensor
        (S, 1 + C, H/p, W/p) float32 shares of the summary channel (first) and of each marker at
        each position; they sum to 1.

    Raises
    ------
    InputError
        The encoder has full attention, or shapes do not fit.
    """
    pattern = model.config.encoder_pattern
    if "f" in pattern:
        message = (
            "expected a model whose encoder has spatial and marker attention only, found "
            f"{pattern!r}; choose another checkpoint."
        )
        raise InputError(message)
    layout = model.layout([image], [marker_embeddings], None)
    if start.ndim != 3 or start.shape[1:] != layout.grid:
        message = f"expected starts (S, {layout.grid[0]}, {layout.grid[1]}), got {start.shape}"
        raise InputError(message)
    queries_keys: list[tuple[Tensor, Tensor]] = []
    for block, x, rotation in model.states([image], [marker_embeddings], layout):
        q, k, _ = block.queries_keys_values(x, rotation)
        queries_keys.append((q.clone(), k.clone()))
    share = torch.zeros(len(start), 1 + len(image), layout.positions, device=image.device)
    share[:, 0] = start.flatten(1).to(image.device, torch.float32)
    for letter, (q, k) in zip(reversed(pattern), reversed(queries_keys), strict=True):
        weights = attention_weights(q, k, layout.groups(letter)).mean(dim=1)
        if letter == "h":  # (1 + C, P, P): from position to position within a channel
            passed = torch.einsum("scp,cpq->scq", share, weights)
        else:  # (P, 1 + C, 1 + C): from channel to channel at a position
            passed = torch.einsum("scp,pcd->sdp", share, weights)
        share = (share + passed) / 2
    return torch.unflatten(share, -1, layout.grid)
