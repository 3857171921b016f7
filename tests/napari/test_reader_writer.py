"""Opening, saving and sampling through napari's own doors."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_virtues
from napari_virtues._reader import get_image_reader, get_labels_reader
from napari_virtues.state import AppState
from virtues_core.errors import InputError
from virtues_core.read import read_image, read_labels, write_labels, write_ome_tiff


def test_opening_shows_four_channels_and_registers_the_image(viewer, open_with_plugin, shared_data):
    state = AppState.of(viewer)
    opened = open_with_plugin(shared_data / "spleen_imc" / "r2.ome.tiff")
    assert [layer.name for layer in opened] == [
        "DNA1_Ir191", "CD20_Dy161", "CD3_Er170", "CD68_Tb159",
    ]  # fmt: skip
    assert len(state.images) == 1
    assert len(state.active.shown) == 4
    assert len(state.active.panel) == 25


def test_real_masks_open_as_labels(viewer, open_with_plugin, shared_data):
    open_with_plugin(shared_data / "spleen_imc" / "r2.ome.tiff")
    (layer,) = open_with_plugin(shared_data / "spleen_imc" / "r2_cells.tif")
    assert type(layer).__name__ == "Labels"
    assert layer.data.shape == viewer.layers[0].data.shape


def test_a_real_mcd_opens(viewer, open_with_plugin, shared_data):
    state = AppState.of(viewer)
    opened = open_with_plugin(shared_data / "imc_raw" / "20210305_NE_mockData1.mcd")
    assert 1 <= len(opened) <= 4
    assert state.active.image.source.name == "20210305_NE_mockData1.mcd"


def test_a_folder_of_channels_opens(viewer, open_with_plugin, image, tmp_path):
    folder = tmp_path / "roi"
    folder.mkdir()
    for name in ("DNA1", "CD20", "CD3"):
        tifffile.imwrite(folder / f"{name}.tif", image.compute([0])[0])
    assert [layer.name for layer in open_with_plugin(folder)] == ["DNA1", "CD20", "CD3"]


def test_readers_claim_only_what_they_can_read(image, tmp_path):
    (tmp_path / "notes.txt").write_text("dear diary\n")
    (tmp_path / "table.txt").write_text("a\tb\n1\t2\n")
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "wrong.tif").write_bytes(b"not a tiff")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    for path in tmp_path.iterdir():
        assert get_image_reader(str(path)) is None, path.name
        assert get_labels_reader(str(path)) is None, path.name
    assert get_image_reader([str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]) is None


@pytest.mark.parametrize(
    ("name", "dtype", "labels"),
    [
        ("r2_cells.tif", np.uint16, True),
        ("cell_mask.tiff", np.uint8, True),
        ("segmented.tif", np.uint32, True),
        ("segmented.tif", np.uint16, False),
        ("CD20.tif", np.uint16, False),
        ("cellulose.tif", np.uint16, False),
        ("mask.tif", np.float32, False),
    ],
)
def test_a_plane_is_an_image_or_labels_but_not_both(tmp_path, name, dtype, labels):
    path = tmp_path / name
    tifffile.imwrite(path, np.ones((20, 30), dtype))
    assert (get_labels_reader(str(path)) is not None) == labels
    assert (get_image_reader(str(path)) is not None) != labels


def test_a_spora_mask_opens_as_labels(open_with_plugin, tmp_path):
    path = tmp_path / "T1.npz"
    np.savez_compressed(path, mask=np.eye(20, dtype=np.int32))
    (layer,) = open_with_plugin(path)
    assert layer.data.sum() == 20


def test_a_mask_of_another_size_is_told_not_shown(
    viewer, open_with_plugin, image, tmp_path, told, monkeypatch
):
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    AppState.of(viewer).add(image)
    write_labels(tmp_path / "cells.tif", np.ones((50, 60), int))
    assert open_with_plugin(tmp_path / "cells.tif") == []
    assert told
    assert "expected labels of the image's size (96, 120)" in told[0]
    assert "found (50, 60)" in told[0]
    write_labels(tmp_path / "right_cells.tif", np.ones((96, 120), int))
    (layer,) = open_with_plugin(tmp_path / "right_cells.tif")
    assert tuple(layer.scale) == (0.5, 0.5)


def test_a_truncated_file_is_told_without_a_traceback(
    viewer, open_with_plugin, image, tmp_path, told
):
    path = tmp_path / "a.ome.tiff"
    write_ome_tiff(path, image.pixels, image.channels)
    short = tmp_path / "short.ome.tiff"
    short.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert open_with_plugin(short) == []
    assert len(told) == 1
    assert "short.ome.tiff" in told[0]
    assert "Traceback" not in told[0]


def test_a_corrupt_mcd_is_told(open_with_plugin, shared_data, tmp_path, told):
    path = tmp_path / "bad.mcd"
    whole = (shared_data / "imc_raw" / "20210305_NE_mockData1.mcd").read_bytes()
    path.write_bytes(whole[:2000])
    assert open_with_plugin(path) == []
    assert "bad.mcd" in told[0]


def test_what_is_saved_reads_back(viewer, open_with_plugin, image, tmp_path):
    source = tmp_path / "a.ome.tiff"
    write_ome_tiff(source, image.pixels, image.channels, (0.5, 0.5))
    opened = open_with_plugin(source)
    target = tmp_path / "b.ome.tiff"
    viewer.layers.selection = set(opened)
    assert viewer.layers.save(str(target), selected=True, plugin="napari-virtues") == [str(target)]
    again = read_image(target)
    assert again.channels == tuple(layer.name for layer in viewer.layers)
    assert again.pixel_size_um == (0.5, 0.5)
    np.testing.assert_array_equal(
        again.compute([0])[0], image.compute([image.index(opened[0].name)])[0]
    )


def test_saved_labels_read_back(viewer, open_with_plugin, tmp_path):
    layer = viewer.add_labels(np.arange(600).reshape(20, 30), scale=(2, 2), units="µm")
    target = tmp_path / "cells.ome.tiff"
    layer.save(str(target), plugin="napari-virtues")
    np.testing.assert_array_equal(read_labels(target), layer.data)
    assert read_image(target).pixel_size_um == (2, 2)


def test_layers_that_make_no_image_are_refused(viewer, open_with_plugin, tmp_path):
    viewer.add_image(np.zeros((5, 5)))
    viewer.add_image(np.zeros((6, 5)))
    target = tmp_path / "x.ome.tiff"
    with pytest.raises(InputError, match="expected layers of one size, found"):
        viewer.layers.save(str(target), plugin="napari-virtues")
    assert not target.exists()
    viewer.layers.clear()
    viewer.add_image(np.zeros((5, 5, 3), np.uint8), rgb=True)
    with pytest.raises(InputError, match="without RGB colours"):
        viewer.layers.save(str(target), plugin="napari-virtues")


@pytest.mark.parametrize(("key", "count"), [("imc", 41), ("codex", 40)])
def test_the_samples_open(viewer, open_with_plugin, key, count):
    state = AppState.of(viewer)
    opened = viewer.open_sample("napari-virtues", key)
    assert [type(layer).__name__ for layer in opened] == ["Image"] * 4 + ["Labels"]
    assert len(state.active.panel) == count
    assert state.image_of(opened[-1]) is state.active
    assert opened[-1].data.max() > 100


def test_the_manifest_names_things_that_exist():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(Path(napari_virtues.__file__).parent / "napari.yaml")
    manifest.validate_imports()
    top = Path(__file__).parents[2] / "napari.yaml"
    assert top.resolve() == Path(napari_virtues.__file__).parent.resolve() / "napari.yaml"
