"""VirTues: encode what is visible, decode every channel, compare with the pixels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from virtues_core.model.blocks import Block
from virtues_core.model.checks import checked_channels, checked_grid
from virtues_core.model.config import ModelConfig
from virtues_core.model.decoder import Decoder
from virtues_core.model.detail import DetailHead
from virtues_core.model.encoder import Encoded, Encoder
from virtues_core.model.layout import Layout
from virtues_core.model.published import from_published
from virtues_core.model.rope import Rotation


@dataclass(frozen=True, eq=False)
class Output:
    """What the model made of a batch."""

    patch_summary: list[Tensor]
    """One (H/p, W/p, D) a sample: the encoded patch summary tokens."""
    reconstruction: list[Tensor]
    """One (c_i, H, W) a sample: the channels that were asked for, in that order."""


class VirTues(nn.Module):
    """The Virtual Tissues model: a masked autoencoder for any marker panel.

    Source: the paper, Methods, "VirTues architecture".

    Parameters
    ----------
    config
        Sizes; the default is the published model's.
    """

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config or ModelConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)
        self.detail = DetailHead(self.config) if self.config.detail_dim else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh weights: truncated normal, σ 0.02; biases zero; LayerNorms the identity."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.encoder.summary_token, std=0.02)
        nn.init.normal_(self.encoder.masked_token, std=0.02)
        if self.detail is not None:
            self.detail.reset_parameters()

    def forward(
        self,
        images: Sequence[Tensor],
        marker_embeddings: Sequence[Tensor],
        masks: Sequence[Tensor] | None = None,
        channels: Sequence[Sequence[int]] | None = None,
    ) -> Output:
        """Reconstruct a batch of crops from what is visible in them.

        Parameters
        ----------
        images
            One (C_i, H, W) float tensor a sample, preprocessed; panels may differ, H and W are
            the same multiples of the patch size.
        marker_embeddings
            One (C_i, E) a sample, in the order of its channels.
        masks
            One bool (C_i, H/p, W/p) a sample, True = masked; None = nothing is masked.
        channels
            For each sample the channels to decode, from 0, each once. None = all;
            empty lists = summaries alone.

        Raises
        ------
        InputError
            Shapes do not fit each other or the model.
        """
        layout = self.layout(images, marker_embeddings, masks)
        wanted = checked_channels(channels, layout.sizes)
        encoded = self.encode(
            images, marker_embeddings, layout, only_summaries=_all_hidden(wanted, masks)
        )
        summary = torch.unflatten(
            encoded.tokens[: layout.summaries], 0, (layout.batch, *layout.grid)
        )
        if not any(len(chosen) for chosen in wanted):
            nothing = [image[:0] for image in images]
            return Output(list(summary), nothing)
        tokens = self.decoder(encoded, wanted)
        patches = self.decoder.pixels(tokens)
        if self.detail is not None:
            patches = patches + self._detail(
                self.detail, tokens, images, marker_embeddings, masks, wanted
            )
        pixels = self._unpatch(patches, layout.grid)
        counts = [len(chosen) for chosen in wanted]
        return Output(list(summary), list(torch.split(pixels, counts)))

    def encode(
        self,
        images: Sequence[Tensor],
        marker_embeddings: Sequence[Tensor],
        layout: Layout,
        *,
        only_summaries: bool = False,
        layers: Sequence[int] = (),
    ) -> Encoded:
        """Run the encoder alone; see `Encoder.forward` for the settings."""
        patches = [self.patches(image) for image in images]
        encoded: Encoded = self.encoder(
            patches, marker_embeddings, layout, only_summaries=only_summaries, layers=layers
        )
        return encoded

    def states(
        self, images: Sequence[Tensor], marker_embeddings: Sequence[Tensor], layout: Layout
    ) -> Iterator[tuple[Block, Tensor, Rotation | None]]:
        """Look inside the encoder, block by block; see `Encoder.states`."""
        patches = [self.patches(image) for image in images]
        return self.encoder.states(patches, marker_embeddings, layout)

    def load_published(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load weights under the key names of the published checkpoint.

        Raises
        ------
        CheckpointError
            A key is missing or left over, or a shape differs; nothing is loaded then.
        """
        self.load_state_dict(from_published(state_dict, self.config, self.state_dict()))

    @classmethod
    def from_pretrained(cls, source: str | Path) -> "VirTues":
        """Open the model of a checkpoint: a folder, a file, or a hub repository kept here.

        Raises
        ------
        CheckpointError
            See `virtues_core.model.load_checkpoint`, which gives the rest of the folder too.
        """
        from virtues_core.model.checkpoint import load_checkpoint

        return load_checkpoint(source).model

    def layout(
        self,
        images: Sequence[Tensor],
        marker_embeddings: Sequence[Tensor],
        masks: Sequence[Tensor] | None,
    ) -> Layout:
        """Check a batch, as `forward` takes it, and lay out its tokens.

        Raises
        ------
        InputError
            Shapes do not fit each other or the model.
        """
        grid = checked_grid(images, marker_embeddings, masks, self.config)
        return Layout.of([len(image) for image in images], grid, masks, images[0].device)

    def patches(self, image: Tensor) -> Tensor:
        """(C, H, W) → (C, positions, patch pixels), row-major within a patch."""
        size = self.config.patch_size
        return image.unfold(1, size, size).unfold(2, size, size).flatten(3).flatten(1, 2)

    def _unpatch(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """(P, positions, patch pixels) → (P, H, W)."""
        size = self.config.patch_size
        split = torch.unflatten(torch.unflatten(patches, 2, (size, size)), 1, grid)
        return split.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _detail(
        self,
        head: DetailHead,
        tokens: Tensor,
        images: Sequence[Tensor],
        marker_embeddings: Sequence[Tensor],
        masks: Sequence[Tensor] | None,
        wanted: Sequence[Sequence[int]],
    ) -> Tensor:
        size = self.config.patch_size
        features = []
        for i, (image, embedding) in enumerate(zip(images, marker_embeddings, strict=True)):
            if masks is None:
                visible = torch.ones_like(image, dtype=torch.bool)
            else:
                visible = ~masks[i].repeat_interleave(size, 1).repeat_interleave(size, 2)
            features.append(head.features(image, embedding, visible))
        samples = [i for i, chosen in enumerate(wanted) for _ in chosen]
        return head(tokens, samples, torch.stack(features))  # type: ignore[no-any-return]


def reconstruction_loss(
    reconstruction: Sequence[Tensor], images: Sequence[Tensor], weight: Tensor | None = None
) -> Tensor:
    """Mean squared error over all pixels of all channels of all samples, masked and visible.

    Source: the paper, Methods, "Loss function".
    """
    error = torch.cat(
        [(a - b).square().flatten() for a, b in zip(reconstruction, images, strict=True)]
    )
    return error.mean() if weight is None else (error * weight).sum() / weight.sum()


def _all_hidden(wanted: Sequence[Sequence[int]], masks: Sequence[Tensor] | None) -> bool:
    """Nothing visible is to be decoded, so that the summaries are all that is needed."""
    return all(
        not len(chosen) or (masks is not None and bool(masks[i][list(chosen)].all()))
        for i, chosen in enumerate(wanted)
    )
