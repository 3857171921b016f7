"""Key names of the published checkpoint ↔ those of this implementation."""

from collections.abc import Mapping

import torch
from torch import Tensor

from virtues_core.errors import CheckpointError
from virtues_core.model.config import ModelConfig

_OUTER = {
    "encoder.patch_summary_token": "encoder.summary_token",
    "encoder.masked_token": "encoder.masked_token",
    "encoder.patch_encoder": "encoder.patch",
    "encoder.prior_embedding_encoder": "encoder.marker",
    "encoder.layer_norm": "encoder.norm",
    "decoder.layer_norm": "decoder.norm",
    "decoder.multiplex_decoder_mlp.0": "decoder.pixels",
}
_BLOCK = {
    "multi_head_attention.W_o": "out",
    "feedforward.0": "expand",
    "feedforward.3": "contract",
    "layernorm1": "norm1",
    "layernorm2": "norm2",
}
_STACKED = tuple(f"multi_head_attention.W_{letter}" for letter in "qkv")


def is_rotary_table(key: str) -> bool:
    """Tell whether a key holds a table of sines or cosines: recomputed here, not loaded."""
    return key.endswith((".sin", ".cos"))


def key_sources(config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """For each weight of this implementation the published keys that it is stacked from."""
    sources: dict[str, tuple[str, ...]] = {}
    for theirs, ours in _OUTER.items():
        if ours.endswith("_token"):
            sources[ours] = (theirs,)
            continue
        for kind in ("weight", "bias"):
            sources[f"{ours}.{kind}"] = (f"{theirs}.{kind}",)
    for part, pattern in (("encoder", config.encoder_pattern), ("decoder", config.decoder_pattern)):
        for i in range(len(pattern)):
            theirs, ours = f"{part}.{part}.{i}.encoder_layer", f"{part}.blocks.{i}"
            for kind in ("weight", "bias"):
                sources[f"{ours}.qkv.{kind}"] = tuple(f"{theirs}.{s}.{kind}" for s in _STACKED)
                for their_name, our_name in _BLOCK.items():
                    sources[f"{ours}.{our_name}.{kind}"] = (f"{theirs}.{their_name}.{kind}",)
    return sources


def from_published(
    state_dict: Mapping[str, Tensor], config: ModelConfig, own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Rename and stack published weights.

    Parameters
    ----------
    state_dict
        Weights by their published names.
    config
        Sizes of the model that shall take them.
    own
        That model's present weights; those without a published counterpart (a detail head) are
        refused.

    Raises
    ------
    CheckpointError
        Keys are missing or left over, or a shape differs.
    """
    sources = key_sources(config)
    expected = {key for keys in sources.values() for key in keys}
    found = {key for key in state_dict if not is_rotary_table(key)}
    _refuse("is missing", sorted(expected - found))
    _refuse("has left over", sorted(found - expected))
    _refuse("cannot fill", sorted(set(own) - set(sources)))
    mapped = {ours: torch.cat([state_dict[k] for k in keys]) for ours, keys in sources.items()}
    for ours, value in mapped.items():
        if value.shape != own[ours].shape:
            message = (
                f"the checkpoint does not fit the model: {' + '.join(sources[ours])} has shape "
                f"{tuple(value.shape)}, expected {tuple(own[ours].shape)}. "
                "Open it with the sizes it was trained with (its config.json)."
            )
            raise CheckpointError(message)
    return mapped


def to_published(state_dict: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Split and rename weights (or their gradients) to the published names."""
    named: dict[str, Tensor] = {}
    for ours, keys in key_sources(config).items():
        named.update(zip(keys, state_dict[ours].chunk(len(keys)), strict=True))
    return named


def _refuse(what: str, keys: list[str]) -> None:
    if keys:
        shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        message = (
            f"the checkpoint {what} {shown}. Expected exactly the weights of a VirTues model of "
            "these sizes; is this the right file, and the right config?"
        )
        raise CheckpointError(message)
