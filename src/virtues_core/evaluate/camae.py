"""The channel-agnostic masked autoencoder, for comparison.

Kraus et al. 2024 (arXiv:2404.10242), as the VirTues paper uses it (Methods, "Comparisons and
baselines"): patches of 8 px, full attention over the tokens of all channels, a decoder for each
channel, and nothing that tells the encoder which marker a token belongs to.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from virtues_core.errors import CheckpointError, ConfigError, InputError
from virtues_core.files import replacing


@dataclass(frozen=True)
class CAMAEConfig:
    """Sizes; a decoder is that of the original masked autoencoder: 8 blocks of width 512."""

    channels: tuple[str, ...]
    """Marker key of each channel (two may show one marker); each has a decoder of its own."""
    model_dim: int = 512
    """Width of the encoder."""
    num_heads: int = 8
    """Attention heads of encoder and decoders."""
    encoder_blocks: int = 16
    """Blocks of the encoder: as many as VirTues has."""
    decoder_dim: int = 512
    """Width of the decoders."""
    decoder_blocks: int = 8
    """Blocks of each decoder."""
    patch_size: int = 8
    """Side of a patch in pixels."""
    mask_ratio: float = 0.75
    """Fraction of all tokens hidden in training."""
    fourier_weight: float = 0.01
    """Weight of the loss on amplitudes of the Fourier transform, beside the squared error."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if not self.channels:
            message = "channels: expected one marker key or more, got none"
            raise ConfigError(message)
        for name in ("mask_ratio", "fourier_weight"):
            if not 0 <= getattr(self, name) < 1:
                message = f"{name}: expected a fraction from 0 to below 1"
                raise ConfigError(message)
        for name in ("model_dim", "decoder_dim"):
            if getattr(self, name) % (4 * self.num_heads):
                message = f"{name}: expected a multiple of 4 x num_heads ({4 * self.num_heads})"
                raise ConfigError(message)


class CAMAE(nn.Module):
    """Masked autoencoder of one panel: the channels are fixed when it is made."""

    def __init__(self, config: CAMAEConfig) -> None:
        super().__init__()
        self.config = config
        pixels = config.patch_size**2
        self.patch = nn.Linear(pixels, config.model_dim)
        self.encoder = _transformer(config.model_dim, config.num_heads, config.encoder_blocks)
        self.to_decoder = nn.Linear(config.model_dim, config.decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(config.decoder_dim))
        self.decoders = nn.ModuleList(
            nn.Sequential(
                _transformer(config.decoder_dim, config.num_heads, config.decoder_blocks),
                nn.Linear(config.decoder_dim, pixels),
            )
            for _ in config.channels
        )
        nn.init.normal_(self.mask_token, std=0.02)

    def encode(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """Encode tokens by full attention.

        Parameters
        ----------
        images
            (B, C, H, W) in model units. Nothing here is a channel's own, so that any of those that
            it was trained on will do, in any order.
        visible
            (B, K) numbers of the tokens that are seen, of C · H/p · W/p; None = all.

        Returns
        -------
        Tensor
            (B, K, D).
        """
        self._check(images)
        patches = self._patches(images)
        grid = (
            images.shape[2] // self.config.patch_size,
            images.shape[3] // self.config.patch_size,
        )
        place = sine_positions(*grid, self.config.model_dim).to(patches)
        tokens = (self.patch(patches) + place).flatten(1, 2)
        if visible is not None:
            tokens = _take(tokens, visible)
        encoded: Tensor = self.encoder(tokens)
        return encoded

    def patch_tokens(self, images: Tensor) -> Tensor:
        """Mean over channels of the encoded tokens: (B, H/p, W/p, D), nothing hidden."""
        tokens = torch.unflatten(self.encode(images), 1, (images.shape[1], -1)).mean(1)
        return torch.unflatten(tokens, 1, (images.shape[2] // self.config.patch_size, -1))

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Hide tokens and compare what is decoded with the pixels, on hidden patches alone.

        (1 − α) mean squared error + α mean |‖F(x)‖ − ‖F(y)‖| over the patches' Fourier transforms.
        """
        self._check(images, least=len(self.config.channels))
        patches = self._patches(images).flatten(1, 2)  # (B, N, pixels)
        batch, tokens, _ = patches.shape
        hidden = max(1, round(self.config.mask_ratio * tokens))
        order = torch.rand(batch, tokens, generator=generator).argsort(1).to(images.device)
        masked, visible = order[:, :hidden], order[:, hidden:]
        encoded = self.to_decoder(self.encode(images, visible))
        table = self.mask_token.to(encoded).expand(batch, tokens, -1)
        rows = visible[..., None].expand(-1, -1, encoded.shape[-1])
        painted = self._decode(table.scatter(1, rows, encoded), images.shape)
        made, truth = _take(painted, masked), _take(patches, masked)
        squared = (made - truth).square().mean()
        weight = self.config.fourier_weight
        if not weight:
            return squared
        return (1 - weight) * squared + weight * self._amplitudes(made, truth)

    def _decode(self, tokens: Tensor, shape: Sequence[int]) -> Tensor:
        """(B, N, D) tokens, each channel by its own decoder → (B, N, pixels)."""
        size = self.config.patch_size
        place = sine_positions(shape[2] // size, shape[3] // size, self.config.decoder_dim)
        channels = torch.unflatten(tokens, 1, (shape[1], -1)).unbind(1)
        painted = [
            decoder(channel + place.to(channel))
            for decoder, channel in zip(self.decoders, channels, strict=True)
        ]
        return torch.cat(painted, dim=1)

    def _amplitudes(self, made: Tensor, truth: Tensor) -> Tensor:
        size = self.config.patch_size
        a, b = (torch.unflatten(x.float(), -1, (size, size)) for x in (made, truth))
        difference: Tensor = torch.fft.rfft2(a).abs() - torch.fft.rfft2(b).abs()
        return difference.abs().mean()

    def _patches(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, positions, pixels)."""
        size = self.config.patch_size
        return images.unfold(2, size, size).unfold(3, size, size).flatten(4).flatten(2, 3)

    def _check(self, images: Tensor, *, least: int = 1) -> None:
        channels, size = len(self.config.channels), self.config.patch_size
        if (
            images.ndim != 4
            or not least <= images.shape[1] <= channels
            or any(n % size for n in images.shape[2:])
        ):
            message = (
                f"expected images of {least} to {channels} channels, sides a multiple of {size} "
                f"px, (B, C, H, W), found {tuple(images.shape)}; CA-MAE knows one panel only"
            )
            raise InputError(message)


def sine_positions(rows: int, columns: int, dim: int) -> Tensor:
    """Give fixed positions of a grid, half row, half column: (rows · columns, dim).

    sin and cos of n · 10000^(−2k / (dim/2)); Vaswani et al. 2017, in two dimensions.
    """
    k = torch.arange(dim // 4, dtype=torch.float64)
    frequency = 10_000.0 ** (-k / (dim // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [n.flatten()[:, None] * frequency for n in (row, column)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1).float()


def _transformer(dim: int, heads: int, blocks: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        dim, heads, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, blocks, nn.LayerNorm(dim), enable_nested_tensor=False)


def _take(tokens: Tensor, which: Tensor) -> Tensor:
    return tokens.gather(1, which[..., None].expand(-1, -1, tokens.shape[-1]))


def train_camae(
    crops: Callable[[int], Tensor],
    config: CAMAEConfig,
    *,
    steps: int,
    batch_size: int = 16,
    learning_rate: float = 1e-4,
    seed: int = 0,
) -> CAMAE:
    """Train a model from scratch: AdamW (weight decay 0.05, β₂ 0.95), warm-up, cosine decay.

    Parameters
    ----------
    crops
        Gives training crop k, (C, S, S) in model units, channels as in the config.
    config
        Sizes.
    steps, batch_size
        How long, and how many crops a step.
    learning_rate
        Its peak.
    seed
        Decides weights and masks.
    """
    torch.manual_seed(seed)
    model = CAMAE(config)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=0.05, betas=(0.9, 0.95)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=0.05, cycle_momentum=False
    )
    for step in range(steps):
        batch = torch.stack([crops(step * batch_size + i) for i in range(batch_size)])
        loss = model.loss(batch, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def save_camae(model: CAMAE, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors`` into a new or an old folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "model.safetensors") as new:
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, new)
    with replacing(folder / "config.json") as new:
        new.write_text(json.dumps(dataclasses.asdict(model.config)), encoding="utf-8")


def load_camae(folder: Path) -> CAMAE:
    """Open what `save_camae` wrote.

    Raises
    ------
    CheckpointError
        A file is missing or damaged, or the weights are not those of the config.
    """
    try:
        values: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = CAMAE(CAMAEConfig(**values))
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        message = (
            f"{folder}: expected config.json and model.safetensors of a CA-MAE ({error}). "
            "Train it anew."
        )
        raise CheckpointError(message) from error
    return model.eval()
