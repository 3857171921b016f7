"""``virtues embed`` and ``virtues segment`` of cohorts."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import typer
from infer_samples import CHANNELS, checkpoint, counts
from segment_samples import head_of, model_of
from test_infer_tokens import labels
from typer.testing import CliRunner, Result

from virtues_core.cli import embed, segment
from virtues_core.errors import VirtuesError
from virtues_core.infer.listing import list_images
from virtues_core.infer.many import local_workers
from virtues_core.infer.signed import image_stamps
from virtues_core.model import save_checkpoint, save_head
from virtues_core.read import read_image, read_labels, write_labels, write_ome_tiff
from virtues_core.read.spora import SporaDataset
from virtues_core.simulate import CohortConfig, simulate_cohort, write_spora

SHAPE = (140, 150)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a scheduler with a worker."""
    with local_workers([{}]) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images, their masks, and a checkpoint; the working folder."""
    for i in range(3):
        write_ome_tiff(tmp_path / f"images/r{i}.ome.tiff", counts(i), CHANNELS, (0.5, 0.5))
        write_labels(tmp_path / f"masks/r{i}.tif", labels(SHAPE, 30, i))
    save_checkpoint(checkpoint(), tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*args: object) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    embed.register(app)
    segment.register(app)
    return CliRunner().invoke(app, [*map(str, args), "--device", "cpu"])


def call(*args: object) -> str:
    result = invoke(*args)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_pattern_with_images_that_fail(folder: Path, scheduler: str) -> None:
    (folder / "images/r1.ome.tiff").write_bytes(b"II*\0 and no more")
    write_labels(folder / "masks/r2.tif", labels((100, 150), 30))
    common = ["embed", "images/*.tiff", "--cells", "masks", "--checkpoint", "model", "--stride",
              64, "--out", "tokens", "--scheduler", scheduler]  # fmt: skip
    result = invoke(*common)
    assert isinstance(result.exception, VirtuesError)
    assert "2 of 3 images failed: r1, r2. Why is said above (of a job" in str(result.exception)
    assert "r0: " in result.stdout
    assert "3 images: 1 made, 0 there already" in result.stdout
    assert "r1: failed: expected a complete TIFF" in result.stderr
    assert "r2: failed: expected labels of the image's size (140, 150)" in result.stderr
    assert sorted(path.name for path in (folder / "tokens").iterdir()) == ["r0.h5ad", "requests"]
    before = (folder / "tokens/r0.h5ad").stat().st_mtime_ns

    write_ome_tiff(folder / "images/r1.ome.tiff", counts(1), CHANNELS, (0.5, 0.5))
    write_labels(folder / "masks/r2.tif", labels(SHAPE, 30, 2))
    said = call(*common)
    assert "r0: there already" in said
    assert "3 images: 2 made, 1 there already" in said
    assert (folder / "tokens/r0.h5ad").stat().st_mtime_ns == before
    table = anndata.read_h5ad(folder / "tokens/r2.h5ad")
    assert set(table.obs["tissue_id"]) == {"r2"}
    ids = np.unique(read_labels(folder / "masks/r2.tif"))[1:]
    assert table.obs["cell_id"].tolist() == ids.tolist()

    (folder / "model/model.safetensors").touch()  # another checkpoint, for all that is known
    assert "3 images: 3 made, 0 there already" in call(*common)


def test_workers_of_its_own_by_default(folder: Path) -> None:
    said = call("embed", "images/r0.ome.tiff", "images/r1.ome.tiff", "--level", "tissue",
                "--checkpoint", "model", "--out", "tokens")  # fmt: skip
    assert "2 images: 2 made, 0 there already" in said
    assert len(anndata.read_h5ad(folder / "tokens/r1.h5ad")) == 1


def test_a_data_set_and_what_changes_in_it(tmp_path: Path, scheduler: str) -> None:
    config = CohortConfig(
        datasets=("imc-tumour",), patients=2, tissues_per_patient=1, size_px=128, seed=2
    )
    cohort = simulate_cohort(config)
    write_spora(cohort, tmp_path / "cohort")
    known = SporaDataset(tmp_path / "cohort").tissues
    save_checkpoint(model_of(cohort.tissue(known[0].tissue_id)), tmp_path / "model")
    common = ["embed", tmp_path / "cohort", "--checkpoint", tmp_path / "model", "--out",
              tmp_path / "tokens", "--scheduler", scheduler]  # fmt: skip
    assert "2 images: 2 made, 0 there already" in call(*common)
    for tissue in known:
        table = anndata.read_h5ad(tmp_path / "tokens" / f"{tissue.tissue_id}.h5ad")
        assert set(table.obs["tissue_id"]) == {tissue.tissue_id}
        assert set(table.obs["patient_id"]) == {tissue.patient_id}

    cells = pd.read_parquet(tmp_path / "cohort/metadata/cells.parquet")
    own = cells["tissue_id"].astype(str) == known[1].tissue_id
    cells.loc[own, "cell_type"] = "another"
    cells.to_parquet(tmp_path / "cohort/metadata/cells.parquet")
    said = call(*common)
    assert f"{known[0].tissue_id}: there already" in said
    assert "2 images: 1 made, 1 there already" in said
    table = anndata.read_h5ad(tmp_path / "tokens" / f"{known[1].tissue_id}.h5ad")
    assert set(table.obs["cell_type"]) == {"another"}


def test_a_tissue_more_changes_nothing_of_the_others(tmp_path: Path) -> None:
    def stamps(patients: int) -> list[str]:
        config = CohortConfig(
            datasets=("imc-tumour",), patients=patients, tissues_per_patient=1, size_px=128
        )
        write_spora(simulate_cohort(config), tmp_path / f"{patients}")
        return [tissue.tissue_id for tissue in SporaDataset(tmp_path / f"{patients}").tissues]

    first = stamps(1)
    more = stamps(2)
    assert first == more[:1]
    own = image_stamps(tmp_path / "2", more[0])
    shutil.copy(tmp_path / "1/metadata/tissues.parquet", tmp_path / "2/metadata/tissues.parquet")
    assert image_stamps(tmp_path / "2", more[0]) == own
    assert image_stamps(tmp_path / "2", more[0]) != image_stamps(tmp_path / "1", more[0])


def test_masks_and_types_are_found(folder: Path, scheduler: str) -> None:
    model = model_of(read_image(folder / "images/r0.ome.tiff"))
    save_checkpoint(model, folder / "deep")
    save_head(head_of(model), folder / "deep/segmentation-head.safetensors")
    common = ["segment", "images/r0.ome.tiff", "--checkpoint", "deep", "--scheduler", scheduler,
              "--out", "found", "--types", "types", "--stride", 128]  # fmt: skip
    assert "1 images: 1 made, 0 there already" in call(*common)
    assert read_labels(folder / "found/r0.tif").shape == SHAPE
    (folder / "types/r0.csv").unlink()  # one of two outputs
    assert "1 images: 1 made, 0 there already" in call(*common)
    assert (folder / "types/r0.csv").is_file()
    assert "1 images: 0 made, 1 there already" in call(*common)


def test_names_of_images(folder: Path) -> None:
    found = list_images([Path("images/r0.ome.tiff"), Path("images/r0.ome.tiff"), Path("model")])
    assert [one.name for one in found] == ["r0", "model"]
    assert found[0].path == folder / "images/r0.ome.tiff"
    (folder / "other").mkdir()
    shutil.copy("images/r0.ome.tiff", "other/R0.ome.tiff")
    with pytest.raises(VirtuesError, match="names that differ, found 'r0' twice"):
        list_images([Path("images/r0.ome.tiff"), Path("other/R0.ome.tiff")])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["images/*.tiff", "--out", "a.h5ad"], "expected an image|expected one image"),
        (["images/r0.ome.tiff", "images/r1.ome.tiff", "--out", "a.h5ad"], "found 2 images"),
        (["images/r0.ome.tiff", "--workers", 2, "--out", "a.h5ad"], "found --workers"),
        (["images/*.tiff", "--out", "tokens"], "expected masks of the cells, found none"),
        (["images/*.tiff", "--cells", "masks/r0.tif", "--out", "t"], "expected a folder of masks"),
        (["none/*.tiff", "--out", "tokens"], "found nothing at 'none"),
        (["images/r0.ome.tiff", "--image", "r0", "--out", "t"], "with --image, which is of one"),
        (["images/r0.ome.tiff", "--tissue", "x", "--out", "t"], "with --tissue, which is of one"),
        (["images/r0.ome.tiff", "--level", "niche", "--workers", 0, "--out", "t"], "found 0"),
        (["images/r0.ome.tiff", "--level", "niche", "--workers", 1, "--scheduler", "tcp://x:1",
          "--out", "t"], "--scheduler or --workers"),
        (["images/r0.ome.tiff", "--level", "niche", "--out", "model/config.json/t"], "could not"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_starts(folder: Path, args: list, said: str) -> None:
    with pytest.raises(VirtuesError, match=said):
        call("embed", *args)
    assert not Path("a.h5ad").exists()
