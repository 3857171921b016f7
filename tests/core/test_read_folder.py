"""A folder of one TIFF per channel, and which folders are claimed at all."""

import numpy as np
import pytest
import tifffile

from virtues_core.errors import ReadError
from virtues_core.read import can_read, image_names, read_image, write_ome_tiff


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "roi_1"
    path.mkdir()
    planes = np.random.default_rng(0).integers(0, 900, (3, 40, 50)).astype(np.uint16)
    write_ome_tiff(path / "c2_CD8.ome.tiff", planes[1:2], ["c"], (0.5, 0.5))
    tifffile.imwrite(path / "c1_CD3.tif", planes[0])
    tifffile.imwrite(path / "c10_DNA.TIFF", planes[2].astype(np.float32))
    (path / "notes.md").write_text("not a channel")
    (path / "._c1_CD3.tif").write_bytes(b"\0\5\x16\7")
    return path, planes


def test_channels_are_the_files(folder):
    path, planes = folder
    assert can_read(path)
    assert image_names(path) == ("roi_1",)
    image = read_image(path)
    assert image.name == "roi_1"
    assert image.channels == ("c1_CD3", "c2_CD8", "c10_DNA")
    assert image.pixels.dtype == np.float32  # what holds every channel without loss
    np.testing.assert_array_equal(image.compute(), planes)
    with pytest.raises(ReadError, match="choose one of: roi_1"):
        read_image(path, "roi_2")


def test_a_single_channel(tmp_path):
    tifffile.imwrite(tmp_path / "CD3.tif", np.ones((40, 50), np.uint8))
    assert read_image(tmp_path).shape == (1, 40, 50)


def test_a_channel_of_another_size(folder):
    path, _ = folder
    tifffile.imwrite(path / "c3.tif", np.zeros((40, 51), np.uint16))
    with pytest.raises(ReadError, match=r"\(40, 50\) .* found shape \(1, 40, 51\) in 'c3'"):
        read_image(path)


def test_a_truncated_channel(folder):
    path, _ = folder
    file = path / "c1_CD3.tif"
    file.write_bytes(file.read_bytes()[:500])
    assert can_read(path)  # so that the message below is shown
    with pytest.raises(ReadError, match=r"truncated or damaged one: .*c1_CD3\.tif"):
        read_image(path)


def test_folders_that_are_not_claimed(tmp_path):
    assert not can_read(tmp_path)
    pixels = np.zeros((2, 40, 50), np.uint8)
    write_ome_tiff(tmp_path / "a.ome.tiff", pixels, ["x", "y"])
    write_ome_tiff(tmp_path / "b.ome.tiff", pixels, ["x", "y"])
    assert not can_read(tmp_path)
    with pytest.raises(ReadError, match=r"found a folder of another kind.*path of one image"):
        read_image(tmp_path)


def test_real_folders_of_images_are_not_claimed(shared_data):
    assert not can_read(shared_data / "spleen_imc")
    assert not can_read(shared_data / "imc_raw")
    assert not can_read(shared_data)


@pytest.mark.parametrize("name", ["", "a.csv", "a.txt", "a\0b", "x" * 5000])
def test_can_read_never_raises(tmp_path, name):
    if name in {"a.csv", "a.txt"}:
        (tmp_path / name).write_bytes(b"\xff\xfe\0\1")
    assert can_read(tmp_path / name) is False


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ReadError, match=r"found a \.csv file.*export the image as OME-TIFF"):
        read_image(path)
