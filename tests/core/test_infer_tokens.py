"""Patch tokens to cell tokens: exactly the definition, wherever the tiles lie."""

import dask.array as da
import numpy as np
import pytest
import torch

from virtues_core.errors import InputError
from virtues_core.infer import cell_tokens
from virtues_core.infer.cells import CellMask, measure_cells
from virtues_core.infer.rows import RowMeans
from virtues_core.infer.tokens import niche_origins, window_at
from virtues_core.preprocess import tile_origins


def labels(shape: tuple[int, int], count: int, seed: int = 0) -> np.ndarray:
    """(Y, X) int32: cells of all sizes, one pixel and more, with labels that skip numbers."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.int32)
    for label in 3 * rng.permutation(count) + 2:
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        h, w = rng.integers(1, 14, 2)
        mask[y : y + h, x : x + w] = label
    return mask


def by_the_definition(tokens, origins, mask, patch):
    """Sum over tiles, patches and pixels, one at a time: label → token."""
    sums, weights = {}, {}
    for tile, (top, left) in zip(tokens, origins, strict=True):
        for i, j in np.ndindex(tile.shape[:2]):
            for y in range(top + i * patch, top + (i + 1) * patch):
                for x in range(left + j * patch, left + (j + 1) * patch):
                    if not (0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]) or not mask[y, x]:
                        continue
                    label = int(mask[y, x])
                    sums[label] = sums.get(label, 0) + tile[i, j].astype(float)
                    weights[label] = weights.get(label, 0) + 1
    return {label: sums[label] / weights[label] for label in sums}


@pytest.mark.parametrize("at_once", [2, 256])
@pytest.mark.parametrize("kind", ["array", "tensor", "list"])
def test_the_definition(kind: str, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlapping tiles, some that stick out on every side, one that lies outside altogether."""
    monkeypatch.setattr("virtues_core.infer.tokens._TILES_AT_ONCE", at_once)
    monkeypatch.setattr("virtues_core.infer.tokens._CACHED_TILES", 3)
    mask = labels((40, 51), 60)
    origins = np.array([[-5, -7], [3, 0], [20, 30], [30, 44], [8, 8], [60, 60], [-30, 2]])
    tokens = np.random.default_rng(1).normal(size=(7, 5, 6, 3)).astype("f4")
    given = {
        "array": tokens,
        "tensor": torch.from_numpy(tokens).requires_grad_(),
        "list": [*tokens],
    }
    ids, found = cell_tokens(given[kind], origins, mask, patch_size=4)
    expected = by_the_definition(tokens, origins.tolist(), mask, 4)
    assert ids.tolist() == sorted(expected)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [expected[i] for i in ids.tolist()], rtol=1e-5, atol=1e-6)


def test_every_cell_has_a_token_where_tiles_cover_the_image() -> None:
    mask = labels((150, 171), 300)
    mask[149, 170] = 7777  # one pixel, in the corner
    origins = tile_origins(mask.shape, stride=42)
    tokens = np.random.default_rng(0).normal(size=(len(origins), 16, 16, 2)).astype("f4")
    ids, found = cell_tokens(tokens, origins, mask)
    np.testing.assert_array_equal(ids, np.unique(mask)[1:])
    assert np.isfinite(found).all()
    corner = [t[(149 - y) // 8, (170 - x) // 8] for t, (y, x) in zip(tokens, origins, strict=True)
              if y + 128 > 149 and x + 128 > 170]  # fmt: skip
    np.testing.assert_allclose(found[ids == 7777][0], np.mean(corner, axis=0), atol=1e-6)


def test_cells_that_no_tile_covers_are_left_out() -> None:
    mask = np.zeros((10, 40), np.uint16)
    mask[2:4, 1:3], mask[2:4, 30:33] = 9, 4
    ids, found = cell_tokens(np.ones((1, 1, 1, 5), "f4"), [[0, 0]], mask)
    assert ids.tolist() == [9]
    assert found.shape == (1, 5)
    ids, found = cell_tokens(np.ones((0, 1, 1, 5), "f4"), np.zeros((0, 2), int), mask)
    assert (ids.shape, found.shape) == ((0,), (0, 5))


@pytest.mark.parametrize(
    ("tokens", "origins", "mask", "said"),
    [
        (np.ones((2, 1, 1, 3)), [[0, 0]], np.ones((8, 8), int), r"of 2 tiles .*\(2, 2\), found"),
        (np.ones((1, 1, 1, 3)), [[0.5, 0]], np.ones((8, 8), int), "whole numbers"),
        (np.ones((1, 1, 3)), [[0, 0]], np.ones((8, 8), int), r"found tiles of shape \(1, 3\)"),
        (
            [np.ones((1, 1, 3)), np.ones((1, 1, 2))],
            [[0, 0], [0, 8]],
            np.ones((8, 8), int),
            r"\(1, 1, 3\), \(1, 1, 2\)",
        ),
        (np.ones((1, 1, 1, 3)), [[0, 0]], np.ones((8, 8)), "found shape .* of float64"),
        (np.ones((1, 1, 1, 3)), [[0, 0]], -np.ones((8, 8), int), "with -1"),
        (np.ones((1, 1, 1, 3)), [[0, 0]], np.ones((1, 8, 8), int), r"\(Y, X\)"),
    ],
)
def test_what_does_not_fit_is_refused(tokens, origins, mask, said: str) -> None:
    with pytest.raises(InputError, match=said):
        cell_tokens(tokens, origins, mask)


def test_niches_do_not_overlap_and_stay_inside() -> None:
    origins = niche_origins((300, 257))
    assert origins.tolist() == [[0, 0], [0, 128], [128, 0], [128, 128]]
    assert niche_origins((128, 128), stride=64).tolist() == [[0, 0]]
    assert niche_origins((100, 500)).shape == (0, 2)


@pytest.mark.parametrize("on_disk", [False, True])
def test_means_of_rows(on_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virtues_core.infer.rows._RELEASE_EVERY_BYTES", 100)
    rng = np.random.default_rng(0)
    means = RowMeans(50, 7, on_disk=on_disk)
    sums, weights = np.zeros((50, 7)), np.zeros(50)
    for _ in range(30):
        rows = rng.permutation(45)[:9]
        values, weight = rng.normal(size=(9, 7)), rng.integers(1, 5, 9)
        means.add(rows, values, weight)
        sums[rows] += values
        weights[rows] += weight
    assert (weights[:45] > 0).all()
    np.testing.assert_allclose(np.asarray(means)[:45], sums[:45] / weights[:45, None], rtol=1e-6)
    np.testing.assert_array_equal(means[10:20], np.asarray(means)[10:20])
    assert np.isnan(means[45:50]).all()


def test_a_window_that_sticks_out_is_filled_with_background() -> None:
    mask = np.arange(1, 13).reshape(3, 4)
    padded = np.pad(mask, 5)
    for y, x in np.ndindex(8, 9):
        np.testing.assert_array_equal(
            window_at(mask, (y - 4, x - 4), (4, 3)), padded[y + 1 : y + 5, x + 1 : x + 4]
        )


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("table", [0, 2**22])
def test_cells_are_measured_block_by_block(
    lazy: bool, table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infer_samples import counts, image_of

    monkeypatch.setattr("virtues_core.infer.cells.IN_MEMORY_PX", 0)
    monkeypatch.setattr("virtues_core.infer.tokens._TABLE_LABELS", table)
    image = image_of(counts(0, (300, 1100)))
    mask = labels((300, 1100), 800)
    cells = CellMask(da.from_array(mask, chunks=(130, 400)) if lazy else mask, (300, 1100))
    np.testing.assert_array_equal(cells.ids, np.unique(mask)[1:])
    window = (slice(120, 300), slice(390, 700))
    np.testing.assert_array_equal(cells.labels(window), mask[window])
    found = measure_cells(image, cells)
    pixels = image.compute()
    for i, label in [*enumerate(cells.ids)][::37]:
        inside = mask == label
        assert found.area_px[i] == inside.sum()
        np.testing.assert_allclose(found.centres_px[i], np.argwhere(inside).mean(axis=0))
        np.testing.assert_allclose(
            found.intensities[i : i + 1][0], pixels[:, inside].mean(axis=1), rtol=1e-6
        )
    origins = tile_origins((300, 1100), stride=50)
    expected = [mask[y : y + 128, x : x + 128].any() for y, x in origins]
    np.testing.assert_array_equal(cells.held_by(origins), expected)


def test_tiles_without_cells_are_seen() -> None:
    mask = np.zeros((300, 400), int)
    mask[130, 200] = 1
    origins = tile_origins(mask.shape, stride=42)
    held = CellMask(mask, mask.shape).held_by(origins)
    assert 0 < held.sum() < len(held)
    np.testing.assert_array_equal(held, [mask[y : y + 128, x : x + 128].any() for y, x in origins])


@pytest.mark.parametrize("kind", ["array", "lazy"])
def test_masks_that_do_not_fit_are_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virtues_core.infer.cells.IN_MEMORY_PX", 0)

    def given(mask):
        return mask if kind == "array" else da.from_array(mask, chunks=(5, 5))

    with pytest.raises(InputError, match=r"size \(9, 9\) .* found \(8, 9\)"):
        CellMask(given(np.ones((8, 9), int)), (9, 9))
    with pytest.raises(InputError, match=r"found only background"):
        CellMask(given(np.zeros((9, 9), int)), (9, 9))
    with pytest.raises(InputError, match="whole numbers"):
        CellMask(given(np.full((9, 9), 0.5)), (9, 9))
