"""Recipes with a name."""

from pathlib import Path

import pytest

from virtues_core.model import PRESETS
from virtues_core.train import TrainConfig
from virtues_core.train.config import accumulation
from virtues_core.train.recipes import FINE_TUNING, RECIPES

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_demo_recipe_is_the_one_that_made_the_demo_checkpoint() -> None:
    assert RECIPES["demo"] == TrainConfig.from_yaml(CONFIGS / "demo.yaml")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_size_of_its_name_and_a_batch_that_divides(name: str) -> None:
    assert RECIPES[name].model == PRESETS[name]
    at_once = RECIPES[name].micro_batch_size
    assert at_once == "auto" or RECIPES[name].batch_size % at_once == 0


def test_fine_tuning_changes_weights_less_than_a_start_from_scratch() -> None:
    assert accumulation(FINE_TUNING) == 4
    assert FINE_TUNING.learning_rate < min(r.learning_rate for r in RECIPES.values())
