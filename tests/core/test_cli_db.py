"""``virtues db``: from images and tables to matches."""

import json
from pathlib import Path

import anndata
import imagecodecs
import numpy as np
import ot
import pandas as pd
import pytest
import typer
from infer_samples import CHANNELS, checkpoint, counts, image_of
from typer.testing import CliRunner, Result

from virtues_core.cli import db, embed
from virtues_core.cohort.retrieval import (
    Settings,
    SmallTissueError,
    TissueDatabase,
    compositions,
    thumbnail,
)
from virtues_core.cohort.retrieval.niches import central
from virtues_core.errors import CheckpointError, ConfigError, InputError, VirtuesError
from virtues_core.infer.tokens import niche_origins
from virtues_core.model import save_checkpoint
from virtues_core.read import write_ome_tiff
from virtues_core.simulate import CohortConfig, simulate_cohort, write_spora

SHAPE = (520, 650)
"""4 × 5 tiles: the central grid begins at (0, 128)."""


def invoke(*args: object) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    db.register(app)
    embed.register(app)
    device = [] if args[1] in {"remove"} else ["--device", "cpu"]
    return CliRunner().invoke(app, [*map(str, args), *device])


def call(*args: object) -> str:
    result = invoke(*args)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images, one of them small, a checkpoint, tables, and a database of all."""
    folder = tmp_path_factory.mktemp("cohort")
    save_checkpoint(checkpoint(), folder / "model")
    for i in range(3):
        write_ome_tiff(folder / f"images/r{i}.ome.tiff", counts(i, SHAPE), CHANNELS, (1.0, 1.0))
    small = counts(3, (300, 650))
    write_ome_tiff(folder / "images/small.ome.tiff", small, CHANNELS, (1.0, 1.0))
    clinical = pd.DataFrame(
        {
            "image": ["r0", "r1", "r2", "small"],
            "patient": ["P0", "P0", "P1", "P2"],
            "stage": [1, 1, 2, 2],
            "site": ["lung", "liver", None, "lung"],
        }
    )
    clinical.to_csv(folder / "clinical.csv", index=False)
    types = pd.DataFrame(
        {"tissue_id": ["r0"] * 4 + ["r1"], "cell_type": ["B", "B", "T", "unsure", "T"]}
    )
    types.to_csv(folder / "types.csv", index=False)
    said = call(
        "db", "build", folder / "images", "--out", folder / "tissues.vdb",
        "--checkpoint", folder / "model", "--clinical", folder / "clinical.csv",
        "--patient", "patient", "--tissue", "image", "--types", folder / "types.csv",
    )  # fmt: skip
    assert "left out (--small whole takes them): small" in said
    assert "3 tissues added, 0 there already, 1 too small; 3 in all" in said
    return folder


def test_what_a_database_of_images_holds(cohort: Path) -> None:
    database = TissueDatabase.open(cohort / "tissues.vdb")
    first = database.tissue("r0")
    assert (first.patient_id, first.clinical) == ("P0", {"stage": 1, "site": "lung"})
    assert database.tissue("r2").clinical == {"stage": 2}
    assert first.composition == pytest.approx({"B": 2 / 3, "T": 1 / 3})
    assert database.tissue("r2").composition is None
    assert first.source == str(cohort / "images/r0.ome.tiff")
    assert first.niches == 16
    picture = imagecodecs.png_decode(database.thumbnail("r0"))
    assert picture.shape == (130, 162, 3)
    assert picture.max() > 200


def test_its_tokens_are_those_of_embed(cohort: Path, tmp_path: Path) -> None:
    """And a database of tables of niches is that of the images."""
    out = tmp_path / "niches"
    for name in ("r0", "r2"):
        call(
            "embed", cohort / f"images/{name}.ome.tiff", "--level", "niche", "--out",
            out / f"{name}.h5ad", "--checkpoint", cohort / "model", "--patient", "P",
        )  # fmt: skip
    table = anndata.read_h5ad(out / "r0.h5ad")
    database = TissueDatabase.open(cohort / "tissues.vdb")
    inside = (table.obs["x_px"] >= 128).to_numpy()
    assert 0 < inside.sum() == len(database.tokens("r0"))  # all of it is tissue here
    np.testing.assert_allclose(
        table.obsm["X_virtues"][inside], database.tokens("r0"), rtol=1e-5, atol=1e-6
    )
    said = call("db", "build", out, "--out", tmp_path / "of_tables.vdb")
    assert "2 tissues added" in said
    said = call("db", "add", tmp_path / "of_tables.vdb", out / "r0.h5ad")
    assert "0 tissues added, 1 there already" in said
    tables = TissueDatabase.open(tmp_path / "of_tables.vdb")
    name = tables.tissues()[0].tissue_id
    assert np.array_equal(tables.tokens(name), table.obsm["X_virtues"][inside])
    assert tables.tissue(name).patient_id == "P"
    assert tables.thumbnail(name) == database.thumbnail("r0")
    assert "0 tissues added, 2 there already" in call("db", "build", out, "--out", tables.path)
    found = tables.search(database.tokens("r0"), 1)
    assert found.distances[0] < 1e-4
    with pytest.raises(CheckpointError, match="say where it is now with --checkpoint"):
        call("db", "query", tables.path, cohort / "images/r1.ome.tiff")


def test_a_query_by_an_image_equals_brute_force(cohort: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.ome.tiff"
    write_ome_tiff(new, counts(9, SHAPE), CHANNELS, (1.0, 1.0))
    out = tmp_path / "found.json"
    said = call("db", "query", cohort / "tissues.vdb", new, "--top", 2, "--json", out)
    assert "3 candidates" in said
    told = json.loads(out.read_text("utf-8"))
    database = TissueDatabase.open(cohort / "tissues.vdb")
    call("db", "build", new, "--out", tmp_path / "one.vdb", "--checkpoint", cohort / "model")
    tokens = TissueDatabase.open(tmp_path / "one.vdb").tokens("new").astype(float)
    exact = {
        name: np.sqrt(ot.emd2([], [], ot.dist(tokens, database.tokens(name).astype(float))))
        for name in ("r0", "r1", "r2")
    }
    nearest = sorted(exact, key=exact.__getitem__)[:2]
    assert [match["tissue_id"] for match in told["matches"]] == nearest
    assert told["matches"][0]["distance"] == pytest.approx(exact[nearest[0]], rel=1e-6)
    assert told["matches"][0]["clinical"] == database.tissue(nearest[0]).clinical
    assert (told["candidates"], told["query"]["niches"]) == (3, 16)
    left = tmp_path / "left.json"
    call("db", "query", cohort / "tissues.vdb", new, "--patient", "P0", "--json", left)
    assert [m["tissue_id"] for m in json.loads(left.read_text("utf-8"))["matches"]] == ["r2"]


def test_a_query_by_a_tissue_of_the_database(cohort: Path) -> None:
    base = ["db", "query", cohort / "tissues.vdb", "r0"]
    assert "r2" in call(*base)
    assert "r1" not in call(*base)  # of the same patient
    assert "r1 of P0" in call(*base, "--same-patient")
    assert "r0" not in call(*base, "--same-patient")
    assert "1 candidates" in call(*base, "--same-patient", "--where", "stage=1")
    for wrong, why in (
        (["--where", "stage"], "COLUMN=VALUE"),
        (["--where", "stage=1", "--where", "stage=2"], "each column once"),
        (["--where", "stag=1"], "Did you mean stage"),
        (["--where", "stage=1"], "none that the filters let through"),
        (["--top", "0"], "1 or more"),
        (["--patient", "p0"], "expected the patient 'P0'.*found --patient 'p0'"),
    ):
        with pytest.raises(InputError, match=why):
            call(*base, *wrong)
    with pytest.raises(InputError, match=r"found no 'r9'\. Did you mean.* no image at 'r9'"):
        call("db", "query", cohort / "tissues.vdb", "r9")


def test_an_image_that_is_stored_does_not_find_itself(cohort: Path) -> None:
    image = ["db", "query", cohort / "tissues.vdb", cohort / "images/r0.ome.tiff"]
    tissue = [*image[:3], "r0"]
    for option in ([], ["--same-patient"]):
        assert call(*image, *option) == call(*tissue, *option)


def test_an_image_under_another_name_is_told_to_be_the_same(cohort: Path, tmp_path: Path) -> None:
    copy = tmp_path / "unknown.ome.tiff"
    copy.write_bytes((cohort / "images/r0.ome.tiff").read_bytes())
    asked = ["db", "query", cohort / "tissues.vdb", copy]
    said = call(*asked)
    assert "whose tissue the query is, is not known" in said
    assert "the same tissue under another name: r0." in said
    assert "note" not in call(*asked, "--patient", "P0")


def test_adding_goes_on_where_it_was(cohort: Path, tmp_path: Path) -> None:
    path = tmp_path / "grows.vdb"
    image = tmp_path / "a.ome.tiff"
    write_ome_tiff(image, counts(5, SHAPE), CHANNELS, (1.0, 1.0))
    build = ["db", "build", image, "--out", path, "--checkpoint", cohort / "model"]
    call(*build)
    before = TissueDatabase.open(path).tokens("a")
    broken = tmp_path / "b.ome.tiff"
    broken.write_bytes(b"II*\0 and no more")
    add = ["db", "add", path, image, broken, cohort / "images/r1.ome.tiff"]
    result = invoke(*add)
    assert isinstance(result.exception, VirtuesError)
    assert "1 tissues failed: b. Why is said above." in str(result.exception)
    assert "b: failed: expected a complete TIFF" in result.stderr
    assert "1 tissues added, 1 there already" in result.stdout
    write_ome_tiff(image, counts(6, SHAPE), CHANNELS, (1.0, 1.0))
    broken.unlink()
    assert "1 tissues added" in call(*build)  # the image is another one now
    database = TissueDatabase.open(path)
    assert len(database) == 2
    assert not np.allclose(database.tokens("a"), before)
    assert "1 removed, 1 left" in call("db", "remove", path, "r1")


def test_small_tissues_whole_and_all_crops(cohort: Path, tmp_path: Path) -> None:
    base = ["db", "build", cohort / "images/small.ome.tiff", "--checkpoint", cohort / "model"]
    path = tmp_path / "whole.vdb"
    assert "1 tissues added" in call(*base, "--out", path, "--small", "whole")
    assert TissueDatabase.open(path).tissue("small").niches == 10
    call(*base, "--out", tmp_path / "all.vdb", "--crops", "all")
    assert TissueDatabase.open(tmp_path / "all.vdb").tissue("small").niches == 10
    with pytest.raises(InputError, match="--crops 4 --small whole, as the database"):
        call(*base, "--out", path)
    with pytest.raises(ConfigError, match="crops: expected 4 or all, found '3'"):
        call(*base, "--out", tmp_path / "no.vdb", "--crops", "3")
    with pytest.raises(InputError, match="--clinical with --patient"):
        call(*base, "--out", tmp_path / "no.vdb", "--patient", "patient")


def test_another_checkpoint_is_refused(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected tokens of the checkpoint"):
        call("db", "query", cohort / "tissues.vdb", cohort / "images/r0.ome.tiff",
             "--checkpoint", "demo")  # fmt: skip
    with pytest.raises(CheckpointError, match="expected tokens of the checkpoint"):
        call("db", "add", cohort / "tissues.vdb", cohort / "images/r0.ome.tiff",
             "--checkpoint", "demo")  # fmt: skip


def test_a_clinical_table_of_other_tissues_is_told(cohort: Path, tmp_path: Path) -> None:
    table = pd.DataFrame({"image": ["r0", "z"], "patient": ["P0", "P1"]})
    table.to_csv(tmp_path / "some.csv", index=False)
    table.iloc[1:].to_csv(tmp_path / "others.csv", index=False)
    build = ["db", "build", cohort / "images", "--checkpoint", cohort / "model"]
    build += ["--patient", "patient", "--tissue", "image"]
    with pytest.raises(
        InputError, match=r"names, found .*r0.*, where it names z\. Name them alike"
    ):
        call(*build, "--out", tmp_path / "a.vdb", "--clinical", tmp_path / "others.csv")
    said = call(*build, "--out", tmp_path / "b.vdb", "--clinical", tmp_path / "some.csv")
    assert "2 tissues of no patient of the clinical table: r1, r2." in said
    call("db", "add", tmp_path / "b.vdb", cohort / "images")  # a table that is not given again
    assert TissueDatabase.open(tmp_path / "b.vdb").tissue("r0").patient_id == "P0"


def test_a_spora_folder_says_who_and_what(cohort: Path, tmp_path: Path) -> None:
    config = CohortConfig(patients=2, tissues_per_patient=2, size_px=160)
    folder = write_spora(simulate_cohort(config), tmp_path / "spora")
    path = tmp_path / "spora.vdb"
    call("db", "build", folder, "--out", path, "--checkpoint", cohort / "model", "--small", "whole")
    database = TissueDatabase.open(path)
    tissues = pd.read_parquet(folder / "metadata/tissues.parquet").set_index("tissue_id")
    cells = pd.read_parquet(folder / "metadata/cells.parquet")
    assert {one.tissue_id for one in database.tissues()} == set(tissues.index)
    for one in database.tissues():
        assert one.patient_id == tissues.loc[one.tissue_id, "patient_id"]
        assert one.clinical["stage"] == tissues.loc[one.tissue_id, "stage"]
        own = cells[cells["tissue_id"] == one.tissue_id]
        shares = own["cell_type"].value_counts(normalize=True)
        assert one.composition == pytest.approx(shares[shares > 0].to_dict())
    first = str(tissues.index[0])
    said = call("db", "query", path, folder, "--image", first)
    other = set(tissues.index[tissues["patient_id"] != tissues.loc[first, "patient_id"]])
    listed = {line.split()[2] for line in said.splitlines()[:-1]}
    assert listed == other  # the patient's own tissues are no matches


@pytest.mark.parametrize(
    ("shape", "first"),
    [((512, 512), (0, 0)), ((639, 1000), (0, 2)), ((1100, 700), (2, 1))],
)
def test_the_grid_is_near_the_centre(shape: tuple[int, int], first: tuple[int, int]) -> None:
    origins = niche_origins(shape)
    kept = origins[central(origins, Settings("m", "", 8), "one")]
    assert len(kept) == 16
    assert tuple(kept[0] // 128) == first
    away = kept.mean(axis=0) + 64 - np.array(shape) / 2
    assert (np.abs(away) <= 64).all()


def test_a_grid_that_does_not_fit() -> None:
    settings = Settings("m", "", 8)
    with pytest.raises(SmallTissueError, match="found 3 × 5"):
        central(niche_origins((511, 700)), settings, "one")
    with pytest.raises(InputError, match="do not overlap"):
        central(np.array([[0, 42]]), settings, "one")
    rim = niche_origins((2000, 2000))
    rim = rim[(rim == 0).any(axis=1) | (rim == rim.max()).any(axis=1)]
    with pytest.raises(SmallTissueError, match="found none"):
        central(rim, settings, "one")


def test_a_thumbnail_shows_markers_in_their_colours() -> None:
    pixels = np.zeros((5, 400, 200), np.uint16)
    pixels[3, :200] = 50  # DNA above
    pixels[0, 200:] = 9  # CD3 below
    picture = imagecodecs.png_decode(thumbnail(image_of(pixels)))
    assert picture.shape == (133, 66, 3)
    assert picture[10, 10].argmax() == 2
    assert picture[120, 10].argmax() == 0
    other = image_of(pixels[:2], ("FooBar", "BarFoo"))
    assert imagecodecs.png_decode(thumbnail(other)).any()
    empty = imagecodecs.png_decode(thumbnail(image_of(np.zeros_like(pixels))))
    assert not empty.any()


def test_a_table_of_cells_without_types() -> None:
    with pytest.raises(InputError, match="no cell_type in tissue_id, kind"):
        compositions(pd.DataFrame({"tissue_id": ["a"], "kind": ["B"]}))
