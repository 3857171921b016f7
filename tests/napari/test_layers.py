"""Images ↔ layers."""

import dask.array as da
import numpy as np
import pytest

from napari_virtues import layers
from napari_virtues.layers import (
    channel_layer,
    contrast_limits,
    image_from_layers,
    load_channel,
    sample_of,
)
from napari_virtues.state import ChannelDisplay, link_of
from virtues_core.errors import InputError
from virtues_core.image import MultiplexImage
from virtues_core.read import write_ome_tiff


def test_a_layer_lies_where_the_image_lies(viewer, image):
    data, attributes, kind = channel_layer(image, load_channel(image, 1), ChannelDisplay("#ff0000"))
    assert kind == "image"
    layer = viewer.add_image(data, **attributes)
    assert layer.name == "CD20_Dy161"
    assert tuple(layer.scale) == (0.5, 0.5)
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    assert layer.blending == "additive"
    np.testing.assert_allclose(layer.colormap.colors[-1], [1, 0, 0, 1])
    assert link_of(layer).image is image
    expected = np.percentile(image.compute([1]), (1, 99.7))
    np.testing.assert_allclose(layer.contrast_limits, expected)


def test_contrast_of_odd_channels():
    assert contrast_limits(np.zeros(10, np.float32), (1, 99)) == [0, 1]
    assert contrast_limits(np.zeros(0, np.float32), (1, 99)) == [0, 1]
    rare = np.zeros(1000, np.float32)
    rare[0] = 7
    assert contrast_limits(rare, (1, 99)) == [0, 7]


def test_the_sample_is_small_and_finite():
    plane = np.full((3000, 2000), np.nan, np.float32)
    plane[::8, ::8] = 5
    sample = sample_of(plane)
    assert 0 < sample.size <= layers.SAMPLE_PX
    assert np.isfinite(sample).all()


@pytest.mark.parametrize("with_pyramid", [True, False])
def test_a_large_plane_stays_on_disk(monkeypatch, with_pyramid):
    monkeypatch.setattr(layers, "IN_MEMORY_PX", 256 * 256)
    read = []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.full(block_info[None]["chunk-shape"], 9, np.uint16)

    pixels = da.map_blocks(
        block, chunks=((1, 1), (256,) * 4, (256,) * 4), dtype=np.uint16, meta=np.empty((0, 0, 0))
    )
    pyramid = tuple(da.full((2, n, n), 9, chunks=(1, n, n), dtype=np.uint16) for n in (256, 64))
    image = MultiplexImage(pixels, ("a", "b"), levels=pyramid if with_pyramid else ())
    loaded = load_channel(image, 1)
    assert isinstance(loaded.levels[0], da.Array)
    assert isinstance(loaded.levels[-1], np.ndarray)
    assert loaded.levels[-1].shape == (64, 64)
    assert (loaded.levels[-1] == 9).all()
    assert len(read) == (0 if with_pyramid else 16)
    assert channel_layer(image, loaded, ChannelDisplay("#ffffff"))[1]["multiscale"]


def test_numbers_that_no_graphics_card_takes_are_converted(image):
    wide = MultiplexImage(image.pixels.astype(np.int64), image.channels)
    assert load_channel(wide, 0).levels[0].dtype == np.float32
    ticks = MultiplexImage(image.pixels > 20, image.channels)
    assert load_channel(ticks, 0).levels[0].dtype == np.uint8


def test_adopting_a_stack_takes_names_and_size_from_its_file(viewer, image, tmp_path):
    path = tmp_path / "a.ome.tiff"
    write_ome_tiff(path, image.pixels, image.channels, (0.5, 0.5))
    (layer,) = viewer.open(path, plugin="napari")
    adopted = image_from_layers([layer])
    assert adopted.channels == image.channels
    assert adopted.pixel_size_um == (0.5, 0.5)
    np.testing.assert_array_equal(adopted.compute([2]), image.compute([2]))


def test_adopting_split_channels_takes_the_layers_names(viewer, image):
    made = viewer.add_image(
        image.compute([0, 1]), channel_axis=0, name=["DNA", "CD20"], scale=(2, 3), units="nm"
    )
    adopted = image_from_layers(made)
    assert adopted.channels == ("DNA", "CD20")
    assert adopted.pixel_size_um == pytest.approx((0.002, 0.003))
    np.testing.assert_array_equal(adopted.compute(), image.compute([0, 1]))


def test_a_stack_without_file_or_units_has_numbered_channels(viewer, image):
    adopted = image_from_layers([viewer.add_image(image.compute())])
    assert adopted.channels[:2] == ("channel 1", "channel 2")
    assert adopted.pixel_size_um is None


def test_a_pyramid_keeps_its_levels(viewer, image):
    levels = [image.pixels, image.pixels[:, ::2, ::2]]
    adopted = image_from_layers([viewer.add_image(levels, multiscale=True)])
    assert [level.shape for level in adopted.levels] == [(6, 48, 60)]


def test_what_cannot_be_adopted_is_said(viewer, image):
    labels = viewer.add_labels(np.zeros((5, 5), int))
    colored = viewer.add_image(np.zeros((5, 5, 3), np.uint8), rgb=True)
    small = viewer.add_image(np.zeros((5, 5)))
    other = viewer.add_image(np.zeros((5, 6)))
    for wrong in ([], [labels], [colored]):
        with pytest.raises(InputError, match="expected image layers without RGB colours, found"):
            image_from_layers(wrong)
    with pytest.raises(InputError, match=r"one size, found .5, 5., .5, 6."):
        image_from_layers([small, other])
    with pytest.raises(InputError, match="select the layers that belong together"):
        image_from_layers([viewer.add_image(np.zeros((2, 2, 5, 5)))])
