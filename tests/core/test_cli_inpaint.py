"""``virtues inpaint`` and ``virtues evaluate`` on files."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from infer_samples import CHANNELS, USED, checkpoint, counts
from typer.testing import CliRunner

from virtues_core.cli import calibrate, evaluate, inpaint
from virtues_core.cli._options import spread
from virtues_core.errors import (
    CheckpointError,
    DeviceError,
    InputError,
    MarkerError,
    ReadError,
    VirtuesError,
)
from virtues_core.infer import InpaintRequest
from virtues_core.markers import Panel
from virtues_core.model import save_checkpoint
from virtues_core.read import read_image, write_labels, write_ome_tiff


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    inpaint.register(app)
    evaluate.register(app)
    calibrate.register(app)
    return app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images, a region and a checkpoint."""
    for i in range(4):
        write_ome_tiff(tmp_path / f"r{i}.ome.tiff", counts(i), CHANNELS, (0.5, 2.0))
    region = np.zeros((140, 150), np.int32)
    region[10:50, 20:60] = 3
    write_labels(tmp_path / "region.tif", region)
    write_labels(tmp_path / "small.tif", region[:100])
    save_checkpoint(checkpoint(), tmp_path / "model")
    return tmp_path


def call(app: typer.Typer, *args: object) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_inpaint_writes_counts_with_bounds(app: typer.Typer, folder: Path) -> None:
    out = folder / "out.ome.tiff"
    said = call(
        app, "inpaint", folder / "r0.ome.tiff", "--markers", "CD3_Er170, CD68_Tb159",
        "--checkpoint", folder / "model", "--fit", folder / "r1.ome.tiff", folder / "r2.ome.tiff",
        "--device", "cpu", "--batch-size", 4, "--out", out,
    )  # fmt: skip
    painted = read_image(out)
    assert painted.channels == tuple(
        f"{name}{end}"
        for name in ("CD3_Er170", "CD68_Tb159")
        for end in ("", " lower 10%", " upper 90%")
    )
    assert painted.shape == (6, 140, 150)
    assert painted.pixel_size_um == (0.5, 2.0)
    pixels = painted.compute()
    for k in (0, 3):
        assert (pixels[k + 1] <= pixels[k + 2]).all()
        assert (pixels[k + 1] >= 0).all()
        truth = counts(0)[0 if k == 0 else 2]
        assert np.corrcoef(pixels[k].ravel(), truth.ravel())[0, 1] > 0.2
    assert "marker" in said
    assert "ridge" in said
    assert "held out on 2 other images" in said


def test_inpaint_a_region(app: typer.Typer, folder: Path) -> None:
    common = ["inpaint", folder / "r0.ome.tiff", "--region", folder / "region.tif",
              "--checkpoint", folder / "model", "--device", "cpu"]  # fmt: skip
    call(app, *common, "--out", folder / "niche.ome.tiff")
    assert len(read_image(folder / "niche.ome.tiff").channels) == 3 * len(USED)
    call(
        app, *common, "--strategy", "marker", "--markers", "CD3_Er170", "--seed", 5,
        "--out", folder / "one.ome.tiff",
    )  # fmt: skip
    one = read_image(folder / "one.ome.tiff").compute()
    assert (one[1] == one[2])[:8].all()  # outside of the region nothing is in doubt
    assert (one[1] < one[2])[16:48, 24:56].mean() > 0.9


def test_defaults_are_those_of_a_request(app: typer.Typer) -> None:
    request = InpaintRequest(markers=("A",))
    assert (inpaint.REPEATS, inpaint.STRIDE_PX) == (request.repeats, request.stride_px)


def test_repeats_and_stride_reach_the_model(app: typer.Typer, folder: Path) -> None:
    common = ["inpaint", folder / "r0.ome.tiff", "--markers", "CD3_Er170",
              "--checkpoint", folder / "model", "--device", "cpu"]  # fmt: skip
    painted = {}
    for name, options in {
        "usual": [], "same": ["--repeats", 4, "--stride", 96], "quick": ["--repeats", 0],
        "apart": ["--stride", 128],
    }.items():  # fmt: skip
        call(app, *common, *options, "--out", folder / f"{name}.ome.tiff")
        painted[name] = read_image(folder / f"{name}.ome.tiff").compute()
    np.testing.assert_array_equal(painted["usual"], painted["same"])
    np.testing.assert_allclose(painted["usual"][0], painted["quick"][0], atol=1e-4)
    assert (painted["quick"][2] <= painted["usual"][2] + 1e-4).all()  # no spread: narrower
    assert (painted["quick"][2] < painted["usual"][2]).any()
    assert (painted["apart"][0] != painted["usual"][0]).any()  # where tiles overlap


def test_a_large_image_is_written_from_disk(
    app: typer.Typer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ["inpaint", folder / "r0.ome.tiff", "--markers", "CD3_Er170,CD68_Tb159",
            "--checkpoint", folder / "model", "--device", "cpu", "--repeats", 1]  # fmt: skip
    said = [call(app, *args, "--out", folder / "now.ome.tiff")]
    monkeypatch.setattr("virtues_core.infer.prepare.IN_MEMORY_VALUES", 0)
    said.append(call(app, *args, "--out", folder / "later.ome.tiff"))
    assert said[0].splitlines()[:3] == said[1].splitlines()[:3]  # the scores
    now, later = (read_image(folder / f"{name}.ome.tiff") for name in ("now", "later"))
    assert later.channels == now.channels
    np.testing.assert_allclose(later.compute(), now.compute(), rtol=1e-3, atol=1e-3)


def test_a_panel_says_what_channels_are(app: typer.Typer, folder: Path) -> None:
    panel = Panel.from_names(CHANNELS).assign("131Xe_Xe131", accession="P01732")
    panel.to_csv(folder / "panel.csv")
    common = ["inpaint", folder / "r0.ome.tiff", "--checkpoint", folder / "model",
              "--device", "cpu", "--repeats", 0, "--out", folder / "o.ome.tiff"]  # fmt: skip
    with pytest.raises(MarkerError, match="'131Xe_Xe131' cannot be inpainted: background"):
        call(app, *common, "--markers", "131Xe_Xe131")
    call(app, *common, "--markers", "131Xe_Xe131", "--panel", folder / "panel.csv")
    assert read_image(folder / "o.ome.tiff").channels[0] == "131Xe_Xe131"
    Panel.from_names(CHANNELS[:3]).to_csv(folder / "short.csv")
    with pytest.raises(MarkerError, match="does not name the channels DNA1_Ir191"):
        call(app, *common, "--markers", "CD3_Er170", "--panel", folder / "short.csv")


@pytest.mark.parametrize(
    ("args", "error", "said"),
    [
        (["--markers", "CD4"], MarkerError, "no channel named 'CD4'"),
        ([], InputError, "nothing to hide"),
        (["--region", "small.tif"], VirtuesError, "140"),
        (["--markers", "CD3_Er170", "--device", "tpu"], DeviceError, "found 'tpu'"),
        (["--markers", "CD3_Er170", "--strategy", "all"], InputError, "found 'all'"),
        (["--markers", "CD3_Er170", "--fit", "none*.tiff"], InputError, "nothing at 'none"),
        (["--markers", "CD3_Er170", "--image", "second"], ReadError, "second"),
        (["--markers", "CD3_Er170", "--repeats", "-1"], InputError, "0 or more, found -1"),
        (["--markers", "CD3_Er170", "--stride", "129"], InputError, "1 to 128 px, found 129"),
        (["--markers", "CD3_Er170", "--panel", "none.csv"], MarkerError, "none.csv"),
    ],
)
def test_a_mistake_leaves_the_old_file_alone(
    app: typer.Typer, folder: Path, monkeypatch: pytest.MonkeyPatch,
    args: list[str], error: type[Exception], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    out = folder / "out.ome.tiff"
    out.write_bytes(b"precious")
    with pytest.raises(error, match=said):
        call(app, "inpaint", "r0.ome.tiff", "--checkpoint", "model", "--out", out, *args)
    assert out.read_bytes() == b"precious"
    assert not list(folder.glob(".out*"))


def test_evaluate_writes_the_keys_that_others_rely_on(app: typer.Typer, folder: Path) -> None:
    out = folder / "scores.json"
    said = call(
        app, "evaluate", "reconstruction", folder / "r0.ome.tiff", folder / "r1.ome.tiff",
        "--fit", folder / "r2.ome.tiff", folder / "r3.ome.tiff", "--checkpoint", folder / "model",
        "--json", out, "--device", "cpu", "--seed", 1, "--batch-size", 8,
    )  # fmt: skip
    found = json.loads(out.read_text("utf-8"))
    assert set(found) == {"independent", "marker", "niche"}
    for told in found.values():
        assert {"mean_pearson", "baselines", "markers"} <= set(told)
        assert set(told["markers"]) == set(USED)
        for marker in told["markers"].values():
            assert {"pearson", "f1", "baselines"} <= set(marker)
    assert set(found["marker"]["baselines"]) == {"best_other", "ridge"}
    assert "marker" in said
    assert "ridge" in said


def test_evaluate_one_strategy_with_coverage(app: typer.Typer, folder: Path) -> None:
    out = folder / "scores.json"
    call(
        app, "evaluate", "reconstruction", folder / "r[01].ome.tiff", "--checkpoint",
        folder / "model", "--json", out, "--strategies", "niche", "--repeats", 1, "--device", "cpu",
    )  # fmt: skip
    found = json.loads(out.read_text("utf-8"))
    assert set(found) == {"niche"}
    assert 0 <= found["niche"]["mean_coverage"] <= 1
    with pytest.raises(InputError, match="found 'other'"):
        call(
            app, "evaluate", "reconstruction", folder / "r0.ome.tiff", "--checkpoint",
            folder / "model", "--json", out, "--strategies", "other",
        )  # fmt: skip


def test_calibrate_keeps_the_intervals_in_the_checkpoint(app: typer.Typer, folder: Path) -> None:
    args = ["inpaint", folder / "r0.ome.tiff", "--markers", "CD3_Er170", "--device", "cpu",
            "--checkpoint", folder / "model", "--out", folder / "o.ome.tiff"]  # fmt: skip
    assert "not calibrated" in call(app, *args)
    said = call(app, "calibrate", folder / "model", folder / "r[123].ome.tiff", "--device", "cpu")
    assert "intervals from 3 images; markers with their own: 4 (independent)" in said
    assert "not calibrated" not in call(app, *args)
    with pytest.raises(InputError, match="nothing at"):
        call(app, "calibrate", folder / "model", folder / "none*.tiff")
    with pytest.raises(CheckpointError):
        call(app, "calibrate", folder / "none", folder / "r1.ome.tiff")


def test_values_after_fit() -> None:
    assert spread("--fit", ["x", "--fit", "a", "b", "--json", "o", "y"]) == [
        "x", "--fit", "a", "--fit", "b", "--json", "o", "y",
    ]  # fmt: skip
    assert spread("--fit", ["--fit", "a", "--fit", "b"]) == ["--fit", "a", "--fit", "b"]
    assert spread("--fit", ["--fit=a", "b"]) == ["--fit=a", "b"]
