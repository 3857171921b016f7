"""OME-TIFF, ImageJ and plain TIFF, and what each kind of damage is told as."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile

from virtues_core.errors import InputError, ReadError
from virtues_core.read import can_read, image_names, read_image, write_ome_tiff


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 900, (3, 70, 90)).astype(np.uint16)


def test_real_ome_tiff(shared_data):
    path = shared_data / "spleen_imc" / "r2.ome.tiff"
    image = read_image(path)
    assert image.shape == (25, 501, 500)
    assert image.channels[13] == "CD20_Dy161"
    assert image.pixel_size_um == (1.0, 1.0)
    assert (image.name, image.source) == ("r2", path)
    assert image_names(path) == ("r2",)
    assert can_read(path)
    expected = tifffile.imread(path)
    np.testing.assert_array_equal(image.compute(), expected)
    np.testing.assert_array_equal(image.compute([13, 2]), expected[[13, 2]])
    np.testing.assert_array_equal(image.pixels[4, 10:60, 7].compute(), expected[4, 10:60, 7])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_round_trip(tmp_path, pixels, dtype):
    path = tmp_path / "a.ome.tiff"
    write_ome_tiff(path, pixels.astype(dtype), ["CD3 / T", "α-SMA", "<DNA>"], (0.65, 0.5))
    image = read_image(path)
    assert image.channels == ("CD3 / T", "α-SMA", "<DNA>")
    assert image.pixel_size_um == (0.65, 0.5)
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.compute(), pixels.astype(dtype))


def test_lazy_pixels_can_be_written(tmp_path, pixels):
    write_ome_tiff(tmp_path / "a.ome.tiff", pixels, ["a", "b", "c"])
    image = read_image(tmp_path / "a.ome.tiff")
    assert image.pixel_size_um is None
    write_ome_tiff(tmp_path / "b.ome.tiff", image.pixels * 2, image.channels)
    np.testing.assert_array_equal(read_image(tmp_path / "b.ome.tiff").compute(), pixels * 2)


def test_a_bool_image_is_written_as_zeros_and_ones(tmp_path, pixels):
    write_ome_tiff(tmp_path / "a.ome.tiff", pixels > 400, ["a", "b", "c"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tiff").compute(), pixels > 400)


def test_one_channel_only(tmp_path, pixels):
    write_ome_tiff(tmp_path / "one.ome.tiff", pixels[:1], ["CD3"], (1.0, 1.0))
    image = read_image(tmp_path / "one.ome.tiff")
    assert image.shape == (1, 70, 90)
    assert image.channels == ("CD3",)
    np.testing.assert_array_equal(image.compute(), pixels[:1])


def test_pyramid(tmp_path, pixels):
    path = tmp_path / "pyramid.ome.tiff"
    metadata = {"axes": "CYX", "Channel": {"Name": ["a", "b", "c"]}, "PhysicalSizeX": 0.5}
    options = {"tile": (32, 32), "compression": "zlib", "photometric": "minisblack"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(pixels, subifds=2, metadata=metadata, **options)
        tiff.write(pixels[:, ::2, ::2], subfiletype=1, **options)
        tiff.write(pixels[:, ::4, ::4], subfiletype=1, **options)
    image = read_image(path)
    assert image_names(path) == ("pyramid",)
    assert [level.shape for level in image.levels] == [(3, 35, 45), (3, 18, 23)]
    np.testing.assert_array_equal(image.compute(), pixels)
    np.testing.assert_array_equal(image.levels[1].compute(), pixels[:, ::4, ::4])
    assert image.pixel_size_um is None  # x alone is not a pixel size


def test_pixel_size_in_other_units(tmp_path, pixels):
    path = tmp_path / "nm.ome.tiff"
    sizes = {"PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm"}
    sizes |= {"PhysicalSizeY": 0.001, "PhysicalSizeYUnit": "mm"}
    tifffile.imwrite(path, pixels, metadata={"axes": "CYX", **sizes}, photometric="minisblack")
    assert read_image(path).pixel_size_um == pytest.approx((1.0, 0.5))


def test_several_images_in_one_file(tmp_path, pixels):
    path = tmp_path / "many.ome.tiff"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for name in ("left", "right", "right"):
            names = [f"{name} {i}" for i in range(3)]
            tiff.write(
                pixels + len(name),
                photometric="minisblack",
                metadata={"axes": "CYX", "Name": name, "Channel": {"Name": names}},
            )
    assert image_names(path) == ("left", "right (1)", "right (2)")
    assert read_image(path).name == "left"
    right = read_image(path, "right (2)")
    assert right.name == "right (2)"
    assert right.channels == ("right 0", "right 1", "right 2")
    np.testing.assert_array_equal(right.compute(), pixels + 5)
    with pytest.raises(ReadError, match=r"found no 'middle'; choose one of: left, right \(1\)"):
        read_image(path, "middle")


def test_imagej(tmp_path, pixels):
    path = tmp_path / "ij.tif"
    tifffile.imwrite(
        path,
        pixels,
        imagej=True,
        resolution=(2.0, 4.0),
        metadata={"axes": "CYX", "unit": "um", "Labels": ["CD3", "CD8", "DNA"]},
    )
    image = read_image(path)
    assert image.channels == ("CD3", "CD8", "DNA")
    assert image.pixel_size_um == pytest.approx((0.25, 0.5))
    np.testing.assert_array_equal(image.compute(), pixels)
    np.testing.assert_array_equal(image.pixels[1:, 3:5, 60:].compute(), pixels[1:, 3:5, 60:])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_plain_pages(tmp_path, pixels, byteorder, compression):
    path = tmp_path / "plain.tif"
    with tifffile.TiffWriter(path, byteorder=byteorder) as tiff:
        for plane, name in zip(pixels, ["CD3", "CD8", "DNA"], strict=True):
            tiff.write(
                plane,
                contiguous=False,
                metadata=None,
                compression=compression,
                rowsperstrip=16,
                resolution=(20000, 10000),
                resolutionunit="CENTIMETER",
                extratags=[(285, 2, 0, name, True)],
            )
    image = read_image(path)
    assert image.channels == ("CD3", "CD8", "DNA")
    assert image.pixel_size_um == pytest.approx((1.0, 0.5))
    assert image.pixels.dtype == np.dtype("uint16")
    np.testing.assert_array_equal(image.compute(), pixels)


def test_channels_stored_as_samples(tmp_path, pixels):
    path = tmp_path / "samples.tif"
    tifffile.imwrite(path, np.moveaxis(pixels, 0, -1), photometric="minisblack", planarconfig=1)
    image = read_image(path)
    np.testing.assert_array_equal(image.compute(), pixels)


def test_names_where_the_file_has_none(tmp_path, pixels):
    path = tmp_path / "img" / "plain.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, pixels, photometric="minisblack")
    assert read_image(path).channels == ("channel 1", "channel 2", "channel 3")
    panel = tmp_path / "panel.csv"
    panel.write_text("channel,name,keep\nAg107,Ag107,0\nPr141,CD3,1\nSm147,CD8,1\nIr191,,1\n")
    assert read_image(path).channels == ("CD3", "CD8", "Ir191")
    panel.write_text("channel,name,keep\nPr141,CD3,1\nSm147,CD8,0\nIr191,DNA,1\n")
    assert read_image(path).channels == ("CD3", "CD8", "DNA")
    panel.write_text("channel,name,keep\nPr141,CD3,1\n")  # another image's panel
    assert read_image(path).channels == ("channel 1", "channel 2", "channel 3")
    panel.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ReadError, match=r"panel\.csv.*save it as UTF-8 CSV"):
        read_image(path)


def test_names_in_the_file_win_over_a_panel(tmp_path, pixels):
    (tmp_path / "panel.csv").write_text("channel,name\nA,x\nB,y\nC,z\n")
    write_ome_tiff(tmp_path / "a.ome.tiff", pixels, ["CD3", "", "DNA"])
    assert read_image(tmp_path / "a.ome.tiff").channels == ("CD3", "channel 2", "DNA")


# Bad input


def test_missing_file(tmp_path):
    path = tmp_path / "nothing.ome.tiff"
    assert not can_read(path)
    with pytest.raises(ReadError, match=r"found nothing at .*nothing\.ome\.tiff.*check the path"):
        read_image(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_truncated_tiff(tmp_path, pixels, compression, kept):
    whole = tmp_path / "whole.ome.tiff"
    options = {"photometric": "minisblack", "compression": compression}
    with tifffile.TiffWriter(whole, ome=True) as tiff:
        tiff.write(pixels, metadata={"axes": "CYX"}, **options)
    path = tmp_path / "cut.ome.tiff"
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * kept)])
    with pytest.raises(ReadError, match=r"complete TIFF, found a truncated.*copy or export"):
        read_image(path)


def test_truncated_tiff_of_another_writer(tmp_path, pixels):
    """Directories one after the other: those at the end are lost, and with them their planes."""
    path = tmp_path / "cut.tif"
    whole = tmp_path / "whole.ome.tiff"
    write_ome_tiff(whole, pixels, ["a", "b", "c"])
    with tifffile.TiffFile(whole) as tiff:
        end = tiff.pages[2].dataoffsets[0]
    path.write_bytes(whole.read_bytes()[:end])
    with pytest.raises(ReadError, match="truncated"):
        read_image(path)


def test_pixels_that_cannot_be_decoded(tmp_path, pixels):
    path = tmp_path / "damaged.ome.tiff"
    write_ome_tiff(path, pixels, ["a", "b", "c"])
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[1].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 64)
    image = read_image(path)
    np.testing.assert_array_equal(image.compute([0]), pixels[:1])
    with pytest.raises(ReadError, match=r"found a truncated or damaged one.*damaged\.ome\.tiff"):
        image.compute([1])


@pytest.mark.parametrize("content", [b"", b"II*\0", b"not a tiff at all"])
def test_not_a_tiff(tmp_path, content):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"expected .*TIFF.*found a "):
        read_image(path)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_rgb(tmp_path, planarconfig):
    path = tmp_path / "he.tif"
    shape = (60, 60, 3) if planarconfig == "contig" else (3, 60, 60)
    tifffile.imwrite(path, np.zeros(shape, np.uint8), photometric="rgb", planarconfig=planarconfig)
    with pytest.raises(ReadError, match=r"one plane a channel, found an RGB picture.*OME-TIFF"):
        read_image(path)


def test_more_axes_than_channels(tmp_path):
    path = tmp_path / "stack.ome.tiff"
    pixels = np.zeros((2, 3, 40, 40), np.uint8)
    tifffile.imwrite(path, pixels, metadata={"axes": "ZCYX"}, photometric="minisblack")
    with pytest.raises(ReadError, match=r"found axes ZCYX of shape \(2, 3, 40, 40\).*one z plane"):
        read_image(path)


def test_complex_pixels(tmp_path):
    path = tmp_path / "fft.tif"
    tifffile.imwrite(path, np.zeros((3, 40, 40), np.complex64), photometric="minisblack")
    with pytest.raises(ReadError, match=r"found complex64.*export the image again"):
        read_image(path)


# Writing


def test_wrong_number_of_names(tmp_path, pixels):
    with pytest.raises(InputError, match=r"found shape \(3, 70, 90\) and 2 names"):
        write_ome_tiff(tmp_path / "a.ome.tiff", pixels, ["a", "b"])


def test_type_that_ome_does_not_know(tmp_path, pixels):
    with pytest.raises(InputError, match=r"found int64; convert the pixels first"):
        write_ome_tiff(tmp_path / "a.ome.tiff", pixels.astype(np.int64), ["a", "b", "c"])


def test_a_failed_write_leaves_the_old_file(tmp_path, pixels):
    path = tmp_path / "a.ome.tiff"
    write_ome_tiff(path, pixels, ["a", "b", "c"])
    source = tmp_path / "source.ome.tiff"
    write_ome_tiff(source, pixels, ["a", "b", "c"])
    lazy = read_image(source).pixels
    with tifffile.TiffFile(source) as tiff:
        last = tiff.pages[2].dataoffsets[0]
    with source.open("r+b") as file:
        file.seek(last)
        file.write(bytes(64))
    with pytest.raises(ReadError):
        write_ome_tiff(path, lazy, ["x", "y", "z"])
    assert read_image(path).channels == ("a", "b", "c")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ome.tiff", "source.ome.tiff"]


FULL_DISK = """
import resource, sys
import numpy as np
from virtues_core.errors import VirtuesError
from virtues_core.read import write_ome_tiff
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
pixels = np.random.default_rng(0).integers(0, 60_000, (3, 300, 300)).astype(np.uint16)
try:
    write_ome_tiff(sys.argv[1], pixels, ["x", "y", "z"])
except VirtuesError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on a file's size to set")
def test_a_full_disk_leaves_the_old_file(tmp_path, pixels):
    path = tmp_path / "a.ome.tiff"
    write_ome_tiff(path, pixels, ["a", "b", "c"])
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "could not write 'a.ome.tiff'" in ran.stdout
    assert "free some space" in ran.stdout
    np.testing.assert_array_equal(read_image(path).compute(), pixels)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.tiff"]


def test_sparse_tiles_read_as_zero(tmp_path):
    path = tmp_path / "sparse.ome.tiff"
    tiles = [np.full((64, 64), 7, np.uint16), None, None, None]
    tifffile.imwrite(
        path,
        iter(tiles * 2),
        shape=(2, 128, 128),
        dtype=np.uint16,
        tile=(64, 64),
        compression="zlib",
        photometric="minisblack",
        metadata={"axes": "CYX"},
    )
    block = read_image(path).compute()
    assert (block[:, :64, :64] == 7).all()
    assert block.sum() == 2 * 7 * 64 * 64
