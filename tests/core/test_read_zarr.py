"""OME-Zarr 0.4 and 0.5, SpatialData and bioformats2raw stores."""

import numpy as np
import pytest
import zarr

from virtues_core.errors import ReadError
from virtues_core.read import can_read, image_names, read_image, read_labels

FORMATS = [("0.4", 2), ("0.5", 3)]


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 900, (3, 70, 90)).astype(np.uint16)


def write_image(group, pixels, *, axes="cyx", names=("a", "b", "c"), unit="micrometer", levels=1):
    """Write an OME-Zarr image by the specification, in the group's zarr format."""
    version = "0.4" if group.metadata.zarr_format == 2 else "0.5"
    datasets = []
    for level in range(levels):
        step = 2**level
        part = pixels[..., ::step, ::step]
        chunks = (1,) * (pixels.ndim - 2) + (32, 32)
        array = group.create_array(f"s{level}", shape=part.shape, chunks=chunks, dtype=part.dtype)
        array[:] = part
        scale = [1.0] * (pixels.ndim - 2) + [0.65 * step, 0.5 * step]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": f"s{level}", "coordinateTransformations": transforms})
    kinds = {"t": {"type": "time"}, "c": {"type": "channel"}}
    space = {"type": "space", **({"unit": unit} if unit else {})}
    listed = [{"name": a, **kinds.get(a, space)} for a in axes]
    attributes = {"multiscales": [{"axes": listed, "datasets": datasets, "version": version}]}
    if names:
        attributes["omero"] = {"channels": [{"label": n} for n in names]}
    group.attrs.update(attributes if version == "0.4" else {"ome": attributes})


@pytest.mark.parametrize(("version", "zarr_format"), FORMATS)
def test_image_with_a_pyramid(tmp_path, pixels, version, zarr_format):
    path = tmp_path / f"tissue_{version}.ome.zarr"
    write_image(zarr.open_group(path, mode="w", zarr_format=zarr_format), pixels, levels=2)
    assert can_read(path)
    assert image_names(path) == (f"tissue_{version}",)
    image = read_image(path)
    assert image.channels == ("a", "b", "c")
    assert image.pixel_size_um == (0.65, 0.5)
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.compute(), pixels)
    np.testing.assert_array_equal(image.compute([2]), pixels[2:])
    np.testing.assert_array_equal(image.pixels[1, 5:40, 3].compute(), pixels[1, 5:40, 3])
    assert [level.shape for level in image.levels] == [(3, 35, 45)]
    np.testing.assert_array_equal(image.levels[0].compute(), pixels[:, ::2, ::2])


def test_axes_of_length_one_are_dropped(tmp_path, pixels):
    path = tmp_path / "a.zarr"
    full = pixels[None, :, None]
    write_image(zarr.open_group(path, mode="w", zarr_format=2), full, axes="tczyx")
    np.testing.assert_array_equal(read_image(path).compute(), pixels)


def test_one_plane_without_a_channel_axis(tmp_path, pixels):
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    write_image(group, pixels[0], axes="yx", names=("DNA",))
    image = read_image(path)
    assert image.channels == ("DNA",)
    np.testing.assert_array_equal(image.compute(), pixels[:1])


def test_without_names_and_units(tmp_path, pixels):
    path = tmp_path / "a.zarr"
    write_image(zarr.open_group(path, mode="w", zarr_format=3), pixels, names=None, unit=None)
    image = read_image(path)
    assert image.channels == ("channel 1", "channel 2", "channel 3")
    assert image.pixel_size_um is None


def test_bare_array(tmp_path, pixels):
    path = tmp_path / "bare.zarr"
    zarr.create_array(path, data=pixels, chunks=(3, 32, 32))
    image = read_image(path)
    assert image.name == "bare"
    assert image.pixels.chunksize[0] == 3  # the file does not allow less
    np.testing.assert_array_equal(image.compute(), pixels)


def test_spatialdata(tmp_path, pixels):
    path = tmp_path / "sample.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=3)
    for name in ("roi_1", "roi_2"):
        write_image(root.create_group(f"images/{name}"), pixels + len(name), names=("x", "y", "z"))
    write_image(root.create_group("labels/cells"), pixels[0], axes="yx", names=None)
    assert can_read(path)
    assert image_names(path) == ("roi_1", "roi_2")
    image = read_image(path, "roi_2")
    assert image.channels == ("x", "y", "z")
    np.testing.assert_array_equal(image.compute(), pixels + 5)
    np.testing.assert_array_equal(read_labels(path), pixels[0])
    np.testing.assert_array_equal(read_labels(path / "labels" / "cells"), pixels[0])


def test_bioformats2raw(tmp_path, pixels):
    path = tmp_path / "slide.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=2)
    for number in range(11):
        write_image(root.create_group(str(number)), pixels + number)
    root.create_group("OME")
    assert image_names(path) == tuple(str(n) for n in range(11))
    np.testing.assert_array_equal(read_image(path, "10").compute(), pixels + 10)


def test_labels_beside_an_image(tmp_path, pixels):
    path = tmp_path / "a.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=2)
    write_image(root, pixels)
    with pytest.raises(ReadError, match=r"found an image of 3 channels without labels"):
        read_labels(path)
    labels = root.create_group("labels")
    write_image(labels.create_group("cells"), pixels[1], axes="yx", names=None)
    labels.attrs["labels"] = ["cells"]
    np.testing.assert_array_equal(read_labels(path, shape=(70, 90)), pixels[1])
    write_image(labels.create_group("regions"), pixels[2], axes="yx", names=None)
    labels.attrs["labels"] = ["cells", "regions"]
    with pytest.raises(ReadError, match=r"found 2 in .*: cells, regions; give the path of one"):
        read_labels(path)
    np.testing.assert_array_equal(read_labels(path / "labels" / "regions"), pixels[2])


# Bad input


def test_a_store_without_an_image(tmp_path):
    path = tmp_path / "table.zarr"
    zarr.open_group(path, mode="w", zarr_format=3).create_group("table")
    assert not can_read(path)
    with pytest.raises(ReadError, match=r"expected .*OME-Zarr.*found a folder of another kind"):
        read_image(path)


def test_a_folder_that_is_only_named_zarr(tmp_path):
    path = tmp_path / "fake.zarr"
    path.mkdir()
    assert not can_read(path)


def test_time_series(tmp_path, pixels):
    path = tmp_path / "movie.zarr"
    movie = np.stack([pixels, pixels])
    write_image(zarr.open_group(path, mode="w", zarr_format=3), movie, axes="tcyx")
    with pytest.raises(ReadError, match=r"found t, c, y, x of shape \(2, 3, 70, 90\).*one time"):
        read_image(path)


def test_damaged_description(tmp_path, pixels):
    path = tmp_path / "a.zarr"
    write_image(zarr.open_group(path, mode="w", zarr_format=3), pixels)
    (path / "zarr.json").write_text("{")
    assert can_read(path)  # so that its own message is shown
    with pytest.raises(ReadError, match=r"found a damaged or incomplete one.*export it again"):
        read_image(path)


def test_a_level_is_missing(tmp_path, pixels):
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    write_image(group, pixels, levels=2)
    del group["s1"]
    with pytest.raises(ReadError, match=r"found a damaged or incomplete one.*s1"):
        read_image(path)


def test_truncated_chunk(tmp_path, pixels):
    path = tmp_path / "a.zarr"
    write_image(zarr.open_group(path, mode="w", zarr_format=3), pixels)
    chunk = path / "s0" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    image = read_image(path)
    np.testing.assert_array_equal(image.compute([0]), pixels[:1])
    with pytest.raises(ReadError, match="found a damaged or incomplete one"):
        image.compute([1])
