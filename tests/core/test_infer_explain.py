"""Attention rollout from a place, and what changes without a marker."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from cohort_samples import table
from infer_samples import CHANNELS, USED, checkpoint, counts, image_of
from test_infer_attention import with_pattern
from typer.testing import CliRunner

from virtues_core.cli import attention
from virtues_core.cohort import classifier_of_clicks, fit_classifier, save_classifier
from virtues_core.errors import CheckpointError, InputError
from virtues_core.infer import ablate_markers, checkpoint_signature, prepare_image, rollout_from
from virtues_core.infer.place import tile_around
from virtues_core.model import load_checkpoint, save_checkpoint
from virtues_core.model.attention_weights import attention_weights
from virtues_core.model.rollout import attention_rollout
from virtues_core.read import read_image, write_ome_tiff


def test_rollout_is_the_product_of_the_dense_matrices() -> None:
    model = with_pattern("hvv").model
    g = torch.Generator().manual_seed(0)
    image, embedding = torch.randn(3, 16, 24, generator=g), torch.randn(3, 640, generator=g)
    layout = model.layout([image], [embedding], None)
    tokens = 4 * 6
    product = torch.eye(tokens)
    for (block, x, turn), letter in zip(
        model.states([image], [embedding], layout), "hvv", strict=True
    ):
        q, k, _ = block.queries_keys_values(x, turn)
        groups = layout.groups(letter)
        dense = torch.zeros(tokens, tokens)
        for s, weights in enumerate(attention_weights(q, k, groups).mean(1)):
            rows = (groups.group == s).nonzero().squeeze(1)
            dense[rows[:, None], rows] = weights
        product = (dense + torch.eye(tokens)) / 2 @ product
    start = torch.zeros(2, 2, 3)
    start[0, 0, 1] = 1
    start[1] = 1 / 6
    found = attention_rollout(model, image, embedding, start)
    assert found.shape == (2, 4, 2, 3)
    torch.testing.assert_close(found[0].flatten(), product[1])  # rows are channel-major
    torch.testing.assert_close(found[1].flatten(), product[:6].mean(0))
    torch.testing.assert_close(found.sum((1, 2, 3)), torch.ones(2))
    with pytest.raises(InputError, match="spatial and marker attention only, found 'hf'"):
        attention_rollout(with_pattern("hf").model, image, embedding, start)
    with pytest.raises(InputError, match=r"expected starts \(S, 2, 3\)"):
        attention_rollout(model, image, embedding, start[:, :1])


def test_rollout_from_a_point_stays_where_attention_does() -> None:
    image = image_of(counts(0, (140, 300)))
    across = with_pattern("v")
    prepared = prepare_image(image, None, across)
    found = rollout_from(prepared, across, (70, 203))
    assert (found.origin, found.patch_px, found.channels) == ((0, 136), 8, USED)
    assert found.shares.shape == (5, 16, 16)
    assert found.map[8, 8] == pytest.approx(1)  # marker attention stays at its position
    assert found.markers.sum() == pytest.approx(1 - found.shares[0].sum(), abs=1e-5)
    along = with_pattern("h")
    spread = rollout_from(prepared, along, (70, 203))
    assert spread.markers.sum() == pytest.approx(0)  # spatial attention stays in its channel
    assert (spread.map > 0).all()
    assert spread.map[8, 8] > 0.5


def test_a_cell_counts_by_its_pixels() -> None:
    image = image_of(counts(0, (140, 300)))
    model = with_pattern("hv")
    prepared = prepare_image(image, None, model)
    cell = np.zeros((140, 300), bool)
    cell[134:140, 290:299] = True  # at the corner: six pixels of x in one patch, three in the next
    (y, x), shares = tile_around(prepared, cell, 8)
    assert (y, x) == (16, 176)
    expected = np.zeros((16, 16))
    expected[14, 14:] = np.array([2 * 6, 2 * 3]) / 64
    expected[15, 14:] = np.array([4 * 6, 4 * 3]) / 64
    np.testing.assert_allclose(shares, expected)
    whole = rollout_from(prepared, model, cell)
    parts = {(135, 291): 12, (135, 297): 6, (139, 291): 24, (139, 297): 12}  # one a patch
    mixed = sum(
        pixels * rollout_from(prepared, model, point).shares for point, pixels in parts.items()
    )
    np.testing.assert_allclose(whole.shares, mixed / 54, atol=1e-6)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ((140, 0), r"within the image of \(140, 150\).*found \(140, 0\)"),
        ((0, -1), r"found \(0, -1\)"),
        (np.ones((140, 149), bool), r"size \(140, 150\).*found \(140, 149\)"),
        (np.zeros((140, 150), bool), "a cell with pixels, found none"),
        (np.ones((140, 150), bool), "no wider than 128 px, found 140 px"),
    ],
)
def test_places_that_are_none(place: object, said: str) -> None:
    model = checkpoint()
    prepared = prepare_image(image_of(counts(0)), None, model)
    for look in (rollout_from, ablate_markers):
        with pytest.raises(InputError, match=said):
            look(prepared, model, place)


def test_without_a_marker_the_token_is_that_of_the_marker_masked() -> None:
    model = with_pattern("hv")
    prepared = prepare_image(image_of(counts(0)), None, model)
    cell = np.zeros((140, 150), bool)
    cell[60:70, 62:75] = True
    direction = np.random.default_rng(0).normal(size=32)

    def classifier(tokens: np.ndarray) -> np.ndarray:
        first = 1 / (1 + np.exp(-tokens @ direction))
        return np.stack([first, 1 - first], axis=1)

    found = ablate_markers(prepared, model, cell, classifier)
    (y, x), shares = tile_around(prepared, cell, 8)
    tile = torch.from_numpy(prepared.pixels[:, y : y + 128, x : x + 128])
    for c in range(len(USED)):
        mask = torch.zeros(len(USED), 16, 16, dtype=torch.bool)
        mask[c] = True
        summary = model.model([tile], [torch.from_numpy(prepared.embeddings)], [mask], [[]])
        expected = np.average(
            summary.patch_summary[0].reshape(256, -1), axis=0, weights=shares.ravel()
        )
        np.testing.assert_allclose(found.hidden[c], expected, atol=1e-4)
    assert found.token_change.shape == (4,)
    assert (found.token_change > 1e-4).all()
    expected = classifier(found.token[None])[0] - classifier(found.hidden)
    np.testing.assert_allclose(found.probability_change, expected, atol=1e-6)
    assert ablate_markers(prepared, model, cell).probability_change is None
    with pytest.raises(InputError, match=r"probabilities \(5, types\).*found \(5,\)"):
        ablate_markers(prepared, model, cell, lambda tokens: tokens[:, 0])


def test_a_marker_that_the_model_cannot_tell_changes_nothing() -> None:
    model = with_pattern("h")  # without marker attention no marker reaches a summary
    prepared = prepare_image(image_of(counts(0)), None, model)
    assert ablate_markers(prepared, model, (70, 70)).token_change.max() < 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    write_ome_tiff(folder / "image.ome.tiff", counts(0), CHANNELS, (0.5, 0.5))
    save_checkpoint(with_pattern("hv"), folder / "model")
    save_checkpoint(with_pattern("vh"), folder / "other")
    signature = checkpoint_signature(load_checkpoint(folder / "model"))
    cells = table(60, signature=signature)
    cells.obsm["X_virtues"] = np.tile(cells.obsm["X_virtues"], (1, 3))[:, :32]
    save_classifier(fit_classifier([cells], "phenotype", "logistic").classifier, folder / "types")
    return folder


def call(folder: Path, *args: object) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    attention.register(app)
    common = ["attention", folder / "image.ome.tiff", "--device", "cpu", "--out", folder / "out"]
    result = CliRunner().invoke(app, [str(arg) for arg in (*common, *args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_point_is_explained_by_the_command(folder: Path) -> None:
    said = call(
        folder, "--checkpoint", folder / "model", "--point", "135,40", "--classifier",
        folder / "types",
    )  # fmt: skip
    rows = pd.read_csv(folder / "out" / "point.csv")
    assert list(rows) == ["marker", "rollout", "token_change", "loses B", "loses T", "loses tumour"]
    assert tuple(rows["marker"]) == USED
    np.testing.assert_allclose(rows.iloc[:, 3:].sum(axis=1), 0, atol=1e-5)  # shares of one whole
    assert (rows.iloc[:, 3:].abs() > 0).any(axis=None)
    model = load_checkpoint(folder / "model")
    prepared = prepare_image(read_image(folder / "image.ome.tiff"), None, model)
    expected = rollout_from(prepared, model, (135, 40))
    np.testing.assert_allclose(rows["rollout"], expected.markers, rtol=1e-4)
    most = USED[int(rows["token_change"].argmax())]
    assert f"moves most without: {most}" in said
    found = read_image(folder / "out" / "rollout.tif")
    assert (found.shape, found.pixel_size_um) == ((1, 140, 150), (0.5, 0.5))
    plane = found.compute()[0]
    assert plane[135, 40] == plane.max()
    assert 0.9 < plane.sum() <= 1 + 1e-5  # the last row of patches reaches over the image's end


def test_a_classifier_that_reads_intensities_too_is_refused(folder: Path) -> None:
    cells = table(60, signature=checkpoint_signature(load_checkpoint(folder / "model")))
    save_classifier(classifier_of_clicks(cells, "phenotype"), folder / "clicks")
    args = ["--checkpoint", folder / "model", "--point", "9,9", "--classifier", folder / "clicks"]
    with pytest.raises(InputError, match="of tokens alone, found one of tokens and mean"):
        call(folder, *args)


@pytest.mark.parametrize(
    ("args", "error", "said"),
    [
        (["--point", "here"], InputError, "Y,X in whole px, found 'here'"),
        (["--point", "1"], InputError, "Y,X in whole px, found '1'"),
        (["--point", "500,2"], InputError, r"found \(500, 2\)"),
        ([], InputError, "expected --region with a mask, --point"),
        (["--region", "r.tif", "--classifier", "types"], InputError, "only with a point"),
        (["--point", "9,9", "--classifier", "types"], CheckpointError, "made with this checkpoint"),
    ],
)
def test_mistakes_with_points(
    folder: Path, monkeypatch: pytest.MonkeyPatch, args: list[str],
    error: type[Exception], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    with pytest.raises(error, match=said):
        call(folder, "--checkpoint", "other", "--out", "none", *args)
    assert not Path("none").exists()
