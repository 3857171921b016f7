"""Neighbours, maps, clusters and profiles, on features whose groups are known."""

import numpy as np
import pytest
from cohort_samples import TYPES, table
from sklearn.metrics import adjusted_rand_score, silhouette_score

from virtues_core.cohort.principal import Axes, principal, standardised
from virtues_core.cohort.space import (
    Profiles,
    leiden,
    marker_profiles,
    neighbour_graph,
    point_graph,
    project,
)
from virtues_core.cohort.space_table import (
    alike,
    features,
    joined,
    side_by_side,
    write_profiles,
    write_space,
)
from virtues_core.errors import InputError


@pytest.fixture(scope="module")
def cells():
    made = table(spread=0.5)
    made.X[:, 0] = np.where(made.obs["phenotype"] == "tumour", 50, 1) + made.X[:, 0]
    return made


@pytest.fixture(scope="module")
def graph(cells):
    return neighbour_graph(cells.obsm["X_virtues"])


def test_columns_are_standardised_and_one_that_never_changes_is_zero():
    values = np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
    np.testing.assert_allclose(standardised(values)[:, 0], [-1.2247, 0, 1.2247], atol=1e-4)
    assert not standardised(values)[:, 1].any()


def test_principal_components_are_those_of_the_correlation_matrix(cells):
    values = cells.obsm["X_virtues"]
    expected = np.sort(np.linalg.eigvalsh(np.corrcoef(values.T)))[::-1]
    found = principal(values, 4).astype(float)
    np.testing.assert_allclose(found.var(0), expected[:4], rtol=1e-4)
    assert principal(values[:3]).shape == (3, 2)


def test_axes_of_some_rows_place_others_among_them(cells):
    values = cells.obsm["X_virtues"]
    axes = Axes.of(values[:200], 4)
    np.testing.assert_allclose(axes.place(values[:200]), principal(values[:200], 4), atol=1e-4)
    flat = np.column_stack([values, np.full(len(values), 3.0)])
    np.testing.assert_allclose(
        Axes.of(flat[:200], 4).place(flat), axes.place(values), rtol=1e-3, atol=1e-3
    )


def test_rows_that_lie_on_one_another_are_each_their_own_first_neighbour():
    points = np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 30, axis=0)
    told = []
    graph = point_graph(points, count=5, progress=lambda *at: told.append(at))
    assert told == [(120, 120)]
    assert not graph.diagonal().any()
    assert len(set(leiden(graph))) >= 4


def test_the_graph_is_symmetric_and_joins_the_nearest(cells, graph):
    assert (abs(graph - graph.T) > 1e-6).nnz == 0
    assert 0 < graph.data.min() <= graph.data.max() <= 1
    points = principal(cells.obsm["X_virtues"])
    far = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(far, np.inf)
    joined_to = np.array([graph[i, far[i].argmin()] for i in range(len(points))])
    np.testing.assert_allclose(joined_to, 1)


def test_clusters_are_the_groups(cells, graph):
    found = leiden(graph, resolution=0.3)
    assert adjusted_rand_score(cells.obs["phenotype"], found) > 0.95
    counts = np.bincount(found)
    assert (np.diff(counts) <= 0).all()
    np.testing.assert_array_equal(found, leiden(graph, resolution=0.3))
    assert leiden(graph, resolution=4.0).max() > found.max() + 3


def test_maps_keep_groups_apart_and_repeat(cells, graph):
    values = cells.obsm["X_virtues"]
    flat = project(values, "umap", graph=graph)
    assert flat.shape == (len(values), 2)
    assert silhouette_score(flat, cells.obs["phenotype"]) > 0.6
    np.testing.assert_array_equal(flat, project(values, "umap", graph=graph))
    assert not np.allclose(flat, project(values, "umap", graph=graph, seed=1))
    np.testing.assert_allclose(project(values, "pca"), principal(values, 2))


def test_a_few_rows_and_a_single_feature_can_be_mapped():
    values = np.arange(5, dtype=float)[:, None]
    assert project(values, "pca").shape == (5, 2)
    assert np.isfinite(project(values, "umap")).all()
    assert len(leiden(neighbour_graph(values))) == 5


def test_lone_rows_are_clusters_of_their_own():
    from scipy.sparse import csr_matrix

    pair = csr_matrix(([1.0, 1.0], ([0, 2], [2, 0])), shape=(4, 4))
    assert leiden(pair).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x, g: project(x[:2]), "3 rows or more"),
        (lambda x, g: project(np.where(x == x[4, 2], np.nan, x)), "NaN or infinity in 1 of 240"),
        (lambda x, g: project(x, "tsne"), "found 'tsne'"),
        (lambda x, g: project(x[:9], graph=g), "a graph of 9 rows, found one of 240"),
        (lambda x, g: neighbour_graph(x, count=1), "2 neighbours or more"),
        (lambda x, g: leiden(g, resolution=0), "a resolution above 0"),
        (lambda x, g: leiden(g, resolution=float("nan")), "a resolution above 0"),
        (lambda x, g: marker_profiles(x, ["a"], np.zeros(240)), "240 rows and 1 markers"),
    ],
)
def test_what_cannot_be_done_is_said(cells, graph, call, said):
    with pytest.raises(InputError, match=said):
        call(cells.obsm["X_virtues"], graph)


def test_profiles_are_means_of_standardised_log_intensities():
    bright = np.array([[0.0, 3], [0, 3], [np.e**2 - 1, 3], [np.e**2 - 1, 3]])
    found = marker_profiles(bright, ["CD20", "CD3"], np.array(["b", "b", "a", "a"]))
    assert (found.names, found.markers) == (("a", "b"), ("CD20", "CD3"))
    np.testing.assert_allclose(found.values, [[1, 0], [-1, 0]], atol=1e-6)
    assert found.counts.tolist() == [2, 2]
    again = marker_profiles(np.array([[-1.0], [1.0], [1.0]]), ["m"], np.array([10, 9, 9]))
    assert again.names == ("9", "10")
    np.testing.assert_allclose(again.values[:, 0], [2**-0.5, -(2**0.5)], atol=1e-6)


def test_alike_markers_stand_together():
    values = np.array([[2.0, -1, 2.1, -1.2], [0, 3, 0.1, 2.9]], np.float32)
    order = alike(values)
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(0) - order.index(2)) == 1
    assert abs(order.index(1) - order.index(3)) == 1
    assert alike(values[:, :1]) == [0]
    found = side_by_side(Profiles(("x", "y"), tuple("abcd"), values, np.array([1, 1])))
    assert found.markers == tuple("abcd"[c] for c in order)
    np.testing.assert_array_equal(found.values, values[:, order])


def test_a_table_gets_clusters_a_map_and_how_they_were_made(cells):
    made = cells.copy()
    found = write_space(made, resolution=0.3, umap=True, seed=2)
    assert made.obsm["X_umap"].shape == (240, 2)
    assert list(made.obs["leiden"].cat.categories) == list(found.names) == ["0", "1", "2"]
    assert adjusted_rand_score(made.obs["phenotype"], made.obs["leiden"]) > 0.95
    assert made.uns["leiden"]["params"] == {
        "resolution": 0.3,
        "random_state": 2,
        "features": "tokens",
        "neighbours": 15,
    }
    tumour = made.obs["leiden"][made.obs["phenotype"] == "tumour"].mode()[0]
    assert found.values[:, 0].argmax() == found.names.index(tumour)
    write_space(made, of="intensities", resolution=0.3)
    assert made.uns["leiden"]["params"]["features"] == "intensities"
    np.testing.assert_allclose(features(made, "intensities"), np.log1p(made.X))


def test_profiles_become_a_table_and_a_picture(tmp_path):
    found = marker_profiles(
        np.random.default_rng(0).random((30, 5)), list("abcde"), np.arange(30) % 3
    )
    write_profiles(found, tmp_path / "p.csv")
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "cluster,rows,a,b,c,d,e"
    assert lines[1].startswith("0,10,")
    assert float(lines[2].split(",")[2]) == pytest.approx(found.values[1, 0], rel=1e-5)
    write_profiles(found, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"\.csv or \.png"):
        write_profiles(found, tmp_path / "p.pdf")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.csv", "p.png"]


def test_tables_are_joined_or_refused(cells):
    other = table(60, seed=1)
    other.obs_names = [f"other:{name}" for name in other.obs_names]
    both = joined([cells, other])
    assert both.n_obs == 300
    assert list(both.uns["virtues"]["panel"]) == sorted(cells.uns["virtues"]["panel"])
    assert set(both.obs["phenotype"]) == set(TYPES)
    assert joined([cells]) is cells
    for wrong, said in (
        ([], "expected a table"),
        ([cells, table(signature="xyz")], "one checkpoint in all tables"),
        ([cells, table(level="niche")], "one level in all tables"),
        ([cells, cells], "found 240 that are in two tables"),
    ):
        with pytest.raises(InputError, match=said):
            joined(wrong)
    other.var_names = ["x1", "x2", "x3", "x4"]
    with pytest.raises(InputError, match="a channel that all tables have"):
        joined([cells, other])
