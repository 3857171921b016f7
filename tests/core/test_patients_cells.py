"""Tables of cells as one, their tokens on disk; whose cells they are."""

import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from cohort_samples import WIDTH, table
from scipy.sparse import csr_matrix

from virtues_core.cli import _options
from virtues_core.cli._clinical import joined_cells
from virtues_core.cohort import log_intensities, write_table
from virtues_core.cohort.patients import (
    CellTables,
    Columns,
    Seen,
    check_values,
    join,
    open_cells,
    read_clinical,
)
from virtues_core.errors import InputError, ReadError

SIZES = (90, 7, 240)
KEYS = ("P11836", "stain:dna")


def tables() -> list[AnnData]:
    """Three tables of cells in places, whose channels differ in order and number."""
    panels = (("P01732", "P11836", "stain:dna"), ("stain:dna", "P11836"), ("P11836", "stain:dna"))
    made = []
    for seed, (size, panel) in enumerate(zip(SIZES, panels, strict=True)):
        own = table(size, seed, panel=panel)
        own.obsm["spatial"] = np.random.default_rng(seed).random((size, 2)) * 100
        own.uns["virtues"]["image"] = f"images/{seed}.tiff"
        own.uns["virtues"] |= {"pixel_size_um": np.array([0.5, 1.0])} if seed == 1 else {}
        own.obs["cell_type"] = own.obs["phenotype"].where(own.obs["cell_id"] > 2, "unsure")
        made.append(own)
    return made


@pytest.fixture(params=["h5ad", "zarr"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for number, own in enumerate(tables()):
        write_table(own, tmp_path / f"t{number}.{request.param}")
    return tmp_path


def all_tokens() -> np.ndarray:
    return np.concatenate([own.obsm["X_virtues"] for own in tables()])


def test_rows_in_the_order_of_the_files(folder: Path) -> None:
    found = open_cells([folder], columns=("phenotype", "cell_id"))
    assert (len(found), found.dim, found.signature) == (sum(SIZES), WIDTH, "abc")
    assert found.marker_keys == KEYS
    assert found.markers == ("c1", "c2")
    cells = found.cells
    assert cells.columns.tolist() == [
        "tissue_id", "cell_id", "patient_id", "x_um", "y_um", "cell_type", "phenotype",
    ]  # fmt: skip
    expected = pd.concat([own.obs for own in tables()])
    assert cells["tissue_id"].tolist() == expected["tissue_id"].tolist()
    assert cells["cell_id"].tolist() == expected["cell_id"].tolist()
    assert cells["patient_id"].dtype == "category"
    places = np.concatenate([own.obsm["spatial"] for own in tables()])
    assert np.allclose(cells[["x_um", "y_um"]], places)
    unsure = expected["cell_id"].to_numpy() <= 2
    assert ((cells["cell_type"] == "").to_numpy() == unsure).all()
    assert found.images["P1-0-A"] == "images/1.tiff"
    assert found.pixel_um["P1-0-A"] == (0.5, 1.0)
    assert "P0-0-A" not in found.pixel_um


def test_opening_says_how_many_tables_are_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a command opens them, which a job's cancel then ends."""
    told: list[tuple[int, int, str]] = []

    def cancel(*at: Any) -> None:
        told.append(at)
        if at == (2, 3, "opened table"):
            raise KeyboardInterrupt

    open_cells([folder], progress=lambda *at: told.append(at))
    assert told == [(1, 3, "opened table"), (2, 3, "opened table"), (3, 3, "opened table")]
    (folder / "c.csv").write_text("id\nP0-0\n")
    monkeypatch.setattr(_options, "show_progress", cancel)
    with pytest.raises(KeyboardInterrupt):
        joined_cells([str(folder)], folder / "c.csv", Columns("id"))
    assert len(told) == 5


@pytest.mark.parametrize("rows", [1, 89, 90, 97, 98, 1000])
def test_batches_are_full_and_in_order(folder: Path, rows: int) -> None:
    found = open_cells([folder])
    places, parts = zip(*found.batches(rows), strict=True)
    assert [p.stop - p.start for p in places[:-1]] == [rows] * (len(places) - 1)
    assert [p.start for p in places] == [0, *(p.stop for p in places[:-1])]
    assert np.array_equal(np.concatenate(parts), all_tokens())


def test_rows_are_taken_in_the_order_given(folder: Path) -> None:
    found = open_cells([folder])
    rows = np.array([336, 0, 95, 95, 200, 1, 89, 90])
    assert np.array_equal(found.take(rows), all_tokens()[rows])
    assert found.take(np.array([], int)).shape == (0, WIDTH)
    assert found.take(rows, "intensities").shape == (8, 2)


def test_intensities_of_the_markers_that_all_show(folder: Path) -> None:
    found = open_cells([folder])
    expected = [log_intensities(own.X, own.var, KEYS) for own in tables()]
    parts = [values for _, values in found.batches(100, "intensities")]
    assert np.allclose(np.concatenate(parts), np.concatenate(expected))


def test_far_and_near_rows_of_a_long_table(tmp_path: Path) -> None:
    own = table(9000, 3, panel=KEYS)
    own.X = csr_matrix(own.X)
    write_table(own, tmp_path / "long.h5ad")
    found = open_cells([tmp_path / "long.h5ad"])
    rng = np.random.default_rng(0)
    for rows in (rng.integers(0, 9000, 40), np.arange(4000, 8500)[::-1], np.array([0, 8999])):
        assert np.array_equal(found.take(rows), own.obsm["X_virtues"][rows])
    dense = np.asarray(own.X.toarray())
    assert np.allclose(found.take(rows, "intensities"), log_intensities(dense, own.var, KEYS)[rows])


def test_memory_is_of_a_batch_and_not_of_the_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for seed in range(3):
        own = table(8000, seed, patients=2)
        own.obsm["X_virtues"] = rng.random((8000, 256), np.float32)
        write_table(own, tmp_path / f"t{seed}.h5ad")
    del own
    all_bytes = 3 * 8000 * 256 * 4
    found = open_cells([tmp_path])
    tracemalloc.start()
    total = sum(float(values.sum()) for _, values in found.batches(1000))
    few = found.take(np.arange(0, 24_000, 100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total > 0
    assert few.shape == (240, 256)
    assert peak < all_bytes / 4


def test_niches_where_they_are_asked_for(tmp_path: Path) -> None:
    own = table(20, level="niche")
    own.obs = own.obs.rename(columns={"cell_id": "niche_id"})
    write_table(own, tmp_path / "n.h5ad")
    assert open_cells([tmp_path / "n.h5ad"], level="niche").cells["niche_id"].tolist()[:2] == [1, 2]
    with pytest.raises(InputError, match=r"tokens of cells in 'n.h5ad', found tokens of niches"):
        open_cells([tmp_path / "n.h5ad"])
    with pytest.raises(InputError, match="level out of cell, niche, patch"):
        open_cells([tmp_path / "n.h5ad"], level="tissue")


def _broken(kind: str, own: AnnData) -> AnnData:
    if kind == "tokens":
        del own.obsm["X_virtues"]
    elif kind == "nan":
        own.obsm["X_virtues"][3, 1] = np.nan
    elif kind == "checkpoint":
        own.uns["virtues"]["checkpoint_signature"] = "other"
    elif kind == "unknown":
        del own.uns["virtues"]
    elif kind == "half":
        del own.uns["virtues"]["panel"]
    elif kind == "column":
        del own.obs["tissue_id"]
    elif kind == "nameless":
        own.obs["tissue_id"] = own.obs["tissue_id"].where(own.obs["cell_id"] > 3, "")
    elif kind == "twice":
        own.obs["cell_id"] = own.obs["cell_id"].to_numpy() // 3
    elif kind == "unnumbered":
        own.obs["cell_id"] = own.obs["cell_id"].where(own.obs["cell_id"] > 1)
    elif kind == "again":
        own.obs["tissue_id"] = "P0-1-A"
    return own


def test_of_many_problems_the_first_are_told(tmp_path: Path) -> None:
    for seed in range(15):
        write_table(_broken("column", table(6, seed)), tmp_path / f"{seed:02d}.h5ad")
    with pytest.raises(InputError, match="tables of tokens: 15 problems") as told:
        open_cells([tmp_path])
    assert str(told.value).splitlines()[-1] == "- and 3 more"
    assert "11.h5ad" in str(told.value)
    assert "12.h5ad" not in str(told.value)


@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
def test_tokens_and_tissues_are_enough(tmp_path: Path, ending: str) -> None:
    """Of tables that others made: no numbers, places, channels, nor what made the tokens."""
    for seed in (0, 1):
        own = table(90, seed)
        bare = AnnData(obs=own.obs[["tissue_id"]].copy())
        bare.obsm["X_virtues"] = own.obsm["X_virtues"]
        write_table(bare, tmp_path / f"{seed}{ending}")
    cells = open_cells([tmp_path])
    assert (len(cells), cells.dim, cells.markers, cells.signature) == (180, 12, (), "")
    assert (cells.cells["cell_id"] < 0).all()  # no cell of a mask is taken for one of these
    assert not cells.cells.duplicated(["tissue_id", "cell_id"]).any()
    assert cells.cells[["x_um", "y_um"]].isna().all(axis=None)
    assert (cells.cells["patient_id"] == "").all()
    np.testing.assert_array_equal(cells.take(np.arange(90, 180)), table(90, 1).obsm["X_virtues"])
    assert any("do not say which model" in note for note in cells.notes)
    assert any(note.startswith("180 rows without cell_id") for note in cells.notes)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("tokens", "tokens of cells in 'b.h5ad', found no tokens"),
        ("checkpoint", r"one checkpoint, found 2: 'tiny' \(12 values\) in a.h5ad; 'tiny'"),
        ("unknown", r"found 2: 'tiny' \(12 values\) in a.h5ad; 'an unknown model'"),
        ("half", "b.h5ad: expected checkpoint, checkpoint_signature"),
        ("column", "expected a column 'tissue_id' in obs of 'b.h5ad'"),
        ("nameless", "3 rows of 'b.h5ad' without a tissue"),
        ("twice", "with a cell_id that is there before, in P1-"),
        ("unnumbered", "whole numbers as cell_id in 'b.h5ad', found 1 row"),
        ("again", r"1 tissue in two tables: P0-1-A \(a.h5ad and b.h5ad\)"),
    ],
)
def test_refusals(tmp_path: Path, kind: str, said: str) -> None:
    write_table(table(90, 0), tmp_path / "a.h5ad")
    write_table(_broken(kind, table(90, 1)), tmp_path / "b.h5ad")
    with pytest.raises(InputError, match=said):
        open_cells([tmp_path / "a.h5ad", tmp_path / "b.h5ad"])


def test_all_that_is_wrong_with_tables_is_told_at_once(tmp_path: Path) -> None:
    write_table(table(90, 0), tmp_path / "a.h5ad")
    write_table(_broken("tokens", table(90, 1)), tmp_path / "b.h5ad")
    (tmp_path / "c.h5ad").write_text("no table")
    with pytest.raises(InputError, match=r"(?s)tables of tokens: 2 problems.*c.h5ad.*b.h5ad"):
        open_cells([tmp_path])
    with pytest.raises(ReadError, match="expected an AnnData"):
        open_cells([tmp_path / "c.h5ad"])
    with pytest.raises(ReadError, match="found nothing"):
        open_cells([tmp_path / "d.h5ad"])
    with pytest.raises(ReadError, match="found none"):
        open_cells([tmp_path / "x*.h5ad"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match="found none"):
        open_cells([tmp_path / "empty"])


def test_values_that_are_no_numbers_and_asking_for_what_is_not_there(tmp_path: Path) -> None:
    write_table(_broken("nan", table(90, 1)), tmp_path / "a.h5ad")
    found = open_cells([tmp_path / "?.h5ad"])
    with pytest.raises(InputError, match=r"finite tokens in .*a.h5ad"):
        list(found.batches())
    with pytest.raises(InputError, match="rows from 0 to 89"):
        found.take(np.array([90]))
    with pytest.raises(InputError, match="1 row or more"):
        next(found.batches(0))
    with pytest.raises(InputError, match="tokens, intensities"):
        next(found.batches(features="colours"))  # type: ignore[arg-type]
    other = table(9, 2, panel=("P02768",))
    write_table(other, tmp_path / "b.h5ad")
    both = open_cells([tmp_path])
    assert both.markers == ()
    with pytest.raises(InputError, match="a marker that all tables show"):
        both.take(np.array([0]), "intensities")
    with pytest.raises(InputError, match="'colour'"):
        open_cells([tmp_path], columns=("colour",))
    with h5py.File(tmp_path / "b.h5ad", "r+") as file:
        del file["X"]
        file["X"] = np.ones((8, 1))
    with pytest.raises(ReadError, match=r"X of shape \(8, 1\) where \(9, 1\) belongs"):
        open_cells([tmp_path / "b.h5ad"])
    with h5py.File(tmp_path / "b.h5ad", "r+") as file:
        del file["X"]
        file["obs"]["tissue_id"]["codes"][3] = 77
    with pytest.raises(ReadError, match="codes of a category that are not of its"):
        open_cells([tmp_path / "b.h5ad"])
    with h5py.File(tmp_path / "b.h5ad", "r+") as file:
        file["obs"]["cell_id"].attrs["encoding-version"] = "99"
    with pytest.raises(ReadError, match="expected an AnnData"):
        open_cells([tmp_path / "b.h5ad"])
    (tmp_path / "a.h5ad").unlink()
    with pytest.raises(ReadError):
        list(both.batches())


def test_intensities_below_zero_are_taken_and_told(tmp_path: Path) -> None:
    """As they are after background subtraction; what is no number is told by marker and table."""
    one, other = table(60, 1), table(60, 2)
    one.X[:7, 1] = -3
    one.X[3:9, 2] = -0.5
    write_table(one, tmp_path / "a.h5ad")
    write_table(other, tmp_path / "b.h5ad")
    found = open_cells([tmp_path])
    assert found.take(np.array([0]), "intensities")[0, 1] == pytest.approx(-np.log(4))
    told: list[tuple[int, int, str]] = []
    (note,) = check_values(found, "intensities", lambda *at: told.append(at))
    assert "in 9 of 120 cells (c1, c2), in 1 table: a.h5ad, as after background" in note
    assert told == [(1, 2, "checked table"), (2, 2, "checked table")]
    assert check_values(found, "tokens") == ()
    one.X[4:6, 1], other.X[0, 3] = np.nan, np.inf
    other.obsm["X_virtues"][5, 2:4] = np.nan
    write_table(one, tmp_path / "a.h5ad")
    write_table(other, tmp_path / "b.h5ad")
    said = r"mean intensities, .* in 3 of 120 cells \(c1, c3\), in 2 tables: a.h5ad, b.h5ad\. Leave"
    with pytest.raises(InputError, match=said):
        check_values(open_cells([tmp_path]), "intensities")
    with pytest.raises(InputError, match=r"tokens, .* in 1 of 120 cells, in 1 table: b.h5ad\."):
        check_values(open_cells([tmp_path]), "tokens")
    one.X[4:6, 1] = 1
    one.var["in_model"] = other.var["in_model"] = [True, True, True, False]
    write_table(one, tmp_path / "a.h5ad")
    write_table(other, tmp_path / "b.h5ad")  # the marker with infinity is not used now
    assert len(check_values(open_cells([tmp_path]), "intensities")) == 1


def test_types_that_only_some_tables_have_are_not_used(tmp_path: Path) -> None:
    own = tables()
    del own[1].obs["cell_type"]
    for number, each in enumerate(own):
        write_table(each, tmp_path / f"{number}.h5ad")
    found = open_cells([tmp_path])
    assert "cell_type" not in found.cells
    assert "2 of 3 tables have types" in found.notes[0]


@pytest.fixture
def cells(tmp_path: Path) -> CellTables:
    for seed in range(2):
        write_table(table(60, seed, patients=3), tmp_path / f"t{seed}.h5ad")
    return open_cells([tmp_path])


def clinic(folder: Path, text: str, columns: Columns) -> object:
    (folder / "c.csv").write_text(text)
    return read_clinical(folder / "c.csv", columns)


def test_patients_of_cells_by_their_own_name(cells: CellTables, tmp_path: Path) -> None:
    text = "id,y\nP0-0,1\nP0-2,0\nP1-1,0\nP9,1\nP8,\n"
    found = join(cells, clinic(tmp_path, text, Columns("id", outcome="y")))
    assert found.patients == ("P0-0", "P0-2", "P1-1")
    own = cells.cells["patient_id"].astype(str).to_numpy()
    assert [("", *found.patients)[code + 1] for code in found.codes] == [
        name if name in found.patients else "" for name in own
    ]
    assert found.clinical.outcome().to_dict() == {"P0-0": 1, "P0-2": 0, "P1-1": 0}
    rows = found.patient_rows()
    assert rows["tissues"].tolist() == ["P0-0-A", "P0-2-A", "P1-1-A"]
    assert rows["cells"].sum() == (found.codes >= 0).sum()
    assert found.notes == (
        "'y' is missing for 1 patient of 5.",
        "3 patients with images and clinical data.",
        "2 patients with clinical data and without images: P8, P9.",
        "3 patients with images and without clinical data: P0-1, P1-0, P1-2.",
    )


def test_patients_of_cells_by_their_tissue(tmp_path: Path) -> None:
    own = table(60, 0, patients=3)
    del own.obs["patient_id"]
    write_table(own, tmp_path / "t.h5ad")
    cells = open_cells([tmp_path / "t.h5ad"])
    assert cells.cells["patient_id"].cat.categories.tolist() == [""]
    text = "id,s,y\nA,P0-0-A,1\nA,P0-2-A,1\nB,none-A,0\nC,elsewhere,0\n"
    with pytest.raises(InputError, match="two classes of outcome in 'y', found 1 for all 1"):
        join(cells, clinic(tmp_path, text, Columns("id", tissue="s", outcome="y")))
    found = join(cells, clinic(tmp_path, text, Columns("id", tissue="s")))
    assert found.patient_rows()["tissues"].tolist() == ["P0-0-A;P0-2-A"]
    assert "1 tissue of no known patient: P0-1-A." in found.notes
    with pytest.raises(InputError, match="the tables name nobody"):
        join(cells, clinic(tmp_path, "id\nA\nB\n", Columns("id")))


def test_a_column_tissue_id_of_the_clinic_says_what_the_tables_do_not(tmp_path: Path) -> None:
    """But what they say stands, and tissues that it does not list stay."""
    own = table(60, 0, patients=3)
    own.obs["patient_id"] = own.obs["patient_id"].where(own.obs["patient_id"] == "P0-1", "")
    write_table(own, tmp_path / "t.h5ad")
    cells = open_cells([tmp_path / "t.h5ad"])
    text = "id,tissue_id,y\nA,P0-0-A,1\nA,other,1\nC,P0-1-A,0\nP0-1,elsewhere,0\n"
    found = join(cells, clinic(tmp_path, text, Columns("id", outcome="y")))
    assert found.owners == {"P0-0-A": "A", "P0-1-A": "P0-1"}
    assert "1 tissue of no known patient: P0-2-A." in found.notes
    text = "id,tissue_id\nA,\nP0-1,P0-0-A\n"  # a column with gaps says whose nothing is
    assert join(cells, clinic(tmp_path, text, Columns("id"))).owners == {"P0-1-A": "P0-1"}
    both = "id,tissue_id,y\nA,P0-0-A,1\nA,P0-2-A,0\n"
    with pytest.raises(InputError, match="differs between tissues of 1 patient"):
        clinic(tmp_path, both, Columns("id", outcome="y"))


def test_patients_that_are_written_in_two_ways_are_refused(
    cells: CellTables, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"found 1 patient otherwise .*: 'P1-1' and 'p1-1'"):
        join(cells, clinic(tmp_path, "id\nP0-0\np1-1\n", Columns("id")))
    own = table(60, 0, patients=3)
    own.obs["patient_id"] = own.obs["patient_id"].str[-1]
    write_table(own, tmp_path / "t.h5ad")
    numbers = open_cells([tmp_path / "t.h5ad"])
    with pytest.raises(InputError, match=r"found 2 patients .*: '1' and '001', '2' and '2.0'"):
        join(numbers, clinic(tmp_path, "id\n0\n001\n2.0\n", Columns("id")))
    with pytest.raises(InputError, match="a patient written in two ways: '001' and '1'"):
        clinic(tmp_path, "id\n0\n001\n1\n", Columns("id"))


def test_a_tissue_of_two_patients_is_refused(cells: CellTables, tmp_path: Path) -> None:
    text = "id,s\nP0-0,P0-0-A\nP0-1,P1-1-A\n"
    with pytest.raises(InputError, match=r"1 tissue \(P1-1-A: P0-1 and P1-1\)"):
        join(cells, clinic(tmp_path, text, Columns("id", tissue="s")))


def test_patients_of_few_cells_and_of_most_are_told(tmp_path: Path) -> None:
    for seed, count in enumerate((900, 300, 120, 7)):
        write_table(table(count, seed, patients=1), tmp_path / f"t{seed}.h5ad")
    text = "id\nP0-0\nP1-0\nP2-0\nP3-0\n"
    found = join(open_cells([tmp_path]), clinic(tmp_path, text, Columns("id")))
    few, most = found.uneven_cells()
    assert few == "1 patient with fewer than 100 cells, of an uncertain composition: P3-0."
    assert most == "68% of all cells are of one patient, P0-0, who rules what is found among cells."
    assert not found.several_tissues()


@pytest.mark.parametrize("placed", [True, False])
def test_a_tissue_under_two_names_is_refused(tmp_path: Path, placed: bool) -> None:
    own = table(60, 0, patients=1)
    if placed:
        own.obsm["spatial"] = np.random.default_rng(0).random((60, 2)) * 100
    write_table(own, tmp_path / "t.h5ad")
    own.obs["tissue_id"], own.obs["patient_id"] = "other-A", "other"
    if placed:  # where cells are stays when an image is embedded anew
        own.obsm["X_virtues"] = own.obsm["X_virtues"] * 2
    write_table(own, tmp_path / "again.h5ad")
    write_table(table(60, 1, patients=1), tmp_path / "u.h5ad")
    cells = open_cells([tmp_path])
    both = clinic(tmp_path, "id\nP0-0\nother\nP1-0\n", Columns("id"))
    with pytest.raises(InputError, match=r"1 tissue under several names .* P0-0-A and other-A"):
        join(cells, both)
    assert join(cells, clinic(tmp_path, "id\nother\nP1-0\n", Columns("id"))).patients == (
        "P1-0",
        "other",
    )


@pytest.mark.parametrize("places", ["grid", "drawn alike"])
def test_tissues_whose_cells_are_at_the_same_places_are_still_several(
    tmp_path: Path, places: str
) -> None:
    """As in simulated cohorts, here and in another one."""
    numbers = range(2) if places == "grid" else range(4)
    where = np.stack(np.divmod(np.arange(60), 8), axis=1) * 10.0
    if places == "drawn alike":
        where = np.random.default_rng(0).random((60, 2)) * 100
    for seed in range(8):
        own = table(60, seed, patients=1)
        own.obsm["spatial"] = where
        (tmp_path / f"{seed in numbers}").mkdir(exist_ok=True)
        write_table(own, tmp_path / f"{seed in numbers}" / f"{seed}.h5ad")
    here, there = (open_cells([tmp_path / name]) for name in ("True", "False"))
    text = "id\n" + "\n".join(f"P{seed}-0" for seed in range(8))
    joined = join(here, clinic(tmp_path, text, Columns("id")))
    assert len(joined.patients) == len(numbers)
    seen = Seen.of(here, joined.owners)
    other = join(there, clinic(tmp_path, text, Columns("id"))).owners
    assert seen.known(there, other) == (set(), set())
    assert seen.known(here, joined.owners)[0] == set(joined.owners)


def test_patients_of_cells_by_the_column_that_is_named(tmp_path: Path) -> None:
    for seed in range(2):
        own = table(60, seed, patients=3)
        if seed:
            own.obs["case"] = own.obs["patient_id"].str.replace("P1-", "C")
        write_table(own, tmp_path / f"t{seed}.h5ad")
    found = join(
        open_cells([tmp_path]), clinic(tmp_path, "case\nC0\nP0-1\nP1-2\n", Columns("case"))
    )
    assert found.patient_rows()["tissues"].to_dict() == {0: "P1-0-A", 1: "P0-1-A"}
    assert "1 patient with clinical data and without images: P1-2." in found.notes
