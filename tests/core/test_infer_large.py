"""Images larger than memory: the same numbers as in memory, and bounded memory."""

import json
import subprocess
import sys
import tempfile

import dask.array as da
import numpy as np
import pytest
import zarr
from infer_samples import CHANNELS, checkpoint, cohort, counts, image_of

from virtues_core.errors import InputError, VirtuesError
from virtues_core.evaluate import evaluate_reconstruction
from virtues_core.image import MultiplexImage
from virtues_core.infer import InpaintRequest, inpaint, prepare_image
from virtues_core.infer import planes as large
from virtues_core.infer.planes import Canvas, LazyPixels, windows
from virtues_core.infer.survey import survey
from virtues_core.infer.tiles import cut
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.markers.registry import Registry
from virtues_core.model import Checkpoint, save_checkpoint
from virtues_core.preprocess import tissue_mask, upper_quantiles

REQUESTS = {
    "marker": InpaintRequest(markers=("CD3_Er170", "CD68_Tb159"), repeats=1),
    "niche": InpaintRequest(strategy="niche", repeats=1),
    "independent": InpaintRequest(strategy="independent", repeats=0, stride_px=128),
}


def _chunked(seed: int, shape: tuple[int, int] = (300, 277)) -> MultiplexImage:
    image = image_of(counts(seed, shape), name=f"image {seed}")
    chunked = image.pixels.rechunk((1, 100, 90))
    return MultiplexImage(chunked, image.channels, image.pixel_size_um, image.name)


def test_windows_read_later_are_those_of_the_whole() -> None:
    image, known = _chunked(0), checkpoint()
    now = prepare_image(image, None, known, in_memory=True)
    later = prepare_image(image, None, known, in_memory=False)
    assert now.in_memory
    assert not later.in_memory
    assert isinstance(later.pixels, LazyPixels)
    assert later.pixels.shape == now.pixels.shape == (4, 300, 277)
    for name in ("mean", "std"):  # of the image itself, summed block by block
        np.testing.assert_allclose(getattr(later, name), getattr(now, name), rtol=1e-5)
    np.testing.assert_array_equal(later.tissue, now.tissue)
    for key in (
        (slice(None), slice(0, 128), slice(149, 277)),
        ([2, 0], slice(172, 300), slice(0, 128)),
        ([1], slice(3, 4), slice(276, 400)),
        3,
        [0, 3],
    ):
        np.testing.assert_allclose(later.pixels[key], now.pixels[key], atol=1e-5)
    for c in range(4):
        assert later.mean_intensity(c) == pytest.approx(float(now.pixels[c].mean()), abs=1e-4)
    assert later.warnings == now.warnings


@pytest.mark.parametrize(
    ("strategy", "with_region"),
    [
        ("marker", False),
        ("marker", True),
        ("niche", False),
        ("niche", True),
        ("independent", False),
    ],
)
def test_tile_by_tile_and_in_memory_agree(strategy: str, with_region: bool) -> None:
    image, known, request = _chunked(0), checkpoint(), REQUESTS[strategy]
    if with_region:
        region = np.zeros((300, 277), bool)
        region[:20, 200:] = region[260:, :9] = True
        request = InpaintRequest(
            strategy=request.strategy, markers=request.markers, region=region, repeats=1
        )
    fit = [_chunked(1), _chunked(2)] if strategy == "marker" else []
    now, later = (
        inpaint(image, None, known, request, fit_images=fit, in_memory=where)
        for where in (True, False)
    )
    for name in ("masked", "prediction", "lower", "upper", "truth", "truth_counts", "upper_counts"):
        found, expected = getattr(later, name), getattr(now, name)
        assert isinstance(found, np.memmap)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=2e-3, rtol=1e-3)
    for a, b in zip(later.scores, now.scores, strict=True):
        assert (a.channel, a.method, a.note) == (b.channel, b.method, b.note)
        for name in ("pearson", "f1", "coverage", "model_pearson"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), abs=2e-3, nan_ok=True)
        assert a.baselines == pytest.approx(b.baselines, abs=1e-3, nan_ok=True)
    assert later.warnings == now.warnings


def test_images_are_normalised_later_from_a_size_on(monkeypatch: pytest.MonkeyPatch) -> None:
    image = cohort(1)[0]
    assert prepare_image(image, None, checkpoint()).in_memory
    monkeypatch.setattr("virtues_core.infer.prepare.IN_MEMORY_VALUES", 4 * 140 * 150 - 1)
    assert not prepare_image(image, None, checkpoint()).in_memory
    scores = [
        evaluate_reconstruction([cohort(1)[0]], checkpoint(), strategies=["niche"]).to_dict()
        for _ in range(2)
    ]
    assert scores[0] == scores[1]


def test_evaluation_of_a_large_image_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for most in (large.IN_MEMORY_VALUES, 0):
        monkeypatch.setattr("virtues_core.infer.prepare.IN_MEMORY_VALUES", most)
        report = evaluate_reconstruction(
            [_chunked(0)], checkpoint(), strategies=["niche", "marker"], fit=[_chunked(1)]
        )
        found.append(report.strategies)
    for strategy in ("niche", "marker"):
        for name, marker in found[0][strategy].markers.items():
            other = found[1][strategy].markers[name]
            assert other.pearson == pytest.approx(marker.pearson, abs=1e-3)
            assert other.f1 == pytest.approx(marker.f1, abs=1e-3)
            assert other.baselines == pytest.approx(marker.baselines, abs=1e-3, nan_ok=True)


def test_a_survey_of_every_third_pixel_is_near_that_of_all() -> None:
    pixels = counts(0, (400, 420))[:4]
    tissue = tissue_mask(pixels)
    exact = survey(da.from_array(pixels, chunks=(1, 100, 100)), list("abcd"))
    assert exact.step == 1
    np.testing.assert_array_equal(exact.tissue, tissue)
    np.testing.assert_array_equal(exact.upper, upper_quantiles(pixels, tissue))
    sparse = survey(
        da.from_array(pixels, chunks=(1, 100, 100)), list("abcd"), sampled_px=400 * 420 // 9 + 1
    )
    assert sparse.step == 3
    assert sparse.tissue.shape == (134, 140)
    np.testing.assert_allclose(sparse.upper, exact.upper, rtol=0.15)
    inside = sparse.tissue_at(slice(10, 200), slice(30, 333))
    assert inside.shape == (190, 303)
    assert inside[2, 0] == sparse.tissue[4, 10]


def test_bad_pixels_are_found_when_they_are_read() -> None:
    pixels = counts(0, (300, 277)).astype("f4")
    pixels[1, 290, 270] = np.nan
    with pytest.raises(InputError, match="'CD20_Dy161' has 1 pixels that are NaN"):
        inpaint(image_of(pixels), None, checkpoint(), REQUESTS["marker"], in_memory=False)
    lazy = image_of(pixels[:2], CHANNELS[:2]).pixels
    one = np.ones(2, "f4")
    not_surveyed = LazyPixels(lazy, one, one, one, CHANNELS[:2])
    assert np.isfinite(not_surveyed[:, 0:128, 0:128]).all()
    with pytest.raises(InputError, match="'CD20_Dy161' has 1 pixels that are NaN"):
        not_surveyed[:, 172:300, 149:277]


def test_tiles_over_the_end_repeat_the_last_pixels() -> None:
    pixels = np.arange(2 * 130 * 135, dtype="f4").reshape(2, 130, 135)
    origins = np.array([[0, 0], [0, 8], [8, 0], [8, 8]])
    padded = np.pad(pixels, ((0, 0), (0, 6), (0, 1)), mode="edge")
    for tile, (y, x) in zip(cut(pixels, origins), origins, strict=True):
        np.testing.assert_array_equal(tile, padded[:, y : y + 128, x : x + 128])
    assert cut(pixels, origins[:0]) == []


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_canvas_gives_back_what_was_put(on_disk: bool) -> None:
    expected = np.random.default_rng(0).normal(size=(2, 300, 1100)).astype("f4")
    canvas = Canvas((2, 300, 1100), on_disk=on_disk)
    for k in (1, 0):
        for window in windows((300, 1100)):
            canvas.put(k, window, expected[(k, *window)])
    rows = (slice(10, 12), slice(0, 1100))  # whole rows follow on one another in a file
    canvas.put(1, rows, -expected[(1, *rows)])
    expected[(1, *rows)] *= -1
    part = (slice(200, 300), slice(5, 1000))
    np.testing.assert_array_equal(canvas.get(1, part), expected[(1, *part)])
    np.testing.assert_array_equal(canvas.get(0, rows), expected[(0, *rows)])
    np.testing.assert_array_equal(canvas.finish(), expected)
    assert not Canvas((1, 9, 9), np.bool_, on_disk=on_disk).finish().any()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(VirtuesError, match=r"temporary file in '.*gone'.*TMPDIR"):
        Canvas((1, 9, 9), on_disk=True)


def _wide_checkpoint(count: int) -> tuple[list[str], Checkpoint]:
    """Names of so many markers, and a checkpoint of random weights that knows them."""
    names = dict.fromkeys(target.symbol for target in Registry.load().targets)
    entries = [entry for entry in Panel.from_names(names).entries if entry.key][:count]
    keys = tuple(dict.fromkeys(str(entry.key) for entry in entries))
    known = checkpoint(embeddings=MarkerEmbeddings.stand_in(keys), trained_keys=keys)
    return [entry.name for entry in entries], known


LARGE = (40, 4096, 4096)
INPAINT = """
import re, json, sys, time
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from virtues_core.infer import InpaintRequest, inpaint
from virtues_core.model import load_checkpoint
from virtues_core.read import read_image

def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e3

image = read_image(sys.argv[1])
known = load_checkpoint(sys.argv[2])
region = np.zeros(image.shape[1:], bool)
region[1000:1100, 3000:3100] = region[4000:4090, 10:90] = True
before = peak_mb()
request = InpaintRequest(markers=(image.channels[5],), region=region, repeats=0)
tiles = []
result = inpaint(image, None, known, request, on_tile=tiles.append)
print(json.dumps({
    "before": before, "peak": peak_mb(), "tiles": len(tiles),
    "pearson": result.scores[0].pearson, "shape": result.prediction.shape,
    "kept": bool((result.prediction[0, :900] == result.truth[0, :900]).all()),
}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_inpainting_40_channels_of_4096_px_takes_bounded_memory(tmp_path) -> None:
    """They are 1.3 GB as they are stored and 2.7 GB normalised."""
    names, known = _wide_checkpoint(LARGE[0])
    group = zarr.open_group(tmp_path / "large.zarr", mode="w", zarr_format=3)
    array = group.create_array("s0", shape=LARGE, chunks=(1, 512, 512), dtype=np.uint16)
    tissue = np.kron(np.random.default_rng(0).poisson(2, (160, 160)), np.ones((8, 8))).astype("u2")
    for c in range(LARGE[0]):
        array[c, 900:2180, 2400:3680] = tissue + (c % 3)
        array[c, 3840:4096, :512] = tissue[:256, :512]
    attributes = {
        "version": "0.5",
        "multiscales": [{"axes": [{"name": a} for a in "cyx"], "datasets": [{"path": "s0"}]}],
        "omero": {"channels": [{"label": name} for name in names]},
    }
    group.attrs.update({"ome": attributes})
    save_checkpoint(known, tmp_path / "model")
    command = [sys.executable, "-c", INPAINT, str(tmp_path / "large.zarr"), str(tmp_path / "model")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert found["shape"] == [1, 4096, 4096]
    assert found["kept"]
    assert found["tiles"] <= 8  # of 1849
    assert found["peak"] - found["before"] < 800
