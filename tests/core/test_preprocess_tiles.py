import numpy as np
import pytest

from virtues_core.errors import InputError
from virtues_core.preprocess import Blender, RollingBlender, tile_origins, tissue_mask


@pytest.mark.parametrize(
    ("shape", "stride", "count"),
    [((128, 128), 128, 1), ((501, 500), 128, 16), ((256, 256), 128, 4), ((300, 130), 42, 12)],
)
def test_tiles_cover_every_pixel(shape: tuple[int, int], stride: int, count: int) -> None:
    origins = tile_origins(shape, stride=stride)
    covered = np.zeros(shape, int)
    for y, x in origins:
        assert 0 <= y <= shape[0] - 128
        assert 0 <= x <= shape[1] - 128
        covered[y : y + 128, x : x + 128] += 1
    assert covered.min() >= 1
    assert len(origins) == count
    assert len(np.unique(origins, axis=0)) == count


def test_small_image_and_long_stride_are_refused() -> None:
    with pytest.raises(InputError, match=r"at least 128 × 128 px, found 100 × 300"):
        tile_origins((100, 300))
    with pytest.raises(InputError, match=r"stride of 1 to 128 px.*found 129"):
        tile_origins((300, 300), stride=129)


def test_blending_gives_the_image_back_and_no_seams() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 301, 290)).astype(np.float32)
    blender = Blender(image.shape, overlap_px=32)
    assert np.isnan(blender.result()).all()
    for y, x in tile_origins(image.shape[1:], stride=96):
        blender.add((y, x), image[:, y : y + 128, x : x + 128])
    np.testing.assert_allclose(blender.result(), image, atol=1e-5)

    steps = Blender((1, 128, 224), overlap_px=32)  # two tiles that disagree: a ramp, not a step
    for x, value in ((0, 0.0), (96, 1.0)):
        steps.add((0, x), np.full((1, 128, 128), value, np.float32))
    row = steps.result()[0, 64]
    assert row[95] == 0
    assert row[128] == 1
    assert np.all(np.diff(row) >= 0)
    assert np.diff(row).max() < 0.06
    even = Blender((1, 128, 224))
    for x, value in ((0, 0.0), (96, 1.0)):
        even.add((0, x), np.full((1, 128, 128), value, np.float32))
    assert even.result()[0, 64, 110] == 0.5


def test_tissue_is_found_with_its_holes_filled() -> None:
    rng = np.random.default_rng(0)
    disc = np.hypot(*(np.indices((200, 200)) - 100)) < 70
    hole = np.hypot(*(np.indices((200, 200)) - 100)) < 12
    pixels = rng.poisson(np.where(disc & ~hole, 8.0, 0.3), (4, 200, 200))
    found = tissue_mask(pixels)
    overlap = (found & disc).sum() / (found | disc).sum()
    assert overlap > 0.95
    assert found[100, 100]


def test_no_contrast_is_tissue_throughout() -> None:
    assert tissue_mask(np.full((2, 130, 130), 7)).all()
    assert tissue_mask(np.zeros((2, 130, 130))).all()
    with pytest.raises(InputError, match="NaN"):
        tissue_mask(np.full((1, 130, 130), np.nan))


def test_rows_of_tiles_blend_to_the_same_as_all_at_once() -> None:
    rng = np.random.default_rng(0)
    origins = tile_origins((301, 290), stride=72)
    tiles = rng.normal(size=(len(origins), 2, 128, 128)).astype(np.float32)
    whole = Blender((2, 301, 290), overlap_px=56)
    rolling = RollingBlender(2, 290, overlap_px=56)
    found = np.full((2, 301, 290), np.nan, np.float32)
    for i, (origin, tile) in enumerate(zip(origins, tiles, strict=True)):
        whole.add(origin, tile)
        rolling.add(origin, tile)
        assert rolling._weights.shape[0] <= 128 + 72
        top, rows = rolling.take(int(origins[i + 1, 0]) if i + 1 < len(origins) else 301)
        found[:, top : top + rows.shape[1]] = rows
    np.testing.assert_array_equal(found, whole.result())


def test_rows_that_no_tile_reaches_are_not_kept() -> None:
    rolling = RollingBlender(1, 300)
    rolling.add((0, 0), np.ones((1, 128, 128)))
    assert rolling.take(2000)[1].shape == (1, 128, 300)
    rolling.add((2000, 100), np.ones((1, 128, 128)))
    top, rows = rolling.take(5000)
    assert (top, rows.shape) == (2000, (1, 128, 300))
    assert np.isnan(rows[0, :, :100]).all()
    assert (rows[0, :, 100:228] == 1).all()
