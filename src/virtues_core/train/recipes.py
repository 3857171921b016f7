"""Recipes with a name, to start a training from."""

import dataclasses

from virtues_core.model.config import PRESETS
from virtues_core.train.config import MaskingConfig, TrainConfig

_SHORT = TrainConfig(
    precision="bf16-mixed",
    learning_rate=1e-3,
    warmup=0.05,
    validation_crops=8,
    validate_every_steps=100,
)

RECIPES: dict[str, TrainConfig] = {
    "demo": dataclasses.replace(
        _SHORT,
        model=PRESETS["demo"],
        masking=MaskingConfig(independent=0.3, marker=0.5, niche=0.2, marker_others=(0.2, 0.8)),
        batch_size=8,
        micro_batch_size=8,
        decode_fraction=0.25,
        max_minutes=18,
    ),
    "small": dataclasses.replace(
        _SHORT,
        model=PRESETS["small"],
        masking=MaskingConfig(independent=0.4, marker=0.35, niche=0.25, marker_others=(0.0, 0.5)),
        batch_size=4,
        micro_batch_size=4,
        decode_fraction=0.5,
        channel_dropout=0.0,
        max_minutes=60,
    ),
    "published": TrainConfig(),
}
"""``demo`` as in ``configs/demo.yaml``, for minutes on a CPU; ``small`` for an hour of it, as short
runs learn most (docs/development.md); ``published`` as in the paper, for a GPU."""

FINE_TUNING = dataclasses.replace(
    RECIPES["small"],
    model=PRESETS["published"],
    learning_rate=1e-4,
    batch_size=16,
    max_minutes=60,
)
"""Where weights come from a checkpoint, whose sizes take the place of ``model``: what it knows is
to be changed a little, so the rate is half of the one that it was published with."""
