import dataclasses
import math

import numpy as np
import pytest
from infer_samples import CHANNELS, checkpoint, cohort, counts, image_of

from virtues_core.infer import InpaintRequest, Runner, inpaint, prepare_image
from virtues_core.infer.cohort import (
    _choose,
    _fit_marker,
    _groups,
    _Pixels,
    fit_cohort,
    match_channels,
    others_of,
)
from virtues_core.infer.familiarity import take_down
from virtues_core.infer.scores import pearson

ONE = InpaintRequest(markers=("CD68_Tb159",), repeats=1)


def test_the_better_of_both_is_at_least_ridge() -> None:
    """A model of random weights is worth nothing: the result is ridge, and the note says so."""
    images = cohort(4)
    result = inpaint(images[0], None, checkpoint(), ONE, fit_images=images[1:])
    (score,) = result.scores
    assert score.method == "ridge"
    assert score.pearson == pytest.approx(score.baselines["ridge"], abs=1e-3)
    assert score.pearson > score.baselines["best_other"]
    assert score.pearson > score.model_pearson + 0.3
    assert set(score.held_out) == {"model", "ridge", "ridge+model"}
    assert "ridge: Pearson 0." in score.note
    assert "held out on 3 other images, against the model" in score.note
    assert 0.75 <= score.coverage <= 0.85
    assert not any("not calibrated" in text for text in result.warnings)


def _oracle(monkeypatch: pytest.MonkeyPatch, images: list, noise: float) -> None:
    """Let the runner answer with the truth and noise, as a very good model would."""
    truths = {}
    for image in images:
        prepared = prepare_image(image, None, checkpoint())
        truths[prepared.pixels[:2, :128, :128].tobytes()] = prepared
    rng = np.random.default_rng(0)

    def predict(self, tiles, embeddings, masks, channels):
        answers = []
        for tile in tiles:
            truth = tile[list(channels)]
            answers.append(truth + rng.normal(0, noise, truth.shape))
        return np.asarray(answers, dtype=np.float32)

    monkeypatch.setattr(Runner, "predict", predict)


def test_a_good_model_is_chosen_and_a_fair_one_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    images = cohort(3)
    _oracle(monkeypatch, images, noise=0.01)
    best = inpaint(images[0], None, checkpoint(), ONE, fit_images=images[1:]).scores[0]
    assert best.method != "ridge"
    assert best.pearson > 0.99
    assert best.pearson > best.baselines["ridge"] + 0.01
    _oracle(monkeypatch, images, noise=1.0)
    fair = inpaint(images[0], None, checkpoint(), ONE, fit_images=images[1:]).scores[0]
    assert fair.method == "ridge+model"
    assert fair.pearson > max(fair.baselines["ridge"], fair.model_pearson) + 0.003
    assert fair.held_out["ridge+model"] == max(fair.held_out.values())
    assert 0.75 <= fair.coverage <= 0.85


def test_one_other_image_is_judged_by_halves() -> None:
    images = cohort(2)
    result = inpaint(images[0], None, checkpoint(), ONE, fit_images=images[1:])
    assert result.scores[0].method == "ridge"
    assert "held out on the other image" in result.scores[0].note


def test_images_that_cannot_be_fitted_on_are_named(tmp_path) -> None:
    images = cohort(3)
    lacking = image_of(counts(5)[[0, 1, 3, 4]], tuple(np.delete(CHANNELS, 2)), "without CD68")
    result = inpaint(images[0], None, checkpoint(), ONE, fit_images=[images[1], lacking])
    assert "without CD68 does not carry CD68_Tb159: not used to fit" in result.warnings
    assert result.scores[0].method == "ridge"
    result = inpaint(images[0], None, checkpoint(), ONE, fit_images=[lacking])
    assert any("none of the other images can be used" in text for text in result.warnings)
    assert "ridge" not in result.scores[0].baselines

    itself = dataclasses.replace(images[0], source=tmp_path / "a.tiff")
    result = inpaint(itself, None, checkpoint(), ONE, fit_images=[itself, images[1]])
    assert any("is the image at hand" in text for text in result.warnings)
    result = inpaint(itself, None, checkpoint(), ONE, fit_images=[itself])
    assert "ridge" not in result.scores[0].baselines  # nothing is fitted on the truth


def test_other_images_are_of_no_use_to_niche_masking() -> None:
    images = cohort(2)
    request = InpaintRequest(strategy="niche", repeats=0)
    result = inpaint(images[0], None, checkpoint(), request, fit_images=images[1:])
    assert any("under niche masking the other markers are hidden" in t for t in result.warnings)


def test_channels_match_by_name_then_by_protein() -> None:
    one = prepare_image(cohort(1)[0], None, checkpoint())
    renamed = ("170Er_CD3", "CD20_Dy161", "CD68(Tb159)", "DNA3_Ir193", "131Xe_Xe131")
    other = prepare_image(image_of(counts(1)[::-1], renamed[::-1]), None, checkpoint())
    assert match_channels(one, other) == {0: 3, 1: 2, 2: 1, 3: 0}
    twice = prepare_image(
        image_of(counts(1)[:4], ("DNA1_Ir191x", "CD20_Dy161", "DNA2", "DNA3_Ir193")),
        None,
        checkpoint(),
    )
    assert 3 not in match_channels(one, twice)  # two DNA stains: which one is not known


def test_a_cohort_of_nothing_but_the_image_itself() -> None:
    prepared = prepare_image(cohort(1)[0], None, checkpoint())
    others, notes = others_of(prepared, [prepared])
    assert others == []
    assert len(notes) == 1
    assert fit_cohort(prepared, (0,), [prepared], Runner(checkpoint()), repeats=0) is None


def test_a_model_that_knows_the_other_images_by_heart_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It answers with the truth on the images it is judged on, and with noise on the new one."""
    images = cohort(4)
    new = prepare_image(images[0], None, checkpoint())
    rng = np.random.default_rng(0)

    def predict(self, tiles, embeddings, masks, channels):
        answers = []
        for tile in tiles:
            truth = tile[list(channels)]
            is_new = np.isin(tile[0, 0], new.pixels[0]).all()
            answers.append(truth + rng.normal(0, 8 if is_new else 0.1, truth.shape))
        return np.asarray(answers, dtype=np.float32)

    monkeypatch.setattr(Runner, "predict", predict)
    score = inpaint(images[0], None, checkpoint(), ONE, fit_images=images[1:]).scores[0]
    assert score.model_pearson < 0.3
    assert score.pearson >= score.baselines["ridge"] - 0.02
    assert "it may have been trained on them" in score.note


def test_noise_takes_a_correlation_down_as_far_as_it_should() -> None:
    rng = np.random.default_rng(0)
    truth = [rng.normal(size=20_000).astype("f4") for _ in range(2)]
    model = [t + rng.normal(0, 0.3, t.shape).astype("f4") for t in truth]
    before = pearson(np.concatenate(model), np.concatenate(truth))
    down = take_down(model, truth, 0.5, rng)
    after = pearson(np.concatenate(down), np.concatenate(truth))
    assert np.arctanh(after) == pytest.approx(np.arctanh(before) - 0.5, abs=0.03)
    same = take_down(model, truth, 0.0, rng)
    assert all(a is b for a, b in zip(same, model, strict=True))


def test_the_way_is_judged_within_images_not_between_them() -> None:
    """The model tells bright images from dim ones; within each ridge with it is better."""
    rng = np.random.default_rng(0)
    pixels = _Pixels()
    for level in (-6.0, -2.0, 2.0, 6.0):
        visible = rng.normal(size=(2, 4000)).astype("f4")
        other = rng.normal(size=4000)
        truth = level + visible[0] + other
        pixels.visible.append(visible)
        pixels.truth.append(truth[None].astype("f4"))
        pixels.model.append((level + 0.7 * other + 0.3 * rng.normal(size=4000))[None].astype("f4"))
        pixels.spread.append(np.zeros((1, 4000), "f4"))
        pixels.floor.append(np.full(1, -20, "f4"))
    fit = _fit_marker(pixels, 0, _groups(pixels), seed=0)
    together = np.concatenate(pixels.truth, axis=1)[0]
    assert pearson(np.concatenate(pixels.model, axis=1)[0], together) > 0.95
    assert fit.held_out["model"] < 0.7  # of two equal parts of the truth it knows one
    assert fit.method == "ridge+model"
    assert fit.held_out["ridge+model"] > 0.9


@pytest.mark.parametrize(
    ("model", "ridge", "both", "chosen"),
    [
        ([0.6, 0.7, 0.8], [0.3, 0.4, 0.5], [0.5, 0.6, 0.7], "model"),  # better in every image
        ([0.5, 0.9, 0.6], [0.3, 0.4, 0.5], [0.6, 0.7, 0.6], "ridge+model"),  # in one image only
        ([0.2, 0.3, 0.2], [0.7, 0.6, 0.8], [0.7, 0.6, 0.801], "ridge"),  # the model adds nothing
        ([0.2, 0.3, 0.2], [0.7, 0.6, 0.8], [0.72, 0.63, 0.81], "ridge+model"),
        ([0.2, 0.3, 0.2], [0.7, 0.6, 0.8], [0.6, 0.5, 0.7], "ridge"),
        ([math.nan] * 3, [0.7, 0.6, 0.8], [math.nan] * 3, "ridge"),
        ([math.nan, 0.6, 0.8], [math.nan, 0.4, 0.5], [math.nan, 0.5, 0.7], "model"),
    ],
)
def test_near_ties_go_to_ridge_with_the_model(model, ridge, both, chosen) -> None:
    assert _choose({"model": model, "ridge": ridge, "ridge+model": both}) == chosen
