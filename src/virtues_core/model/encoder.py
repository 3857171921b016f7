"""The encoder: visible tokens and patch summaries, through marker and spatial attention."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from virtues_core.model.attention import Backend, attention
from virtues_core.model.blocks import Block, Blocks
from virtues_core.model.config import ModelConfig
from virtues_core.model.layout import Layout
from virtues_core.model.rope import Rotation, rotation_table


class Encoded(NamedTuple):
    """What the encoder knows of a batch."""

    layout: Layout
    tokens: Tensor
    """(N, D) the packed rows after the last block and the final LayerNorm; only the summaries
    (the first ``layout.summaries`` rows) where no more was asked for."""
    masked: Tensor
    """(ΣC, D) what stands for a masked token of each channel, after the final LayerNorm."""
    summaries_of_layers: tuple[Tensor, ...]
    """(B · H · W, D) the summary rows after each layer asked for, before the final LayerNorm."""


class Encoder(nn.Module):
    """Tokenise, add the marker terms, and run the blocks on the visible tokens.

    Source: the paper, Methods, "Tokenization", "Masking", "VirTues Encoder".
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.model_dim
        self.config = config
        self.patch = nn.Linear(config.patch_pixels, dim)
        self.marker = nn.Linear(config.marker_embedding_dim, dim)
        self.summary_token = nn.Parameter(torch.empty(dim))
        self.masked_token = nn.Parameter(torch.empty(dim))
        self.blocks = Blocks(config, config.encoder_pattern)
        self.norm = nn.LayerNorm(dim)
        self.backend: Backend = "auto"

    def forward(
        self,
        patches: Sequence[Tensor],
        marker_embeddings: Sequence[Tensor],
        layout: Layout,
        *,
        only_summaries: bool = False,
        layers: Sequence[int] = (),
    ) -> Encoded:
        """Encode a batch.

        Parameters
        ----------
        patches
            One (C_i, H · W, patch pixels) a sample.
        marker_embeddings
            One (C_i, E) a sample.
        layout
            The batch's packed rows.
        only_summaries
            The caller wants nothing but the summaries: in a full batch the last marker block
            then computes only them.
        layers
            Numbers of blocks, from 1, after which the summaries are kept.
        """
        marker = self.marker(torch.cat(list(marker_embeddings)))
        x = self.tokens(patches, marker, layout)
        rotation = self._rotation(layout, x)
        kept = []
        last = len(self.blocks) - 1
        trim = only_summaries and layout.full and self.config.encoder_pattern[-1] == "v"
        for i, (letter, block) in enumerate(
            zip(self.config.encoder_pattern, self.blocks, strict=True)
        ):
            groups = layout.groups(letter)
            turn = None if letter == "v" else rotation
            if trim and i == last:
                k, v = block.keys_values(x)
                x = x[: layout.summaries]
                q = block.queries(x)
            else:
                q, k, v = block.queries_keys_values(x, turn)
            x = block.finish(x, attention(q, k, v, groups, backend=self.backend))
            if i + 1 in layers:
                kept.append(x[: layout.summaries])
        return Encoded(layout, self.norm(x), self.norm(self.masked_token + marker), tuple(kept))

    def states(
        self,
        patches: Sequence[Tensor],
        marker_embeddings: Sequence[Tensor],
        layout: Layout,
    ) -> Iterator[tuple[Block, Tensor, Rotation | None]]:
        """Give each block with the rows (N, D) that enter it, and their rotation where it turns.

        For looking inside: a block runs when the next one is asked for, so that the caller can
        stop at the one it wants. Parameters as in `forward`.
        """
        x = self.tokens(patches, self.marker(torch.cat(list(marker_embeddings))), layout)
        rotation = self._rotation(layout, x)
        for letter, block in zip(self.config.encoder_pattern, self.blocks, strict=True):
            turn = None if letter == "v" else rotation
            yield block, x, turn
            q, k, v = block.queries_keys_values(x, turn)
            x = block.finish(x, attention(q, k, v, layout.groups(letter), backend=self.backend))

    def _rotation(self, layout: Layout, x: Tensor) -> Rotation | None:
        """Tabulate the rotation of each row; None where no block looks at positions."""
        if not set(self.config.encoder_pattern) & set("hf"):
            return None
        table = rotation_table(*layout.grid, self.config.head_dim, device=x.device, dtype=x.dtype)
        return Rotation(*(part[layout.position] for part in table))

    def tokens(self, patches: Sequence[Tensor], marker: Tensor, layout: Layout) -> Tensor:
        """Pack the summary tokens and the visible image tokens: (N, D).

        Parameters
        ----------
        patches
            One (C_i, H · W, patch pixels) a sample.
        marker
            (ΣC, D) marker terms.
        layout
            The batch's packed rows.
        """
        flat = torch.cat(list(patches))  # (ΣC, H · W, pixels)
        markers = slice(layout.summaries, None)
        row = channel_rows(layout)[markers]
        visible = flat[row, layout.position[markers]]
        image = self.patch(visible) + embedding(row, marker)
        return torch.cat([self.summary_token.expand(layout.summaries, -1), image])


def channel_rows(layout: Layout) -> Tensor:
    """Row of the (ΣC, …) tables for each packed row (N,); −1 and the like for the summaries."""
    sizes = torch.tensor(layout.sizes, device=layout.sample.device)
    first = torch.cumsum(sizes, 0) - sizes
    return first[layout.sample] + layout.channel - 1
