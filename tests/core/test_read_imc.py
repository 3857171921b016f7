"""Real .mcd and .txt acquisitions, whole and broken."""

import shutil

import numpy as np
import pytest

from virtues_core.errors import ReadError
from virtues_core.read import can_read, image_names, read_image

STEM = "20210305_NE_mockData1"
HEADER = "Start_push\tEnd_push\tPushes_duration\tX\tY\tZ\tCD8a(Dy162Di)\t162Dy_x(Dy162Di)\n"


@pytest.fixture
def raw(shared_data):
    return shared_data / "imc_raw"


@pytest.fixture
def alone(raw, tmp_path):
    """One .mcd in a folder of its own, writable."""
    path = tmp_path / f"{STEM}.mcd"
    path.write_bytes((raw / path.name).read_bytes())
    return path


def with_texts(raw, folder):
    for text in raw.glob(f"{STEM}_*.txt"):
        shutil.copyfile(text, folder / text.name)


def test_every_acquisition_agrees_with_its_text(raw):
    for mcd in sorted(raw.glob("*.mcd")):
        assert can_read(mcd)
        names = image_names(mcd)
        assert names == ("ROI_001", "ROI_002", "ROI_003")
        for number, name in enumerate(names, start=1):
            image = read_image(mcd, name)
            text = read_image(raw / f"{mcd.stem}_{name}_{number}.txt")
            assert image.name == name
            assert image.shape == text.shape
            assert image.channels == text.channels
            assert image.pixel_size_um == text.pixel_size_um == (1.0, 1.0)
            assert image.pixels.dtype == text.pixels.dtype == np.float32
            np.testing.assert_allclose(image.compute(), text.compute(), atol=5.1e-4)


def test_one_channel_is_read_alone(raw):
    image = read_image(raw / f"{STEM}.mcd", "ROI_002")
    assert image.shape == (5, 51, 64)
    assert image.pixels.chunksize == (1, 51, 64)
    assert image.channels[1] == "Cytoker_651((3356))Pr141"
    np.testing.assert_array_equal(image.compute([3]), image.compute()[3:4])
    np.testing.assert_array_equal(image.pixels[3, 2:9, 5].compute(), image.compute()[3, 2:9, 5])


def test_the_first_acquisition_by_default(raw):
    assert read_image(raw / f"{STEM}.mcd").name == "ROI_001"
    with pytest.raises(ReadError, match=r"found no 'ROI_9'; choose one of: ROI_001, ROI_002"):
        read_image(raw / f"{STEM}.mcd", "ROI_9")


def test_channels_get_their_isotope_once(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(HEADER + "1\t2\t1\t0\t0\t0\t3.5\t0\n1\t2\t1\t1\t0\t1\t0\t2\n")
    image = read_image(path)
    assert image.channels == ("CD8a_Dy162", "162Dy_x")
    np.testing.assert_array_equal(image.compute(), [[[3.5, 0]], [[0, 2]]])
    assert image_names(path) == ("a",)


def test_an_acquisition_that_stopped_short_is_filled_with_zeros(raw, tmp_path):
    source = raw / f"{STEM}_ROI_001_1.txt"
    lines = source.read_text().splitlines(keepends=True)
    path = tmp_path / "short.txt"
    path.write_text("".join(lines[: 1 + 60 * 30 + 20]))
    image, whole = read_image(path).compute(), read_image(source).compute()
    assert image.shape == (5, 31, 60)
    np.testing.assert_array_equal(image[:, :30], whole[:, :30])
    np.testing.assert_array_equal(image[:, 30, :20], whole[:, 30, :20])
    assert (image[:, 30, 20:] == 0).all()


# Broken .mcd


def test_corrupt_mcd_without_texts(alone):
    alone.write_bytes(b"\0" * 4000)
    assert can_read(alone)  # so that its own message is shown, not "no reader"
    for look in (read_image, image_names):
        with pytest.raises(ReadError, match=r"found a damaged one.*\.txt files.*beside it"):
            look(alone)


def test_empty_mcd(alone):
    alone.write_bytes(b"")
    with pytest.raises(ReadError, match="found a damaged one"):
        read_image(alone)


def test_mcd_with_a_broken_description(alone):
    content = alone.read_bytes()
    start = content.rfind("<MCDSchema".encode("utf-16-le"))
    middle = start + 2000
    alone.write_bytes(content[:middle] + "<<<".encode("utf-16-le") + content[middle + 6 :])
    with pytest.raises(ReadError, match="found a damaged one"):
        read_image(alone)


def test_texts_stand_in_for_a_broken_mcd(raw, alone):
    alone.write_bytes(alone.read_bytes()[:100_000])
    with_texts(raw, alone.parent)
    assert image_names(alone) == ("ROI_001", "ROI_002", "ROI_003")
    image = read_image(alone, "ROI_003")
    expected = read_image(raw / f"{STEM}.mcd", "ROI_003")
    assert image.name == "ROI_003"
    assert image.source == alone.with_name(f"{STEM}_ROI_003_3.txt")
    np.testing.assert_allclose(image.compute(), expected.compute(), atol=5.1e-4)


def declare_end_of_first(path, old, new):
    """Change where the first acquisition is declared to end; same number of digits."""
    content = path.read_bytes()
    tag = "<DataEndOffset>{}</DataEndOffset>"
    assert len(old) == len(new)
    found, wanted = (tag.format(n).encode("utf-16-le") for n in (old, new))
    assert found in content
    path.write_bytes(content.replace(found, wanted))


def test_an_acquisition_beyond_the_end_of_the_file(raw, alone):
    declare_end_of_first(alone, "171674", "971674")
    with pytest.raises(ReadError, match=r"ROI_001: \d+ bytes where its pixels end at 971674"):
        read_image(alone)
    assert read_image(alone, "ROI_002").shape == (5, 51, 64)  # the others can still be read
    with_texts(raw, alone.parent)
    assert read_image(alone, "ROI_001").source == alone.with_name(f"{STEM}_ROI_001_1.txt")


def test_an_acquisition_without_pixels(alone):
    declare_end_of_first(alone, "171674", "056474")
    with pytest.raises(ReadError, match="ROI_001: no pixels in it"):
        read_image(alone)


def test_the_last_byte_left_out(raw, alone):
    declare_end_of_first(alone, "171674", "171673")
    expected = read_image(raw / alone.name)
    np.testing.assert_array_equal(read_image(alone).compute(), expected.compute())


def test_an_mcd_that_vanishes_before_its_pixels_are_read(alone):
    image = read_image(alone)
    alone.unlink()
    with pytest.raises(ReadError, match="found a damaged one"):
        image.compute([0])


# Broken .txt


def test_text_that_is_not_imc(tmp_path, raw):
    notes = tmp_path / "notes.txt"
    notes.write_text("What I did on Monday\n")
    for path in (notes, raw / "SOURCE.txt"):
        assert not can_read(path)
        with pytest.raises(ReadError, match=r"found a text that is not from IMC.*Start_push"):
            read_image(path)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ("", "no pixels in it"),
        ("1\t2\t1\t0\t0\t0\t3.5\t0\n1\t2\t1\t1\t0\t1\t0\n", "row 3 lacks values"),
        ("1\t2\t1\t0\t0\t0\tx\t0\n", "could not convert string to float"),
        ("1\t2\t1\t-1\t0\t0\t1\t0\n", "1 pixels that do not fill a raster"),
        ("1\t2\t1\t90000\t90000\t0\t1\t0\n", "1 pixels that do not fill a raster of 90001"),
    ],
)
def test_damaged_text(tmp_path, rows, found):
    path = tmp_path / "a.txt"
    path.write_text(HEADER + rows)
    with pytest.raises(ReadError, match=f"(?s)found a damaged one.*{found}.*export it again"):
        read_image(path)


def test_text_with_a_column_that_is_no_isotope(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(HEADER.replace("(Dy162Di)", "", 1) + "1\t2\t1\t0\t0\t0\t1\t1\n")
    with pytest.raises(ReadError, match=r"(?s)found a damaged one.*CD8a"):
        read_image(path)
