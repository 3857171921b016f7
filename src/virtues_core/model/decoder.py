"""The decoder: each channel on its own, beside a copy of the patch summaries."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from virtues_core.model.attention import attend_sequences
from virtues_core.model.blocks import Block, Blocks
from virtues_core.model.config import ModelConfig
from virtues_core.model.encoder import Encoded, channel_rows
from virtues_core.model.rope import Rotation, rotation_table


class Decoder(nn.Module):
    """Full attention over a channel's tokens and the summaries, then a projection to pixels.

    Source: the paper, Methods, "VirTues Decoder". Two shortcuts change no number: the summaries'
    half of the first block is projected once a sample instead of once a channel, and the last
    block computes only the channel's half.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = Blocks(config, config.decoder_pattern)
        self.norm = nn.LayerNorm(config.model_dim)
        self.pixels = nn.Linear(config.model_dim, config.patch_pixels)

    def forward(self, encoded: Encoded, channels: Sequence[Sequence[int]]) -> Tensor:
        """Decode some channels.

        Parameters
        ----------
        encoded
            What the encoder gave.
        channels
            For each sample the channels wanted, numbered from 0; P in all.

        Returns
        -------
        Tensor
            (P, H · W, D) tokens after the final LayerNorm, sample by sample, channels as listed;
            ``self.pixels`` projects them.
        """
        layout = encoded.layout
        sample, row = self._pairs(encoded, channels)
        rows = len(encoded.tokens) - layout.summaries
        summaries, tokens = torch.split(encoded.tokens, [layout.summaries, rows])
        x = self._channel_tokens(encoded, tokens, row)
        summary = torch.unflatten(summaries, 0, (layout.batch, -1))
        rotation = rotation_table(
            *layout.grid, self.config.head_dim, device=x.device, dtype=x.dtype
        )
        copies = summary.index_select(0, sample)
        for i, block in enumerate(self.blocks):
            last = i == len(self.blocks) - 1
            x, copies = self._step(
                block, x, copies, summary if i == 0 else None, sample, rotation, last=last
            )
        normed: Tensor = self.norm(x)
        return normed

    def _pairs(self, encoded: Encoded, channels: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Sample and row of the (ΣC, …) tables of each channel wanted: (P,), (P,)."""
        device = encoded.tokens.device
        sample, row, first = [], [], 0
        for i, (size, wanted) in enumerate(zip(encoded.layout.sizes, channels, strict=True)):
            sample += [i] * len(wanted)
            row += [first + channel for channel in wanted]
            first += size
        return torch.tensor(sample, device=device), torch.tensor(row, device=device)

    def _channel_tokens(self, encoded: Encoded, tokens: Tensor, row: Tensor) -> Tensor:
        """Take encoded tokens where visible, masked ones elsewhere: (P, H · W, D)."""
        layout = encoded.layout
        markers = slice(layout.summaries, len(encoded.tokens))
        table = encoded.masked.index_select(0, row)[:, None].expand(-1, layout.positions, -1)
        place = row.new_full((sum(layout.sizes),), -1)
        place[row] = torch.arange(len(row), device=row.device)
        pair = place[channel_rows(layout)[markers]]
        wanted = (pair >= 0).nonzero().squeeze(1)
        at = pair[wanted] * layout.positions + layout.position[markers][wanted]
        flat = table.flatten(0, 1).index_copy(0, at, embedding(wanted, tokens))
        return torch.unflatten(flat, 0, (len(row), -1))

    def _step(
        self,
        block: Block,
        x: Tensor,
        copies: Tensor,
        shared: Tensor | None,
        sample: Tensor,
        rotation: Rotation,
        *,
        last: bool,
    ) -> tuple[Tensor, Tensor]:
        """Run one block on (P, H · W, D) channel tokens and as many summary copies."""
        pairs, positions, _ = x.shape
        turn_x = _repeat(rotation, pairs)
        q, k, v = (
            torch.unflatten(part, 0, (pairs, positions))
            for part in block.queries_keys_values(x.flatten(0, 1), turn_x)
        )
        source = copies if shared is None else shared
        turn_s = turn_x if shared is None else _repeat(rotation, len(source))
        flat = source.flatten(0, 1)
        q_s: Tensor | None = None
        if last:
            k_s, v_s = block.keys_values(flat, turn_s)
        else:
            q_s, k_s, v_s = block.queries_keys_values(flat, turn_s)
            q_s = torch.unflatten(q_s, 0, (-1, positions))
        of_summary = [torch.unflatten(part, 0, (-1, positions)) for part in (k_s, v_s)]
        if shared is not None:
            of_summary = [part.index_select(0, sample) for part in of_summary]
            q_s = None if q_s is None else q_s.index_select(0, sample)
        query = q if q_s is None else torch.cat([q, q_s], dim=1)
        key, value = (torch.cat(two, dim=1) for two in zip((k, v), of_summary, strict=True))
        attended = attend_sequences(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        ).transpose(1, 2)
        if last:
            return self._finish(block, x, attended), copies
        both = self._finish(block, torch.cat([x, copies], dim=1), attended)
        ours, theirs = torch.split(both, positions, dim=1)
        return ours, theirs

    @staticmethod
    def _finish(block: Block, x: Tensor, attended: Tensor) -> Tensor:
        done = block.finish(x.flatten(0, 1), attended.flatten(0, 1))
        return torch.unflatten(done, 0, x.shape[:2])


def _repeat(rotation: Rotation, times: int) -> Rotation:
    return Rotation(*(part.repeat(times, 1, 1, 1) for part in rotation))
