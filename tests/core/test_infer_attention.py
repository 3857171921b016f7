"""Marker importance: the paper's score from the first marker attention layer."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from infer_samples import CHANNELS, USED, checkpoint, counts, image_of
from skimage.io import imread
from typer.testing import CliRunner

from virtues_core.cli import attention
from virtues_core.errors import InputError, ReadError
from virtues_core.infer import Cancelled, marker_importance
from virtues_core.infer.attention import importance_scores, patch_shares
from virtues_core.infer.prepare import prepare_image
from virtues_core.infer.tiles import cut
from virtues_core.model import Checkpoint, ModelConfig, VirTues, save_checkpoint
from virtues_core.model.attention import attend_sequences
from virtues_core.model.attention_weights import attention_weights, first_marker_attention
from virtues_core.read import write_labels, write_ome_tiff


def with_pattern(pattern: str) -> Checkpoint:
    base = checkpoint()
    torch.manual_seed(1)
    config = ModelConfig(**{**base.config.to_dict(), "encoder_pattern": pattern})
    model = VirTues(config).eval().requires_grad_(requires_grad=False)
    for block in model.encoder.blocks:  # weights far from even attention
        block.qkv.weight.mul_(4)
    return replace(base, model=model, config=config)


def weights_by_hand(model: VirTues, tile: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """(16, 16, heads, 1 + C, 1 + C) of an encoder that begins with marker attention."""
    encoder = model.encoder
    block, heads = encoder.blocks[0], model.config.num_heads
    alpha = np.empty((16, 16, heads, len(tile) + 1, len(tile) + 1))
    marker = encoder.marker(torch.from_numpy(embeddings))
    for i in range(16):
        for j in range(16):
            pixels = tile[:, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8].reshape(len(tile), 64)
            tokens = encoder.patch(torch.from_numpy(pixels)) + marker
            x = block.norm1(torch.cat([encoder.summary_token[None], tokens]))
            q, k, _ = block.qkv(x).chunk(3, dim=1)
            for h in range(heads):
                part = slice(h * q.shape[1] // heads, (h + 1) * q.shape[1] // heads)
                score = (q[:, part] @ k[:, part].T / (q.shape[1] / heads) ** 0.5).numpy()
                alpha[i, j, h] = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    return alpha


def test_the_score_is_the_formula_summed_term_by_term() -> None:
    rho = np.random.default_rng(0).gamma(1.0, size=(3, 2, 5, 5))  # region, head, m', m
    found = importance_scores(rho)
    for r in range(3):
        for m in range(5):
            expected = 0.0
            for h in range(2):
                column = [rho[r, h, other, m] for other in range(5)]
                for other in range(5):
                    expected += (column[other] - min(column)) / (max(column) - min(column))
            assert found[r, m] == pytest.approx(expected)


def test_a_marker_that_all_but_one_attend_to_gets_most_and_even_attention_nothing() -> None:
    eye = np.eye(4)
    assert importance_scores(np.stack([eye, 1 - eye])).tolist() == [4.0] * 4  # 1 + (C - 1)
    assert importance_scores(np.full((2, 4, 4), 0.25)).tolist() == [0.0] * 4
    noisy = np.full((1, 4, 4), 0.25) + np.random.default_rng(0).normal(0, 1e-8, (1, 4, 4))
    assert importance_scores(noisy).tolist() == [0.0] * 4


def test_weights_are_those_that_the_encoder_attends_by() -> None:
    model = with_pattern("hv").model
    g = torch.Generator().manual_seed(0)
    images = [torch.randn(3, 16, 24, generator=g) for _ in range(2)]
    embeddings = [torch.randn(3, 640, generator=g) for _ in range(2)]
    layout = model.layout(images, embeddings, None)
    seen = []
    for (block, x, rotation), letter in zip(
        model.states(images, embeddings, layout), "hv", strict=True
    ):
        q, k, v = block.queries_keys_values(x, rotation)
        groups = layout.groups(letter)
        weights = attention_weights(q, k, groups)
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        for s in range(len(weights)):
            rows = (groups.group == s).nonzero().squeeze(1)
            expected = attend_sequences(*(t[rows].transpose(0, 1)[None] for t in (q, k, v)))[0]
            torch.testing.assert_close(weights[s] @ v[rows].transpose(0, 1), expected)
        seen.append(x)
    whole = model.encode(images, embeddings, layout, layers=(1,))
    torch.testing.assert_close(seen[1][: layout.summaries], whole.summaries_of_layers[0])


def test_regions_of_an_image_sum_their_own_patches() -> None:
    model = with_pattern("vhv")
    image = image_of(counts(0, (136, 260)))  # two columns of tiles share 60 px
    regions = np.zeros((136, 260), np.uint8)
    regions[8:48, 16:80] = 3  # whole patches
    regions[84:131, 101:222] = 7  # parts of patches, in both tiles
    found = marker_importance(image, None, model, regions, batch_size=3)
    assert (found.channels, found.regions) == (USED, (3, 7))
    assert found.area_px == (40 * 64, 47 * 121)

    prepared = prepare_image(image, None, model)
    origins = [(y, x) for y in (0, 8) for x in (0, 128, 136)]
    tiles = cut(prepared.pixels, np.array(origins))
    alpha = np.zeros((17, 33, 2, 4, 4))
    for (y, x), tile in zip(origins, tiles, strict=True):
        by_hand = weights_by_hand(model.model, tile, prepared.embeddings)[..., 1:, 1:]
        alpha[y // 8 : y // 8 + 16, x // 8 : x // 8 + 16] = by_hand  # the same from every tile
    for r, label in enumerate((3, 7)):
        padded = np.pad(regions == label, ((0, 0), (0, 4)))
        share = padded.reshape(17, 8, 33, 8).mean(axis=(1, 3))
        expected = importance_scores(np.einsum("ij,ijhqk->hqk", share, alpha))
        np.testing.assert_allclose(found.importance[:, r], expected, rtol=1e-3)
    assert found.ranked(7)[0][1] == found.importance[:, 1].max()


def test_the_first_marker_layer_may_come_after_spatial_attention() -> None:
    model = with_pattern("hv").model
    g = torch.Generator().manual_seed(0)
    image, embedding = torch.randn(3, 16, 16, generator=g), torch.randn(3, 640, generator=g)
    found = first_marker_attention(model, [image], [embedding])
    assert found.shape == (1, 2, 2, 2, 4, 4)
    moved = image.clone()
    moved[:, 8:, 8:] += 1  # another patch: reaches this one through spatial attention alone
    other = first_marker_attention(model, [moved], [embedding])
    assert (found[0, 0, 0] - other[0, 0, 0]).abs().max() > 1e-4
    with pytest.raises(InputError, match="a 'v' in its encoder_pattern\\), found 'hf'"):
        first_marker_attention(with_pattern("hf").model, [image], [embedding])
    with pytest.raises(InputError, match="the same number of channels"):
        first_marker_attention(model, [image, image[:2]], [embedding, embedding[:2]])


def test_shares_of_patches() -> None:
    labels = np.zeros((10, 16), int)
    labels[:, 6:] = 1
    found = patch_shares(labels, 2, 8)
    assert found.tolist() == [
        [[0.75, 0.0], [0.1875, 0.0]], [[0.25, 1.0], [0.0625, 0.25]],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        (np.ones((140, 149), int), r"size \(140, 150\).*found \(140, 149\)"),
        (np.ones((140, 150)), "whole numbers, found .* of float64"),
        (np.zeros((140, 150), int), "1 to 100 regions in the mask, found 0"),
        (np.arange(140 * 150).reshape(140, 150), "found 20999"),
        (np.full((140, 150), -1), "labels of 0 or more, found -1"),
    ],
)
def test_masks_that_are_no_regions(regions: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        marker_importance(image_of(counts(0)), None, checkpoint(), regions)


def test_it_can_be_called_off_and_tells_how_far_it_is() -> None:
    regions = np.ones((140, 150), int)
    seen: list[tuple[int, int]] = []
    with pytest.raises(Cancelled):
        marker_importance(
            image_of(counts(0)), None, checkpoint(), regions, batch_size=1,
            on_tile=lambda *tile: seen.append(tile), cancelled=lambda: len(seen) == 2,
        )  # fmt: skip
    assert seen == [(1, 4), (2, 4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_ome_tiff(tmp_path / "image.ome.tiff", counts(0), CHANNELS)
    regions = np.zeros((140, 150), np.int32)
    regions[10:50, 20:60] = 3
    write_labels(tmp_path / "one.tif", regions)
    regions[60:90, 100:140] = 5
    write_labels(tmp_path / "two.tif", regions)
    write_labels(tmp_path / "small.tif", regions[:100])
    write_labels(tmp_path / "none.tif", np.zeros_like(regions))
    save_checkpoint(checkpoint(), tmp_path / "model")
    return tmp_path


def call(folder: Path, region: str, image: str = "image.ome.tiff") -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    attention.register(app)
    result = CliRunner().invoke(
        app,
        ["attention", str(folder / image), "--region", str(folder / region), "--device", "cpu",
         "--checkpoint", str(folder / "model"), "--out", str(folder / "out")],
    )  # fmt: skip
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def assert_bars(picture: np.ndarray, scores: list[float]) -> None:
    """The bars' lengths are in the proportion of the scores, the longest on top."""
    blue = (np.abs(picture.astype(int) - (0x4A, 0x6B, 0xFF)).sum(axis=2) < 30).sum(axis=1)
    rows = np.flatnonzero(blue)
    bars = [
        blue[run[len(run) // 2]] for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    ]
    ranked = sorted(scores, reverse=True)
    np.testing.assert_allclose(np.array(bars) / bars[0], np.array(ranked) / ranked[0], atol=0.02)


def test_the_command_writes_a_column_a_region(folder: Path) -> None:
    said = call(folder, "one.tif")
    path = folder / "out" / "markers.csv"
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [set(row) for row in rows] == [{"marker", "importance"}] * len(USED)
    assert tuple(row["marker"] for row in rows) == USED
    alone = [float(row["importance"]) for row in rows]
    assert all(2 <= score <= 2 * 3 for score in alone)  # heads to heads x (C - 1)
    assert "region 3 (1600 px): " + USED[int(np.argmax(alone))] in said
    assert "131Xe_Xe131 (background, not a marker)" in said
    picture = folder / "out" / "markers.png"
    one = imread(picture)
    assert_bars(one[:, :, :3], alone)

    call(folder, "two.tif")
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert list(rows[0]) == ["marker", "importance_3", "importance_5"]
    np.testing.assert_allclose([float(row["importance_3"]) for row in rows], alone, rtol=1e-4)
    assert imread(picture).shape[1] > 1.4 * one.shape[1]  # a panel a region


@pytest.mark.parametrize(
    ("region", "error", "said"),
    [
        ("small.tif", ReadError, r"size \(140, 150\).*found \(100, 150\)"),
        ("none.tif", InputError, "regions in the mask, found 0"),
        ("absent.tif", ReadError, "found nothing at"),
    ],
)
def test_a_mistake_leaves_the_old_file_alone(
    folder: Path, region: str, error: type[Exception], said: str
) -> None:
    old = folder / "out" / "markers.csv"
    old.parent.mkdir()
    old.write_bytes(b"precious")
    with pytest.raises(error, match=said):
        call(folder, region)
    assert old.read_bytes() == b"precious"
