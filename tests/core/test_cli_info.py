"""``virtues info``: the JSON that other programs rely on, and the table for people."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import typer
from typer.testing import CliRunner

from virtues_core.cli import info
from virtues_core.errors import ReadError
from virtues_core.read import write_ome_tiff


@pytest.fixture
def run():
    app = typer.Typer()
    app.callback()(lambda: None)
    info.register(app)

    def call(*arguments):
        return CliRunner().invoke(app, ["info", *map(str, arguments)], catch_exceptions=False)

    return call


def test_json(run, shared_data):
    result = run(shared_data / "spleen_imc" / "r2.ome.tiff", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert set(found) == {"shape", "dtype", "pixel_size_um", "channels"}
    assert found["shape"] == [25, 501, 500]
    assert found["dtype"] == "uint16"
    assert found["pixel_size_um"] == [1.0, 1.0]
    assert len(found["channels"]) == 25
    cd20 = found["channels"][13]
    assert set(cd20) == {"name", "accession", "status", "source"}
    assert (cd20["name"], cd20["accession"]) == ("CD20_Dy161", "P11836")
    assert cd20["status"] == "resolved"
    xenon = found["channels"][1]
    assert (xenon["accession"], xenon["status"]) == (None, "background")


def test_json_of_a_file_of_several_images(run, shared_data):
    path = shared_data / "imc_raw" / "20210305_NE_mockData1.mcd"
    first = json.loads(run(path, "--json").stdout)
    assert first["images"] == ["ROI_001", "ROI_002", "ROI_003"]
    assert first["shape"] == [5, 60, 60]
    second = json.loads(run(path, "--json", "--image", "ROI_002").stdout)
    assert second["shape"] == [5, 51, 64]
    assert second["images"] == first["images"]
    with pytest.raises(ReadError, match="choose one of: ROI_001, ROI_002, ROI_003"):
        run(path, "--image", "ROI_4")


def test_json_without_a_pixel_size(run, tmp_path):
    write_ome_tiff(tmp_path / "a.ome.tiff", np.zeros((2, 9, 9), np.float32), ["α-SMA", "what"])
    result = run(tmp_path / "a.ome.tiff", "--json")
    found = json.loads(result.stdout)
    assert found["pixel_size_um"] is None
    assert [c["name"] for c in found["channels"]] == ["α-SMA", "what"]
    assert found["channels"][1]["status"] == "review"


def test_table(run, shared_data):
    result = run(shared_data / "spleen_imc" / "r2.ome.tiff")
    lines = result.stdout.splitlines()
    assert lines[0] == "r2: 25 channels, 501 × 500 px (y, x), uint16, 1 × 1 µm a pixel (y, x)"
    assert lines[1].split() == ["channel", "accession", "status", "source"]
    assert "CD20_Dy161       P11836     resolved" in result.stdout
    assert len(lines) == 27
    result = run(shared_data / "imc_raw" / "20210305_NE_mockData1.mcd")
    assert "images in the file: ROI_001, ROI_002, ROI_003" in result.stdout


def test_table_of_a_pyramid(run, tmp_path):
    path = tmp_path / "p.ome.tiff"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for size, options in ((64, {"subifds": 1}), (32, {"subfiletype": 1})):
            pixels = np.zeros((2, size, size), np.uint8)
            tiff.write(pixels, metadata={"axes": "CYX"}, photometric="minisblack", **options)
    lines = run(path).stdout.splitlines()
    assert lines[0] == "p: 2 channels, 64 × 64 px (y, x), uint8, unknown pixel size"
    assert lines[1] == "pyramid levels: 32 × 32"


def test_a_missing_file(run, tmp_path):
    with pytest.raises(ReadError, match="found nothing at"):
        run(tmp_path / "nothing.tif")


def test_nothing_heavy_is_imported_for_help():
    code = (
        "import sys, virtues_core.cli.info\n"
        "assert not {'numpy', 'dask', 'tifffile', 'zarr'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
