import numpy as np
import pytest

from virtues_core.errors import InputError
from virtues_core.preprocess import (
    Statistics,
    check_counts,
    dataset_statistics,
    log_intensities,
    normalise,
    to_counts,
    upper_quantiles,
)


def _counts(seed: int = 0, shape: tuple[int, int, int] = (3, 40, 50)) -> np.ndarray:
    return np.random.default_rng(seed).poisson(6, shape).astype(np.uint16)


def test_quantile_is_taken_over_the_tissue_only() -> None:
    pixels = np.zeros((1, 10, 20), np.uint16)
    pixels[0, :, :10] = np.arange(100).reshape(10, 10)
    pixels[0, :, 10:] = 5000
    tissue = np.zeros((10, 20), bool)
    tissue[:, :10] = True
    assert upper_quantiles(pixels, tissue)[0] == pytest.approx(98.01)
    assert upper_quantiles(pixels, ~tissue & False)[0] == pytest.approx(5000)  # empty: everything


def test_sparse_channel_keeps_its_signal() -> None:
    pixels = np.zeros((2, 40, 40), np.uint16)
    pixels[0, 3, 3] = 7
    assert upper_quantiles(pixels, np.ones((40, 40), bool)).tolist() == [7, 0]


def test_order_is_clip_log_blur() -> None:
    pixels = np.zeros((1, 5, 5), np.float32)
    pixels[0, 2, 2] = 1000
    got = log_intensities(pixels, np.array([9.0]))
    side = np.exp(-0.5) / (1 + 2 * np.exp(-0.5))
    centre = 1 / (1 + 2 * np.exp(-0.5))
    assert got[0, 2, 2] == pytest.approx(np.log(10) * centre**2, rel=1e-5)
    assert got[0, 1, 2] == pytest.approx(np.log(10) * centre * side, rel=1e-5)
    assert got[0, 1, 1] == pytest.approx(np.log(10) * side**2, rel=1e-5)
    assert got[0, 0].max() == 0  # the kernel is 3 px wide


def test_normalised_dataset_has_mean_0_and_std_1_over_tissue() -> None:
    images, tissues = [_counts(1), _counts(2, (3, 30, 60))], []
    for image in images:
        tissue = np.zeros(image.shape[1:], bool)
        tissue[4:, 6:] = True
        tissues.append(tissue)
        image[:, ~tissue] = 900  # outside: must not count
    stats = dataset_statistics("d", zip(images, tissues, strict=True), "abc", (None, "P1", "P2"))
    inside = [
        normalise(image, upper_quantiles(image, tissue), stats.mean, stats.std)[:, tissue]
        for image, tissue in zip(images, tissues, strict=True)
    ]
    together = np.concatenate(inside, axis=1)
    np.testing.assert_allclose(together.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(together.std(1), 1, atol=1e-4)
    assert stats.channels == ("a", "b", "c")
    assert stats.constant == ()
    mean, std = stats.of(["c", "a"])
    assert mean.tolist() == [stats.mean[2], stats.mean[0]]
    assert std.tolist() == [stats.std[2], stats.std[0]]
    assert stats.covers(["a", "c"])
    assert not stats.covers(["a", "z"])
    with pytest.raises(InputError, match="no channel z"):
        stats.of(["z"])


def test_counts_come_back() -> None:
    pixels = _counts()
    upper = upper_quantiles(pixels, np.ones((40, 50), bool))
    mean, std = np.array([0.4, 1.0, 2.0], np.float32), np.array([0.5, 1.0, 0.0], np.float32)
    logged = log_intensities(pixels, upper)
    back = to_counts(normalise(pixels, upper, mean, std), mean, std)
    np.testing.assert_allclose(back, np.expm1(logged), rtol=1e-4)
    assert to_counts(np.full((1, 1, 1), -50.0), mean[:1], std[:1])[0, 0, 0] == 0


def test_all_zero_channel_is_guarded_and_named() -> None:
    pixels = _counts()
    pixels[1] = 0
    tissue = np.ones((40, 50), bool)
    stats = dataset_statistics("d", [(pixels, tissue)], ("a", "b", "c"), ("x", "y", "z"))
    assert stats.constant == ("b",)
    assert stats.std[1] == 1
    normal = normalise(pixels, upper_quantiles(pixels, tissue), stats.mean, stats.std)
    assert np.isfinite(normal).all()
    assert (normal[1] == 0).all()


@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN"), (-3.0, "negative")])
def test_nan_and_negative_counts_name_the_channel(value: float, said: str) -> None:
    pixels = _counts().astype(np.float32)
    pixels[2, 1, 1] = value
    tissue = np.ones((40, 50), bool)
    with pytest.raises(InputError, match=rf"channel 'CD4' has 1 .*{said}"):
        check_counts(pixels, ("CD3", "CD20", "CD4"))
    with pytest.raises(InputError, match="channel 'CD4'"):
        upper_quantiles(pixels, tissue, channels=("CD3", "CD20", "CD4"))
    with pytest.raises(InputError, match="channel number 2"):
        normalise(pixels, np.ones(3), np.zeros(3), np.ones(3))
    with pytest.raises(InputError, match="channel 'CD4'"):
        dataset_statistics("d", [(pixels, tissue)], ("CD3", "CD20", "CD4"), (None,) * 3)


def test_wrong_shapes_say_expected_and_found() -> None:
    pixels = _counts()
    with pytest.raises(InputError, match=r"size \(40, 50\).*found \(40, 40\)"):
        upper_quantiles(pixels, np.ones((40, 40), bool))
    with pytest.raises(InputError, match=r"expected 2 channels.*found 3"):
        dataset_statistics("d", [(pixels, np.ones((40, 50), bool))], ("a", "b"), (None, None))
    with pytest.raises(InputError, match="found none"):
        dataset_statistics("d", [], ("a",), (None,))
    with pytest.raises(InputError, match=r"shape \(40, 50\)"):
        check_counts(pixels[0])
    with pytest.raises(InputError, match="as many keys"):
        Statistics("d", ("a",), (None, None), np.ones(1, np.float32), np.ones(1, np.float32))
