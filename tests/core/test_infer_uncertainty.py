import dataclasses
import json

import numpy as np
import pytest
from infer_samples import checkpoint, cohort, image_of

from virtues_core.errors import InputError
from virtues_core.infer import (
    Cancelled,
    InpaintRequest,
    Runner,
    calibrate,
    calibrate_folder,
    inpaint,
    prepare_image,
)
from virtues_core.infer.calibration import unlike_groups
from virtues_core.infer.intervals import IntervalTable, Sample, coverage, fit_intervals
from virtues_core.infer.masks import FURTHER, draw_parts
from virtues_core.infer.request import REPEATS
from virtues_core.infer.uncertainty import (
    interval,
    predict_in_turn,
    predict_with_spread,
    stored_table,
)
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.markers.registry import Registry
from virtues_core.model import load_checkpoint, save_checkpoint


def _skewed(seed: int, pixels: int = 30_000, group: int = 0, bias: float = 0.0) -> Sample:
    """Zero-inflated truth whose spread grows with its value, as in imaging mass cytometry."""
    rng = np.random.default_rng(seed)
    mean = rng.gamma(1.0, 1.0, pixels)
    spread = rng.uniform(0.2, 1.0, pixels)
    truth = np.maximum(mean + bias + spread * mean * rng.standard_gamma(2, pixels) - 0.8, 0)
    return Sample(
        mean.astype("f4"), spread.astype("f4"), truth.astype("f4"), np.zeros(pixels, "f4"),
        np.full(pixels, group),
    )  # fmt: skip


def _share(table: IntervalTable, sample: Sample) -> float:
    return coverage(*table.bounds(sample.prediction, sample.spread, sample.floor), sample.truth)


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
        np.mean(np.subtract(*table.bounds(s.prediction, s.spread, 0.0)[::-1])) for s in (calm, wild)
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
        table.bounds(sample.prediction, sample.spread, 0.0),
        again.bounds(sample.prediction, sample.spread, 0.0),
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


def test_instruments_with_another_background_share_a_table() -> None:
    """Offset counts place the floor far below: in model units the marker is the same."""

    def seen_with(floor: float, seed: int, group: int) -> Sample:
        rng = np.random.default_rng(seed)
        mean = rng.gamma(1.0, 1.0, 8000)
        spread = rng.uniform(0.2, 1.0, 8000)
        truth = np.maximum(mean + spread * rng.normal(size=8000), floor)
        arrays = (mean, spread, truth, np.full(8000, floor))
        return Sample(*(a.astype("f4") for a in arrays), np.full(8000, group))

    both = fit_intervals(
        Sample.join([seen_with(f, i, i) for i, f in enumerate((-1.0, -30.0, -1.0, -30.0))])
    )
    for floor in (-1.0, -30.0):
        sample = seen_with(floor, 9, 0)
        assert _share(both, sample) == pytest.approx(0.8, abs=0.02)
        low, _ = both.bounds(sample.prediction, sample.spread, sample.floor)
        assert low.min() >= floor


def test_few_images_borrow_from_all_markers() -> None:
    """One image says nothing of how images differ: the others' pixels and factor do."""
    biases = (-0.9, -0.5, 0.5, 0.9)
    others = Sample.join([_skewed(i, 1000, i, b) for i, b in enumerate(biases)])
    alone = fit_intervals(_skewed(7, 4000))
    borrowed = fit_intervals(_skewed(7, 4000), others=others, others_scale=1.5)
    unlike = [_skewed(20 + i, 4000, 0, b) for i, b in enumerate((-0.7, 0.7))]
    errors = [
        abs(np.mean([_share(table, sample) for sample in unlike]) - 0.8)
        for table in (alone, borrowed)
    ]
    assert errors[1] < errors[0] - 0.02


def test_a_visible_subset_serves_all_that_it_hides() -> None:
    rng = np.random.default_rng(0)
    together = 0
    for _ in range(2000):
        parts = draw_parts(rng, 6)
        assert sorted(c for part in parts for c in part) == list(range(6))
        together += any({0, 1} <= set(part) for part in parts)
    assert together / 2000 == pytest.approx(FURTHER, abs=0.03)
    for _ in range(50):
        assert len(draw_parts(rng, 2)) == 2  # something always stays visible


def test_in_turn_is_what_hiding_each_marker_gives() -> None:
    known = checkpoint()
    prepared = prepare_image(cohort(1)[0], None, known)
    tile = prepared.pixels[:, :128, :128]
    runner = Runner(known)
    said = predict_in_turn(
        runner, tile, prepared.embeddings, [[c] for c in range(4)],
        repeats=40, generator=np.random.default_rng(0),
    )  # fmt: skip
    spreads = []
    for c in range(4):
        mask = np.zeros((4, 16, 16), bool)
        mask[c] = True
        alone = predict_with_spread(
            runner, [tile], prepared.embeddings, [mask], [c],
            strategy="marker", repeats=40, generator=np.random.default_rng(1),
        )  # fmt: skip
        np.testing.assert_allclose(said.prediction[0, c], alone.prediction[0, 0], atol=1e-5)
        spreads.append(alone.spread.mean())
    assert said.spread.mean() == pytest.approx(np.mean(spreads), rel=0.3)


def test_markers_that_say_the_least_about_each_other_are_hidden_together() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(3, 500)).astype("f4")
    rows = np.repeat(base, 2, axis=0) + 0.1 * rng.normal(size=(6, 500)).astype("f4")
    groups = unlike_groups(rows, 3)
    assert sorted(c for group in groups for c in group) == list(range(6))
    for group in groups:  # of each pair of twins one
        assert sorted(c // 2 for c in group) == [0, 1, 2]
    assert unlike_groups(rows, 1) == [[c] for c in range(6)]
    assert unlike_groups(np.zeros((2, 9), "f4"), 2) == [[0, 1]]  # nothing varies: no division


def test_calibrating_a_wide_panel_takes_few_passes() -> None:
    names = dict.fromkeys(target.symbol for target in Registry.load().targets)
    names = [entry.name for entry in Panel.from_names(names).entries if entry.key][:30]
    assert len(names) == 30
    keys = [key for key in Panel.from_names(names).keys if key]
    known = checkpoint(embeddings=MarkerEmbeddings.stand_in(keys), trained_keys=tuple(keys))
    pixels = np.random.default_rng(0).poisson(3, (len(names), 128, 128)).astype("u2")
    tiles = []
    hook = known.model.register_forward_pre_hook(lambda _, inputs: tiles.append(len(inputs[0])))
    calibrate(known, [image_of(pixels, tuple(names))], strategies=("marker",))
    hook.remove()
    assert sum(tiles) <= 30 // 3 + 4 * REPEATS  # to hide each in turn would take 150


def test_calibrating_a_checkpoint_covers_another_image() -> None:
    images = cohort(6)
    known = checkpoint()
    calibration = calibrate(known, images[:5])
    calibrated = dataclasses.replace(known, calibration=calibration)
    for strategy in ("marker", "niche", "independent"):
        request = InpaintRequest(strategy=strategy, markers=("CD20_Dy161",))
        result = inpaint(images[5], None, calibrated, request)
        assert 0.75 <= result.scores[0].coverage <= 0.85
        assert not any("not calibrated" in text for text in result.warnings)


def test_a_calibration_has_tables_by_strategy_and_marker() -> None:
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


def test_a_calibration_of_the_first_format_is_not_read() -> None:
    old = {"format": 1, "strategies": {"marker": {"pooled": {}, "keys": {}}}}
    assert stored_table(old, "marker", "P07766") is None


def test_a_saved_checkpoint_is_calibrated_in_place(tmp_path) -> None:
    save_checkpoint(dataclasses.replace(checkpoint(), card="# Mine\n"), tmp_path / "model")
    seen = []
    for held_out in (False, True):
        found = calibrate_folder(
            tmp_path / "model", cohort(2), held_out=held_out, on_image=lambda *at: seen.append(at)
        )
    again = load_checkpoint(tmp_path / "model")
    assert again.calibration == found
    assert again.card.startswith("# Mine\n")
    assert again.card.count("80 % intervals are calibrated") == 1  # the last one's word
    assert "on 2 images that were kept out of training." in again.card
    assert seen == [(1, 2), (2, 2)] * 2
    with pytest.raises(InputError, match="expected one image"):
        calibrate(checkpoint(), [])


def test_a_calibration_can_be_called_off() -> None:
    with pytest.raises(Cancelled):
        calibrate(checkpoint(), cohort(1), cancelled=lambda: True)
