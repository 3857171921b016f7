"""The Cells dock without a window around it, with the real engine."""

from collections import Counter

import anndata
import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtWidgets import QApplication

from cells_samples import tissue_files
from napari_virtues.cells_intent import token_folder
from napari_virtues.docks.cells import CellsDock
from tiny_model import tiny_checkpoint
from virtues_core.cohort import UNSURE, load_classifier, score_annotation
from virtues_core.read import read_image

SLOW_MS = 300_000
"""How long a step may take on a machine that others use too."""
TYPES = ("tumour", "CD8_T")


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    return tissue_files(tmp_path_factory.mktemp("cells"), size=136)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tissue):
    return tiny_checkpoint(tmp_path_factory.mktemp("model"), tissue.channels)


@pytest.fixture
def dock(viewer, qtbot):
    widget = CellsDock(PublicOnlyProxy(viewer))
    qtbot.addWidget(widget)
    yield widget
    widget.engine.close()


def ended(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.run.busy and not dock.background.busy, timeout=SLOW_MS)


@pytest.fixture
def ready(dock, qtbot, tissue, checkpoint):
    """The dock with tokens."""
    dock.state.add(read_image(tissue.image))
    dock.open_mask(tissue.mask)
    ended(dock, qtbot)
    dock.model.choose(str(checkpoint))
    dock.run.asked.emit()
    qtbot.waitUntil(lambda: dock.cells is not None, timeout=SLOW_MS)
    return dock


def click(dock, tissue, name, count, first=0):
    """Click some cells of a type."""
    dock.table.choose(name)
    numbers = dock.cells.embedding.numbers.tolist()
    for label in [label for label, own in tissue.types.items() if own == name][first:][:count]:
        y, x = (values[0] for values in np.nonzero(tissue.labels == label))
        dock.types.click(float(y), float(x))
        assert dock.types.clicked[numbers.index(label)] == name


def typed(dock, qtbot, tissue):
    for name in TYPES:
        dock.table.add(name)
        click(dock, tissue, name, 4)
    with qtbot.waitSignal(dock.types.typed, timeout=SLOW_MS):
        dock.types.type_all()


def test_types_go_to_a_table_and_a_classifier_and_come_back(ready, qtbot, tissue, tmp_path):
    dock = ready
    typed(dock, qtbot, tissue)
    path = tmp_path / "cells.h5ad"
    dock.save(path.with_suffix(""))
    ended(dock, qtbot)
    assert dock.run.status.text() == "Saved cells.h5ad."
    table = anndata.read_h5ad(path)
    assert table.n_obs == len(tissue.types)
    assert Counter(table.obs["cell_type_clicked"].dropna()) == dict.fromkeys(TYPES, 4)
    shown = dock.cells.layer.features
    assert table.obs["cell_type_predicted"].tolist() == shown["cell_type"].tolist()
    np.testing.assert_allclose(
        table.obs["cell_type_probability"], shown["cell_type_probability"], rtol=1e-5
    )
    np.testing.assert_allclose(table.obsm["X_virtues"], dock.cells.embedding.tokens)
    assert score_annotation(table, "cell_type_clicked")[0].macro_f1 == 1

    model = tmp_path / "types.skops"
    dock.save_classifier(model.with_suffix(""))
    ended(dock, qtbot)
    assert load_classifier(model).classes == tuple(sorted(TYPES))
    by_clicks = dock.types.types.probabilities
    with qtbot.waitSignal(dock.types.typed, timeout=SLOW_MS):
        dock.apply_classifier(model)
    assert dock.types.types.model == model
    others = [row for row in range(len(dock.cells)) if row not in dock.types.clicked]
    np.testing.assert_allclose(
        dock.types.types.probabilities[others], by_clicks[others], rtol=1e-3, atol=1e-4
    )
    counts = dock.types.view.counts
    assert sum(counts.values()) == len(tissue.types)
    assert set(counts) == {*TYPES, UNSURE}
    again = tmp_path / "again.h5ad"
    dock.save(again)
    ended(dock, qtbot)
    assert anndata.read_h5ad(again).uns["annotation"]["label"] == "cell_type_clicked"


def test_the_command_repeats_the_run(ready, tissue, checkpoint):
    ready.command_button.click()
    assert QApplication.clipboard().text() == (
        f"virtues embed {tissue.image} --cells {tissue.mask} "
        f"--checkpoint {checkpoint} --out cells.h5ad"
    )


def test_what_cuts_the_showing_of_layers_short_leaves_none_hidden(ready, qtbot, tissue):
    dock = ready
    for name in TYPES:
        dock.table.add(name)

    def interfere(_):
        """Click in the turn in which the layer was put in and is not yet shown."""
        click(dock, tissue, TYPES[1], 2, first=len(dock.types.clicked) - 4)
        dock.unsure.setValue(len(dock.types.clicked) / 20)

    dock.viewer.layers.events.inserted.connect(interfere)
    click(dock, tissue, TYPES[0], 4)
    qtbot.waitUntil(lambda: len(dock.types.clicked) == 6, timeout=20_000)
    qtbot.wait(300)
    with qtbot.waitSignal(dock.types.typed, timeout=SLOW_MS):
        dock.types.type_all()
    ended(dock, qtbot)
    qtbot.wait(300)
    marks, types = dock.viewer.layers[-1], dock.viewer.layers[-3]
    assert marks.name.startswith("clicked cells")
    assert types.name.startswith("cell types")
    assert len(marks.data) == len(dock.types.clicked) == 8
    assert marks.visible
    assert types.visible
    assert dock.viewer.layers.selection.active is dock.cells.layer


def test_a_click_is_taken_back_and_a_type_forgotten(ready, qtbot, tissue):
    dock = ready
    typed(dock, qtbot, tissue)
    row = next(row for row, name in dock.types.clicked.items() if name == "CD8_T")
    y, x = (v[0] for v in np.nonzero(tissue.labels == dock.cells.embedding.numbers[row]))
    dock.types.click(float(y), float(x))
    assert row not in dock.types.clicked
    dock.types.click(-5.0, -5.0)
    assert dock.hint.text() == "No cell there."
    dock.table.item(0, 1).setText("cancer")
    ended(dock, qtbot)
    qtbot.waitUntil(lambda: "cancer" in dock.types.view.counts, timeout=SLOW_MS)
    assert Counter(dock.types.clicked.values()) == {"cancer": 4, "CD8_T": 3}
    dock.table.choose("CD8_T")
    dock.remove_button.click()
    assert dock.types.types is None
    qtbot.waitUntil(
        lambda: not any(x.name.startswith("cell types") for x in dock.viewer.layers),
        timeout=SLOW_MS,
    )
    dock.type_button.click()
    ended(dock, qtbot)
    assert "two types" in dock.problem.text()
    dock.offer_button.click()
    assert "Type all cells" in dock.problem.text()


def test_mistakes_are_messages(dock, qtbot, tissue, checkpoint, tmp_path):
    dock.compute()
    assert "no image is open" in dock.run.message.text()
    dock.open_mask(tissue.mask)
    assert "no image is open" in dock.run.message.text()
    dock.state.add(read_image(tissue.image))
    dock.compute()
    assert "no mask of cells is open" in dock.run.message.text()
    dock.open_mask(tmp_path / "nowhere.tiff")
    ended(dock, qtbot)
    assert "found nothing at" in dock.run.message.text()
    small = dock.viewer.add_labels(tissue.labels[:50], name="small")
    assert dock.mask_box.currentData() is small
    dock.compute()
    ended(dock, qtbot)
    assert "mask of the image's size" in dock.run.message.text()
    dock.viewer.layers.remove(small)
    dock.open_mask(tissue.mask)
    ended(dock, qtbot)
    dock.model.choose(str(tmp_path / "nowhere"))
    dock.compute()
    ended(dock, qtbot)
    assert "no checkpoint at" in dock.run.message.text()
    assert not dock.typing.isEnabled()
    with pytest.raises(Exception, match="nothing was computed yet"):
        CellsDock(PublicOnlyProxy(dock.viewer)).command  # noqa: B018


def test_wrong_files_are_refused_and_the_next_run_works(ready, qtbot, tmp_path):
    dock = ready
    dock.apply_classifier(tmp_path / "none.skops")
    ended(dock, qtbot)
    assert "expected a classifier at" in dock.run.message.text()
    dock.save(tmp_path / "cells.csv")
    ended(dock, qtbot)
    assert "ends with .h5ad or .zarr" in dock.run.message.text()
    dock.save_classifier(tmp_path / "types.skops")
    ended(dock, qtbot)
    assert "clicked cells" in dock.run.message.text()
    dock.save(tmp_path / "cells.zarr")
    ended(dock, qtbot)
    assert (tmp_path / "cells.zarr").is_dir()


def test_cancel_before_and_while_the_engine_works(ready, qtbot):
    dock = ready
    dock.stride.setValue(1)
    dock.compute()
    dock.run.cancel_button.click()
    ended(dock, qtbot)
    assert dock.run.status.text() == "Cancelled."
    dock.compute()
    qtbot.waitUntil(lambda: "Tile" in dock.run.status.text(), timeout=SLOW_MS)
    dock.run.cancel_button.click()
    ended(dock, qtbot)
    assert dock.run.status.text() == "Cancelled."
    kept = token_folder(dock.state.active.image)
    assert list(kept.rglob("*.tokens"))
    other = kept.with_name("other")
    other.mkdir()
    dock.stride.setValue(42)
    dock.cells = None
    dock.compute()
    qtbot.waitUntil(lambda: dock.cells is not None, timeout=SLOW_MS)
    assert "of 4 tiles were there already" in dock.run.status.text()
    assert not kept.exists()  # the result is here
    assert not other.exists()  # of an image whose run was stopped before
