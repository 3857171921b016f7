"""Label images in every format, their check against the image, and writing them."""

import dask.array as da
import imagecodecs
import numpy as np
import pytest
import tifffile

from virtues_core.errors import InputError, ReadError
from virtues_core.read import open_labels, read_labels, write_labels

LABELS = np.arange(30 * 40).reshape(30, 40) // 50


def test_real_masks(shared_data):
    folder = shared_data / "spleen_imc"
    cells = read_labels(folder / "r2_cells.tif", shape=(501, 500))
    assert cells.dtype == np.int32
    assert cells.max() == 4224
    assert set(np.unique(read_labels(folder / "r2_region.tif"))) == {0, 1, 2}


@pytest.mark.parametrize("top", [200, 60_000, 100_000])
def test_round_trip(tmp_path, top):
    labels = LABELS * top // LABELS.max()
    write_labels(tmp_path / "cells.tif", labels, (0.5, 0.5))
    np.testing.assert_array_equal(read_labels(tmp_path / "cells.tif", (30, 40)), labels)
    smallest = {200: np.uint8, 60_000: np.uint16, 100_000: np.uint32}[top]
    assert tifffile.imread(tmp_path / "cells.tif").dtype == smallest


def test_npz(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", mask=LABELS.astype(np.uint16))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.npz"), LABELS)
    np.savez(tmp_path / "b.npz", mask=LABELS > 3)
    np.testing.assert_array_equal(read_labels(tmp_path / "b.npz"), LABELS > 3)


def test_png(tmp_path):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(LABELS.astype(np.uint16)))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), LABELS)


def test_whole_numbers_kept_as_floats(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", LABELS.astype(np.float32))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), LABELS)


def test_open_without_reading(tmp_path):
    write_labels(tmp_path / "cells.tif", LABELS)
    opened = open_labels(tmp_path / "cells.tif", (30, 40))
    assert isinstance(opened, da.Array)
    assert opened.dtype == np.int32
    np.testing.assert_array_equal(opened.compute(scheduler="synchronous"), LABELS)
    np.savez(tmp_path / "a.npz", mask=LABELS)
    np.testing.assert_array_equal(open_labels(tmp_path / "a.npz"), LABELS)
    with pytest.raises(ReadError, match=r"size \(30, 41\)"):
        open_labels(tmp_path / "cells.tif", (30, 41))
    tifffile.imwrite(tmp_path / "half.tif", LABELS.astype(np.float32) / 2)
    with pytest.raises(ReadError, match="fractions"):
        open_labels(tmp_path / "half.tif").compute(scheduler="synchronous")


# Bad input


def test_a_mask_of_another_size(tmp_path):
    write_labels(tmp_path / "a.tif", LABELS)
    expected = r"image's size \(30, 41\) .* found \(30, 40\) in .*a\.tif.*made for this image"
    with pytest.raises(ReadError, match=expected):
        read_labels(tmp_path / "a.tif", shape=(30, 41))


def test_missing(tmp_path):
    with pytest.raises(ReadError, match=r"found nothing at .*cells\.tif.*check the path"):
        read_labels(tmp_path / "cells.tif")


def test_another_kind_of_file(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(ReadError, match="found another kind of file"):
        read_labels(tmp_path / "a.csv")


def test_an_image_instead_of_a_mask(shared_data):
    with pytest.raises(ReadError, match=r"found 25 planes in .*choose the mask file"):
        read_labels(shared_data / "spleen_imc" / "r2.ome.tiff")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (LABELS + 0.5, "values with fractions or NaN"),
        (np.where(LABELS > 3, np.nan, LABELS), "values with fractions or NaN"),
        (LABELS - 1, "the value -1"),
        (LABELS + 2.0**33, "the value"),
        (LABELS.astype(np.complex64), "values of type complex64"),
        (np.stack([LABELS, LABELS]), r"an array of shape \(2, 30, 40\)"),
    ],
)
def test_values_that_are_no_labels(tmp_path, values, found):
    np.savez(tmp_path / "a.npz", mask=values)
    with pytest.raises(ReadError, match=rf"whole numbers from 0 to .*found {found}.*not a picture"):
        read_labels(tmp_path / "a.npz")


def test_npz_without_the_key(tmp_path):
    np.savez(tmp_path / "a.npz", labels=LABELS, other=LABELS)
    with pytest.raises(ReadError, match=r"array 'mask' in .*found labels, other; save it with"):
        read_labels(tmp_path / "a.npz")


def test_a_single_array_named_npz(tmp_path):
    np.save(tmp_path / "b.npy", LABELS)
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(ReadError, match=r"expected an \.npz of plain arrays"):
        read_labels(tmp_path / "b.npz")


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "a.npz", mask=np.array([Trap()], dtype=object))
    with pytest.raises(ReadError, match="objects are never unpickled"):
        read_labels(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", np.array([Trap()], dtype=object))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(ReadError, match="objects are never unpickled"):
        read_labels(tmp_path / "b.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["a.npz", "a.png", "a.tif"])
def test_truncated(tmp_path, name):
    path = tmp_path / name
    if name.endswith("npz"):
        np.savez(path, mask=LABELS)
    elif name.endswith("png"):
        path.write_bytes(imagecodecs.png_encode(LABELS.astype(np.uint16)))
    else:
        write_labels(path, LABELS)
    path.write_bytes(path.read_bytes()[:70])
    with pytest.raises(ReadError, match=r"expected .* found .*"):
        read_labels(path)


@pytest.mark.parametrize("labels", [LABELS - 5, LABELS * 0.5, LABELS[None]])
def test_writing_what_are_no_labels(tmp_path, labels):
    with pytest.raises(InputError, match=r"labels \(Y, X\) as whole numbers from 0, found shape"):
        write_labels(tmp_path / "a.tif", labels)
    assert not list(tmp_path.iterdir())
