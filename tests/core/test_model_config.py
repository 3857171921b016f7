import dataclasses

import pytest

from virtues_core.errors import ConfigError
from virtues_core.model import PRESETS, ModelConfig


def test_defaults_are_the_published_sizes() -> None:
    config = ModelConfig()
    assert config == PRESETS["published"]
    assert (config.head_dim, config.patch_pixels) == (64, 64)
    assert config.detail_dim == 0


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_goes_to_plain_values_and_back(preset: ModelConfig) -> None:
    assert ModelConfig.from_dict(preset.to_dict()) == preset


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'model_dims'.*some of: .*model_dim"):
        ModelConfig.from_dict({"model_dims": 512})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"model_dim": 500}, r"model_dim: expected a multiple of 4 x num_heads \(32\), got 500"),
        ({"num_heads": 3}, r"model_dim: expected a multiple of 4 x num_heads \(12\), got 512"),
        ({"num_heads": 0}, "num_heads: expected a whole number of at least 1, got 0"),
        ({"feedforward_dim": 1.5}, "feedforward_dim: expected a whole number"),
        ({"patch_size": True}, "patch_size: expected a whole number of at least 1, got True"),
        ({"patch_size": "8"}, "patch_size: expected a whole number of at least 1, got '8'"),
        ({"detail_dim": -1}, "detail_dim: expected a whole number of at least 0, got -1"),
        ({"encoder_pattern": "hvx"}, "encoder_pattern: expected one or more of .* 'hvf', got 'hvx"),
        ({"encoder_pattern": ""}, "encoder_pattern: expected one or more"),
        ({"encoder_pattern": None}, "encoder_pattern: expected one or more .* got None"),
        ({"decoder_pattern": "hv"}, "decoder_pattern: expected one or more .* 'f', got 'hv'"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        ModelConfig(**settings)


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().model_dim = 8
