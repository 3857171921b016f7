import dataclasses

import numpy as np
import pytest
import torch
from infer_samples import USED, checkpoint, cohort, counts, image_of

from virtues_core.errors import DeviceError, InputError, MarkerError
from virtues_core.infer import Cancelled, InpaintRequest, Runner, inpaint, prepare_image
from virtues_core.infer.masks import draw_patches, hide_more, to_patches, to_pixels

ONE = InpaintRequest(markers=("CD3_Er170",), repeats=1)


def _region(shape: tuple[int, int] = (140, 150)) -> np.ndarray:
    region = np.zeros(shape, bool)
    region[20:40, 30:61] = True
    return region


def test_masks_hide_what_their_strategy_says() -> None:
    rng = np.random.default_rng(0)
    marker = draw_patches(rng, "marker", 5, (16, 16), [1, 3])
    assert marker.all(axis=(1, 2)).tolist() == [False, True, False, True, False]
    assert not marker[[0, 2, 4]].any()
    niche = draw_patches(rng, "niche", 5, (16, 16))
    assert (niche == niche[0]).all()
    assert 0.6 <= niche[0].mean() <= 1
    independent = draw_patches(rng, "independent", 5, (16, 16))
    ratios = independent.mean(axis=(1, 2))
    assert ((ratios >= 0.6) & (ratios <= 1)).all()
    assert len(set(ratios)) > 1


def test_a_repeat_hides_more_and_never_less() -> None:
    rng = np.random.default_rng(0)
    for strategy, hidden in (("marker", [1]), ("niche", []), ("independent", [])):
        mask = draw_patches(rng, strategy, 6, (16, 16), hidden)
        for _ in range(20):
            more = hide_more(rng, mask, strategy, hidden)
            assert (more >= mask).all()
            assert not more.all()
        assert any((hide_more(rng, mask, strategy, hidden) > mask).any() for _ in range(20))
    both = draw_patches(rng, "marker", 2, (16, 16), [0])
    assert not hide_more(rng, both, "marker", [0])[1].any()  # the last visible channel stays


def test_a_region_hides_every_patch_that_it_touches() -> None:
    patches = to_patches(_region((141, 150)), 8)
    assert patches.shape == (18, 19)
    widened = to_pixels(patches, 8)[:141, :150]
    assert (widened >= _region((141, 150))).all()
    assert widened.sum() == 24 * 40


def test_marker_result_has_the_right_shapes_and_truth() -> None:
    image = cohort(1)[0]
    known = checkpoint()
    seen = []
    result = inpaint(image, None, known, ONE, on_tile=seen.append)
    assert result.channels == ("CD3_Er170",)
    assert result.masked.all()
    prepared = prepare_image(image, None, known)
    np.testing.assert_array_equal(result.truth[0], prepared.pixels[0])
    for name in ("prediction", "lower", "upper", "truth", "prediction_counts", "upper_counts"):
        values = getattr(result, name)
        assert values.shape == (1, 140, 150)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert (result.lower <= result.upper).all()
    assert (result.lower >= prepared.floor[0]).all()
    counted = np.expm1(np.maximum(result.prediction * prepared.std[0] + prepared.mean[0], 0))
    np.testing.assert_allclose(result.prediction_counts, counted, rtol=1e-4, atol=1e-5)
    assert [tile.index for tile in seen] == list(range(4))
    assert {tile.total for tile in seen} == {4}
    assert seen[0].prediction.shape == (1, 128, 128)
    assert seen[0].channels == ("CD3_Er170",)
    assert any("not calibrated" in text for text in result.warnings)
    (score,) = result.scores
    assert set(score.baselines) == {"best_other"}
    assert score.method == "model"
    assert score.pearson == pytest.approx(
        np.corrcoef(result.prediction.ravel(), result.truth.ravel())[0, 1], abs=1e-4
    )


def test_the_model_does_not_see_what_is_hidden() -> None:
    known = checkpoint()
    prepared = prepare_image(cohort(1)[0], None, known)
    tile = prepared.pixels[:, :128, :128]
    changed = tile.copy()
    changed[0] = np.random.default_rng(9).permuted(tile[0])
    for hidden, same in ((0, True), (1, False)):
        mask = draw_patches(np.random.default_rng(0), "marker", 4, (16, 16), [hidden])
        first, second = Runner(known).predict(
            [tile, changed], prepared.embeddings, [mask, mask], [hidden]
        )
        assert np.allclose(first, second, atol=1e-5) == same


def test_tiles_blend_to_what_one_tile_says() -> None:
    image = image_of(counts(0, (128, 128)))
    known = checkpoint()
    prepared = prepare_image(image, None, known)
    mask = draw_patches(np.random.default_rng(0), "marker", 4, (16, 16), [0])
    alone = Runner(known).predict([prepared.pixels], prepared.embeddings, [mask], [0])
    result = inpaint(image, None, known, dataclasses.replace(ONE, repeats=0))
    expected = np.maximum(alone[0], prepared.floor[0])
    np.testing.assert_allclose(result.prediction, expected, atol=1e-5)


def test_niche_hides_the_region_in_all_channels_and_keeps_the_rest() -> None:
    request = InpaintRequest(strategy="niche", region=_region(), repeats=1)
    seen = []
    result = inpaint(cohort(1)[0], None, checkpoint(), request, on_tile=seen.append)
    assert result.channels == USED
    assert (result.masked == result.masked[0]).all()
    assert (result.masked[0] >= _region()).all()
    assert result.masked[0].sum() == 24 * 40
    outside = ~result.masked
    for values in (result.prediction, result.lower, result.upper):
        np.testing.assert_array_equal(values[outside], result.truth[outside])
    assert (result.prediction != result.truth)[result.masked].mean() > 0.9
    assert {score.channel for score in result.scores} == set(USED)
    assert set(result.scores[0].baselines) == {"mean_visible"}
    assert len(seen) < 4 or seen[0].total == 4  # tiles that show nothing of it are not run


def test_tiles_without_hidden_patches_are_not_run() -> None:
    region = np.zeros((300, 128), bool)
    region[:8, :8] = True
    request = InpaintRequest(strategy="niche", region=region, repeats=0)
    seen = []
    inpaint(image_of(counts(0, (300, 128))), None, checkpoint(), request, on_tile=seen.append)
    assert len(seen) == 1


def test_a_marker_within_a_region() -> None:
    request = InpaintRequest(markers=("CD3_Er170",), region=_region(), repeats=1)
    result = inpaint(cohort(1)[0], None, checkpoint(), request)
    assert result.masked.shape == (1, 140, 150)
    assert result.masked.sum() == 24 * 40
    assert set(result.scores[0].baselines) == {"mean_visible", "best_other"}


def test_independent_masking_is_the_same_by_seed() -> None:
    request = InpaintRequest(strategy="independent", markers=("CD68_Tb159",), repeats=1, seed=3)
    first, again = (inpaint(cohort(1)[0], None, checkpoint(), request) for _ in range(2))
    np.testing.assert_array_equal(first.masked, again.masked)
    np.testing.assert_array_equal(first.prediction, again.prediction)
    np.testing.assert_array_equal(first.upper, again.upper)
    other = inpaint(cohort(1)[0], None, checkpoint(), dataclasses.replace(request, seed=4))
    assert (other.masked != first.masked).any()
    assert 0.55 < first.masked.mean() <= 1


def test_a_marker_not_seen_in_training_is_said_so() -> None:
    result = inpaint(cohort(1)[0], None, checkpoint(trained_keys=("P11836",)), ONE)
    assert any("never saw CD3_Er170 (P07766)" in text for text in result.warnings)
    assert "never seen in training" in result.scores[0].note
    result = inpaint(cohort(1)[0], None, checkpoint(), ONE)
    assert not any("never saw" in text for text in result.warnings)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "nothing to hide"),
        ({"strategy": "all", "markers": ("A",)}, "strategy among independent, marker, niche"),
        ({"markers": ("A",), "repeats": -1}, "repeats: expected 0 or more, found -1"),
        ({"markers": ("A",), "batch_size": 0}, "batch_size: expected 1 or more"),
        ({"markers": ("A",), "stride_px": 129}, "stride_px: expected 1 to 128 px"),
        ({"strategy": "independent", "region": np.ones((9, 9), bool)}, "expected no region"),
    ],
)
def test_requests_that_make_no_sense_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        InpaintRequest(**fields)


def test_inputs_that_do_not_fit_are_refused() -> None:
    image, known = cohort(1)[0], checkpoint()
    with pytest.raises(MarkerError, match="no channel named 'CD4'"):
        inpaint(image, None, known, InpaintRequest(markers=("CD4",)))
    wrong = InpaintRequest(strategy="niche", region=np.ones((10, 20), bool))
    with pytest.raises(InputError, match=r"size \(140, 150\).*found \(10, 20\)"):
        inpaint(image, None, known, wrong)
    empty = InpaintRequest(strategy="niche", region=np.zeros((140, 150), bool))
    with pytest.raises(InputError, match="nothing to hide: the region is empty"):
        inpaint(image, None, known, empty)
    for request in (
        InpaintRequest(strategy="niche", region=np.ones((140, 150), bool)),
        InpaintRequest(markers=USED),
    ):
        with pytest.raises(InputError, match="nothing is left for the model to see"):
            inpaint(image, None, known, request)


def test_cancelling_between_and_within_batches() -> None:
    tiles = []
    request = dataclasses.replace(ONE, batch_size=1)
    with pytest.raises(Cancelled):
        inpaint(
            cohort(1)[0], None, checkpoint(), request,
            on_tile=tiles.append, cancelled=lambda: len(tiles) >= 2,
        )  # fmt: skip
    assert len(tiles) == 2

    known = checkpoint()
    asked = 0

    def cancelled() -> bool:  # the first question is asked before the batch
        nonlocal asked
        asked += 1
        return asked > 1

    runner = Runner(known, cancelled=cancelled)
    finished = []
    hook = known.model.register_forward_hook(lambda *_: finished.append(True))
    runner._asked = -1e9
    many = [np.zeros((4, 128, 128), "f4")] * 8
    with pytest.raises(Cancelled):
        while True:  # each batch is long against the pause between questions, or the next asks
            runner.predict(many, np.zeros((4, 640), "f4"), [np.zeros((4, 16, 16), bool)] * 8, [0])
    hook.remove()
    assert asked == 2
    assert not known.model.encoder.patch._forward_pre_hooks  # nothing is left on the model


def test_half_the_batch_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known = checkpoint()
    sizes = []
    whole = type(known.model).forward

    def forward(self, images, *rest):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return whole(self, images, *rest)

    monkeypatch.setattr(type(known.model), "forward", forward)
    rng = np.random.default_rng(0)
    tiles = [rng.normal(size=(4, 128, 128)).astype("f4") for _ in range(5)]
    masks = [draw_patches(rng, "marker", 4, (16, 16), [0]) for _ in tiles]
    embeddings = known.embeddings.stack(known.trained_keys)
    runner = Runner(known, batch_size=5)
    said = runner.predict(tiles, embeddings, masks, [0])
    assert sizes == [5, 2, 2, 1]
    assert runner.batch_size == 2  # and stays so
    monkeypatch.undo()
    expected = Runner(known, batch_size=1).predict(tiles, embeddings, masks, [0])
    np.testing.assert_allclose(said, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), DeviceError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), DeviceError),
        (RuntimeError("something else"), RuntimeError),
    ],
)
def test_memory_for_not_even_one_tile(
    error: RuntimeError, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = checkpoint()

    def forward(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(known.model), "forward", forward)
    with pytest.raises(raised, match=r"memory|something else"):
        inpaint(cohort(1)[0], None, known, ONE)
