import dataclasses
import json
import math

import numpy as np
import pytest
from infer_samples import USED, checkpoint, cohort, counts, image_of

from virtues_core.errors import InputError
from virtues_core.evaluate import MarkerReport, StrategyReport, evaluate_reconstruction
from virtues_core.infer import Cancelled, Runner, calibrate, prepare_image
from virtues_core.infer.scores import pearson


def test_all_strategies_with_their_baselines() -> None:
    images = cohort(4)
    report = evaluate_reconstruction(images[:2], checkpoint(), fit=images[2:])
    found = report.to_dict()
    assert set(found) == {"independent", "marker", "niche"}
    for strategy, baselines in (
        ("independent", {"mean_visible"}),
        ("niche", {"mean_visible"}),
        ("marker", {"best_other", "ridge"}),
    ):
        told = found[strategy]
        assert set(told["markers"]) == set(USED)
        assert set(told["baselines"]) == baselines
        for marker in told["markers"].values():
            assert set(marker["baselines"]) == baselines
            assert 0 <= marker["f1"] <= 1
        for name in baselines:
            values = [marker["baselines"][name] for marker in told["markers"].values()]
            assert told["baselines"][name] == pytest.approx(np.mean(values))
        values = [marker["pearson"] for marker in told["markers"].values()]
        assert told["mean_pearson"] == pytest.approx(np.mean(values))
    marker = found["marker"]
    assert marker["baselines"]["ridge"] > marker["baselines"]["best_other"] - 0.05
    assert marker["mean_result_pearson"] >= marker["baselines"]["ridge"] - 1e-3
    assert marker["markers"]["CD68_Tb159"]["method"] == "ridge"
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert any("131Xe_Xe131" in text for text in report.warnings)


def test_the_best_other_marker_by_hand() -> None:
    image = image_of(counts(0, (128, 128)))
    report = evaluate_reconstruction([image], checkpoint(), strategies=["marker"])
    prepared = prepare_image(image, None, checkpoint())
    expected = max(pearson(prepared.pixels[c], prepared.pixels[2]) for c in (0, 1, 3))
    found = report.strategies["marker"].markers["CD68_Tb159"]
    assert found.baselines == {"best_other": pytest.approx(expected, abs=1e-6)}
    assert found.method == ""


def test_scores_are_pooled_over_images_and_masked_pixels_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A runner that is right where masked and absurd where visible scores 1."""

    def predict_each(self, tiles, embeddings, masks, channels):
        answers = []
        for tile, mask, wanted in zip(tiles, masks, channels, strict=True):
            hidden = mask.repeat(8, 1).repeat(8, 2)
            answers.append(np.where(hidden, tile, -tile * 9)[list(wanted)])
        return answers

    monkeypatch.setattr(Runner, "predict_each", predict_each)
    report = evaluate_reconstruction(cohort(2), checkpoint())
    for strategy in report.strategies.values():
        for marker in strategy.markers.values():
            assert marker.pearson == pytest.approx(1)
            assert marker.f1 == 1


def test_the_same_seed_gives_the_same_numbers_whatever_the_batch() -> None:
    images, known = cohort(1), checkpoint()
    chosen = ["independent", "niche"]
    one, two, other = (
        evaluate_reconstruction(images, known, strategies=chosen, seed=s, batch_size=b).to_dict()
        for s, b in ((1, 1), (1, 4), (2, 4))
    )
    for strategy in chosen:
        assert one[strategy]["mean_pearson"] == pytest.approx(
            two[strategy]["mean_pearson"], abs=1e-6
        )
        assert one[strategy]["baselines"] == pytest.approx(two[strategy]["baselines"])
        assert one[strategy]["baselines"] != pytest.approx(other[strategy]["baselines"])


def test_coverage_of_the_calibrated_interval_on_an_image_not_fitted_on() -> None:
    images = cohort(4, (128, 128))
    known = checkpoint()
    known = dataclasses.replace(
        known, calibration=calibrate(known, images[:3], strategies=("niche",))
    )
    report = evaluate_reconstruction(images[3:], known, strategies=["niche"], repeats=4)
    told = report.to_dict()["niche"]
    assert 0.75 <= told["mean_coverage"] <= 0.85
    assert set(told["markers"]["CD3_Er170"]) == {"pearson", "f1", "baselines", "coverage"}
    without = evaluate_reconstruction(images[3:], known, strategies=["niche"]).to_dict()
    assert "mean_coverage" not in without["niche"]


def test_images_that_are_evaluated_are_not_fitted_on(tmp_path) -> None:
    images = [dataclasses.replace(i, source=tmp_path / i.name) for i in cohort(1, (128, 128))]
    report = evaluate_reconstruction(images, checkpoint(), fit=images, strategies=["marker"])
    assert report.fit_images == ()
    assert any("is evaluated: not used to fit" in text for text in report.warnings)
    assert set(report.strategies["marker"].baselines) == {"best_other"}


def test_a_channel_without_signal_is_not_counted() -> None:
    pixels = counts(0, (128, 128))
    pixels[1] = 0
    found = evaluate_reconstruction(
        [image_of(pixels)], checkpoint(), strategies=["niche"]
    ).to_dict()["niche"]
    assert found["markers"]["CD20_Dy161"]["pearson"] is None
    assert found["mean_pearson"] is not None
    assert math.isnan(StrategyReport({"a": MarkerReport(math.nan, 0, {})}).mean_pearson)


def test_refusals() -> None:
    with pytest.raises(InputError, match="at least one image"):
        evaluate_reconstruction([], checkpoint())
    with pytest.raises(InputError, match="found 'all'"):
        evaluate_reconstruction(cohort(1), checkpoint(), strategies=["all"])
    with pytest.raises(Cancelled):
        evaluate_reconstruction(cohort(1), checkpoint(), cancelled=lambda: True)
