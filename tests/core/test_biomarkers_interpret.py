"""What a signature is: composition, markers, neighbours, regions, with answers known beforehand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon
from signature_samples import PIXEL_UM, Files, write_cohort
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest

from virtues_core.cohort.biomarkers.composition import compose, standardised_means
from virtues_core.cohort.biomarkers.interpret import Interpretation, InterpretConfig, interpret
from virtues_core.cohort.biomarkers.neighbours import (
    ANY,
    compare_neighbours,
    count_neighbours,
    false_discovery,
    neighbour_pairs,
)
from virtues_core.cohort.biomarkers.regions import densest_box
from virtues_core.cohort.patients import PatientCells
from virtues_core.errors import ConfigError, InputError

HUB, NICHE = "RS1", "NRS1"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_cohort(tmp_path_factory.mktemp("cohort"), patients=24, seed=1)


@pytest.fixture(scope="module")
def joined(files: Files) -> PatientCells:
    return files.joined()


def members(joined: PatientCells) -> dict[str, np.ndarray]:
    niche = joined.cells.cells["niche"].astype(str).to_numpy()
    return {HUB: niche == "immune_hub", NICHE: niche == "suppressive_niche"}


@pytest.fixture(scope="module")
def found(joined: PatientCells) -> Interpretation:
    return interpret(joined, members(joined), InterpretConfig(region_um=96.0, regions=3))


def test_pairs_are_those_within_the_radius() -> None:
    places = np.random.default_rng(0).random((60, 2)) * 100
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    expected = np.argwhere((distance <= 20) & ~np.eye(60, dtype=bool))
    assert np.array_equal(neighbour_pairs(places, radius_um=20), expected)


def test_nearest_are_never_the_cell_itself_not_even_where_all_lie_on_one_place() -> None:
    places = np.random.default_rng(0).random((60, 2)) * 100
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(60)
    pairs = neighbour_pairs(places, radius_um=1, nearest=5)
    assert np.array_equal(pairs[:, 1].reshape(60, 5), distance.argsort(axis=1)[:, :5])
    pairs = neighbour_pairs(np.zeros((9, 2)), radius_um=1, nearest=3)
    assert pairs.shape == (27, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert neighbour_pairs(np.zeros((1, 2)), radius_um=1).shape == (0, 2)


def test_neighbours_are_compared_as_statsmodels_and_scipy_do() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(5, 60, (8, 2, 2, 2))
    table = compare_neighbours(counts, ("x", "y"), "s").set_index(["cell_type", "neighbour"])
    row = table.loc[("x", "y")]
    (out, inside), totals = counts[:, :, 0, 1].sum(0), counts[:, :, 0].sum((0, 2))
    z, p = proportions_ztest([inside, out], totals[::-1])
    assert (row["z"], row["z_p"]) == pytest.approx((z, p), rel=1e-6)
    shares = counts[:, :, 0, 1] / counts[:, :, 0].sum(2)
    difference = shares[:, 1] - shares[:, 0]
    assert row["patient_p"] == pytest.approx(wilcoxon(difference).pvalue)
    assert row["difference"] == pytest.approx(np.median(difference))
    assert row["inside"] == pytest.approx(inside / totals[1])
    assert table.loc[(ANY, "y"), "neighbours_inside"] == counts[:, 1].sum()


def test_what_cannot_be_tested_has_no_p() -> None:
    counts = np.zeros((7, 2, 2, 2), int)
    counts[:, 0, 0, 0] = 5  # nobody inside, and all neighbours of one type
    row = compare_neighbours(counts, ("x", "y"), "s").iloc[0]
    assert row[["inside", "z_p", "patient_p", "change_percent"]].isna().all()
    counts[:, 1, 0] = (3, 1)
    assert np.isfinite(compare_neighbours(counts, ("x", "y"), "s")["patient_p"].iloc[0])
    few = compare_neighbours(counts[:5], ("x", "y"), "s").iloc[0]
    assert few["patients"] == 5
    assert np.isnan(few["patient_p"])
    assert np.isfinite(few["z_p"])


def test_false_discovery_as_statsmodels() -> None:
    p = np.random.default_rng(0).random(20)
    adjusted = false_discovery(np.insert(p, 3, np.nan))
    assert np.isnan(adjusted[3])
    assert np.delete(adjusted, 3) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_composition_interval_covers_by_patients_not_by_cells() -> None:
    """One patient has all cells of the type: between patients nothing is known of its share."""
    inside = np.array([[[50, 0], *[[0, 50]] * 5]])
    cohort = np.full((6, 2), 100)
    found = compose(inside, cohort)
    assert found.log2_change[0, 0] == pytest.approx(np.log2(1 / 6 / 0.5))
    assert found.lower[0, 0] == -np.inf
    assert found.upper[0, 0] == pytest.approx(np.log2(0.5 / 0.5))
    assert np.isnan(compose(inside[:, :2], cohort[:2]).lower).all()
    assert np.isnan(compose(0 * inside, cohort).log2_change).all()


def test_means_are_standardised_over_the_cohort() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 3, (40, 2))
    values[:, 1] = 7.0  # never changes
    patient, inside = np.arange(40) % 4, values[:, 0] > 6
    by = np.eye(4)[patient]
    found = standardised_means(
        (by * inside[:, None]).T[None] @ values,
        by.T[None] @ inside,
        by.T @ values,
        by.T @ values**2,
        by.sum(0),
    )
    z = (values[:, 0] - values[:, 0].mean()) / values[:, 0].std()
    assert found.values[0] == pytest.approx([z[inside].mean(), 0])
    assert found.lower[0, 0] < found.values[0, 0] < found.upper[0, 0]


def test_the_densest_box_is_the_best_of_all_that_were_tried() -> None:
    rng = np.random.default_rng(0)
    places, inside = rng.random((300, 2)) * (500, 300), rng.random(300) < 0.3
    box = densest_box(places, inside, 80)
    assert box is not None

    def within(y: float, x: float) -> np.ndarray:
        own = places >= (x, y)
        return (own & (places < (x + 80, y + 80))).all(axis=1)

    counts = [within(y, x)[inside].sum() for y in range(0, 221, 20) for x in range(0, 421, 20)]
    assert box.inside == max(counts) == within(box.y_um, box.x_um)[inside].sum()
    assert box.cells == within(box.y_um, box.x_um).sum()


def test_a_planted_niche_is_told(joined: PatientCells, found: Interpretation) -> None:
    """Immune hubs are CD8 T and dendritic cells, far from the tumour; suppressive niches M2."""
    composition = found.composition.set_index(["signature", "cell_type"])
    assert composition.loc[(HUB, "CD8_T"), "lower"] > 1
    assert composition.loc[(NICHE, "M2_macrophage"), "lower"] > 1
    none = composition.loc[(HUB, "tumour")]
    assert none["change_percent"] == -100
    assert none[["log2_change", "lower", "upper"]].isna().all()
    cells = joined.cells.cells
    hub = members(joined)[HUB]
    share = (cells.loc[hub, "cell_type"] == "CD8_T").mean()
    assert composition.loc[(HUB, "CD8_T"), "share"] == pytest.approx(share)
    markers = found.markers.set_index(["signature", "marker"])["mean"]
    cd8 = next(name for name in joined.cells.markers if name.startswith("CD8"))
    assert markers[HUB, cd8] > 0.5 > markers[NICHE, cd8]
    neighbours = found.neighbours.set_index(["signature", "cell_type", "neighbour"])
    around = neighbours.loc[(HUB, ANY, "CD8_T")]
    assert around["inside"] > 1.5 * around["outside"]
    assert around["patient_q"] < 0.05
    assert around["z_p"] < around["patient_p"]
    sizes = found.sizes.set_index("signature")
    assert sizes.loc[HUB, "cells"] == hub.sum()
    assert sizes.loc[HUB, "own_neighbours"] > 3 * sizes.loc[HUB, "share"]


def test_regions_are_of_different_patients_and_in_pixels(
    joined: PatientCells, found: Interpretation
) -> None:
    regions = found.regions[found.regions["signature"] == HUB]
    assert regions["rank"].tolist() == [1, 2, 3]
    assert regions["patient_id"].is_unique
    assert regions["cells_inside"].is_monotonic_decreasing
    for row in regions.to_dict("records"):
        cells = joined.cells.cells
        own = (cells["tissue_id"] == row["tissue_id"]).to_numpy() & members(joined)[HUB]
        within = cells["x_um"].between(row["x0_um"], row["x1_um"], inclusive="left")
        within &= cells["y_um"].between(row["y0_um"], row["y1_um"], inclusive="left")
        assert (own & within.to_numpy()).sum() == row["cells_inside"]
        assert row["y1_px"] == pytest.approx(row["y1_um"] / PIXEL_UM[0], abs=0.1)
        assert row["x0_px"] == pytest.approx(row["x0_um"] / PIXEL_UM[1], abs=0.1)


def lacking(joined: PatientCells, **changes: object) -> PatientCells:
    """The same cells with something unknown."""
    table = joined.cells.cells.drop(columns="cell_type").assign(**changes)
    return dataclasses.replace(joined, cells=dataclasses.replace(joined.cells, cells=table))


def test_without_types_or_places_the_rest_is_said(joined: PatientCells) -> None:
    told = interpret(lacking(joined), members(joined))
    assert sorted(told.tables) == ["signature_markers", "signature_regions", "signature_sizes"]
    assert any("type" in note for note in told.notes)
    told = interpret(lacking(joined, x_um=np.float32(np.nan)), members(joined))
    assert sorted(told.tables) == ["signature_markers", "signature_sizes"]
    assert any(f"{len(joined.codes):,} cells have no place" in note for note in told.notes)


def test_rare_types_are_taken_together(joined: PatientCells) -> None:
    kinds = pd.Categorical([f"type {i}" for i in np.arange(len(joined.codes)) ** 2 % 41])
    told = interpret(lacking(joined, cell_type=kinds), members(joined))
    assert len(told.composition.query("signature == @HUB")) <= 31
    assert told.composition.groupby("signature")["share"].sum().to_numpy() == pytest.approx(1)


def test_cells_of_others_do_not_count(joined: PatientCells) -> None:
    codes = np.where(joined.codes == 0, -1, joined.codes).astype(np.int32)
    told = interpret(dataclasses.replace(joined, codes=codes), members(joined))
    own = members(joined)[HUB] & (joined.codes > 0)
    assert told.sizes.set_index("signature").loc[HUB, "cells"] == own.sum()
    assert joined.patients[0] not in set(told.regions["patient_id"])


def test_wrong_signatures_are_refused(joined: PatientCells) -> None:
    count = len(joined.codes)
    with pytest.raises(InputError, match="expected one signature"):
        interpret(joined, {})
    with pytest.raises(InputError, match=f"expected {count} truth values of signature 'a'"):
        interpret(joined, {"a": np.ones(3, bool)})
    with pytest.raises(InputError, match="found int64"):
        interpret(joined, {"a": np.ones(count, np.int64)})
    empty = interpret(joined, {"a": np.zeros(count, bool)})
    assert "a has no cells here" in empty.notes
    assert empty.composition["share"].isna().all()


@pytest.mark.parametrize(
    "wrong", [{"radius_um": 0}, {"radius_um": np.nan}, {"nearest": -1}, {"region_um": 0},
              {"regions": -1}, {"seed": -1}],
)  # fmt: skip
def test_wrong_settings_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        InterpretConfig(**wrong)


def test_counting_leaves_out_unknown_types() -> None:
    pairs = neighbour_pairs(np.array([[0.0, 0], [1, 0], [2, 0]]), radius_um=1.5)
    counts = count_neighbours(pairs, np.array([0, 1, -1]), np.array([[True, False, True]]), 2)
    assert counts[0].tolist() == [[[0, 0], [1, 0]], [[0, 1], [0, 0]]]
