"""Which tokens a batch has, and which of them attend to each other.

Visible tokens are packed into one table of rows; projections and feed-forwards run on that table
alone. Attention needs sequences: a `Groups` says which rows form one, for spatial attention (one
channel of one sample), marker attention (one position of one sample) or full attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

BUCKET_STEP = {"h": 16, "v": 2, "f": 64}
"""Sequences whose lengths round up to the same multiple share a padded batch."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """Sequences of nearly one length, as a padded batch of ``count`` x ``length`` rows."""

    count: int
    length: int
    valid: Tensor | None
    """(count, length) bool, False on padding; None where nothing is padded."""


@dataclass(frozen=True, eq=False)
class Padding:
    """All sequences as padded batches, one behind the other: M rows in all."""

    buckets: tuple[Bucket, ...]
    rows: Tensor
    """(M,) row of the packed table; padding repeats a sequence's first row."""
    place: Tensor
    """(N,) where each packed row stands among the M."""


@dataclass(frozen=True, eq=False)
class Groups:
    """A partition of the packed rows into sequences that attend within themselves."""

    group: Tensor
    """(N,) number of the sequence that each row belongs to."""
    step: int
    """Lengths are rounded up to a multiple of this where sequences are padded."""
    grid: tuple[int, int] | None = None
    """(outer, inner) sizes of the table of rows in a full batch, else None."""
    across: bool = False
    """In a full batch: sequences run along the outer axis instead of the inner one."""

    @cached_property
    def order(self) -> Tensor:
        """(N,) rows sorted by sequence."""
        return torch.argsort(self.group, stable=True)

    @cached_property
    def lengths(self) -> Tensor:
        """(G,) rows of each sequence that has any."""
        counts = torch.bincount(self.group)
        return counts[counts > 0]

    @cached_property
    def padding(self) -> Padding:
        """The sequences as padded batches, for backends that need them."""
        lengths = self.lengths
        starts = torch.cumsum(lengths, 0) - lengths
        if len(torch.unique(lengths)) <= 4:
            rounded = lengths
        else:
            rounded = -(-lengths // self.step) * self.step
        buckets, rows, kept = [], [], []
        for size in torch.unique(rounded).tolist():
            chosen = (rounded == size).nonzero().squeeze(1)
            length = lengths[chosen]
            longest = int(length.max())
            within = torch.arange(longest, device=lengths.device)
            valid = within < length[:, None]
            exact = bool(valid.all())
            buckets.append(Bucket(len(chosen), longest, None if exact else valid))
            at = starts[chosen][:, None] + torch.where(valid, within, 0)
            rows.append(self.order[at].flatten())
            kept.append(valid.flatten())
        table = torch.cat(rows)
        real = torch.cat(kept).nonzero().squeeze(1)
        place = torch.empty_like(self.order)
        place[table[real]] = real
        return Padding(tuple(buckets), table, place)

    @cached_property
    def cumulative(self) -> Tensor:
        """(G + 1,) int32 starts of the sequences in ``order``, as varlen kernels want them."""
        ends = torch.cumsum(self.lengths, 0)
        return torch.cat([ends.new_zeros(1), ends]).to(torch.int32)

    @cached_property
    def longest(self) -> int:
        """Rows of the longest sequence."""
        return int(self.lengths.max())


@dataclass(frozen=True, eq=False)
class Layout:
    """The packed rows of a batch: channel-major, the summary tokens first.

    Rows run over (channel, sample, position) with the summary as channel 0; masked tokens have no
    row.
    """

    channel: Tensor
    """(N,) channel of the row within its sample, 0 = patch summary, 1 … C_i the markers."""
    sample: Tensor
    """(N,) sample of the row."""
    position: Tensor
    """(N,) position in the grid, row by row."""
    grid: tuple[int, int]
    """(H, W) in patches."""
    sizes: tuple[int, ...]
    """C_i of each sample."""
    full: bool
    """Every channel is visible or hidden whole, and all samples show the same number of them."""

    @classmethod
    def of(
        cls,
        sizes: Sequence[int],
        grid: tuple[int, int],
        masks: Sequence[Tensor] | None,
        device: torch.device,
    ) -> "Layout":
        """Lay out a batch.

        Parameters
        ----------
        sizes
            C_i of each sample.
        grid
            (H, W) in patches.
        masks
            One bool (C_i, H, W) a sample, True = masked; None = nothing masked.
        device
            Where the indices live.
        """
        positions = grid[0] * grid[1]
        batch, most = len(sizes), max(sizes)
        present = torch.zeros(most + 1, batch, positions, dtype=torch.bool, device=device)
        present[0] = True
        for i, size in enumerate(sizes):
            present[1 : size + 1, i] = True if masks is None else ~masks[i].flatten(1).to(device)
        some = present.any(2)
        visible_channels = some.sum(0)
        full = bool(
            (some == present.all(2)).all() and (visible_channels == visible_channels[0]).all()
        )
        if full:  # channels hidden whole leave no gap: the others move up
            count = int(visible_channels[0])
            order = torch.argsort((~some).to(torch.uint8), dim=0, stable=True)[:count]
            shape = (count, batch, positions)
            channel = order[:, :, None].expand(shape).reshape(-1)
            sample = torch.arange(batch, device=device)[:, None].expand(shape).reshape(-1)
            position = torch.arange(positions, device=device).expand(shape).reshape(-1)
        else:
            channel, sample, position = present.nonzero(as_tuple=True)
        return cls(channel, sample, position, grid, tuple(sizes), full)

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(self.sizes)

    @property
    def positions(self) -> int:
        """Positions of the grid, H · W."""
        return self.grid[0] * self.grid[1]

    @property
    def summaries(self) -> int:
        """How many rows, the first ones, are patch summaries: B · H · W."""
        return self.batch * self.positions

    def groups(self, letter: str) -> Groups:
        """Give the sequences of a block: ``h`` spatial, ``v`` marker, ``f`` full attention."""
        return self._all_groups[letter]

    @cached_property
    def _all_groups(self) -> dict[str, Groups]:
        batch, positions = self.batch, self.positions
        channels = len(self.channel) // self.summaries
        spatial = (channels * batch, positions) if self.full else None
        marker = (channels, batch * positions) if self.full else None
        of = {
            "h": self.channel * batch + self.sample,
            "v": self.sample * positions + self.position,
            "f": self.sample,
        }
        return {
            "h": Groups(of["h"], BUCKET_STEP["h"], spatial),
            "v": Groups(of["v"], BUCKET_STEP["v"], marker, across=True),
            "f": Groups(of["f"], BUCKET_STEP["f"]),
        }
