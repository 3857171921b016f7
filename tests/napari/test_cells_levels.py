"""The Cells dock on niches, and on cells that it finds itself; with the real engine."""

import anndata
import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy

from cells_samples import tissue_files
from napari_virtues._widgets.type_table import CELLS
from napari_virtues.docks.cells import CellsDock
from tiny_model import tiny_checkpoint, tiny_head
from virtues_core.cohort import UNSURE, load_classifier
from virtues_core.model.segmentation_head import CELL_TYPES
from virtues_core.read import read_image

SLOW_MS = 120_000
"""How long a step may take on a machine that others use too."""


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    return tissue_files(tmp_path_factory.mktemp("cells"), size=264)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tissue):
    """The folder of a checkpoint without a head, for a start."""
    folder = tmp_path_factory.mktemp("model")
    return tiny_checkpoint(folder, tissue.channels, encoder_pattern="hvhv")


@pytest.fixture
def dock(viewer, qtbot, tissue, checkpoint):
    widget = CellsDock(PublicOnlyProxy(viewer))
    qtbot.addWidget(widget)
    widget.state.add(read_image(tissue.image))
    widget.model.choose(str(checkpoint))
    yield widget
    widget.engine.close()


def ended(dock, qtbot):
    qtbot.waitUntil(
        lambda: not (dock.run.busy or dock.background.busy or dock._turns.busy), timeout=SLOW_MS
    )


def names(dock):
    return [layer.name for layer in dock.viewer.layers]


def test_niches_are_squares_that_are_typed_by_clicks(dock, qtbot, tissue, tmp_path):
    dock.levels.button(1).click()
    assert dock.mask.isHidden()
    assert not dock.stride.isEnabled()
    dock.compute()
    ended(dock, qtbot)
    assert dock.run.status.text() == "4 niches have tokens."
    squares = dock.cells.layer
    assert names(dock) == ["niches · tissue"]
    assert np.unique(squares.data, return_counts=True)[1].tolist() == [
        264**2 - 4 * 128**2, *([128**2] * 4),
    ]  # fmt: skip
    assert squares.data[130, 20] == 3
    assert list(squares.features["index"]) == [1, 2, 3, 4]
    np.testing.assert_allclose(
        squares.features[tissue.channels[0]][2],
        dock.state.active.image.compute([0])[0, 128:256, :128].mean(),
        rtol=1e-4,
    )
    assert dock.mask_box.count() == 0
    assert dock.type_button.text() == "Type all niches"
    assert dock.table.horizontalHeaderItem(CELLS).text() == "Niches"
    dock.types.click(260.0, 20.0)
    for name, place in (("red", (5.0, 5.0)), ("white", (200.0, 200.0))):
        dock.table.add(name)
        dock.types.click(260.0, 20.0)
        assert dock.hint.text() == "No niche there."
        dock.types.click(*place)
    assert dock.types.clicked == {0: "red", 3: "white"}
    with qtbot.waitSignal(dock.types.typed, timeout=SLOW_MS):
        dock.types.type_all()
    typed = next(x for x in dock.viewer.layers if x.name == "niche types · tissue")
    assert typed.data[5, 5] == 1
    assert typed.data[200, 200] == 2
    assert (typed.data > 0).sum() == 4 * 128**2
    assert list(squares.features["niche_type"])[::3] == ["red", "white"]

    dock.save(tmp_path / "niches")
    ended(dock, qtbot)
    table = anndata.read_h5ad(tmp_path / "niches.h5ad")
    assert table.uns["virtues"]["level"] == "niche"
    assert table.obs["niche_type_clicked"].tolist()[::3] == ["red", "white"]
    assert table.obs["niche_type_predicted"].tolist() == list(squares.features["niche_type"])
    dock.save_classifier(tmp_path / "niches")
    ended(dock, qtbot)
    assert load_classifier(tmp_path / "niches.skops").level == "niche"
    by_clicks = dock.types.types.probabilities
    with qtbot.waitSignal(dock.types.typed, timeout=SLOW_MS):
        dock.apply_classifier(tmp_path / "niches.skops")
    np.testing.assert_allclose(
        dock.types.types.probabilities[1:3], by_clicks[1:3], rtol=1e-3, atol=1e-4
    )
    assert dock.command.endswith(
        f"--level niche --checkpoint {dock.job.checkpoint} --out niches.h5ad"
    )

    dock.levels.button(0).click()
    assert not dock.mask.isHidden()
    dock.compute()
    assert "no mask of cells is open" in dock.run.message.text()


def test_cells_without_a_mask_are_found_and_typed_by_the_head(
    dock, qtbot, tissue, checkpoint, tmp_path
):
    dock.segment_button.click()
    ended(dock, qtbot)
    assert "expected a segmentation head, found none" in dock.run.message.text()
    tiny_head(checkpoint)
    with qtbot.waitSignal(dock.types.typed, timeout=SLOW_MS):
        dock.segment_button.click()
    mask, found = dock.cells.layer, dock.types.types
    count = int(mask.data.max())
    assert count > 100
    assert dock.run.status.text() == f"{count:,} cells were found."
    assert dock.mask_box.currentData() is mask
    assert names(dock) == ["cell types · tissue", "cells · tissue"]
    assert found.classes == tuple(dock.table.names) == CELL_TYPES
    assert sum(dock.types.view.counts.values()) == count
    assert dock.types.view.counts[UNSURE] == (found.probability < 0.5).sum() > 0
    with qtbot.waitSignal(dock.types.typed, timeout=SLOW_MS):
        dock.unsure.setValue(0)
    assert set(mask.features["cell_type"]) == {*found.names(0)}
    np.testing.assert_allclose(
        mask.features["cell_type_probability"], found.probabilities.max(axis=1)
    )
    row = count // 2
    inside = mask.data == row + 1
    assert mask.features[tissue.channels[3]][row] == pytest.approx(
        dock.state.active.image.compute([3])[0][inside].mean(), rel=1e-4
    )
    assert dock.command == (
        f"virtues segment {tissue.image} --checkpoint {checkpoint} --out CELLS.tiff "
        "--types types.csv"
    )
    dock.offer_button.click()
    assert dock.types.offered is not None
    dock.type_button.click()
    assert "Compute tokens first" in dock.problem.text()
    dock.save(tmp_path / "cells")
    assert "no tokens yet" in dock.run.message.text()

    dock.compute()
    ended(dock, qtbot)
    assert dock.cells.has_tokens
    assert dock.state.cells is dock.cells
    qtbot.waitUntil(lambda: all(mask.features["cell_type"]), timeout=SLOW_MS)
    assert dock.types.types is found  # tokens are others, cells and types are not
    dock.save(tmp_path / "cells")
    ended(dock, qtbot)
    table = anndata.read_h5ad(tmp_path / "cells.h5ad")
    assert table.obs["cell_type_predicted"].tolist() == list(mask.features["cell_type"])
    assert table.uns["annotation"]["method"] == "segmentation head"
    assert table.uns["annotation"]["checkpoint_signature"] == found.head
