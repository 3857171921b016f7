import json

import numpy as np
import pytest
from infer_samples import checkpoint, cohort

from virtues_core.infer import Cancelled, calibrate
from virtues_core.infer.intervals import IntervalTable, Sample, coverage, fit_intervals
from virtues_core.infer.uncertainty import interval, stored_table


def _skewed(seed: int, pixels: int = 30_000, group: int = 0, bias: float = 0.0) -> Sample:
    """Zero-inflated truth whose spread grows with its value, as in imaging mass cytometry."""
    rng = np.random.default_rng(seed)
    mean = rng.gamma(1.0, 1.0, pixels)
    spread = rng.uniform(0.2, 1.0, pixels)
    truth = np.maximum(mean + bias + spread * mean * rng.standard_gamma(2, pixels) - 0.8, 0)
    return Sample(
        mean.astype("f4"), spread.astype("f4"), truth.astype("f4"), np.full(pixels, group)
    )


def _share(table: IntervalTable, sample: Sample) -> float:
    return coverage(*table.bounds(sample.prediction, sample.spread), sample.truth)


def test_the_interval_holds_the_stated_share_of_pixels_not_fitted_on() -> None:
    table = fit_intervals(_skewed(0))
    assert table is not None
    other = _skewed(1)
    assert _share(table, other) == pytest.approx(0.8, abs=0.02)
    for low, high in ((0.6, 1), (1, 2), (2, 9)):  # and so wherever one looks but at the floor
        part = other.take((other.prediction >= low) & (other.prediction < high))
        assert _share(table, part) == pytest.approx(0.8, abs=0.08)
    calm, wild = (other.take(s) for s in (other.spread < 0.4, other.spread > 0.8))
    widths = [
        np.mean(np.subtract(*table.bounds(s.prediction, s.spread)[::-1])) for s in (calm, wild)
    ]
    assert widths[1] > 1.5 * widths[0]  # the spread between repeats tells


def test_differences_between_images_widen_the_interval() -> None:
    biases = (-0.8, -0.3, 0.0, 0.4, 0.9)
    alike = fit_intervals(Sample.join([_skewed(i, 8000, i) for i in range(5)]))
    unlike = fit_intervals(Sample.join([_skewed(i, 8000, i, b) for i, b in enumerate(biases)]))
    assert alike is not None
    assert unlike is not None
    assert alike.scale == pytest.approx(1.0, abs=0.05)
    assert unlike.scale > 1.02


def test_too_few_pixels_give_no_table() -> None:
    assert fit_intervals(_skewed(0, 500)) is None


def test_a_table_is_the_same_after_json() -> None:
    table = fit_intervals(_skewed(0))
    assert table is not None
    again = IntervalTable.from_dict(json.loads(json.dumps(table.to_dict())))
    sample = _skewed(2, 3000)
    for a, b in zip(
        table.bounds(sample.prediction, sample.spread),
        again.bounds(sample.prediction, sample.spread),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=2e-3)
    assert _share(again, sample) == pytest.approx(0.8, abs=0.03)


def test_bounds_are_in_order_and_not_below_zero_counts() -> None:
    table = fit_intervals(_skewed(0))
    p = np.linspace(-4, 30, 50, dtype="f4")
    for chosen in (table, None):
        low, high = interval(chosen, p - 1, np.full(50, 0.5, "f4"), floor=-1.0)
        assert (low >= -1).all()
        assert (high >= low).all()
        assert high[-1] > high[0]


def test_calibrating_a_checkpoint_covers_another_image() -> None:
    images = cohort(4)
    known = checkpoint()
    calibration = calibrate(known, images[:3], tiles_per_image=2, strategies=("marker", "niche"))
    assert json.loads(json.dumps(calibration)) == calibration
    assert set(calibration["strategies"]) == {"marker", "niche"}
    assert set(calibration["strategies"]["niche"]["keys"]) == set(known.trained_keys)
    own = stored_table(calibration, "marker", "P07766")
    pooled = stored_table(calibration, "marker", "Q00000")
    assert own is not None
    assert pooled is not None
    assert own.to_dict() != pooled.to_dict()
    assert stored_table(calibration, "independent", "P07766") is None
    assert stored_table(None, "marker", "P07766") is None
    assert calibrate(known, images[:1], tiles_per_image=1, seed=1, strategies=("niche",)) == (
        calibrate(known, images[:1], tiles_per_image=1, seed=1, strategies=("niche",))
    )


def test_a_calibration_can_be_called_off() -> None:
    with pytest.raises(Cancelled):
        calibrate(checkpoint(), cohort(1), cancelled=lambda: True)
