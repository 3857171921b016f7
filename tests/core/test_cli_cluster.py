"""``virtues cluster`` on files."""

from pathlib import Path

import pytest
import typer
from cohort_samples import table
from sklearn.metrics import adjusted_rand_score
from typer.testing import CliRunner

from virtues_core.cli import cluster
from virtues_core.cohort import read_table, write_table
from virtues_core.errors import InputError, ReadError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(2):
        made = table(90, seed=seed, spread=0.5)
        made.obs_names = [f"t{seed}:{name}" for name in made.obs_names]
        write_table(made, tmp_path / f"t{seed}.h5ad")
    return tmp_path


def call(*args: object) -> str:
    app = typer.Typer()
    cluster.register(app)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_two_tables_become_one_with_clusters_a_map_and_a_heat_map(folder: Path) -> None:
    out, picture = folder / "y.h5ad", folder / "profiles.png"
    said = call(folder / "t?.h5ad", "--out", out, "--resolution", 0.3, "--umap",
                "--profiles", picture)  # fmt: skip
    assert "180 rows in 3 clusters" in said
    assert said.count("brightest c") == 3
    made = read_table(out)
    assert adjusted_rand_score(made.obs["phenotype"], made.obs["leiden"]) > 0.95
    assert made.obsm["X_umap"].shape == (180, 2)
    assert made.uns["leiden"]["params"]["resolution"] == 0.3
    assert picture.stat().st_size > 1000


def test_intensities_without_a_map(folder: Path) -> None:
    call(folder / "t0.h5ad", "--out", folder / "y.zarr", "--of", "intensities",
         "--profiles", folder / "p.csv")  # fmt: skip
    made = read_table(folder / "y.zarr")
    assert "X_umap" not in made.obsm
    clusters = made.obs["leiden"].cat.categories
    assert len((folder / "p.csv").read_text().splitlines()) == 1 + len(clusters)


def test_refusals_leave_nothing(folder: Path) -> None:
    before = sorted(p.name for p in folder.iterdir())
    (folder / "x.h5ad").write_text("no table")
    first, out = folder / "t0.h5ad", ["--out", folder / "y.h5ad"]
    for args, error, said in (
        ([first, *out, "--of", "pixels"], InputError, "found 'pixels'"),
        ([first, *out, "--resolution", 0], InputError, "resolution above 0"),
        ([first, *out, "--profiles", folder / "p.txt"], InputError, r"\.csv or \.png"),
        ([first, "--out", folder / "y.csv"], InputError, r"\.h5ad or \.zarr"),
        ([first, first, *out], InputError, "in two tables"),
        ([folder / "x.h5ad", *out], ReadError, "expected an AnnData"),
    ):
        with pytest.raises(error, match=said):
            call(*args)
    (folder / "x.h5ad").unlink()
    assert sorted(p.name for p in folder.iterdir()) == before
