"""Tokens in a SpatialData store: what is in it, and what is said where the package is missing."""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from infer_samples import CHANNELS, checkpoint, counts
from test_cli_embed import call
from test_infer_tokens import labels

from virtues_core.errors import InputError
from virtues_core.infer import EmbedRequest, embed
from virtues_core.infer.spatialdata import element_name, is_spatialdata, write_spatialdata
from virtues_core.model import save_checkpoint
from virtues_core.read import read_image, read_labels, write_labels, write_ome_tiff

SHAPE = (140, 150)
with_package = pytest.mark.skipif(
    find_spec("spatialdata") is None, reason="spatialdata lives in an environment of its own"
)
pytestmark = pytest.mark.filterwarnings("default")  # of what spatialdata imports


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image, its cells and a checkpoint."""
    write_ome_tiff(tmp_path / "region 0.ome.tiff", counts(0), CHANNELS, (0.5, 2.0))
    write_labels(tmp_path / "cells.tif", labels(SHAPE, 40))
    save_checkpoint(checkpoint(), tmp_path / "model")
    return tmp_path


def run(folder: Path, out: Path, *args: object) -> str:
    image = folder / "region 0.ome.tiff"
    return call(image, "--checkpoint", folder / "model", "--out", out, *args)


def test_the_name_says_what_is_written() -> None:
    assert is_spatialdata("a/b.sdata.zarr")
    assert not is_spatialdata("a/sdata.zarr")
    assert not is_spatialdata(Path("a.sdata.zarr/b.zarr"))
    assert element_name("Tumour 3/4, µm") == "Tumour_3_4_m"
    assert element_name("µ") == "image"


@pytest.mark.skipif(find_spec("spatialdata") is not None, reason="it is installed here")
def test_a_missing_package_is_told_before_anything_is_computed(folder: Path) -> None:
    out = folder / "out" / "r.sdata.zarr"
    with pytest.raises(InputError, match=re.escape("'napari-virtues[spatialdata]'")):
        run(folder, out, "--cells", folder / "cells.tif")
    assert not out.parent.exists()


@with_package
def test_cells_lie_over_their_image(folder: Path) -> None:
    import spatialdata

    out = folder / "r.sdata.zarr"
    said = run(folder, out, "--cells", folder / "cells.tif")
    store = spatialdata.read_zarr(out)
    table, mask = store.tables["tokens"], np.asarray(store.labels["cells"])
    assert f"{len(table)} cells" in said
    assert table.obsm["X_virtues"].shape == (len(table), 32)
    assert table.uns["virtues"]["checkpoint"] == "model"
    np.testing.assert_array_equal(table.obs["cell_id"], np.unique(mask)[1:])
    (image,) = store.images.values()
    assert list(image.coords["c"].to_numpy()) == list(CHANNELS)
    np.testing.assert_array_equal(image, counts(0))
    # what joins them is the store's own: rows of the table for each label that is there
    _, joined = spatialdata.join_spatialelement_table(
        sdata=store, spatial_element_names="cells", table_name="tokens", how="left"
    )
    assert len(joined) == len(table)
    extent = spatialdata.get_extent(store["cells"], coordinate_system="global")
    np.testing.assert_allclose(extent["y"], (0, SHAPE[0] * 0.5))
    np.testing.assert_allclose(extent["x"], (0, SHAPE[1] * 2.0))
    # and our own reader opens it again
    np.testing.assert_array_equal(read_labels(out / "labels" / "cells"), mask)
    again = read_image(out)
    assert again.channels == CHANNELS
    np.testing.assert_array_equal(again.compute(), counts(0))


@with_package
def test_niches_are_squares_and_a_tissue_is_a_row(folder: Path) -> None:
    import spatialdata

    out = folder / "n.sdata.zarr"
    run(folder, out, "--level", "niche", "--stride", 10)
    store = spatialdata.read_zarr(out)
    squares = store.shapes["niches"]
    assert squares.index.tolist() == store.tables["tokens"].obs["niche_id"].tolist()
    assert squares.geometry.iloc[-1].bounds == (20.0, 10.0, 148.0, 138.0)  # px: x, y, x, y
    run(folder, out, "--level", "tissue")  # the older store is replaced
    store = spatialdata.read_zarr(out)
    assert store.tables["tokens"].shape == (1, len(CHANNELS))
    assert not store.shapes


@with_package
def test_cells_need_their_mask_and_a_failure_leaves_the_old_store(folder: Path) -> None:
    image = read_image(folder / "region 0.ome.tiff")
    found = embed(image, labels(SHAPE, 40), None, checkpoint(), EmbedRequest(stride_px=128))
    out = folder / "r.sdata.zarr"
    out.mkdir()
    (out / "old").write_text("here")
    with pytest.raises(InputError, match="expected the mask"):
        write_spatialdata(out, found, image)
    assert (out / "old").read_text() == "here"
