"""The plain way to run VirTues: one dense forward with padding, everything decoded.

Every token of every channel, masked or padding, goes through every projection; attention is told
by a mask whom not to look at. The same weights and the same numbers as `virtues_core.model`, which
is measured against this.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from virtues_core.model import VirTues
from virtues_core.model.blocks import Block
from virtues_core.model.rope import Rotation, rotate, rotation_table


def plain_forward(
    model: VirTues,
    images: Sequence[Tensor],
    marker_embeddings: Sequence[Tensor],
    masks: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Reconstruct every channel: one (C_i, H, W) a sample."""
    config, encoder, decoder = model.config, model.encoder, model.decoder
    batch, most = len(images), max(len(image) for image in images)
    height, width = (side // config.patch_size for side in images[0].shape[1:])
    positions = height * width
    pixels = images[0].new_zeros(batch, most, positions, config.patch_pixels)
    marker = images[0].new_zeros(batch, most, config.marker_embedding_dim)
    hidden = torch.ones(batch, most, positions, dtype=torch.bool, device=pixels.device)
    for i, (image, embedding) in enumerate(zip(images, marker_embeddings, strict=True)):
        pixels[i, : len(image)] = patches_of(image, config.patch_size)
        marker[i, : len(image)] = embedding
        hidden[i, : len(image)] = False if masks is None else masks[i].flatten(1)
    term = encoder.marker(marker)[:, :, None]
    tokens = torch.where(
        hidden[..., None], encoder.masked_token + term, encoder.patch(pixels) + term
    )
    summary = encoder.summary_token.expand(batch, 1, positions, -1)
    x = torch.cat([summary, tokens], dim=1)
    visible = torch.cat([torch.ones_like(hidden[:, :1]), ~hidden], dim=1)
    table = rotation_table(height, width, config.head_dim, device=x.device, dtype=x.dtype)
    for letter, block in zip(config.encoder_pattern, encoder.blocks, strict=True):
        along = x if letter == "h" else x.transpose(1, 2)
        keys = visible if letter == "h" else visible.transpose(1, 2)
        done = _block(block, along, keys, table if letter == "h" else None)
        x = torch.where(visible[..., None], done if letter == "h" else done.transpose(1, 2), x)
    x = encoder.norm(x)
    both = torch.cat([x[:, 1:], x[:, :1].expand(-1, most, -1, -1)], dim=2)
    turn = Rotation(*(part.repeat(2, 1, 1, 1) for part in table))
    for block in decoder.blocks:
        both = _block(block, both, None, turn)
    made = decoder.pixels(decoder.norm(both)[:, :, :positions])
    return [
        image_of(made[i, : len(image)], (height, width), config.patch_size)
        for i, image in enumerate(images)
    ]


def patches_of(image: Tensor, size: int) -> Tensor:
    return image.unfold(1, size, size).unfold(2, size, size).flatten(3).flatten(1, 2)


def image_of(patches: Tensor, grid: tuple[int, int], size: int) -> Tensor:
    split = patches.unflatten(2, (size, size)).unflatten(1, grid)
    return split.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _block(block: Block, x: Tensor, visible: Tensor | None, turn: Rotation | None) -> Tensor:
    """One block on (outer, groups, length, D), each group a sequence."""
    outer, groups, length, _ = x.shape
    flat = x.reshape(outer * groups, length, -1)
    q, k, v = block.qkv(block.norm1(flat)).unflatten(-1, (3, block.num_heads, -1)).unbind(2)
    if turn is not None:
        q, k = (rotate(part.flatten(0, 1), _tile(turn, outer * groups)).view_as(part)
                for part in (q, k))  # fmt: skip
    mask = None
    if visible is not None and not bool(visible.all()):
        seen = visible.reshape(outer * groups, 1, 1, length)
        mask = seen | ~seen.any(-1, keepdim=True)  # a sequence without tokens: anything, unused
    attended = scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
    )
    flat = flat + block.out(attended.transpose(1, 2).flatten(2))
    hidden = torch.nn.functional.gelu(block.expand(block.norm2(flat)))
    return (flat + block.contract(hidden)).view(x.shape)


def _tile(turn: Rotation, times: int) -> Rotation:
    return Rotation(*(part.repeat(times, 1, 1, 1) for part in turn))
