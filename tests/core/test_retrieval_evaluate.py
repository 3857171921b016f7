"""Retrieval against chance: formulas, patients kept apart, the folder and its report."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import ot
import pandas as pd
import pytest
import typer
from infer_samples import CHANNELS, counts
from scipy import stats
from typer.testing import CliRunner, Result

from report_browser import WIDTH, measured
from virtues_core.cli import db
from virtues_core.cohort.patients.results import read_results
from virtues_core.cohort.retrieval import (
    RetrievalConfig,
    Settings,
    Stored,
    TissueDatabase,
    TissueEntry,
    evaluate_retrieval,
)
from virtues_core.cohort.retrieval.comparison import compare, composition_distance, mcnemar
from virtues_core.cohort.retrieval.pixels import pixel_samples, sliced_wasserstein
from virtues_core.errors import ConfigError, InputError
from virtues_core.read import write_ome_tiff

DIM = 8
CONFIG = RetrievalConfig(("kind",), pixels=0, draws=200)


def tissue(seed: int, patient: int, kind: str, *, shift: float, **about: object) -> TissueEntry:
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(6, DIM)) + shift
    said = {"clinical": {"kind": kind, "coin": int(rng.integers(2))}} | about
    return TissueEntry(Stored(f"T{seed}", f"P{patient}", **said), tokens.astype(np.float32))


def database_of(path: Path, make: Callable[[int], TissueEntry], count: int = 24) -> TissueDatabase:
    made = TissueDatabase.create(path, Settings("m", "s", DIM))
    made.add(make(i) for i in range(count))
    return made


@pytest.fixture
def told_apart(tmp_path: Path) -> TissueDatabase:
    """12 patients of two tissues; a patient's kind is seen in the tokens."""

    def make(i: int) -> TissueEntry:
        kind = i // 2 % 2
        shares = {"B": 0.2 + 0.6 * kind, "T": 0.8 - 0.6 * kind}
        return tissue(i, i // 2, "ab"[kind], shift=3.0 * kind, composition=shares)

    return database_of(tmp_path / "db", make)


@pytest.fixture
def leaky(tmp_path: Path) -> TissueDatabase:
    """Tissues that are like those of their own patient, and of nobody else; kinds by chance."""
    kinds = np.random.default_rng(0).integers(0, 2, 24)

    def make(i: int) -> TissueEntry:
        entry = tissue(i, i // 4, "ab"[kinds[i // 4]], shift=0)
        own = np.random.default_rng(100 + i // 4).normal(size=DIM) * 5
        return TissueEntry(entry.about, (entry.tokens + own).astype(np.float32))

    return database_of(tmp_path / "db", make)


@pytest.mark.parametrize(("n1", "n2", "exact"), [(60, 40, False), (30, 5, False), (8, 3, True)])
def test_mcnemar_is_that_of_the_paper(n1: int, n2: int, exact: bool) -> None:
    first = np.r_[np.ones(n1 + 50, bool), np.zeros(n2 + 20, bool)]
    second = np.r_[np.zeros(n1, bool), np.ones(50, bool), np.ones(n2, bool), np.zeros(20, bool)]
    found = mcnemar(first, second)
    assert (found.first, found.second, found.exact) == (n1, n2, exact)
    assert found.statistic == pytest.approx((n1 - n2) ** 2 / (n1 + n2))
    by_scipy = (
        stats.binomtest(n1, n1 + n2).pvalue if exact else stats.chi2.sf(found.statistic, df=1)
    )
    assert found.p == pytest.approx(by_scipy, rel=1e-9)


def test_mcnemar_without_a_difference() -> None:
    same = np.array([True, False])
    found = mcnemar(same, same)
    assert (found.statistic, found.p) == (None, None)


def test_intervals_draw_patients_not_queries() -> None:
    """Copies of a patient's queries tell nothing new."""
    rng = np.random.default_rng(0)
    values, patients = rng.random(12), [f"P{i}" for i in range(12)]
    once = compare(values, np.zeros(12), patients)
    many = compare(np.repeat(values, 50), np.zeros(600), np.repeat(patients, 50).tolist())
    assert many.retrieved_interval == pytest.approx(once.retrieved_interval)
    low, high = once.retrieved_interval
    assert low < once.retrieved < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(12), rel=0.2)
    assert compare([1.0, 0.5], [0.0, 0.0], ["P", "Q"]).retrieved_interval is None


def test_labels_that_tokens_tell_are_found(told_apart: TissueDatabase) -> None:
    found = evaluate_retrieval(told_apart, RetrievalConfig(("kind", "coin"), pixels=0))
    kind, coin = found.labels["kind"], found.labels["coin"]
    assert kind.precision.retrieved == 1
    assert kind.expected == pytest.approx(10 / 22)
    assert abs(kind.precision.random - kind.expected) < 0.2
    assert kind.test.p < 1e-6
    assert kind.precision.difference_interval[0] > 0.2
    assert coin.test.p > 0.01
    assert coin.precision.difference_interval[0] <= 0 <= coin.precision.difference_interval[1]
    assert found.composition.retrieved == pytest.approx(0)
    assert found.composition.random > 0.2
    assert {name: n for name, (n, _, _) in kind.values.items()} == {"a": 12, "b": 12}


def test_no_match_is_of_the_querys_own_patient(leaky: TissueDatabase) -> None:
    """With them every match would share the label; without, tokens tell nothing."""
    found = evaluate_retrieval(leaky, CONFIG)
    for case in found.cases:
        for one in (*case.matches, *case.drawn):
            assert one.patient_id != case.query.patient_id
    with_leak = [
        leaky.tissue(name).clinical["kind"] == one.clinical["kind"]
        for one in leaky.tissues()
        for name in leaky.search(
            leaky.tokens(one.tissue_id), 3, exclude_tissues=[one.tissue_id]
        ).tissue_ids
    ]
    assert np.mean(with_leak) == 1
    assert found.labels["kind"].precision.retrieved < 0.8


def test_the_same_seed_draws_the_same(told_apart: TissueDatabase) -> None:
    first, again = (evaluate_retrieval(told_apart, CONFIG) for _ in range(2))
    assert [c.drawn for c in first.cases] == [c.drawn for c in again.cases]
    other = evaluate_retrieval(told_apart, RetrievalConfig(("kind",), pixels=0, seed=1))
    assert [c.drawn for c in first.cases] != [c.drawn for c in other.cases]


def test_as_many_matches_as_there_are_tissues_are_said_to_tell_nothing(
    told_apart: TissueDatabase,
) -> None:
    found = evaluate_retrieval(told_apart, RetrievalConfig(("kind",), top=100, pixels=0))
    assert len(found.cases[0].matches) == 22
    assert "24 of 24 queries have 100 tissues of other patients or fewer" in found.notes[-2]
    assert not any("or fewer" in note for note in evaluate_retrieval(told_apart, CONFIG).notes)


def test_a_tissue_under_two_names_is_told(told_apart: TissueDatabase) -> None:
    assert not any("another name" in note for note in evaluate_retrieval(told_apart, CONFIG).notes)
    twin = TissueEntry(Stored("twin", "Q", {"kind": "a", "coin": 1}), told_apart.tokens("T0"))
    told_apart.add([twin])
    notes = evaluate_retrieval(told_apart, CONFIG).notes
    assert any("2 queries with a match at a distance of 0" in note for note in notes)


def test_tissues_without_a_label_take_no_part(told_apart: TissueDatabase) -> None:
    told_apart.describe(Stored("T0", "P0", {"coin": 1}))
    found = evaluate_retrieval(told_apart, CONFIG)
    assert len(found.cases) == 23
    assert not [c for c in found.cases if "T0" in {one.tissue_id for one in c.matches}]
    assert "1 of 24 tissues lack a label and take no part." in found.notes
    assert "cell types are known of 23 of 23" not in " ".join(found.notes)


def test_what_cannot_be_evaluated_is_refused(told_apart: TissueDatabase) -> None:
    for labels, why in (
        (("kin",), "no 'kin'. Did you mean kind"),
        (("one",), "found 1 among 24"),
        (("each",), "found 24 among 24"),
    ):
        for i, one in enumerate(told_apart.tissues()):
            said = {**one.clinical, "one": 1, "each": i}
            told_apart.describe(Stored(one.tissue_id, one.patient_id, said))
        with pytest.raises(InputError, match=why):
            evaluate_retrieval(told_apart, RetrievalConfig(labels))
    told_apart.describe(Stored("T5", "", {"kind": "a"}))
    with pytest.raises(InputError, match="found none of 1: T5"):
        evaluate_retrieval(told_apart, CONFIG)
    told_apart.remove(one.tissue_id for one in told_apart.tissues() if one.patient_id != "P0")
    with pytest.raises(InputError, match="tissues of two patients with kind, found 2 tissues of 1"):
        evaluate_retrieval(told_apart, CONFIG)
    for wrong in ({"labels": ()}, {"labels": ("a", "a")}, {"top": 0}, {"pixels": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            RetrievalConfig(**({"labels": ("a",)} | wrong))


def test_compositions_by_hand() -> None:
    assert composition_distance({"B": 1.0}, {"T": 1.0}) == 2
    assert composition_distance({"B": 0.25, "T": 0.75}, {"B": 0.5, "T": 0.5}) == 0.5


def test_sliced_distances_are_between_bounds() -> None:
    """The mean over directions of what is exact in one of them; for a shift, |shift|² / C."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    shift = np.array([1.0, -2.0, 0.5])
    found = sliced_wasserstein(x, x + shift, 4000)
    assert found == pytest.approx(np.linalg.norm(shift) / np.sqrt(3), rel=0.05)
    y = rng.normal(size=(60, 3)) * 2
    assert sliced_wasserstein(x, y, 100) < np.sqrt(ot.emd2([], [], ot.dist(x, y)))


def test_pixels_of_markers_that_all_images_show(tmp_path: Path) -> None:
    panels = (CHANNELS, ("DNA1_Ir191", "CD3_Er170", "CD45_Sm152"))
    for i, names in enumerate(panels):
        pixels = counts(i)[: len(names)]
        pixels[names.index("CD3_Er170")] = 7 + 10 * i
        write_ome_tiff(tmp_path / f"{i}.ome.tiff", pixels, names, (1.0, 1.0))
    tissues = [Stored(f"T{i}", source=str(tmp_path / f"{i}.ome.tiff")) for i in (0, 1, 2)]
    with pixel_samples(tissues, 50, 0) as samples:
        assert samples.keys == ("P07766", "stain:dna")
        assert samples.pixels.shape == (2, 50, 2)
        assert np.allclose(samples.pixels[:, :, 0], np.log1p([[7], [17]]))
        assert samples.unread == ("T2",)
        assert samples.distance("T0", "T0", 20, 0) == 0
        assert samples.distance("T0", "T1", 20, 0) > 0.5
        assert samples.distance("T0", "T2", 20, 0) is None


def invoke(*args: object) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    db.register(app)
    return CliRunner().invoke(app, [*map(str, args)])


def test_the_command_writes_a_folder_and_its_report(
    told_apart: TissueDatabase, tmp_path: Path
) -> None:
    for i in range(3):
        write_ome_tiff(tmp_path / f"{i}.ome.tiff", counts(i), CHANNELS, (1.0, 1.0))
    for i, one in enumerate(told_apart.tissues()):
        said = Stored(
            one.tissue_id, one.patient_id, one.clinical, one.composition if i else None,
            source=str(tmp_path / f"{i % 3}.ome.tiff"),
        )  # fmt: skip
        told_apart.describe(said)
    out = tmp_path / "out"
    result = invoke(
        "db", "evaluate", told_apart.path, "--labels", "kind,coin", "--pixels", 100, "--out", out
    )
    assert result.exception is None, result.exception
    assert "kind: precision at 3 1.000, at random 0." in result.stdout
    assert "cell types are known of " in result.stderr
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert summary["precision"]["kind"]["retrieved"] == 1
    assert summary["mcnemar_p"]["kind"] < 1e-6
    assert summary["pixels"]["queries"] == 24
    assert summary["settings"]["pixels"] == 100
    assert summary["command"].startswith("virtues db evaluate ")
    results = read_results(out)
    matches = results.tables["matches"]
    assert len(matches) == 72
    assert (matches["patient_id"] != matches["match_patient"]).all()
    assert pd.Series(["precision", "values", "distances", "matches"]).isin(results.tables).all()
    page = (out / "report.html").read_text("utf-8")
    assert "McNemar p &lt; 0.001" in page
    assert page.count("<svg") == 3
    assert results.tables["against_chance"].set_index("label").loc["kind", "p"] < 1e-6
    again = invoke("db", "evaluate", told_apart.path, "--labels", "kin", "--out", out)
    assert isinstance(again.exception, InputError)
    assert (out / "summary.json").is_file()
    shown = measured(out / "report.html")
    assert [figure["name"] for figure in shown["figures"]] == [
        "precision", "difference", "distances"
    ]  # fmt: skip
    assert shown["width"] <= WIDTH
