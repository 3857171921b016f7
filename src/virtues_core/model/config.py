"""What a VirTues model is made of, and the sizes that have a name."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from virtues_core.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a VirTues model; the defaults are the published model's (42.45 M parameters)."""

    model_dim: int = 512
    """Width of a token, D."""
    feedforward_dim: int = 1024
    """Width of the hidden layer in a block's feed-forward."""
    num_heads: int = 8
    """Attention heads; each gets model_dim / num_heads values, a multiple of 4 (rotary halves)."""
    encoder_pattern: str = "hvhvhvhvhvhvhvhv"
    """One letter a block: h spatial attention, v marker attention, f full attention."""
    decoder_pattern: str = "ffff"
    """One letter a block; the decoder knows only full attention over a channel and the summary."""
    patch_size: int = 8
    """Side of a patch in pixels."""
    marker_embedding_dim: int = 640
    """Length of a protein's embedding (ESM-2 150M: 640)."""
    detail_dim: int = 0
    """Width of the detail head, which lets the decoder see the visible channels' pixels.
    0 is without one, as published."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "detail_dim" else 1
            if isinstance(field.default, int) and (
                not isinstance(value, int) or isinstance(value, bool) or value < least
            ):
                message = (
                    f"{field.name}: expected a whole number of at least {least}, got {value!r}"
                )
                raise ConfigError(message)
        if self.model_dim % (4 * self.num_heads):
            message = (
                f"model_dim: expected a multiple of 4 x num_heads ({4 * self.num_heads}), "
                f"got {self.model_dim}"
            )
            raise ConfigError(message)
        for name, letters in (("encoder_pattern", "hvf"), ("decoder_pattern", "f")):
            pattern = getattr(self, name)
            if not isinstance(pattern, str) or not pattern or set(pattern) - set(letters):
                message = (
                    f"{name}: expected one or more of the letters {letters!r}, got {pattern!r}"
                )
                raise ConfigError(message)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Make a config from plain values; a name that is not a field is refused."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            message = (
                f"unknown setting {', '.join(map(repr, unknown))} for the model; "
                f"expected some of: {', '.join(sorted(known))}"
            )
            raise ConfigError(message)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values."""
        return dataclasses.asdict(self)

    @property
    def head_dim(self) -> int:
        """Values of one attention head."""
        return self.model_dim // self.num_heads

    @property
    def patch_pixels(self) -> int:
        """Pixels of a patch."""
        return self.patch_size**2


PRESETS: dict[str, ModelConfig] = {
    "published": ModelConfig(),
    "small": ModelConfig(
        model_dim=128,
        feedforward_dim=256,
        num_heads=4,
        encoder_pattern="hvhvhvhv",
        decoder_pattern="ff",
        detail_dim=48,
    ),
    "demo": ModelConfig(
        model_dim=128,
        feedforward_dim=256,
        num_heads=4,
        encoder_pattern="hvhvhv",
        decoder_pattern="ff",
        detail_dim=48,
    ),
}
"""Sizes with a name; choose one by it in a training config."""
