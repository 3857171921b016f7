"""A database of tissues: what is put in comes out, exact answers, kills, wrong input."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import ot
import pytest
from scipy.spatial.distance import cdist

from virtues_core.cohort.retrieval import (
    Search,
    Settings,
    Stored,
    TissueDatabase,
    TissueEntry,
    assignment_bound,
    costs_below,
    moment_bounds,
    nearest_sets,
    neighbour_bounds,
    wasserstein,
)
from virtues_core.cohort.retrieval.distance import moments
from virtues_core.errors import CheckpointError, InputError, ReadError, VirtuesError

DIM = 24
SETTINGS = Settings("tiny", "0123456789abcdef" * 2, DIM)


def niches(seed: int, count: int = 16, *, kinds: int = 5, spread: float = 0.3) -> np.ndarray:
    """Tokens of a tissue: niches of a few kinds, in shares of its own."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(kinds, DIM))
    kind = rng.choice(kinds, count, p=rng.dirichlet(np.full(kinds, 0.4)))
    tokens = 20 + centres[kind] + spread * rng.normal(size=(count, DIM))
    return tokens.astype(np.float32)


def entry(i: int, **about: object) -> TissueEntry:
    known = {"clinical": {"stage": 1 + i % 3, "sex": "fm"[i % 2]}, "patient_id": f"P{i // 2}"}
    return TissueEntry(Stored(f"T{i}", **(known | about)), niches(i, 10 + i % 7), b"png")


@pytest.fixture
def database(tmp_path: Path) -> TissueDatabase:
    made = TissueDatabase.create(tmp_path / "tissues.vdb", SETTINGS)
    made.add(entry(i) for i in range(60))
    return made


def brute_force(query: np.ndarray, sets: Sequence[np.ndarray]) -> np.ndarray:
    """Distance to each set, by POT alone."""
    costs = [ot.dist(query.astype(float), one.astype(float)) for one in sets]
    return np.sqrt([ot.emd2([], [], cost) for cost in costs])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (16, 16), (12, 31)])
def test_the_distance_is_that_of_pot(shape: tuple[int, int]) -> None:
    a, b = niches(1, shape[0]), niches(2, shape[1])
    assert wasserstein(a, b) == pytest.approx(brute_force(a, [b])[0], rel=1e-9)
    assert wasserstein(a, b) == pytest.approx(wasserstein(b, a), rel=1e-12)
    assert wasserstein(a, a[::-1]) == 0


def test_the_distance_of_equal_sizes_is_the_best_pairing() -> None:
    from scipy.optimize import linear_sum_assignment

    a, b = niches(3).astype(float), niches(4).astype(float)
    cost = ((a[:, None] - b[None]) ** 2).sum(-1)
    assert wasserstein(a, b) == pytest.approx(
        np.sqrt(cost[linear_sum_assignment(cost)].mean()), rel=1e-12
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("middle", [0, 20])
def test_bounds_are_never_above_the_distance(scale: float, middle: float) -> None:
    """Also of tissues that are nearly, or wholly, the same, and of tokens that lie far away."""
    query = (niches(0) - 20 + middle) * scale
    sets = [(niches(i, 5 + i) - 20 + middle) * scale for i in range(1, 40)]
    sets += [
        query.copy(),
        query + 1e-6 * scale,
        query + 0.5 * scale,
        query[:1],
        query.mean(0)[None],
    ]
    exact = np.array([wasserstein(query, one) for one in sets])
    by_moments = moment_bounds(moments(query), np.array([moments(one) for one in sets]))
    sizes = np.array([len(one) for one in sets])
    costs = costs_below(query, np.concatenate(sets))
    assert (costs <= cdist(np.concatenate(sets), query, "sqeuclidean")).all()
    by_neighbours = neighbour_bounds(costs, sizes)
    by_assignment = [assignment_bound(one) for one in np.split(costs, sizes.cumsum()[:-1])]
    assert (by_moments <= exact).all()
    assert (by_neighbours <= exact).all()
    assert (by_assignment <= exact).all()
    alike = sizes == len(query)
    assert np.array(by_assignment)[alike] == pytest.approx(exact[alike], rel=1e-3, abs=0.02 * scale)
    assert not np.array(by_assignment)[~alike].any()
    assert by_moments[-3] == pytest.approx(exact[-3], rel=1e-4)  # a shift: the means say it all
    assert by_neighbours[-1] == pytest.approx(
        exact[-1], rel=1e-4
    )  # a single token: nothing to choose
    assert (by_moments > 0.5 * exact).any()
    assert (by_neighbours > by_moments).any()


def test_tied_tissues_come_in_their_order() -> None:
    query, other = niches(0), niches(1)
    sets = [other, query, other, query, query]
    found = nearest_sets(
        query, np.zeros(5), np.full(5, 16), lambda at: np.concatenate([sets[i] for i in at]), top=4
    )
    assert found.positions == (1, 3, 4, 0)


@pytest.mark.parametrize("top", [1, 3, 7, 100])
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_search_equals_brute_force(tmp_path: Path, top: int, spread: float) -> None:
    sets = [niches(i, 4 + i % 20, spread=spread) for i in range(90)]
    database = TissueDatabase.create(tmp_path / "db", SETTINGS)
    database.add(TissueEntry(Stored(f"T{i}"), one) for i, one in enumerate(sets))
    for seed in range(1000, 1005):
        query = niches(seed, spread=spread)
        found = database.search(query, top)
        exact = brute_force(query, sets)
        order = np.argsort(exact)[:top]
        assert found.tissue_ids == tuple(f"T{i}" for i in order)
        assert found.distances == pytest.approx(exact[order].tolist(), rel=1e-9)
        assert found.candidates == 90
        assert found.solved <= found.compared <= 90
        assert top == 100 or spread > 1 or found.solved < 60  # bounds rule out tissues


def test_large_tissues_are_read_a_few_at_a_time() -> None:
    read: list[int] = []
    sets = [niches(i, 1500) for i in range(6)]

    def taken(positions: np.ndarray) -> np.ndarray:
        read.append(len(positions))
        return np.concatenate([sets[i] for i in positions])

    found = nearest_sets(sets[2][:40], np.zeros(6), np.full(6, 1500), taken, top=1)
    assert found.positions == (2,)
    assert max(read) == 1


def test_what_is_put_in_comes_out(database: TissueDatabase, tmp_path: Path) -> None:
    about = Stored(
        "Tä'?%", "P\"9", {"stage": 2.5, "dead": True, "Größe": "T1"}, {"B cell": 0.25, "T": 0.75},
        "/images/a.tiff", "ROI 1", "stamp", 7,
    )  # fmt: skip
    database.add([TissueEntry(about, niches(99, 7), b"\x89PNG")])
    again = TissueDatabase.open(tmp_path / "tissues.vdb")
    assert again.settings == SETTINGS
    assert len(again) == 61
    assert again.tissue("Tä'?%") == about
    assert np.array_equal(again.tokens("Tä'?%"), niches(99, 7))
    (match,) = again.query(niches(99, 7), 1)
    assert (match.tissue_id, match.distance, match.patient_id) == ("Tä'?%", 0, 'P"9')
    assert (match.clinical, match.composition) == (about.clinical, about.composition)
    assert (match.thumbnail, match.source, match.image) == (b"\x89PNG", "/images/a.tiff", "ROI 1")
    assert again.clinical_values()["dead"] == ("true",)
    assert again.clinical_values()["stage"] == (1, 2, 2.5, 3)


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({}, 60),
        ({"stage": "1"}, 20),
        ({"stage": "1.0"}, 20),
        ({"sex": "F"}, 30),
        ({"stage": "3", "sex": "f"}, 10),
        ({"stage": "4"}, 0),
        ({"sex": "f' OR 1 --"}, 0),
    ],
)
def test_filters(database: TissueDatabase, where: dict[str, str], count: int) -> None:
    listed = database.tissues(where)
    assert len(listed) == count
    if count:
        found = database.search(niches(0), 60, where=where)
        assert set(found.tissue_ids) == {one.tissue_id for one in listed}
    else:
        with pytest.raises(InputError, match="none that the filters let through"):
            database.search(niches(0), where=where)


def test_the_same_patient_and_the_query_itself_can_be_left_out(database: TissueDatabase) -> None:
    own = database.tokens("T4")
    assert database.search(own, 1).tissue_ids == ("T4",)
    assert "T4" not in database.search(own, 60, exclude_tissues=["T4"]).tissue_ids
    left = database.search(own, 60, exclude_patient="P2")
    assert left.candidates == 58
    assert not {"T4", "T5"} & set(left.tissue_ids)


def test_tissues_are_removed_and_replaced(database: TissueDatabase) -> None:
    database.remove(["T3", "T0"])
    assert len(database) == 58
    assert "T3" not in database
    with pytest.raises(InputError, match=r"found no 'T3'\. Did you mean T"):
        database.tokens("T3")
    with pytest.raises(InputError, match="no 'T0'"):
        database.remove(["T1", "T0"])
    assert "T1" in database
    with pytest.raises(InputError, match="found 'T7' there"):
        database.add([entry(3), entry(7)])
    assert "T3" not in database
    database.add([TissueEntry(Stored("T7"), niches(500))], replacing=True)
    assert np.array_equal(database.tokens("T7"), niches(500))
    database.describe(Stored("T7", "someone", {"stage": 9}))
    assert database.tissue("T7").clinical == {"stage": 9}
    assert database.tissue("T7").niches == 16


def test_tokens_that_do_not_fit(database: TissueDatabase) -> None:
    with pytest.raises(InputError, match=f"expected tokens of {DIM} values.*found 3"):
        database.search(np.zeros((4, 3)))
    for wrong in (np.zeros(DIM), np.zeros((0, DIM)), np.full((2, DIM), np.nan)):
        with pytest.raises(InputError, match="expected niche tokens"):
            database.search(wrong)
        with pytest.raises(InputError, match="expected niche tokens"):
            database.add([TissueEntry(Stored("new"), wrong)])
    with pytest.raises(InputError, match="1 or more nearest"):
        database.search(niches(0), 0)
    with pytest.raises(InputError, match="one width"):
        wasserstein(np.zeros((1, 2)), np.zeros((1, 3)))
    with pytest.raises(InputError, match=r"no 'stag'\. Did you mean stage\?"):
        database.search(niches(0), where={"stag": "1"})
    with pytest.raises(
        CheckpointError, match=r"'tiny' \(signature 01234567\).*found those of other"
    ):
        database.check_checkpoint("ffff", "other")
    database.check_checkpoint(SETTINGS.signature)


def test_files_that_are_no_database(database: TissueDatabase, tmp_path: Path) -> None:
    text, empty, other = (tmp_path / name for name in ("text", "empty", "other"))
    text.write_text("tissue_id,patient_id\n" * 400)
    empty.touch()
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    for path in (text, empty, other, tmp_path, tmp_path / "missing"):
        with pytest.raises(ReadError, match="expected a database of tissues"):
            TissueDatabase.open(path)
    with pytest.raises(InputError, match="found something"):
        TissueDatabase.create(text, SETTINGS)
    connection = sqlite3.connect(database.path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(ReadError, match="found format 2"):
        TissueDatabase.open(database.path)
    connection = sqlite3.connect(database.path)
    connection.executescript("PRAGMA user_version = 1; DELETE FROM settings WHERE name = 'dim'")
    connection.close()
    with pytest.raises(ReadError, match="its settings are not whole"):
        TissueDatabase.open(database.path)


def test_a_damaged_file_is_said_to_be_one(database: TissueDatabase) -> None:
    whole = database.path.read_bytes()
    database.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReadError, match="none that can be read"):
        database.search(niches(0), 60)
    connection = sqlite3.connect(database.path)
    database.path.write_bytes(whole)
    connection.execute("UPDATE tokens SET tokens = x'00'")
    connection.commit()
    connection.close()
    with pytest.raises(ReadError, match="tokens of 1 bytes"):
        database.tokens("T1")


EDITS = [
    # what somebody did, with the reading that must tell of it
    ("UPDATE settings SET value = '\"24\"' WHERE name = 'dim'", "open", "dim"),
    ("UPDATE settings SET value = '{' WHERE name = 'crops'", "open", "settings"),
    ("UPDATE settings SET value = '5' WHERE name = 'signature'", "open", "signature"),
    ("INSERT INTO settings VALUES ('colour', '1')", "open", "colour"),
    ("DROP TABLE thumbnails", "thumbnail", "thumbnails"),
    ("UPDATE tissues SET number = 999 WHERE tissue_id = 'T3'", "tokens", "'T3', found tokens of"),
    ("UPDATE tissues SET tissue_id = x'ff' WHERE number = 4", "tissues", "tissue_id b'"),
    ("UPDATE tissues SET patient_id = x'00' WHERE number = 4", "tissues", "'T3', found patient_id"),
    ("UPDATE tissues SET source = x'00' WHERE number = 4", "tissue", "'T3', found source"),
    ("UPDATE tissues SET image = x'00' WHERE number = 4", "tissue", "'T3', found image"),
    ("UPDATE tissues SET stamp = x'00' WHERE number = 4", "tissue", "'T3', found stamp"),
    ("UPDATE tissues SET clinical = '{' WHERE number = 4", "tissue", "'T3', found clinical"),
    ("UPDATE tissues SET clinical = '{' WHERE number = 4", "clinical_values", "JSON"),
    ("UPDATE tissues SET clinical = '[1]' WHERE number = 4", "clinical_values", "column"),
    ("UPDATE tissues SET clinical = '[1]' WHERE number = 4", "tissues", "'T3', found clinical"),
    ("UPDATE tissues SET clinical = '{\"a\": NaN}' WHERE number = 4", "tissues", "'T3'"),
    ("UPDATE tissues SET clinical = '{\"a\": []}' WHERE number = 4", "matches", "'T3'"),
    ("UPDATE tissues SET composition = '[' WHERE number = 4", "tissues", "composition"),
    ('UPDATE tissues SET composition = \'{"B": ""}\' WHERE number = 4', "tissues", "composit"),
    ("UPDATE tissues SET niches = 'many' WHERE number = 4", "search", "'many' niches"),
    ("UPDATE tissues SET niches = 0 WHERE number = 4", "tissues", "0 niches"),
    ("UPDATE tissues SET niches = 3 WHERE number = 4", "tokens", "where 288 bytes belong"),
    ("UPDATE tissues SET moments = 'text' WHERE number = 4", "search", "moments of 'text'"),
    ("UPDATE tissues SET moments = x'00' WHERE number = 4", "search", "moments of 1 bytes"),
    ("UPDATE tissues SET moments = :nan WHERE number = 4", "search", "moments with NaN"),
    ("UPDATE tokens SET tokens = 'text' WHERE number = 4", "search", "tokens of 'text'"),
    ("UPDATE tokens SET tokens = x'00000000' WHERE number = 4", "search", "tokens of 4 bytes"),
    ("UPDATE tokens SET tokens = :inf WHERE number = 4", "search", "tokens with NaN"),
    ("DELETE FROM tokens WHERE number = 4", "search", "tokens of None"),
    ("DELETE FROM thumbnails WHERE number = 4", "matches", "picture None"),
    ("UPDATE thumbnails SET png = 'text' WHERE number = 4", "thumbnail", "picture 'text'"),
]


@pytest.mark.parametrize(("edit", "reading", "said"), EDITS)
def test_rows_that_somebody_edited(
    database: TissueDatabase, edit: str, reading: str, said: str
) -> None:
    values = {
        "nan": np.full(2 * DIM, np.nan, "<f4").tobytes(),
        "inf": np.full((len(niches(3, 13)), DIM), np.inf, "<f4").tobytes(),
    }
    connection = sqlite3.connect(database.path)
    connection.execute(edit, {name: values[name] for name in values if f":{name}" in edit})
    connection.commit()
    connection.close()
    readings = {
        "open": lambda: TissueDatabase.open(database.path),
        "tissues": database.tissues,
        "tissue": lambda: database.tissue("T3"),
        "tokens": lambda: database.tokens("T3"),
        "thumbnail": lambda: database.thumbnail("T3"),
        "clinical_values": database.clinical_values,
        "search": lambda: database.search(niches(3, 13), 60),
        "matches": lambda: database.query(niches(3, 13), 60),
    }
    with pytest.raises(ReadError, match=f"(?s){said}.*virtues db build"):
        readings[reading]()


def test_a_damaged_tissue_is_taken_out_and_added_again(database: TissueDatabase) -> None:
    connection = sqlite3.connect(database.path)
    connection.execute("UPDATE tissues SET clinical = '{', moments = x'00' WHERE number = 4")
    connection.commit()
    connection.close()
    database.remove(["T3"])
    database.add([entry(3)])
    assert len(database.search(niches(0), 60).tissue_ids) == len(database.tissues()) == 60


def test_a_file_that_cannot_be_written(database: TissueDatabase, tmp_path: Path) -> None:
    database.path.chmod(0o444)
    if os.access(database.path, os.W_OK):
        pytest.skip("this user may write everything")
    assert len(database.search(niches(0)).tissue_ids) == 3
    with pytest.raises(VirtuesError, match="could not write"):
        database.remove(["T1"])


def test_a_full_disk_leaves_the_database_as_it_was(
    database: TissueDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own limit of pages ends an insertion as a full disk does."""
    real = sqlite3.connect

    def limited(*args: object, **settings: object) -> sqlite3.Connection:
        connection = real(*args, **settings)
        connection.execute("PRAGMA max_page_count = 1")  # no more than it has
        return connection

    monkeypatch.setattr(sqlite3, "connect", limited)
    with pytest.raises(VirtuesError, match="disk is full"):
        database.add(entry(i) for i in range(100, 200))
    monkeypatch.undo()
    assert len(database) == 60
    assert len(database.search(niches(0), 60).tissue_ids) == 60


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_retrieval_database import TissueDatabase, entry

def entries():
    for i in range(100, 400):
        if i == 390:
            os.kill(os.getpid(), signal.SIGKILL)
        yield entry(i)

TissueDatabase.open({path!r}).add(entries())
"""


def test_killed_in_the_middle_of_adding(database: TissueDatabase) -> None:
    before = database.search(niches(0), 60)
    code = KILLED.format(tests=str(Path(__file__).parent), path=str(database.path))
    ran = subprocess.run([sys.executable, "-c", code], check=False)
    assert ran.returncode == -9
    again = TissueDatabase.open(database.path)
    assert len(again) == 60
    assert again.search(niches(0), 60) == before
    again.add([entry(100)])
    assert len(again) == 61


def test_threads_read_while_one_writes(database: TissueDatabase) -> None:
    found: list[Search] = []

    def look() -> None:
        found.extend(database.search(niches(0), 1) for _ in range(5))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(100, 110):
        database.add([entry(i)])
    for thread in threads:
        thread.join()
    assert len(found) == 15
    assert len(database) == 70


LIGHT = """
import sys
from virtues_core.cohort.retrieval import TissueDatabase
import numpy as np
TissueDatabase.open({path!r}).query(np.zeros((3, {dim})), 2)
assert "ot" in sys.modules
assert "torch" not in sys.modules
import os
assert not [name for name in os.environ if name.startswith("POT_")]
"""


def test_a_query_imports_no_model(database: TissueDatabase) -> None:
    code = LIGHT.format(path=str(database.path), dim=DIM)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_whose_image_it_is(tmp_path: Path) -> None:
    file, spora = tmp_path / "a.tiff", tmp_path / "spora"
    assert Stored("a", source=str(file)).is_of(file, "a")
    assert Stored("a_2", source=str(file), image="2").is_of(file, "2")
    assert not Stored("a_2", source=str(file), image="2").is_of(file, "3")
    assert not Stored("a", source=str(file)).is_of(tmp_path / "b" / "a.tiff", "a")
    assert not Stored("a").is_of(file, "a")
    assert Stored("a", source=str(spora), image="a").is_of(spora / "imc" / "a.ome.zarr", "a")
    assert not Stored("b", source=str(spora), image="b").is_of(spora / "a.ome.zarr", "a")
