"""Discovery on cohorts whose truth is known: planted, empty, leaking, too small."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu
from signature_samples import Files, write_cohort
from sklearn.metrics import adjusted_rand_score
from typer.testing import CliRunner

from virtues_core.cli.main import app
from virtues_core.cohort import read_table, write_table
from virtues_core.cohort.biomarkers import DiscoverConfig, Discovery, discover, results_of
from virtues_core.cohort.biomarkers.clusters import even_sample, keep_small, partitions
from virtues_core.cohort.biomarkers.forest_source import forests_of
from virtues_core.cohort.biomarkers.nested import (
    PaperSplits,
    nested_aurocs,
    nested_splits,
    paper_estimate,
    patient_interval,
    permutation_p,
    permuted,
)
from virtues_core.cohort.biomarkers.prediction import score_aurocs, splits
from virtues_core.cohort.biomarkers.ranks import ranks
from virtues_core.cohort.patients import Columns, join, read_clinical
from virtues_core.cohort.patients.results import read_results, write_results
from virtues_core.errors import ConfigError, InputError
from virtues_core.report import write_report
from virtues_core.simulate import (
    CohortConfig,
    neighbourhood_tokens,
    simulate_cells,
    simulate_cohort,
)

RESPONSE = Columns("patient_id", outcome="response")
RESOLUTIONS = np.array([4.0, 4.5, 5.0])
FAST = DiscoverConfig(
    resolution_step=0.5, most_cells=2500, nested_repeats=2, repeats=3, joint_repeats=5,
    permutations=19,
)  # fmt: skip


def clustered(tokens, codes, patients, most=2500):
    """Share of each patient's cells in the clusters, and the clusters."""
    labels, sampled = partitions(
        lambda rows: tokens[rows], lambda: [(slice(0, len(tokens)), tokens)], codes, RESOLUTIONS,
        most=most,
    )  # fmt: skip
    return keep_small(labels, sampled, RESOLUTIONS, codes, patients)


def tokens_of(cells):
    """Tokens, niches and numbers of patients of all cells, one tissue a patient."""
    codes = np.repeat(np.arange(len(cells)), [len(one.cells) for one in cells])
    tokens = np.concatenate([neighbourhood_tokens(one, seed=n) for n, one in enumerate(cells)])
    niches = np.concatenate([one.cells["niche"].to_numpy(str) for one in cells])
    return tokens, niches, codes


def test_a_sample_has_as_many_cells_of_each_patient_as_can_be():
    codes = np.repeat([0, 1, 2, -1], [5, 400, 1000, 50])
    rows = even_sample(codes, 205, seed=1)
    assert np.bincount(codes[rows]).tolist() == [5, 100, 100]
    assert (np.diff(rows) > 0).all()
    assert (even_sample(codes, 205, seed=1) == rows).all()
    assert (even_sample(codes, 5000) == np.flatnonzero(codes >= 0)).all()


def test_cells_that_were_not_clustered_join_the_clusters_of_their_like():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 4, 3000)
    tokens = (3 * rng.normal(size=(4, 12))[group] + rng.normal(size=(3000, 12))).astype(np.float32)
    codes = rng.integers(-1, 6, 3000)
    told = []
    halves = [slice(0, 1700), slice(1700, 3000)]
    labels, sampled = partitions(
        lambda rows: tokens[rows], lambda: [(part, tokens[part]) for part in halves], codes,
        np.array([0.2, 0.4]), most=800, progress=lambda *at: told.append(at),
    )  # fmt: skip
    assert sampled == 800
    assert (labels[codes < 0] == -1).all()
    for column in range(2):
        assert adjusted_rand_score(group[codes >= 0], labels[codes >= 0, column]) > 0.95
    own = int((codes >= 0).sum())
    assert [at for at in told if at[2] == "cell"][-1] == (own - 800, own - 800, "cell")
    assert (2, 2, "resolution") in told


def test_clusters_that_are_all_too_large_end_it_before_the_other_cells_join():
    """With the number that keeps half of them; patients of many cells count as many."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 8, 4000)
    tokens = (5 * rng.normal(size=(8, 12))[group] + rng.normal(size=(4000, 12))).astype(np.float32)
    codes = np.where(np.arange(4000) < 200, 0, np.where(group < 2, 1, 2))
    told = []
    resolutions = np.array([0.1, 0.2])

    def found(below):
        labels, sampled = partitions(
            lambda rows: tokens[rows], lambda: [(slice(0, 4000), tokens)], codes, resolutions,
            most=1500, below=below, progress=lambda *at: told.append(at[2]),
        )  # fmt: skip
        return keep_small(labels, sampled, resolutions, codes, 3, below=below)

    with pytest.raises(InputError) as stopped:
        found(150)
    assert set(told) == {"neighbours of cell"}
    said = re.search(
        r"none among 8 at the highest resolution: the smallest has (\d+) cells, half have (\d+) or "
        r"fewer. Take larger ones \(--cells-below (\d+)\)",
        str(stopped.value),
    )
    assert said is not None, stopped.value
    smallest, middle, enough = map(int, said.groups())
    sizes = np.sort(np.bincount(group))
    assert smallest == pytest.approx(sizes[0], rel=0.15)
    assert middle == pytest.approx(np.median(sizes), rel=0.1)
    kept = found(enough)
    assert 0.25 * kept.found <= len(kept.cells) <= 0.75 * kept.found
    assert kept.median_cells == pytest.approx(middle, rel=0.1)
    assert "cell" in told


def test_a_cancel_ends_it_between_any_two_steps():
    rng = np.random.default_rng(0)
    tokens, codes = rng.normal(size=(300, 5)).astype(np.float32), rng.integers(0, 6, 300)

    def cancel(done, total, what):
        if what == "resolution":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        partitions(lambda rows: tokens[rows], list, codes, RESOLUTIONS, progress=cancel)


def test_only_small_clusters_are_kept_and_their_shares_add_up():
    labels = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [1, 2], [-1, -1]], np.int32)
    codes = np.array([0, 1, 1, 0, 1, -1])
    found = keep_small(labels, 5, np.array([4.0, 4.05]), codes, 2, below=3)
    assert [found.name(k) for k in range(4)] == ["4/1", "4.05/0", "4.05/1", "4.05/2"]
    assert found.cells.tolist() == [2, 2, 2, 1]
    assert found.found == 5
    np.testing.assert_allclose(found.proportions[:, 1:].sum(1), 1)
    assert found.members(0).tolist() == [False, False, False, True, True, False]
    assert found.median_cells == 2
    with pytest.raises(InputError, match="none among 5: the smallest has 1 cells, half have 2 or "
                       r"fewer\. Take larger ones \(--cells-below 3\)"):  # fmt: skip
        keep_small(labels, 5, np.array([4.0, 4.05]), codes, 2, below=1)


def test_what_is_planted_strongly_is_found():
    """100 patients, ten times more of immune hubs or of suppressive niches by outcome."""
    base = simulate_cohort(
        CohortConfig(patients=100, effect=0.0, tissues_per_patient=1, size_px=128)
    )
    outcome = base.patients["response"].to_numpy()
    rng = np.random.default_rng(0)
    cells = []
    for n, (name, response) in enumerate(zip(base.tissues["tissue_id"], outcome, strict=True)):
        more, less = 0.03 * 10 ** np.array([0.5, -0.5]) * rng.lognormal(0, 0.5, 2)
        config = dataclasses.replace(
            base.tissue_config(name),
            hub_fraction=min(more if response else less, 0.3),
            suppressive_fraction=min(less if response else more, 0.3),
        )
        cells.append(simulate_cells(shape=(128, 128), seed=n, config=config))
    tokens, niches, codes = tokens_of(cells)
    clusters = clustered(tokens, codes, 100)
    nested = nested_aurocs(clusters.proportions, outcome, nested_splits(outcome, 4, 3, 5))
    assert nested.auroc > 0.8
    both = PaperSplits(splits(outcome, 4, 5), splits(outcome, 4, 1))
    _, chosen, _ = paper_estimate(ranks(clusters.proportions), outcome, both)
    for numbers, niche in (
        (chosen.response, "immune_hub"),
        (chosen.non_response, "suppressive_niche"),
    ):
        members = np.any([clusters.members(k) for k in numbers], axis=0)
        planted = niches == niche
        assert planted[members].mean() > 5 * planted.mean()
        assert members[planted].mean() > 0.1  # two of the clusters that it is parted into


def test_where_nothing_is_planted_the_nested_estimate_finds_nothing():
    nested, paper, p = [], [], []
    for seed in range(5):
        cohort = simulate_cohort(
            CohortConfig(patients=50, effect=0.0, tissues_per_patient=1, size_px=128, seed=seed)
        )
        tokens, _, codes = tokens_of([cohort.cells(name) for name in cohort.tissues["tissue_id"]])
        outcome = cohort.patients["response"].to_numpy()
        clusters = clustered(tokens, codes, 50, most=1500)
        parts = nested_splits(outcome, 4, 2, 3, seed)
        both = PaperSplits(splits(outcome, 4, 10, seed), splits(outcome, 4, 5, seed))
        nested.append(nested_aurocs(clusters.proportions, outcome, parts).auroc)
        scores = paper_estimate(ranks(clusters.proportions), outcome, both)[2]
        paper.append(score_aurocs(scores, outcome).mean())
        few = PaperSplits(both.univariate, both.joint[:1])
        null = permuted(clusters.proportions, outcome, parts, few, permutations=19, seed=seed)
        p.append(permutation_p(nested[-1], null.nested))
    error = np.std(nested, ddof=1) / 5**0.5
    assert abs(np.mean(nested) - 0.5) < max(0.1, 2.8 * error)
    assert np.mean(paper) > 0.68
    assert np.median(p) > 0.05


def test_a_patient_on_both_sides_of_a_split_would_be_seen():
    """Nothing is to be found; images of one patient that count as two patients find something."""
    rng = np.random.default_rng(0)
    honest, leaking = [], []
    for seed in range(6):
        own = rng.dirichlet(np.full(1500, 0.3), 20)
        images = np.stack([rng.multinomial(2000, own) for _ in range(2)], axis=1)
        outcome = np.arange(20) % 2
        for counts, truth, into in (
            (images.sum(1), outcome, honest),
            (images.reshape(40, 1500), np.repeat(outcome, 2), leaking),
        ):
            shares = counts / counts.sum(1, keepdims=True)
            parts = nested_splits(truth, 4, 3, 3, seed)
            into.append(nested_aurocs(shares, truth, parts).auroc)
    assert np.mean(honest) < 0.6
    assert np.mean(leaking) > 0.7


def test_all_tissues_of_a_patient_are_one_row(tmp_path):
    files = write_cohort(tmp_path, patients=12, seed=3, size_px=128)
    table = pd.read_csv(files.clinical)
    joined = files.joined(RESPONSE)
    owners = dict(zip(table["patient_id"], table["patient_id"][::2].repeat(2), strict=True))
    tissues = joined.cells.cells.drop_duplicates("tissue_id")
    rows = tissues[["tissue_id"]].assign(patient=tissues["patient_id"].astype(str).map(owners))
    rows["response"] = rows["patient"].map(lambda name: int(name > "P006"))
    rows.to_csv(tmp_path / "tissues.csv", index=False)
    cells = joined.cells.cells.drop(columns="patient_id").assign(
        patient_id=pd.Categorical([""] * len(joined.codes))
    )
    clinical = read_clinical(
        tmp_path / "tissues.csv", Columns("patient", tissue="tissue_id", outcome="response")
    )
    pairs = join(dataclasses.replace(joined.cells, cells=cells), clinical)
    found = discover(pairs, dataclasses.replace(FAST, folds=2, permutations=0))
    assert len(found.outcome) == found.paper.shape[1] == len(found.ranks) == 6
    assert found.joined.patient_rows()["tissues"].str.count(";").tolist() == [1] * 6
    assert any("6 patients with several tissues (up to 2)" in note for note in found.notes)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    return write_cohort(tmp_path_factory.mktemp("discover"), patients=40, seed=3)


@pytest.fixture(scope="module")
def found(files) -> Discovery:
    return discover(files.joined(RESPONSE), FAST)


def test_a_discovery_says_the_same_in_its_tables(found, tmp_path):
    results = results_of(found, "virtues biomarkers discover")
    assert results.summary["auroc_nested"] == pytest.approx(found.nested.aurocs.mean())
    assert results.summary["auroc_paper"] == pytest.approx(
        score_aurocs(found.paper, found.outcome).mean()
    )
    assert 0.05 <= results.summary["permutation_p"] <= 1
    signatures, clusters = results.tables["signatures"], results.tables["clusters"]
    assert signatures["signature"].tolist() == ["RS1", "RS2", "NRS1", "NRS2"]
    assert (signatures["risk_ratio"] > 1).tolist() == [True, True, False, False]
    best = clusters[clusters["direction"] == "response"].nlargest(2, "auroc")
    assert signatures["auroc"][:2].tolist() == best["auroc"].tolist()
    k = found.names["RS1"]
    high = found.ranks[:, k]
    expected = mannwhitneyu(high[found.outcome == 1], high[found.outcome == 0],
                            method="asymptotic").pvalue  # fmt: skip
    assert signatures["p"][0] == pytest.approx(expected)
    assert (clusters["q"] >= clusters["p"]).all()
    cells = results.cells
    assert int(cells["RS1"].sum()) == signatures["cells"][0]
    number = int(signatures["number"][0])
    column = cells[f"leiden_{signatures['resolution'][0]:.4g}"]
    assert ((column == number) == cells["RS1"]).all()
    share = cells.groupby("patient_id", observed=False)["RS1"].mean()
    patients = results.patients.set_index("patient_id")
    np.testing.assert_allclose(patients["share_RS1"], share.loc[patients.index])
    assert set(results.tables["estimates"]["estimate"]) >= {"nested", "paper", "tumour / B"}
    write_results(results, tmp_path / "out")
    page = write_report(tmp_path / "out").read_text("utf-8")
    first, then = page.index("chosen by other patients"), page.index("is made on the patients")
    assert first < then
    assert set(read_results(tmp_path / "out").tables) == set(results.tables)


def test_equal_seeds_find_the_same(files, found):
    again = discover(files.joined(RESPONSE), FAST)
    assert again.names == found.names
    assert (again.null.nested == found.null.nested).all()
    np.testing.assert_array_equal(again.nested.scores, found.nested.scores)


def test_the_interval_is_of_the_patients(found):
    low, high = patient_interval(found.nested.scores, found.outcome)
    assert low < found.nested.auroc < high
    assert 0.1 < high - low < 0.7
    perfect = np.where(np.isfinite(found.nested.scores), found.outcome, np.nan)
    assert patient_interval(perfect, found.outcome) == (1.0, 1.0)


def test_too_few_patients_of_one_outcome_have_no_nested_estimate(files, tmp_path):
    table = pd.read_csv(files.clinical)
    table["response"] = np.where(np.arange(40) < 4, 1.0, np.where(np.arange(40) < 30, 0.0, np.nan))
    table.to_csv(tmp_path / "few.csv", index=False)
    few = dataclasses.replace(files, clinical=tmp_path / "few.csv")
    found = discover(few.joined(RESPONSE), dataclasses.replace(FAST, cells_below=38))
    results = results_of(found)
    assert 0 < len(found.clusters.cells) < 0.1 * found.clusters.found
    assert any("few clusters are that small: half of all have" in note for note in found.notes)
    for name in ("auroc_nested", "permutation_p"):
        assert results.summary[name] is None
    assert results.tables["clusters"]["q"].isna().all()
    assert any("fewer than 6 of each" in note for note in found.notes)
    assert any("10 patients without a known outcome" in note for note in found.notes)
    assert len(found.outcome) == 30
    write_results(results, tmp_path / "out")
    assert "No nested estimate" in write_report(tmp_path / "out").read_text("utf-8")
    with pytest.raises(InputError, match="4 with and 26 without"):
        discover(few.joined(RESPONSE), dataclasses.replace(FAST, folds=5))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"folds": 1}, "folds"),
        ({"each": True}, "each"),
        ({"permutations": 5}, "permutations"),
        ({"resolution_from": 0.0}, "resolutions"),
        ({"resolution_to": 3.0}, "resolutions"),
        ({"resolution_step": 0.0}, "resolutions"),
        ({"resolution_step": 1e-9}, "1000 resolutions or fewer, found 1,000,000,001"),
        ({"radius_um": -1.0}, "radius"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_are_checked(setting, said):
    with pytest.raises(ConfigError, match=said):
        DiscoverConfig(**setting)


def test_resolutions_are_those_of_the_paper():
    assert len(DiscoverConfig().resolutions) == 21
    assert DiscoverConfig().resolutions[[0, 1, 20]].tolist() == [4.0, 4.05, 5.0]


def test_cell_types_that_are_not_there_are_refused(files):
    with pytest.raises(InputError, match="no 'plasmocyte'"):
        discover(files.joined(RESPONSE), dataclasses.replace(FAST, b=("plasmocyte",)))


def test_the_command_leaves_a_folder_that_can_be_carried_over(tmp_path):
    out = tmp_path / "out"
    files = write_cohort(tmp_path / "few", patients=16, seed=0, size_px=128)
    words = [
        "biomarkers", "discover", str(files.cells), "--clinical", str(files.clinical),
        "--patient", "patient_id", "--outcome", "response", "--out", str(out),
        "--resolution-step", "1", "--most-cells", "1500", "--permutations", "19", "--folds", "2",
        "--nested-repeats", "1", "--each", "1", "--forests",
    ]  # fmt: skip
    cells = read_table(files.cells)
    cells.X[:5, 0] = np.nan
    write_table(cells, files.cells)
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 1
    assert "mean intensities, found NaN or infinity in 5 of" in str(told.exception)
    assert not out.exists()
    cells.X[:5, 0] = -7  # as after background subtraction
    write_table(cells, files.cells)
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert told.output.index("nested: AUROC") < told.output.index("paper's")
    summary = json.loads((out / "summary.json").read_text())
    assert {"auroc_paper", "auroc_nested", "permutation_p", "signatures"} <= set(summary)
    assert any("below 0 in 5 of" in note for note in summary["notes"])
    assert set(summary["signatures"][0]) == {
        "name", "direction", "auroc", "risk_ratio", "ci", "resolution", "cells", "q",
    }  # fmt: skip
    assert [forest.name for forest in forests_of(out)] == ["RS1", "NRS1"]
    assert {"estimates.svg", "chance-nested.svg", "clusters.svg"} <= {
        path.name for path in (out / "figures").iterdir()
    }


def test_a_folder_with_something_else_is_refused_before_anything_runs(files, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    told = CliRunner().invoke(app, [
        "biomarkers", "discover", str(files.cells), "--clinical", str(files.clinical),
        "--patient", "patient_id", "--outcome", "response", "--out", str(tmp_path),
    ])  # fmt: skip
    assert isinstance(told.exception, InputError)
    assert "something else in it" in str(told.exception)
    assert (tmp_path / "mine.txt").read_text() == "x"
