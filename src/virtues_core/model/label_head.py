"""Channel summary tokens: one more token a channel, in the middle of the image, to tell a label by.

Source: the paper, Methods, "Model inspection and visualization".
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from virtues_core.errors import InputError
from virtues_core.model.attention import attention
from virtues_core.model.config import ModelConfig
from virtues_core.model.encoder import Encoder, channel_rows
from virtues_core.model.layout import Layout
from virtues_core.model.rope import Rotation, rotation_of, rotation_table
from virtues_core.model.virtues import VirTues


class Explained(NamedTuple):
    """A label's logits, and where they were looked for."""

    logits: Tensor
    """(B, K)."""
    attention: Tensor
    """(B, heads, H/p, W/p) float32 weights from a channel's summary token to the tokens of its
    patches, in the penultimate spatial layer; by default of the patch summary channel. With the
    weight on itself, which is left out, a head's weights sum to 1."""


class LabelHead(nn.Module):
    """Channel summary tokens and a linear classifier, for a model's encoder.

    The encoder sees one token more in each channel: the learned ``marker_token`` + the channel's
    marker term, as a masked token is made, so that any panel will do; and ``summary_token`` in the
    patch summary channel. They stand at ((H − 1)/2, (W − 1)/2), the middle of the grid, for the
    rotary positions; for marker attention they are a position of their own. The label is read off
    the one of the patch summary channel, after the final LayerNorm.

    Parameters
    ----------
    config
        Of the model.
    classes
        K.

    Raises
    ------
    InputError
        The encoder's penultimate spatial layer sees nothing of the image, or there is none.
    """

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        self.layer = penultimate_spatial_layer(config.encoder_pattern)
        self.summary_token = nn.Parameter(torch.empty(config.model_dim))
        self.marker_token = nn.Parameter(torch.empty(config.model_dim))
        self.classifier = nn.Linear(config.model_dim, classes)

    def start_from(self, model: VirTues) -> None:
        """Begin with the model's patch summary token, small random values, and no preference."""
        with torch.no_grad():
            self.summary_token.copy_(model.encoder.summary_token)
            nn.init.normal_(self.marker_token, std=0.02)
            nn.init.zeros_(self.classifier.weight)
            nn.init.zeros_(self.classifier.bias)

    def forward(
        self, model: VirTues, images: Sequence[Tensor], marker_embeddings: Sequence[Tensor]
    ) -> Tensor:
        """Classify a batch.

        Parameters
        ----------
        model
            Whose encoder is used; nothing is masked.
        images, marker_embeddings
            As `VirTues.forward` takes them: (C_i, H, W) and (C_i, E) a sample.

        Returns
        -------
        Tensor
            (B, K) logits.

        Raises
        ------
        InputError
            Shapes do not fit each other or the model.
        """
        return self.explain(model, images, marker_embeddings).logits

    def explain(
        self,
        model: VirTues,
        images: Sequence[Tensor],
        marker_embeddings: Sequence[Tensor],
        *,
        channel: int = 0,
    ) -> Explained:
        """Classify a batch, and keep the attention.

        Parameters and errors as in `forward`; ``channel`` is the one whose attention is kept, 0 =
        patch summary (as in the paper), 1 … C the markers, which only images of one panel have.
        """
        plain = model.layout(images, marker_embeddings, None)
        encoder = model.encoder
        x, layout = self._tokens(model, images, marker_embeddings, plain)
        rotation = _rotation(plain.grid, layout, x, model.config.head_dim)
        kept = x
        for i, (letter, block) in enumerate(
            zip(model.config.encoder_pattern, encoder.blocks, strict=True)
        ):
            q, k, v = block.queries_keys_values(x, None if letter == "v" else rotation)
            if i == self.layer:
                kept = _from_the_last(q, k, layout, channel)
            attended = attention(q, k, v, layout.groups(letter), backend=encoder.backend)
            x = block.finish(x, attended)
        rows = torch.arange(layout.batch, device=x.device) * layout.positions + layout.positions - 1
        logits = self.classifier(encoder.norm(x[rows]))
        return Explained(logits, torch.unflatten(kept, -1, plain.grid))

    def _tokens(
        self,
        model: VirTues,
        images: Sequence[Tensor],
        marker_embeddings: Sequence[Tensor],
        plain: Layout,
    ) -> tuple[Tensor, Layout]:
        """Pack all tokens, those in the middle as the last position of each channel: (M, D)."""
        encoder: Encoder = model.encoder
        layout = Layout.of(plain.sizes, (1, plain.positions + 1), None, plain.channel.device)
        marker = encoder.marker(torch.cat(list(marker_embeddings)))
        usual = encoder.tokens([model.patches(image) for image in images], marker, plain)
        table = torch.cat([usual, self.summary_token[None], self.marker_token + marker])
        middle = layout.position == plain.positions
        place = torch.empty_like(layout.position)
        place[~middle] = torch.arange(len(usual), device=place.device)  # both are in one order
        own = torch.where(layout.channel == 0, 0, 1 + channel_rows(layout))
        place[middle] = len(usual) + own[middle]
        return embedding(place, table), layout


def penultimate_spatial_layer(pattern: str) -> int:
    """Give the block, from 0, that is the last but one with spatial attention.

    Raises
    ------
    InputError
        There is none, or no block before it lets the patch summaries see the image.

    Examples
    --------
    >>> penultimate_spatial_layer("hvhvhv")
    2
    """
    spatial = [i for i, letter in enumerate(pattern) if letter == "h"]
    if len(spatial) < 2 or not set(pattern[: spatial[-2]]) & set("vf"):
        message = (
            "expected an encoder whose last spatial layer but one comes after a marker layer, as "
            f"in 'hvhvhv', found {pattern!r}: there the patch summaries know nothing of the image "
            "yet. Choose a checkpoint with more layers."
        )
        raise InputError(message)
    return spatial[-2]


def _rotation(grid: tuple[int, int], layout: Layout, x: Tensor, head_dim: int) -> Rotation:
    """Tabulate the rotation of each row: of its patch, or of the middle of the grid."""
    patches = rotation_table(*grid, head_dim, device=x.device, dtype=x.dtype)
    at = torch.tensor([[(side - 1) / 2 for side in grid]], device=x.device, dtype=torch.float64)
    middle = rotation_of(at, head_dim, dtype=x.dtype)
    parts = (torch.cat(both)[layout.position] for both in zip(patches, middle, strict=True))
    return Rotation(*parts)


def _from_the_last(q: Tensor, k: Tensor, layout: Layout, channel: int) -> Tensor:
    """Weights of a channel's last token on its patches: (B, heads, H · W)."""
    if channel and not layout.full:
        message = "expected images of one panel to look at one of its markers, found several."
        raise InputError(message)
    rows = slice(channel * layout.summaries, (channel + 1) * layout.summaries)
    shape = (layout.batch, layout.positions)
    queries, keys = (torch.unflatten(t[rows].detach().float(), 0, shape) for t in (q, k))
    scores = torch.einsum("bhd,bphd->bhp", queries[:, -1], keys) / q.shape[-1] ** 0.5
    return torch.softmax(scores, dim=-1)[..., :-1]
