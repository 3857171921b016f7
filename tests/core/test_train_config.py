"""Training settings: one default each, checked when they are made."""

from itertools import pairwise
from pathlib import Path

import pytest

from virtues_core.errors import ConfigError
from virtues_core.model import PRESETS, ModelConfig
from virtues_core.train import MaskingConfig, TrainConfig
from virtues_core.train.module import scheduled_rate

CONFIGS = Path(__file__).parents[2] / "configs"


def test_defaults_are_the_papers_recipe() -> None:
    config = TrainConfig()
    assert config.model == ModelConfig()
    assert config.masking == MaskingConfig(independent=1, marker=0, niche=0, ratio=(0.6, 1.0))
    assert (config.learning_rate, config.weight_decay) == (2e-4, 0.04)
    assert (config.batch_size, config.epochs, config.gradient_norm) == (512, 150, 1.0)
    assert (config.channel_dropout, config.min_tissue) == (0.25, 0.3)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"channel_dropout": 1.5}, "channel_dropout"),
        ({"crop_px": 100}, "crop_px"),
        ({"crop_px": 512}, "crop_px"),
        ({"max_minutes": -1}, "max_minutes"),
        ({"precision": "8-bit"}, "precision"),
        ({"model": "gigantic"}, "gigantic"),
        ({"model": {"model_dims": 4}}, "model_dims"),
        ({"masking": {"ratios": [0, 1]}}, "masking.ratios"),
        ({"masking": {"ratio": [0.9, 0.1]}}, "masking.ratio"),
        ({"masking": {"independent": 0}}, "masking"),
        ({"lerning_rate": 1}, "lerning_rate"),
    ],
)
def test_a_wrong_setting_is_named(values: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        TrainConfig.from_dict(values)


def test_yaml_round_trip(tmp_path: Path) -> None:
    import yaml

    config = TrainConfig.from_dict({"model": "small", "seed": 3, "masking": {"niche": 0.5}})
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(_plain(config.to_dict())))
    assert TrainConfig.from_yaml(path) == config
    assert config.model == PRESETS["small"]


def _plain(values: dict) -> dict:
    return {
        k: _plain(v) if isinstance(v, dict) else list(v) if isinstance(v, tuple) else v
        for k, v in values.items()
    }


@pytest.mark.parametrize("name", sorted(p.name for p in CONFIGS.glob("*.yaml")))
def test_configs_in_the_repository_are_valid(name: str) -> None:
    assert TrainConfig.from_yaml(CONFIGS / name).max_minutes is not None


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1", "\x00"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        TrainConfig.from_yaml(path)


def test_learning_rate_rises_then_falls_to_its_end() -> None:
    config = TrainConfig(learning_rate=1.0, final_learning_rate=0.1, warmup=0.1)
    rates = [scheduled_rate(config, p / 100) for p in range(101)]
    assert rates[10] == pytest.approx(1.0)
    assert rates[5] == pytest.approx(0.5)
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert rates[55] == pytest.approx(0.55)  # half way down the cosine
    assert rates[100] == pytest.approx(0.1)
