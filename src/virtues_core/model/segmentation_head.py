"""The segmentation head: from patch summaries to what cells are where, pixel by pixel.

Two U-Nets of one shape, one for cell instances and one for cell types, look at the patch summary
tokens at five depths of the encoder. Names of modules are the published ones, so that published
weights load as they are.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from virtues_core.errors import ConfigError
from virtues_core.model.config import ModelConfig
from virtues_core.model.strict import load_strictly
from virtues_core.model.virtues import VirTues

CELL_TYPES = (
    "None",
    "B cell",
    "CD4 T cell",
    "CD8 T cell",
    "Fibroblasts/Stroma",
    "Myeloid",
    "Tumor",
    "Unknown",
    "Vessel/Endothelial",
)
"""What the published head's last nine channels stand for."""
PATCH_SIZE = 8
"""Three doublings lead from a token to pixels."""


class SegmentationHead(nn.Module):
    """Logits of cell instances and of cell types for each pixel.

    Source: the paper, Methods (segmentation and cell typing), and the published weights.

    Parameters
    ----------
    config
        Of the model whose tokens it takes.
    instance_channels
        Channels that InstanSeg's post-processing turns into instances.
    cell_types
        Number of cell types, "None" included; see `CELL_TYPES`.

    Raises
    ------
    ConfigError
        The model's patches are not 8 pixels wide, or it has fewer than four encoder blocks.
    """

    def __init__(
        self, config: ModelConfig, instance_channels: int = 5, cell_types: int = 9
    ) -> None:
        super().__init__()
        depth = len(config.encoder_pattern)
        if config.patch_size != PATCH_SIZE or depth < 4:
            message = (
                f"a segmentation head needs patch_size {PATCH_SIZE} and an encoder of 4 blocks or "
                f"more; this model has patch_size {config.patch_size} and {depth} blocks"
            )
            raise ConfigError(message)
        self.layers = tuple(depth * quarter // 4 for quarter in (1, 2, 3, 4))
        self.decoder = UNet(config.model_dim, instance_channels)
        self.decoder_phenotypes = UNet(config.model_dim, cell_types)
        # of InstanSeg's post-processing; the published file holds it under both names
        self.pixel_classifier = PixelClassifier()
        self.instance_processor = nn.ModuleDict({"pixel_classifier": self.pixel_classifier})

    def load_published(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load weights under the names of the published ``segmentation-head.safetensors``.

        Puts the head in evaluation mode: its batch statistics come with the weights.

        Raises
        ------
        CheckpointError
            A key is missing or left over, or a shape differs; nothing is loaded then.
        """
        remedy = (
            "Expected exactly the weights of a segmentation head for a model of this width; "
            "is this the right file, and the right model?"
        )
        load_strictly(self, state_dict, remedy)
        self.eval()

    def logits(
        self, model: VirTues, images: Sequence[Tensor], marker_embeddings: Sequence[Tensor]
    ) -> Tensor:
        """Encode a batch and segment it.

        Parameters
        ----------
        model
            The encoder; nothing is masked.
        images, marker_embeddings
            As `VirTues.forward` takes them: (C_i, H, W) and (C_i, E) a sample.

        Returns
        -------
        Tensor
            (B, instance_channels + cell_types, H, W), the instance channels first.

        Raises
        ------
        InputError
            Shapes do not fit each other or the model.
        """
        logits: Tensor = self(self.token_maps(model, images, marker_embeddings))
        return logits

    def token_maps(
        self, model: VirTues, images: Sequence[Tensor], marker_embeddings: Sequence[Tensor]
    ) -> list[Tensor]:
        """Encode a batch, as `logits` takes it, into what the U-Nets look at: five (B, D, h, w)."""
        layout = model.layout(images, marker_embeddings, None)
        encoded = model.encode(
            images, marker_embeddings, layout, only_summaries=True, layers=self.layers
        )
        final = encoded.tokens[: layout.summaries]
        return [
            rows.reshape(layout.batch, *layout.grid, -1).permute(0, 3, 1, 2)
            for rows in (*encoded.summaries_of_layers, final)
        ]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Segment token maps: (B, instance_channels + cell_types, 8 h, 8 w)."""
        return torch.cat([self.decoder(maps), self.decoder_phenotypes(maps)], dim=1)


class UNet(nn.Module):
    """A U-Net whose encoder is the transformer: tokens of five depths, brought to one size.

    The last block's tokens (before the final LayerNorm) are the bottleneck. At each doubling
    those of an earlier depth join: of three quarters, of half and of a quarter; the final tokens,
    after the LayerNorm, join last.
    """

    def __init__(self, model_dim: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        # narrower inside for models narrower than the published one
        wide, half, bottom = (512, 256, 512) if model_dim >= 512 else (256, 128, 312)
        self.decoder0 = _doubles(model_dim, wide, half, 64)
        self.decoder1 = _doubles(model_dim, wide, half, 128)
        self.decoder2 = _doubles(model_dim, wide, 256)
        self.decoder3 = _doubles(model_dim, bottom)
        self.decoder = nn.ModuleDict(
            {
                "bottleneck_upsampler": nn.ConvTranspose2d(model_dim, bottom, 2, stride=2),
                "decoder3_upsampler": nn.Sequential(
                    _Convolution(2 * bottom, bottom),
                    _Convolution(bottom, bottom),
                    _Convolution(bottom, bottom),
                    nn.ConvTranspose2d(bottom, 256, 2, stride=2),
                ),
                "decoder2_upsampler": nn.Sequential(
                    _Convolution(512, 256),
                    _Convolution(256, 256),
                    nn.ConvTranspose2d(256, 128, 2, stride=2),
                ),
                "decoder1_upsampler": nn.Sequential(
                    _Convolution(256, 128),
                    _Convolution(128, 128),
                    nn.ConvTranspose2d(128, 64, 1),
                ),
                "decoder0_header": nn.Sequential(
                    _Convolution(128, 64), _Convolution(64, 64), nn.Conv2d(64, channels, 1)
                ),
            }
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Give logits.

        Parameters
        ----------
        maps
            Five (B, D, H, W): after a quarter, half, three quarters and all of the blocks, and
            after the final LayerNorm.

        Returns
        -------
        Tensor
            (B, channels, 8 H, 8 W).
        """
        quarter, half, three_quarters, last, final = maps
        x = self.decoder["bottleneck_upsampler"](last)
        x = self.decoder["decoder3_upsampler"](torch.cat([self.decoder3(three_quarters), x], 1))
        x = self.decoder["decoder2_upsampler"](torch.cat([self.decoder2(half), x], 1))
        x = self.decoder["decoder1_upsampler"](torch.cat([self.decoder1(quarter), x], 1))
        logits: Tensor = self.decoder["decoder0_header"](torch.cat([self.decoder0(final), x], 1))
        return logits


class _Double(nn.Module):
    """Twice the height and width, by a transposed convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, 2, stride=2), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, 2 H, 2 W)."""
        x = self.block(x)
        return x


def _doubles(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(_Double(a, b) for a, b in pairwise(widths)))


class _Convolution(nn.Module):
    """A 3 × 3 convolution; batch normalisation brings the bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        x = self.block(x)
        return x


class PixelClassifier(nn.Module):
    """InstanSeg's own: tells whether a pixel is of the cell that a seed stands for.

    Source: Goldsborough et al. 2024, "InstanSeg", and the published weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 5)
        self.fc2 = nn.Linear(5, 5)
        self.fc3 = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 4): two offsets of a pixel's embedding from the seed's, two spreads → (N, 1)."""
        logits: Tensor = self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))
        return logits
