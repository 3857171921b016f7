"""Masks: the right number of patches, in the right channels."""

import math

import numpy as np
import pytest

from virtues_core.train import MaskingConfig
from virtues_core.train.augment import random_turn
from virtues_core.train.masking import draw_mask, hide_patches

GRID = (16, 16)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("ratio", [0.0, 0.001, 0.6, 0.777, 1.0])
def test_the_number_hidden_is_rounded_up(ratio: float) -> None:
    mask = hide_patches(generator(), np.full(3, ratio), GRID)
    assert mask.shape == (3, 16, 16)
    assert (mask.sum(axis=(1, 2)) == math.ceil(ratio * 256)).all()


def test_independent_masking_hides_60_to_100_per_cent_of_each_channel() -> None:
    masks = [draw_mask(generator(i), 5, GRID, MaskingConfig()) for i in range(200)]
    hidden = np.concatenate([m.mean(axis=(1, 2)) for m in masks])
    assert hidden.min() >= 0.6
    assert hidden.max() <= 1
    assert hidden.mean() == pytest.approx(0.8, abs=0.02)
    assert not np.array_equal(masks[0][0], masks[0][1])


def test_niche_masking_hides_the_same_patches_in_all_channels() -> None:
    config = MaskingConfig(independent=0, niche=1)
    for i in range(20):
        mask = draw_mask(generator(i), 4, GRID, config)
        assert (mask == mask[0]).all()
        assert 0.6 <= mask.mean() <= 1


def test_marker_masking_hides_channels_whole() -> None:
    config = MaskingConfig(
        independent=0, marker=1, marker_fraction=(0.1, 0.4), marker_others=(0, 0.5)
    )
    whole = []
    for i in range(100):
        share = draw_mask(generator(i), 10, GRID, config).mean(axis=(1, 2))
        whole.append(int((share == 1).sum()))
        assert (share[share < 1] <= 0.51).all()
    assert min(whole) == 1
    assert max(whole) == 4


def test_one_channel_is_hidden_at_the_least() -> None:
    config = MaskingConfig(independent=0, marker=1, marker_fraction=(0, 0), marker_others=(0, 0))
    mask = draw_mask(generator(), 3, GRID, config)
    assert sorted(mask.mean(axis=(1, 2)).tolist()) == [0, 0, 1]


def test_strategies_are_drawn_by_their_weights() -> None:
    config = MaskingConfig(independent=0, marker=3, niche=1)
    same = [
        (m == m[0]).all() for m in (draw_mask(generator(i), 6, GRID, config) for i in range(400))
    ]
    assert np.mean(same) == pytest.approx(0.25, abs=0.07)


def test_turns_keep_pixels_and_channels_together() -> None:
    crop = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4)
    seen = set()
    for i in range(100):
        turned = random_turn(generator(i), crop)
        assert sorted(turned[0].ravel()) == sorted(crop[0].ravel())
        assert (turned[1] - turned[0] == 16).all()
        seen.add(turned.tobytes())
    assert len(seen) == 8  # the symmetries of the square
