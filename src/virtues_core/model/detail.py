"""The detail head: what the visible channels' pixels say of the channels to paint.

The published decoder sees a position only through tokens of 8 × 8 pixels, so that a linear model
on the other markers' pixels beats it at a marker hidden whole. The head adds, pixel by pixel,

    reconstruction_m(p) += w_m(patch of p) · z(p)

where z(p) sums, over the channels that are visible at p, their intensity times a vector made of
their marker embedding, and passes through two small convolutions; w_m is read from the decoder's
token. Ridge regression on the other markers is within what it can express; being made of marker
embeddings it carries over to other panels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from virtues_core.model.config import ModelConfig


class DetailHead(nn.Module):
    """Per-pixel features of the visible channels, mixed by the decoder's tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.detail_dim
        self.patch_size = config.patch_size
        self.source = nn.Linear(config.marker_embedding_dim, 2 * width)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, width, kernel_size=3, padding=1) for _ in range(2)
        )
        self.weights = nn.Linear(config.model_dim, 2 * width)

    def reset_parameters(self) -> None:
        """Start as if there were no head: the decoder's tokens ask for nothing yet."""
        nn.init.normal_(self.weights.weight, std=1e-3)
        nn.init.zeros_(self.weights.bias)

    def features(self, image: Tensor, marker_embeddings: Tensor, visible: Tensor) -> Tensor:
        """Features of one sample.

        Parameters
        ----------
        image
            (C, H, W) normalised pixels.
        marker_embeddings
            (C, E).
        visible
            (C, H, W) bool, by pixel.

        Returns
        -------
        Tensor
            (2 K, H, W): K linear in the pixels, K after the convolutions.
        """
        gain, offset = self.source(marker_embeddings).chunk(2, dim=1)  # (C, K) each
        seen = visible.to(image.dtype)
        scale = len(image) ** -0.5
        linear = torch.einsum("ck,chw->khw", gain, image * seen) * scale
        present = torch.einsum("ck,chw->khw", offset, seen) * scale
        z = linear + present
        for convolution in self.convolutions:
            z = z + convolution(gelu(z)[None])[0]
        return torch.cat([linear, z])

    def forward(
        self,
        tokens: Tensor,
        samples: Sequence[int],
        features: Tensor,
    ) -> Tensor:
        """Mix the features into pixels.

        Parameters
        ----------
        tokens
            (P, H · W positions, D) from the decoder.
        samples
            For each of the P channels the sample that it belongs to, ascending.
        features
            (B, 2 K, Y, X).

        Returns
        -------
        Tensor
            (P, positions, patch pixels) to add to the decoder's.
        """
        size = self.patch_size
        patches = features.unfold(2, size, size).unfold(3, size, size)  # (B, 2K, H, W, p, q)
        patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(4).flatten(1, 2)  # (B, HW, 2K, pq)
        weights = self.weights(tokens)  # (P, HW, 2K)
        by_position = weights.transpose(0, 1)  # (HW, P, 2K)
        counts = torch.bincount(torch.tensor(samples), minlength=len(features)).tolist()
        mixed = [  # the channels of a sample share its features
            (w @ of_sample).transpose(0, 1)
            for w, of_sample in zip(by_position.split(counts, dim=1), patches, strict=True)
        ]
        return torch.cat(mixed)
