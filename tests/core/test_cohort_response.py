"""Response: distances against POT and closed forms, barycentres, a planted shift that is found."""

import inspect
from dataclasses import fields
from pathlib import Path

import numpy as np
import ot
import pandas as pd
import pytest
from response_samples import TIMES, cohort
from scipy.stats import mannwhitneyu
from typer.testing import CliRunner

from virtues_core.cli.main import app
from virtues_core.cli.response import response as command
from virtues_core.cohort.patients import Columns, PatientCells, join, open_cells, read_clinical
from virtues_core.cohort.patients.results import read_results
from virtues_core.cohort.response import ResponseConfig, response
from virtues_core.cohort.response.barycentres import barycentre, displacement
from virtues_core.cohort.response.distance import (
    TOLERANCE,
    repeated_wasserstein,
    wasserstein,
)
from virtues_core.cohort.response.times import in_order
from virtues_core.errors import ConfigError, InputError
from virtues_core.report.response import adjusted


def clouds(n: int = 60, m: int = 45, width: int = 5, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)), rng.normal(size=(m, width)) + 0.5


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_the_plan_is_that_of_pot(epsilon: float) -> None:
    a, b = clouds()
    plan = ot.sinkhorn([], [], ot.dist(a, b), epsilon, method="sinkhorn_log", numItermax=5000,
                       stopThr=1e-12)  # fmt: skip
    found = wasserstein(a, b, epsilon=epsilon, iterations=5000)
    carried = (plan * ot.dist(a, b)).sum()
    printed = carried - epsilon * (plan * np.log(plan)).sum()  # the paper's sum, at Sinkhorn's plan
    assert found.converged
    assert found.transport**2 == pytest.approx(carried, rel=2e-3)
    assert found.distance**2 == pytest.approx(printed, rel=2e-3)
    assert found.exact**2 == pytest.approx(ot.emd2([], [], ot.dist(a, b)), rel=1e-9)
    assert found.scale == pytest.approx(ot.dist(a, b).mean())


def test_a_small_epsilon_is_as_near_to_the_exact_cost_as_theory_says() -> None:
    a, b = clouds(150, 200, 40)
    found = wasserstein(a * 0.06, b * 0.06)
    assert found.converged
    assert 0 <= found.transport**2 - found.exact**2 + TOLERANCE < 1e-3 * np.log(150) + TOLERANCE
    assert found.exact < found.transport < found.distance
    assert found.distance**2 - found.transport**2 < 1e-3 * np.log(150 * 200)


def test_a_shift_is_found_as_long_as_it_is() -> None:
    a, _ = clouds()
    shift = np.array([3.0, 0, 4.0, 0, 0])
    found = wasserstein(a, a + shift)
    assert found.exact == pytest.approx(5, rel=1e-9)
    assert found.transport == pytest.approx(5, rel=1e-3)
    assert found.distance == pytest.approx(5, rel=2e-3)
    large = wasserstein(100 * a, 100 * (a + shift))  # 10⁴ times as far: ε is next to nothing
    assert large.exact == pytest.approx(500, rel=1e-9)
    assert large.distance == pytest.approx(500, rel=1e-4)


def test_two_gaussians() -> None:
    """W² = ‖μ₁ − μ₂‖² + (σ₁ − σ₂)² of each coordinate (Dowson and Landau 1982)."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, (900, 1)), rng.normal(2, 3, (900, 1))
    assert wasserstein(a, b).exact == pytest.approx(np.sqrt(4 + 4), rel=0.06)


def test_drawn_cells_tell_what_all_would() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=(4000, 2))
    far = repeated_wasserstein(a, a + np.array([2.0, 0.0]), cells=200, draws=4, seed=1)
    assert far.cells == (200, 200)
    assert far.draws == 4
    assert far.low < far.distance < far.high < far.low + 0.4
    assert far.distance == pytest.approx(2, abs=0.15)
    assert far.shuffled < 0.6
    same = repeated_wasserstein(a[:2000], a[2000:], cells=200, draws=4, seed=1)
    assert same.distance == pytest.approx(same.shuffled, rel=0.25)
    assert repeated_wasserstein(a, a + np.array([2.0, 0.0]), cells=200, draws=4, seed=1) == far
    whole = repeated_wasserstein(a[:90], a[90:150] + 1, cells=200, draws=4)
    assert (whole.draws, whole.cells) == (1, (90, 60))
    assert whole.low == whole.distance == whole.high
    direct = wasserstein(a[:90], a[90:150] + 1)  # the same cells in another order
    assert whole.distance == pytest.approx(direct.distance, rel=3e-3)


def test_what_a_distance_refuses() -> None:
    a, b = clouds(5, 4)
    for one, other in ((a, b[:, :2]), (a[:0], b), (a[0], b)):
        with pytest.raises(InputError, match="one width, with a cell in each"):
            wasserstein(one, other)
    with pytest.raises(InputError, match="NaN or infinity"):
        wasserstein(a, np.where(b == b.max(), np.nan, b))
    for epsilon in (0, -1, np.inf, np.nan):
        with pytest.raises(InputError, match="an epsilon above 0"):
            wasserstein(a, b, epsilon=epsilon)
    with pytest.raises(InputError, match="one cell and one draw or more"):
        repeated_wasserstein(a, b, cells=0, draws=3)


def test_the_barycentre_of_shifted_patients_is_in_their_middle() -> None:
    rng = np.random.default_rng(3)
    cloud = rng.normal(size=(120, 2)) * [1.0, 0.3]
    shifts = np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 6.0]])
    found = barycentre([cloud + shift for shift in shifts], points=120)
    assert found.points.shape == (120, 2)
    assert found.carried.shape == (3, 120, 2)
    np.testing.assert_allclose(found.points, found.carried.mean(0))
    np.testing.assert_allclose(found.points.mean(0), (cloud + shifts.mean(0)).mean(0), atol=1e-9)
    assert wasserstein(found.points, cloud + shifts.mean(0)).exact < 0.25  # the shape is kept, too
    again = barycentre([cloud + shift for shift in shifts], points=120)
    np.testing.assert_array_equal(found.points, again.points)


def test_each_patient_weighs_the_same() -> None:
    low, high = np.zeros((900, 2)), np.full((3, 2), 4.0)
    np.testing.assert_allclose(barycentre([low, high], points=6).points, 2)


def test_a_displacement_has_its_interval() -> None:
    rng = np.random.default_rng(4)
    places = {f"p{i}": rng.normal(size=2) * 0.3 for i in range(8)}
    before = [place + rng.normal(size=(60, 2)) for place in places.values()]
    after = [place + np.array([2.0, -1.0]) + rng.normal(size=(60, 2)) for place in places.values()]
    rows = {name: i for i, name in enumerate(places)}
    first, second = (barycentre(clouds, points=50) for clouds in (before, after))
    found = displacement(rows, rows, first, second, draws=300)
    assert found.patients == (8, 8)
    assert found.start == pytest.approx(first.median)
    for moved, low, high, truth in zip(found.vector, found.low, found.high, (2, -1), strict=True):
        assert low < moved < high
        assert low - 0.1 < truth < high + 0.1
        assert high - low < 1.2
    few = dict(list(rows.items())[:4])
    assert displacement(few, rows, first, second).low is None


def test_what_a_barycentre_refuses() -> None:
    good = np.zeros((3, 2))
    for measures in ([], [good, good[:0]], [good[:, :1]], [good * np.nan]):
        with pytest.raises(InputError, match="finite places"):
            barycentre(measures)
    with pytest.raises(InputError, match="0 points"):
        barycentre([good], points=0)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["after", "before", "during", "before"], ("before", "during", "after")),
        (["10", "2", "1.5"], ("1.5", "2", "10")),
        (["Post-treatment", "On-treatment", "Baseline"],
         ("Baseline", "On-treatment", "Post-treatment")),
        (["T2", "T10", "T1"], ("T1", "T2", "T10")),
        (["surgery", "C2D1", "screening"], ("screening", "C2D1", "surgery")),
    ],
)  # fmt: skip
def test_times_go_in_order(names: list[str], order: tuple[str, ...]) -> None:
    assert in_order(names) == order
    assert in_order(names, ", ".join(reversed(order))) == order[::-1]


@pytest.mark.parametrize("given", ["before, later", "before, before", "after"])
def test_an_order_that_is_none(given: str) -> None:
    with pytest.raises(InputError, match="two time points or more"):
        in_order(["before", "after"], given)


def test_one_time_has_no_response() -> None:
    with pytest.raises(InputError, match="found before"):
        in_order(["before", "before"])


CONFIG = ResponseConfig(method="pca", cells=40, draws=2, thin=3, points=30, bootstrap=200)
COLUMNS = Columns("patient", tissue="tissue", outcome="responded", timepoint="visit")


def joined_of(folder: Path, columns: Columns = COLUMNS, **changes: object) -> PatientCells:
    cells, clinical = cohort(folder, **changes)
    return join(open_cells([cells], columns=("when",)), read_clinical(clinical, columns))


def test_a_planted_shift_is_found(tmp_path: Path) -> None:
    steps = []
    found = response(joined_of(tmp_path), CONFIG, progress=lambda *at: steps.append(at))
    assert found.times == ("before", "after")
    assert found.groups == ("non-responders", "responders")
    table = found.distances.set_index("patient_id")
    assert len(table) == 12
    moved = table["group"] == "responders"
    assert moved.tolist() == [int(name[1:]) % 2 == 1 for name in table.index]
    assert (table.loc[moved, "excess"] > 1.3).all()
    assert (table.loc[~moved, "excess"] < 1).all()
    assert ((table["low"] <= table["distance"]) & (table["distance"] <= table["high"])).all()
    assert (table[["used_from", "used_to"]] == 40).all(axis=None)
    told = found.comparisons.set_index("measure")
    assert (told["p"] < 0.01).all()
    assert (told["auc"] == 1).all()
    assert (
        told["p"]["distance"]
        == mannwhitneyu(table.loc[moved, "distance"], table.loc[~moved, "distance"]).pvalue
    )
    one, other = (found.displacements.set_index("group").loc[name] for name in found.groups[::-1])
    far, near = (np.hypot(row["dx"], row["dy"]) for row in (one, other))
    assert far > 3 * near
    assert max(abs(one["dx_low"]), abs(one["dx_high"])) > near
    assert other["dx_low"] < 0 < other["dx_high"]
    assert found.barycentres.groupby(["group", "timepoint"]).size().tolist() == [30] * 4
    assert len(found.mapped) == 24 * 20
    assert steps[0] == (0, 14, "distance")
    assert steps[-1] == (14, 14, "done")


def test_without_an_outcome_all_are_one_group(tmp_path: Path) -> None:
    columns = Columns("patient", tissue="tissue")
    found = response(joined_of(tmp_path, columns), CONFIG, timepoint="when")
    assert found.groups == ("all",)
    assert found.comparisons.empty
    assert len(found.distances) == 12
    again = response(joined_of(tmp_path), CONFIG)  # the times of the clinical table are the same
    assert again.distances["distance"].tolist() == found.distances["distance"].tolist()
    with pytest.raises(InputError, match="a column 'moment' of time points"):
        response(joined_of(tmp_path, columns), CONFIG, timepoint="moment")


def test_few_patients_have_no_p_value(tmp_path: Path) -> None:
    absent = ("P3-after", "P5-before")
    found = response(joined_of(tmp_path, without=absent, cells=30), CONFIG)
    assert len(found.distances) == 10
    assert found.comparisons["responders"].tolist() == [4, 4]
    assert found.comparisons[["auc", "p", "p_holm"]].isna().all(axis=None)
    assert any("fewer than two time points (P3, P5)" in note for note in found.notes)
    assert found.comparisons["median_responders"].gt(0).all()


def test_patients_without_an_outcome_are_in_no_group(tmp_path: Path) -> None:
    cells, clinical = cohort(tmp_path, cells=30)
    table = pd.read_csv(clinical)
    table.loc[table["patient"] == "P2", "responded"] = None
    table.to_csv(clinical, index=False)
    found = response(join(open_cells([cells]), read_clinical(clinical, COLUMNS)), CONFIG)
    assert found.distances.set_index("patient_id")["group"].value_counts().to_dict() == {
        "responders": 6, "non-responders": 5, "": 1,
    }  # fmt: skip
    assert set(found.barycentres["group"]) == {"responders", "non-responders"}
    assert found.comparisons["non_responders"].tolist() == [5, 5]
    assert any("in no group: 1 patient without an outcome (P2)" in note for note in found.notes)


def test_what_a_response_refuses(tmp_path: Path) -> None:
    joined = joined_of(tmp_path, cells=12)
    with pytest.raises(InputError, match="among after, before; found later, after"):
        response(joined, ResponseConfig(timepoints="later, after"))
    one = tuple(f"P{i}-{TIMES[i % 4 // 2]}" for i in range(12))
    with pytest.raises(InputError, match="10 cells or more at two of the times"):
        response(joined_of(tmp_path, without=one), CONFIG)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epsilon": 0}, "epsilon: expected a number above 0"),
        ({"epsilon": "small"}, "epsilon: expected a number"),
        ({"cells": 9}, "cells: expected a whole number, 10 to 5000"),
        ({"cells": 5001}, "found 5001"),
        ({"draws": 0}, "draws: expected a whole number, 1 or more"),
        ({"thin": 2.5}, "thin: expected a whole number"),
        ({"method": "tsne"}, "method: expected one of umap, pca"),
        ({"timepoints": 3}, "timepoints: expected names"),
        ({"seed": -1}, "seed: expected a whole number, 0 or more"),
    ],
)
def test_settings_are_checked(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ResponseConfig(**change)


def call(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["response", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


SMALL = ("--method", "pca", "--cells", 40, "--draws", 2, "--thin", 3, "--points", 30)


def test_the_command_leaves_a_folder_with_a_report(tmp_path: Path) -> None:
    cells, clinical = cohort(tmp_path)
    out = tmp_path / "out"
    code, said = call(
        cells, "--clinical", clinical, "--patient", "patient", "--tissue", "tissue", "--timepoint",
        "visit", "--outcome", "responded", "--out", out, *SMALL,
    )  # fmt: skip
    assert code == 0
    assert "before → after: 12 patients, distance" in said
    results = read_results(out)
    assert results.analysis == "response"
    summary = results.summary
    assert summary["timepoints"] == ["before", "after"]
    assert summary["groups"] == {"non-responders": 6, "responders": 6}
    (pair,) = summary["pairs"]
    table = results.tables["comparisons"].set_index("measure")
    assert pair["p_excess"] == pytest.approx(table["p"]["excess"])
    assert pair["p_excess"] < 0.01
    assert pair["p_excess_holm"] == pytest.approx(table["p_holm"]["excess"])
    assert adjusted(pair, [pair]) == ""
    several = adjusted(pair, [pair] * 3)
    assert several == f" (p = {pair['p_excess_holm']:.3f} adjusted for 3 pairs of times)"
    assert f"p = {pair['p_excess']:.3f}" in said
    assert "--timepoint visit" in summary["command"]
    assert summary["settings"]["cells"] == 40
    cells_found = results.read_cells(group="responders")
    assert set(cells_found) >= {"tissue_id", "cell_id", "patient_id", "timepoint", "map_x"}
    assert len(cells_found) == 240
    patients = results.patients.set_index("patient_id")
    assert patients.loc["P1", "tissues"] == "P1-after;P1-before"
    assert patients.loc["P1", "excess before → after"] > patients.loc["P0", "excess before → after"]
    page = (out / "report.html").read_text("utf-8")
    assert page.count("<svg") == 2
    assert "Where the groups" in page
    assert f"p = {pair['p_excess']:.3f}" in page
    table = pd.read_csv(clinical).rename(columns={"tissue": "tissue_id"})
    table.drop(columns="responded").to_csv(clinical, index=False)
    by_name = call(
        cells, "--clinical", clinical, "--patient", "patient", "--timepoint", "visit", "--out", out,
        *SMALL,
    )[1]  # fmt: skip
    assert "before → after: 12 patients" in by_name  # a row a tissue, by its column tissue_id
    clinical.write_text("patient\n" + "\n".join(f"P{i}" for i in range(12)))
    again = call(
        cells, "--clinical", clinical, "--patient", "patient", "--timepoint", "when", "--out", out,
        *SMALL,
    )[1]  # fmt: skip
    assert "responders against" not in again
    assert read_results(out).tables["distances"]["group"].unique().tolist() == ["all"]


def test_mistakes_at_the_command(tmp_path: Path) -> None:
    cells, clinical = cohort(tmp_path, patients=4, cells=20)
    out = tmp_path / "out"
    given = (cells, "--clinical", clinical, "--patient", "patient", "--out", out)
    with pytest.raises(ConfigError, match="method: expected one of umap, pca, found 'map'"):
        call(*given, "--timepoint", "when", "--method", "map")
    with pytest.raises(InputError, match="expected a column 'moment', found none"):
        call(*given, "--tissue", "tissue", "--timepoint", "moment")
    with pytest.raises(InputError, match="among no, yes; found yes, maybe"):
        call(*given, "--tissue", "tissue", "--timepoint", "responded", "--timepoints", "yes, maybe")
    clinical.write_text("patient\nP0\nP1\n")
    with pytest.raises(InputError, match="'moment'"):
        call(*given, "--timepoint", "moment")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="with something else in it"):
        call(*given, "--timepoint", "when")
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_defaults_are_those_of_the_settings() -> None:
    options = inspect.signature(command).parameters
    for field in fields(ResponseConfig):
        assert options[field.name].default == field.default
