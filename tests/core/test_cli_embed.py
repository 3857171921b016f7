"""``virtues embed`` on files."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import typer
from infer_samples import CHANNELS, checkpoint, counts
from test_infer_tokens import labels
from typer.testing import CliRunner

from virtues_core.cli import embed
from virtues_core.errors import InputError, MarkerError, ReadError, VirtuesError
from virtues_core.infer import Embedding
from virtues_core.markers import MarkerEmbeddings, Panel
from virtues_core.model import save_checkpoint
from virtues_core.read import write_labels, write_ome_tiff
from virtues_core.read.spora import SporaDataset
from virtues_core.simulate import CohortConfig, simulate_cohort, write_spora

SHAPE = (140, 150)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image, its cells and their types, and a checkpoint."""
    mask = labels(SHAPE, 40)
    write_ome_tiff(tmp_path / "r0.ome.tiff", counts(0), CHANNELS, (0.5, 2.0))
    write_labels(tmp_path / "cells.tif", mask)
    write_labels(tmp_path / "small.tif", mask[:100])
    write_labels(tmp_path / "empty.tif", 0 * mask)
    ids = np.unique(mask)[1:]
    types = pd.DataFrame({"cell_id": ids, "cell_type": np.where(ids % 2, "T", "B")})
    types.to_csv(tmp_path / "types.csv", index=False)
    save_checkpoint(checkpoint(), tmp_path / "model")
    return tmp_path


def call(*args: object) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    embed.register(app)
    result = CliRunner().invoke(app, ["embed", *map(str, args), "--device", "cpu"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def image(folder: Path) -> list[object]:
    return [folder / "r0.ome.tiff", "--checkpoint", folder / "model"]


def test_cells(folder: Path) -> None:
    out = folder / "out" / "r0.h5ad"
    said = call(
        *image(folder), "--cells", folder / "cells.tif", "--types", folder / "types.csv",
        "--patient", "p1", "--tissue", "region 0", "--out", out,
    )  # fmt: skip
    table = anndata.read_h5ad(out)
    assert f"{len(table)} cells, 32 values each, 5 channels; 4 tiles" in said
    assert "note: left out: 131Xe_Xe131" in said
    assert (table.uns["virtues"]["checkpoint"], table.uns["virtues"]["stride_px"]) == ("model", 42)
    assert set(table.obs["tissue_id"]) == {"region 0"}
    assert set(table.obs["patient_id"]) == {"p1"}
    assert (table.obs["cell_type"] == np.where(table.obs["cell_id"] % 2, "T", "B")).all()
    assert [path.name for path in out.parent.iterdir()] == ["r0.h5ad"]  # no tokens are left


def test_levels_strides_and_zarr(folder: Path) -> None:
    common = [*image(folder), "--out", folder / "n.zarr"]
    said = call(*common, "--level", "niche", "--stride", 10)
    table = anndata.read_zarr(folder / "n.zarr")
    assert f"{len(table)} niches" in said
    assert table.obs[["y_px", "x_px"]].to_numpy().tolist() == [
        [0, 0], [0, 10], [0, 20], [10, 0], [10, 10], [10, 20],
    ]  # fmt: skip
    assert "1 tissue," in call(*common, "--level", "tissue")
    assert anndata.read_zarr(folder / "n.zarr").shape == (1, 5)  # the older one is replaced


def test_stored_tokens_serve_another_mask(folder: Path) -> None:
    cache = folder / "cache"
    common = [*image(folder), "--cache", cache, "--out", folder / "a.h5ad"]
    assert "stored before" not in call(*common, "--cells", folder / "cells.tif")
    write_labels(folder / "other.tif", labels(SHAPE, 30, 5))
    assert "4 of them stored before" in call(*common, "--cells", folder / "other.tif")
    assert len(list(cache.rglob("*.tokens"))) == 4


def test_a_run_that_failed_leaves_its_tokens_for_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [*image(folder), "--cells", folder / "cells.tif", "--out", folder / "a.h5ad"]
    with monkeypatch.context() as patch:
        patch.setattr(Embedding, "write", lambda *_: (_ for _ in ()).throw(VirtuesError("full")))
        with pytest.raises(VirtuesError, match="full"):
            call(*common)
    assert (folder / "a.h5ad.tokens").is_dir()
    assert "4 of them stored before" in call(*common)
    assert not (folder / "a.h5ad.tokens").exists()


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
from virtues_core.cli.main import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits are of POSIX")
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_a_full_disk_loses_nothing(folder: Path, suffix: str) -> None:
    """A process that may write 40 kB a file: tokens of tiles are stored, the table is not."""
    write_labels(folder / "many.tif", labels(SHAPE, 1200))  # their table is more than that
    out = folder / f"a{suffix}"
    common = [*image(folder), "--cells", folder / "many.tif", "--out", out]
    command = [sys.executable, "-c", LIMITED, "embed", *map(str, common)]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert f"virtues: could not write {out.name!r}" in failed.stderr
    assert os.strerror(errno.EFBIG) in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not out.exists()
    assert "4 tiles, 4 of them stored before" in call(*common)


def test_a_folder_that_cannot_be_written_is_found_before_the_run(folder: Path) -> None:
    common = [*image(folder), "--cells", folder / "cells.tif", "--cache", folder / "cache"]
    with pytest.raises(VirtuesError, match=r"could not write 'a\.h5ad'"):
        call(*common, "--out", folder / "types.csv" / "a.h5ad")
    assert not (folder / "cache").exists()


def test_markers_are_chosen_by_name_or_accession(folder: Path) -> None:
    common = [*image(folder), "--cells", folder / "cells.tif", "--out", folder / "a.h5ad"]
    call(*common, "--markers", "DNA1_Ir191, P11836")
    table = anndata.read_h5ad(folder / "a.h5ad")
    assert table.var_names.tolist() == ["CD20_Dy161", "DNA1_Ir191"]
    with pytest.raises(MarkerError, match="found CD4 as well"):
        call(*common, "--markers", "CD4,DNA1_Ir191")


def test_a_data_set_gives_masks_patients_and_types(tmp_path: Path) -> None:
    cohort = simulate_cohort(
        CohortConfig(
            datasets=("imc-tumour",), patients=2, tissues_per_patient=1, size_px=128, seed=2
        )
    )
    write_spora(cohort, tmp_path / "cohort")
    listed = SporaDataset(tmp_path / "cohort").tissues[1]
    made = cohort.tissue(listed.tissue_id)
    keys = [key for key in Panel.from_names(made.channels).keys if key is not None]
    known = replace(checkpoint(), embeddings=MarkerEmbeddings.stand_in(dict.fromkeys(keys)))
    save_checkpoint(known, tmp_path / "model")
    call(
        tmp_path / "cohort", "--image", listed.tissue_id, "--checkpoint", tmp_path / "model",
        "--out", tmp_path / "t.h5ad",
    )  # fmt: skip
    table = anndata.read_h5ad(tmp_path / "t.h5ad")
    assert set(table.obs["tissue_id"]) == {listed.tissue_id}
    assert set(table.obs["patient_id"]) == {listed.patient_id}
    expected = made.cells.set_index("cell_id")["cell_type"].reindex(table.obs["cell_id"])
    assert table.obs["cell_type"].tolist() == expected.tolist()
    assert table.obs["cell_id"].tolist() == np.unique(made.cell_mask)[1:].tolist()


@pytest.mark.parametrize(
    ("args", "error", "said"),
    [
        ([], InputError, "expected a mask of the cells, found none"),
        (["--cells", "small.tif"], ReadError, r"found \(100, 150\)"),
        (["--cells", "empty.tif"], InputError, "found only background"),
        (["--cells", "none.tif"], ReadError, "found nothing at"),
        (["--cells", "r0.ome.tiff"], ReadError, "found 5 planes"),
        (["--cells", "cells.tif", "--stride", "0"], InputError, "1 to 128 px, found 0"),
        (["--cells", "cells.tif", "--level", "pixel"], InputError, "found 'pixel'"),
        (["--cells", "cells.tif", "--types", "none.csv"], ReadError, "expected a table of cells"),
        (["--cells", "cells.tif", "--out", "x.csv"], InputError, "ends with .h5ad or .zarr"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, args, error, said: str) -> None:
    placed = [folder / arg if "." in arg else arg for arg in args]
    with pytest.raises(error, match=said):
        call(*image(folder), "--out", folder / "a.h5ad", *placed)
    assert not (folder / "a.h5ad").exists()
