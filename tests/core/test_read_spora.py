"""A dataset folder in the spora layout, written here by its description."""

import pickle

import numpy as np
import pandas as pd
import pytest
import zarr

from virtues_core.errors import ReadError
from virtues_core.read import can_read, image_names, read_image
from virtues_core.read.spora import SporaDataset

RNG = np.random.default_rng(0)
IMAGES = {
    "t_1": RNG.random((3, 140, 150)).astype(np.float32),
    "t_2": RNG.random((2, 130, 130)).astype(np.float32),
}
STATISTICS = "imc/1_0mpp/standardization/quantile_clipping_log1p/uq_0.99_image"


def write_zarr(path, pixels):
    """An OME-Zarr 0.5 image as the published corpus has them: sharded, all channels a chunk."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    chunks = (len(pixels), 64, 64)
    group.create_array("0", data=pixels, chunks=chunks, shards=(len(pixels), 256, 256))
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}


def write_parquet(root, relative, rows, index=None):
    path = root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    (table if index is None else table.set_index(index)).to_parquet(path)


def write_mask(root, kind, tissue_id, mask):
    path = root / "segmentations" / "1_0mpp" / kind / f"{tissue_id}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, mask=mask)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "cohort"
    rows = [
        {"tissue_id": "t_1", "dataset": "cords", "patient_id": "p1", "modality": "imc"},
        {"tissue_id": "t_2", "dataset": "cords", "patient_id": None, "modality": "imc"},
        {"tissue_id": "t_3", "dataset": "cords", "patient_id": "p2", "modality": "imc"},
        {"tissue_id": "h_1", "dataset": "cords", "patient_id": "p1", "modality": "he"},
    ]
    for row, split in zip(rows, ["train", "test", "test", "train"], strict=True):
        row |= {"split": split, "grade": 2}
    write_parquet(root, "metadata/tissues.parquet", rows)
    names, ids = ["CD3e", "Iridium", "panCK"], ["P07766", None, "P02533"]
    channels = {"channel_name": names, "uniprot_id": ids, "qc_pass": [True, True, False]}
    channels["is_nuclear_marker"] = [False, True, False]
    write_parquet(root, "imc/channels.parquet", channels)
    present = {"tissue_id": ["t_1", "t_2"], "panCK": [1, 1], "CD3e": [1, 1], "Iridium": [1, 0]}
    write_parquet(root, "imc/channels_per_tissue.parquet", present, index="tissue_id")
    for tissue_id, pixels in IMAGES.items():
        write_zarr(root / "imc" / "1_0mpp" / "images" / f"{tissue_id}.ome.zarr", pixels)
        write_mask(root, "tissue_masks", tissue_id, pixels[0] > 0.5)
    write_mask(root, "cell_masks/instances", "t_1", (IMAGES["t_1"][0] * 9).astype(np.uint16))
    quantiles = {"tissue_id": ["t_2", "t_1"], "CD3e": [5.0, 2.0], "panCK": [6.0, 4.0]}
    quantiles["Iridium"] = [np.nan, 3.0]
    upper = f"{STATISTICS}/image_level_upper_quantiles.parquet"
    write_parquet(root, upper, quantiles, index="tissue_id")
    for kind, add in (("means", 0.5), ("stds", 0.1)):
        row = {"panCK": [4 + add], "CD3e": [2 + add], "Iridium": [3 + add]}
        write_parquet(root, f"{STATISTICS}/global_level_{kind}.parquet", row)
    tiles = {"tissue_id": ["t_1", "t_2", "t_1"], "tile_id": [1, 0, 0]}
    tiles |= {"row": [12, 2, 0], "col": [22, 1, 5]}
    write_parquet(root, "tiling/1_0mpp/default/128_tile_coordinates.parquet", tiles)
    write_parquet(root, "metadata/cells.parquet", {"tissue_id": ["t_1"], "cell_id": [3]})
    return root


def test_tissues(folder):
    dataset = SporaDataset(folder)
    assert [t.tissue_id for t in dataset.tissues] == ["t_1", "t_2"]  # with an image, multiplexed
    first, second = dataset.tissues
    assert (first.modality, first.dataset, first.patient_id, first.split) == (
        ("imc", "cords", "p1", "train")
    )
    assert (second.patient_id, second.specimen_id, second.split) == (None, None, "test")
    assert first.clinical == {"grade": 2}
    assert dataset.tissue("t_2") == second
    with pytest.raises(ReadError, match=r"one of 2 tissues of .* found no 't_3'"):
        dataset.tissue("t_3")
    with pytest.raises(ReadError, match=r"found no 't_1' by codex"):
        dataset.tissue("t_1", "codex")


def test_images_and_their_channels(folder):
    dataset = SporaDataset(folder)
    first, second = dataset.tissues
    image = dataset.image(first)
    assert image.channels == ("CD3e", "Iridium", "panCK")
    assert image.pixel_size_um == (1.0, 1.0)
    np.testing.assert_array_equal(image.compute(), IMAGES["t_1"])
    channels = dataset.channels(first)
    assert [c.uniprot_id for c in channels] == ["P07766", None, "P02533"]
    assert [c.qc_pass for c in channels] == [True, True, False]
    assert [c.is_nuclear_marker for c in channels] == [False, True, False]
    assert dataset.image(second).channels == ("CD3e", "panCK")  # Iridium was not measured
    assert [c.uniprot_id for c in dataset.channels(second)] == ["P07766", "P02533"]


def test_masks_tiles_and_cells(folder):
    dataset = SporaDataset(folder)
    first, second = dataset.tissues
    np.testing.assert_array_equal(dataset.tissue_mask(first, (140, 150)), IMAGES["t_1"][0] > 0.5)
    assert dataset.cell_mask(first).max() == 8
    assert dataset.cell_mask(second) is None
    with pytest.raises(ReadError, match=r"image's size \(140, 151\)"):
        dataset.tissue_mask(first, (140, 151))
    assert dataset.tile_origins(first).tolist() == [[0, 5], [12, 22]]
    assert dataset.tile_origins(second).tolist() == [[2, 1]]
    assert dataset.tile_origins(first, size=224) is None
    assert dataset.cells()["cell_id"].tolist() == [3]


def test_stored_statistics(folder):
    dataset = SporaDataset(folder)
    first, second = dataset.tissues
    stored = dataset.statistics(first)
    np.testing.assert_allclose(stored.upper, [2, 3, 4])
    np.testing.assert_allclose(stored.mean, [2.5, 3.5, 4.5])
    np.testing.assert_allclose(stored.std, [2.1, 3.1, 4.1])
    np.testing.assert_allclose(dataset.statistics(second).upper, [5, 6])


def test_a_tissue_without_stored_quantiles(folder):
    path = folder / f"{STATISTICS}/image_level_upper_quantiles.parquet"
    rows = {"tissue_id": ["a", "b"], "CD3e": [1, 2], "Iridium": [1, 2], "panCK": [1, 2]}
    pd.DataFrame(rows).to_parquet(path)
    dataset = SporaDataset(folder)
    assert np.isnan(dataset.statistics(dataset.tissues[0]).upper).all()


def test_a_dataset_goes_to_another_process(folder):
    dataset = pickle.loads(pickle.dumps(SporaDataset(folder)))
    pixels = dataset.image(dataset.tissues[1]).compute()
    np.testing.assert_array_equal(pixels, IMAGES["t_2"])


def test_what_a_dataset_may_lack(folder):
    for path in ("imc/channels_per_tissue.parquet", "metadata/cells.parquet"):
        (folder / path).unlink()
    channels = {"channel_name": ["CD3e", "Iridium", "panCK"]}
    write_parquet(folder, "imc/channels.parquet", channels)
    write_parquet(folder, "metadata/tissues.parquet", {"tissue_id": ["t_1"]})
    for path in sorted((folder / STATISTICS).iterdir()):
        path.unlink()
    (folder / STATISTICS).rmdir()
    dataset = SporaDataset(folder)
    (tissue,) = dataset.tissues
    assert (tissue.modality, tissue.dataset) == ("imc", "cohort")  # found by where its image is
    assert dataset.image(tissue).channels == ("CD3e", "Iridium", "panCK")
    assert [c.uniprot_id for c in dataset.channels(tissue)] == [None, None, None]
    assert all(c.qc_pass for c in dataset.channels(tissue))
    assert dataset.statistics(tissue) is None
    assert dataset.cells() is None


def test_read_image_and_names(folder):
    assert can_read(folder)
    assert image_names(folder) == ("t_1", "t_2")
    assert read_image(folder).name == "t_1"
    assert read_image(folder, "t_2").channels == ("CD3e", "panCK")
    with pytest.raises(ReadError, match="choose one of: t_1, t_2"):
        read_image(folder, "t_9")


def test_a_tissue_imaged_twice(folder):
    write_parquet(folder, "metadata/tissues.parquet", {"tissue_id": ["t_1"]})
    write_parquet(folder, "codex/channels.parquet", {"channel_name": ["x", "y"]})
    write_zarr(folder / "codex" / "1_0mpp" / "images" / "t_1.ome.zarr", IMAGES["t_2"])
    assert image_names(folder) == ("t_1 (imc)", "t_1 (codex)")
    image = read_image(folder, "t_1 (codex)")
    assert (image.name, image.channels) == ("t_1 (codex)", ("x", "y"))
    assert SporaDataset(folder).tissue("t_1", "codex").modality == "codex"


# Bad input


def test_the_folder_above(folder):
    assert not can_read(folder.parent)
    with pytest.raises(ReadError, match="give the dataset's own folder, not the one above it"):
        SporaDataset(folder.parent)


def test_no_images(folder):
    write_parquet(folder, "metadata/tissues.parquet", {"tissue_id": ["t_8"]})
    with pytest.raises(ReadError, match="check that the images were copied too"):
        read_image(folder)


def test_damaged_table(folder):
    (folder / "metadata" / "tissues.parquet").write_bytes(b"PAR1")
    with pytest.raises(ReadError, match=r"a parquet table at .*tissues\.parquet.*copy the dataset"):
        image_names(folder)


def test_missing_column(folder):
    write_parquet(folder, "metadata/tissues.parquet", {"tissue": ["t_1"]})
    with pytest.raises(ReadError, match=r"expected the columns tissue_id .* found no tissue_id"):
        SporaDataset(folder)


def test_more_channels_in_the_table_than_in_the_image(folder):
    (folder / "imc" / "channels_per_tissue.parquet").unlink()
    with pytest.raises(ReadError, match=r"expected 3 channels in .*t_2.* found 2; mend the tables"):
        read_image(folder, "t_2")


def test_a_tissue_or_a_channel_without_an_entry(folder):
    table = "imc/channels_per_tissue.parquet"
    write_parquet(folder, table, {"tissue_id": ["t_2"], "CD3e": [1]})
    with pytest.raises(ReadError, match=r"row 't_1' .*found no such row; mend the table"):
        read_image(folder, "t_1")
    with pytest.raises(ReadError, match="found a channel without a column"):
        read_image(folder, "t_2")
