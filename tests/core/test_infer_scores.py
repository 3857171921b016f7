import math

import numpy as np
import pytest

from virtues_core.infer.baselines import Gram, best_other, fit_ridge, mean_of_visible
from virtues_core.infer.scores import (
    PairSums,
    PositivityCounts,
    mean_defined,
    pearson,
    positivity_f1,
)


def test_pearson_in_parts_is_pearson_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, 5000).astype(np.float32)
    y = (x + rng.normal(0, 3, 5000)).astype(np.float32)
    sums = PairSums()
    for part in (slice(0, 1000), slice(1000, None)):
        sums.add(x[part], y[part])
    assert sums.pearson == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
    assert pearson(x, -x) == pytest.approx(-1)
    assert math.isnan(pearson(np.full(9, 0.1, "f4"), x[:9]))
    assert math.isnan(pearson(x[:0], x[:0]))


def test_f1_by_hand() -> None:
    truth = np.array([0, 0, 2, 2, 2, 2])
    said = np.array([0, 2, 2, 2, 0, 0])  # 2 right, 1 wrong, 2 missed
    assert positivity_f1(said, truth, 1.0) == pytest.approx(4 / 7)
    counts = PositivityCounts()
    counts.add(said[:3], truth[:3], 1.0)
    counts.add(said[3:], truth[3:], 1.0)
    assert counts.f1 == pytest.approx(4 / 7)
    assert math.isnan(positivity_f1(truth, truth, 5.0))


def test_mean_of_what_is_defined() -> None:
    assert mean_defined([1.0, math.nan, 2.0]) == 1.5
    assert math.isnan(mean_defined([math.nan]))


def test_mean_of_visible_looks_at_visible_pixels_only() -> None:
    pixels = np.array([[[1.0, 3.0, 100.0]], [[5.0, 6.0, 7.0]]], np.float32)
    masked = np.array([[[False, False, True]], [[True, True, True]]])
    filled = mean_of_visible(pixels, masked)
    assert (filled[0] == 2).all()
    assert np.isnan(filled[1]).all()


def _mixture(pixels: int = 20_000) -> np.ndarray:
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 2, (2, pixels))
    noise = rng.normal(0, 0.5, pixels)
    return np.stack([a, b, rng.normal(size=pixels), 3 * a - b + 4 + noise, np.ones(pixels)])


def test_ridge_finds_the_weights() -> None:
    rows = _mixture()
    gram = Gram(5)
    gram.add(rows[:, :7000])
    other = Gram(5)
    other.add(rows[:, 7000:])
    ridge = fit_ridge(gram + other, 3, [0, 1, 2, 4])
    np.testing.assert_allclose(ridge.weights, [3, -1, 0, 0], atol=0.03)
    said = ridge.predict(rows)
    assert np.sqrt(np.mean((said - rows[3]) ** 2)) == pytest.approx(0.5, abs=0.02)
    strong = fit_ridge(gram + other, 3, [0, 1], penalty=1e6)
    assert np.abs(strong.weights).max() < 1e-3  # the penalty shrinks
    assert strong.predict(rows).mean() == pytest.approx(rows[3].mean(), rel=1e-3)


def test_best_other_marker() -> None:
    rows = _mixture()
    gram = Gram(5)
    gram.add(rows)
    other, r = best_other(gram, 3, [0, 1, 2, 4])
    assert other == 0
    assert r == pytest.approx(np.corrcoef(rows[0], rows[3])[0, 1], abs=1e-6)
    assert best_other(gram, 3, [4])[0] is None
