"""Parts of the Inpaint dock that need no window: commands, regions, layers, pictures, words."""

import shlex
from dataclasses import fields, replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import typer

from napari_virtues.engine import CohortImage, ImageSource, InpaintJob
from napari_virtues.inpaint_command import OPTIONS, has_own_panel, inpaint_command
from napari_virtues.inpaint_intent import Intent, RegionSource, job_of, region_sources
from napari_virtues.inpaint_layers import (
    PARTS,
    Preview,
    insert_result_layer,
    result_layer,
    result_layers,
    result_planes,
    share_contrast,
)
from napari_virtues.inpaint_result import save_result, verdict
from napari_virtues.state import AppState
from virtues_core.cli import inpaint as cli
from virtues_core.errors import InputError, ReadError
from virtues_core.image import MultiplexImage
from virtues_core.infer import InpaintRequest, InpaintResult, MarkerScore
from virtues_core.markers import Panel
from virtues_core.read import read_image, read_labels, write_labels


def parsed(command):
    """Parse a command as ``virtues`` does, without running it."""
    words = shlex.split(command)
    assert words[:2] == ["virtues", "inpaint"]
    app = typer.Typer()
    cli.register(app)
    return typer.main.get_command(app).make_context("inpaint", words[2:]).params


@pytest.fixture
def job(image):
    source = ImageSource.of(replace(image, source=Path("/data/my scans/spleen.ome.tiff")))
    request = InpaintRequest(markers=("CD20_Dy161", "CD8a(Dy162Di)"))
    return InpaintJob(source, Panel.from_names(image.channels), "demo", "auto", request)


def test_command_with_defaults_is_short(job):
    expected = (
        "virtues inpaint '/data/my scans/spleen.ome.tiff' "
        "--markers 'CD20_Dy161,CD8a(Dy162Di)' --out inpainted.ome.tiff"
    )
    assert inpaint_command(job) == expected


def test_command_says_all_that_was_chosen_and_the_command_line_takes_it(job):
    request = replace(job.request, batch_size=3, seed=9, repeats=2, stride_px=64)
    full = replace(
        job,
        image=replace(job.image, name="ROI 2"),
        checkpoint="/models/mine",
        device="cpu",
        request=request,
        cohort=(CohortImage(Path("a.tiff")), CohortImage(Path("b.tiff"))),
    )
    found = parsed(inpaint_command(full, out=Path("x.ome.tiff")))
    assert found["path"] == Path("/data/my scans/spleen.ome.tiff")
    assert found["image"] == "ROI 2"
    assert found["markers"] == "CD20_Dy161,CD8a(Dy162Di)"
    assert found["checkpoint"] == "/models/mine"
    assert found["device"] == "cpu"
    assert found["fit"] == ["a.tiff", "b.tiff"]
    assert (found["batch_size"], found["seed"]) == (3, 9)
    assert (found["repeats"], found["stride"]) == (2, 64)
    assert found["panel"] is None
    assert found["out"] == Path("x.ome.tiff")


def test_command_names_every_number_of_a_request(job):
    numbers = {f.name for f in fields(InpaintRequest) if isinstance(f.default, int)}
    assert set(OPTIONS) == numbers


def test_command_takes_the_panel_where_a_person_set_proteins(job):
    corrected = replace(job, panel=job.panel.assign("xyzzy", accession="P01732"))
    assert has_own_panel(corrected)
    assert not has_own_panel(job)
    assert parsed(inpaint_command(corrected))["panel"] == Path("PANEL.csv")
    saved = inpaint_command(corrected, panel=Path("/data/my panel.csv"))
    assert parsed(saved)["panel"] == Path("/data/my panel.csv")


@pytest.mark.parametrize(
    ("strategy", "region", "expected"),
    [("niche", True, None), ("niche", False, "niche"), ("independent", False, "independent")],
)
def test_command_for_regions_and_patches(job, strategy, region, expected):
    mask = np.eye(96, 120, dtype=bool) if region else None
    other = replace(job, request=InpaintRequest(strategy=strategy, region=mask))
    found = parsed(inpaint_command(other, region=Path("mask.tiff") if region else None))
    assert found["strategy"] == expected
    assert found["region"] == (Path("mask.tiff") if region else None)


def intent(state, region, strategy="niche"):
    return Intent(state.active, strategy, (), region.frozen(), "demo", "auto")


def test_region_of_labels(viewer, image):
    state = AppState.of(viewer)
    state.add(image)
    labels = np.zeros((96, 120), int)
    labels[8:16, 8:16], labels[40:48, 40:48] = 1, 2
    layer = viewer.add_labels(labels, name="niche")
    (source,) = region_sources(viewer)
    assert source.name == "niche"
    np.testing.assert_array_equal(job_of(intent(state, source)).request.region, labels > 0)
    layer.selected_label, layer.show_selected_label = 2, True
    np.testing.assert_array_equal(job_of(intent(state, source)).request.region, labels == 2)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.5)])
def test_region_of_shapes_in_any_scale(viewer, image, scale):
    state = AppState.of(viewer)
    state.add(image)  # 0.5 µm per pixel: the box covers y 16 to 32, x 40 to 80 px
    corners = np.array([[8, 20], [8, 40], [16, 40], [16, 20]]) / scale
    viewer.add_shapes([corners], shape_type="rectangle", scale=scale, name="box")
    (source,) = region_sources(viewer)
    region = job_of(intent(state, source)).request.region
    inside = np.zeros((96, 120), bool)
    inside[17:32, 41:80] = True
    assert region[inside].all()
    assert region.sum() < 1.2 * inside.sum()


def test_region_of_a_file(viewer, image, tmp_path):
    state = AppState.of(viewer)
    state.add(image)
    mask = np.zeros((96, 120), np.uint8)
    mask[10:20] = 1
    write_labels(tmp_path / "mask.tiff", mask)
    source = RegionSource(path=tmp_path / "mask.tiff")
    np.testing.assert_array_equal(job_of(intent(state, source)).request.region, mask > 0)
    write_labels(tmp_path / "small.tiff", mask[:50])
    with pytest.raises(ReadError, match=r"expected labels of the image's size \(96, 120\)"):
        job_of(intent(state, RegionSource(path=tmp_path / "small.tiff")))


def test_regions_that_do_not_fit(viewer, image):
    state = AppState.of(viewer)
    state.add(image)
    viewer.add_labels(np.zeros((96, 120), int), name="empty")
    viewer.add_labels(np.ones((5, 6), int), name="small")
    viewer.add_shapes(name="nothing drawn")
    empty, small, nothing = region_sources(viewer)
    for source in (empty, nothing):
        with pytest.raises(InputError, match="covers nothing of the image"):
            job_of(intent(state, source))
    with pytest.raises(InputError, match=r"expected .* \(96, 120\) .* found \(5, 6\)"):
        job_of(intent(state, small))


def test_pixels_go_along_only_where_there_is_no_file(image, tmp_path):
    assert ImageSource.of(image).pixels.shape == image.shape
    assert ImageSource.of(replace(image, source=tmp_path / "x.tiff")).pixels is None
    again = ImageSource.of(image).open()
    assert again.channels == image.channels
    np.testing.assert_array_equal(again.compute(), image.compute())


@pytest.fixture
def result():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(2, 96, 120)).astype(np.float32)
    masked = np.zeros(truth.shape, bool)
    masked[0] = True
    masked[1, :48] = True
    prediction = np.where(masked, truth + 0.5, truth).astype(np.float32)
    wide = masked.astype(np.float32)
    scores = (
        MarkerScore("CD20", 0.5, 0.6, 0.8, {"mean_visible": float("nan"), "best_other": 0.3}),
        MarkerScore("CD3", 0.7, 0.6, 0.8, {"ridge": 0.75}, "ridge+model", 0.4, note="because"),
    )
    return InpaintResult(
        ("CD20", "CD3"), masked, prediction, prediction - wide, prediction + wide, truth,
        prediction * 2, truth * 2, prediction * 2 - 1, prediction * 2 + 1, scores,
    )  # fmt: skip


def test_layers_of_a_marker(viewer, image, result):
    planes = result_planes(result, "CD3")
    for part in PARTS:
        insert_result_layer(viewer, result_layer(viewer, image, planes, part))
    share_contrast(viewer, image, "CD3")
    uncertainty, difference, painted, truth = result_layers(viewer, image, "CD3")
    assert truth.name == "CD3 · truth"
    assert tuple(truth.scale) == image.pixel_size_um
    assert difference.contrast_limits[0] == -difference.contrast_limits[1]
    np.testing.assert_allclose(difference.data, np.where(result.masked[1], 0.5, 0), atol=1e-6)
    np.testing.assert_allclose(uncertainty.data, 2.0 * result.masked[1], atol=1e-6)
    painted.contrast_limits = (0, 3)
    assert truth.contrast_limits == [0, 3]
    assert result_layers(viewer, image, "CD20") == []
    other = result_planes(replace(result, truth=result.truth + 1), "CD3")
    assert result_layer(viewer, image, other, "truth") is truth
    np.testing.assert_allclose(truth.data, result.truth[1] + 1)
    assert len(result_layers(viewer)) == 4


def test_large_results_become_pyramids(viewer, image, result):
    big = np.zeros((1, 64, 5000), np.float32)
    stacks = dict.fromkeys(("prediction", "lower", "upper", "truth"), big)
    planes = result_planes(replace(result, channels=("CD20",), **stacks), "CD20")
    layer = result_layer(viewer, image, planes, "truth")
    assert layer.multiscale
    assert len(layer.data) > 1


def test_preview_of_a_large_image_shows_every_nth_pixel(viewer):
    pixels = da.zeros((1, 5000, 300), chunks=(1, 5000, 300))
    image = MultiplexImage(pixels, ("CD20",), (1.0, 1.0))
    preview = Preview(image)
    assert preview.step == 3
    whole = np.arange(5000 * 300, dtype=np.float32).reshape(5000, 300)
    for origin in [(0, 0), (100, 172), (4872, 50), (4880, 172)]:  # the last over the edge
        y, x = origin
        tile = np.zeros((128, 128), np.float32)
        part = whole[y : y + 128, x : x + 128]
        tile[: part.shape[0], : part.shape[1]] = part
        preview.add(origin, tile)
    filled = np.isfinite(preview.picture)
    assert filled.sum() > 3 * 40 * 40
    np.testing.assert_array_equal(preview.picture[filled], whole[::3, ::3][filled])
    layer = preview.layer(viewer, image, "CD20")
    assert tuple(layer.scale) == (3, 3)


def test_verdict_says_which_and_by_how_much(result):
    first, second = (verdict(score) for score in result.scores)
    expected = "CD20: painted by the model, 0.20 above the most correlated other marker (Pearson)."
    assert first == expected
    assert "ridge regression with the model" in second
    assert "0.05 below ridge regression" in second
    assert second.endswith("Because.")


def test_saved_result_is_as_the_command_writes_it(result, tmp_path):
    region = result.masked[1]
    saved, beside = save_result(result, region, tmp_path / "out", (0.5, 0.5))
    assert saved.name == "out.ome.tiff"
    again = read_image(saved)
    assert again.channels[:3] == ("CD20", cli.LOWER.format("CD20"), cli.UPPER.format("CD20"))
    assert again.pixel_size_um == (0.5, 0.5)
    np.testing.assert_allclose(again.compute([3])[0], result.prediction_counts[1], rtol=1e-6)
    np.testing.assert_array_equal(read_labels(beside) > 0, region)
    assert save_result(result, None, tmp_path / "b.ome.tiff", None)[1] is None
