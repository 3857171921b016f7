"""Typing from a few clicks."""

import numpy as np
import pytest
from cohort_samples import PANEL, TYPES, table

from virtues_core.cohort import (
    SimulatedClicker,
    TokenSpace,
    Typed,
    annotate,
    classifier_of_clicks,
    click_rounds,
    fit_classifier,
    least_sure,
    load_classifier,
    log_intensities,
    save_classifier,
    type_all,
)
from virtues_core.cohort.classify import train
from virtues_core.cohort.scores import score
from virtues_core.errors import InputError, MarkerError


@pytest.fixture(scope="module")
def cells():
    made = table(900, spread=1.6)
    return TokenSpace.of(made.obsm["X_virtues"]), made.obs["phenotype"].to_numpy(str)


def test_tokens_are_standardised_once() -> None:
    tokens = table().obsm["X_virtues"] * 3 + 5
    tokens[:, 2] = 4
    space = TokenSpace.of(tokens)
    np.testing.assert_allclose(space.values.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.delete(space.values.std(0), 2), 1, atol=1e-5)
    assert (space.values[:, 2] == 0).all()
    with pytest.raises(InputError, match="found none"):
        TokenSpace.of(tokens[:0])


def test_intensities_weigh_as_much_as_tokens() -> None:
    made = table(spread=3)
    tokens, means = made.obsm["X_virtues"], made.X * [9, 1, 4, 0]
    space = TokenSpace.of(tokens, log_intensities(means, made.var, PANEL))
    assert space.values.shape == (240, 12 + 4)
    np.testing.assert_array_equal(space.values[:, :12], TokenSpace.of(tokens).values)
    logs = np.log1p(means[:, :3])
    expected = (logs - logs.mean(0)) / logs.std(0) * np.sqrt(12 / 4)
    np.testing.assert_allclose(space.values[:, 12:15], expected, atol=1e-4)
    assert (space.values[:, 15] == 0).all()  # the same in all cells


def test_channels_of_one_marker_are_averaged() -> None:
    var = table(9).var.assign(key=["P01732", "P11836", "P01732", "P11836"])
    var["in_model"] = [True, True, True, False]
    means = np.expm1(np.arange(8, dtype=np.float32).reshape(2, 4) / 4)
    means[:, 3] = -9  # background that was subtracted from a channel that is not used
    found = log_intensities(means, var, ("P11836", "P01732"))
    np.testing.assert_allclose(found * 4, [[1, 1], [5, 5]], atol=1e-5)
    with pytest.raises(MarkerError, match=r"of 2 markers, found none of P06731\. Use an image"):
        log_intensities(means, var, ("P06731", "P01732"))
    with pytest.raises(InputError, match="found no key"):
        log_intensities(means, var[["in_model"]], ("P01732",))


def test_all_cells_are_typed_from_six(cells) -> None:
    space, truth = cells
    rows = SimulatedClicker(truth, seed=1).first(2)
    typed = type_all(space, rows, truth[rows])
    assert typed.classes == TYPES
    assert score(truth, typed.types).macro_f1 > 0.6
    assert (typed.types[rows] == truth[rows]).all()
    assert (typed.margin[rows] == 1).all()
    np.testing.assert_allclose(typed.probabilities.sum(1), 1, atol=1e-5)


def test_the_last_label_of_a_cell_holds(cells) -> None:
    space, truth = cells
    rows = SimulatedClicker(truth).first(2).tolist()
    typed = type_all(space, [*rows, rows[0]], [*truth[rows], "T"])
    assert typed.types[rows[0]] == "T"


def test_refusals(cells) -> None:
    space, _ = cells
    with pytest.raises(InputError, match="two types at the least, found only B"):
        type_all(space, [0, 3], ["B", "B"])
    with pytest.raises(InputError, match="found only none"):
        type_all(space, [], [])
    with pytest.raises(InputError, match="cells 0 to 899"):
        type_all(space, [900, 1], ["B", "T"])
    with pytest.raises(InputError, match="empty label"):
        type_all(space, [0, 1], ["B", ""])


def test_least_sure_first_then_far_apart() -> None:
    values = np.array([[0.0], [0.1], [5.0], [5.1], [9.0], [20.0]], np.float32)
    chance = np.array([0.5, 0.51, 0.52, 0.53, 0.54, 1.0], np.float32)
    typed = Typed(("a", "b"), np.stack([chance, 1 - chance], 1))
    space = TokenSpace(values, np.zeros(1, np.float32), np.ones(1, np.float32))
    assert least_sure(space, typed, 3).tolist() == [0, 5, 4]
    skip = np.array([0, 0, 0, 0, 0, 1], bool)
    assert least_sure(space, typed, 3, skip=skip).tolist() == [0, 4, 2]
    assert least_sure(space, typed, 2, labelled=[0, 4], skip=skip).tolist() == [1, 2]
    assert least_sure(space, typed, 9, labelled=[0, 4]).tolist() == [1, 5, 2, 3]
    assert least_sure(space, typed, 2, labelled=range(6)).tolist() == []
    assert least_sure(space, typed, 0).tolist() == []


@pytest.mark.parametrize("types", [TYPES, TYPES[:2]])
def test_a_saved_classifier_says_what_the_clicks_say(types, tmp_path) -> None:
    made = table(300, spread=1.6, types=types)
    made.obsm["X_virtues"] = made.obsm["X_virtues"] * np.logspace(-1, 1, 12, dtype=np.float32) + 7
    made.obsm["X_virtues"][:, 3] = 5  # the same in all cells
    truth = made.obs["phenotype"].to_numpy(str)
    rows = SimulatedClicker(truth).first(4)
    made.obs["clicked"] = None
    made.obs.loc[made.obs.index[rows], "clicked"] = truth[rows]
    save_classifier(classifier_of_clicks(made, "clicked"), tmp_path / "clicks.skops")
    intensities = log_intensities(made.X, made.var, sorted(PANEL))
    space = TokenSpace.of(made.obsm["X_virtues"], intensities)
    typed = type_all(space, rows, truth[rows])
    found = annotate(made, load_classifier(tmp_path / "clicks.skops"), unsure_below=0.9)
    others = np.setdiff1d(np.arange(len(made)), rows)
    np.testing.assert_allclose(
        found.probabilities[others], typed.probabilities[others], rtol=1e-3, atol=1e-5
    )
    as_they_are = fit_classifier([made], "clicked", "logistic", least_cells=1).classifier
    other = annotate(made, as_they_are).probabilities[others]
    assert np.abs(other - typed.probabilities[others]).max() > 0.05
    with pytest.raises(MarkerError, match="found none of P01732"):
        annotate(table(9, panel=(*PANEL[1:], "P08575")), load_classifier(tmp_path / "clicks.skops"))


def test_a_classifier_needs_clicks_of_two_types() -> None:
    made = table(60)
    made.obs["clicked"] = None
    made.obs.loc[made.obs.index[:2], "clicked"] = "B"
    with pytest.raises(InputError, match="two classes in 'clicked'"):
        classifier_of_clicks(made, "clicked")


def test_only_cells_with_small_margins_are_offered(cells) -> None:
    space, truth = cells
    rows = SimulatedClicker(truth).first(3)
    typed = type_all(space, rows, truth[rows])
    offered = least_sure(space, typed, 5, labelled=rows)
    assert len(set(offered.tolist())) == 5
    assert not set(offered.tolist()) & set(rows.tolist())
    assert typed.margin[offered].max() <= np.sort(typed.margin)[50]
    assert offered[0] == np.argmin(typed.margin)


def test_clicks_come_near_to_all_labels(cells) -> None:
    space, truth = cells
    scored = np.arange(900) % 2 == 0
    probe = train(space.values[~scored], truth[~scored], "logistic")
    full = score(truth[scored], probe.predict(space.values[scored])).macro_f1
    rounds = list(click_rounds(space, SimulatedClicker(truth), scored=scored))
    assert rounds[-1].scores.macro_f1 > 0.9 * full
    assert len(rounds[0].rows) == 9
    assert len(rounds[-1].rows) == 60
    assert len(set(rounds[-1].rows)) == 60
    assert not scored[list(rounds[-1].rows)].any()
    assert list(rounds[-1].labels) == truth[list(rounds[-1].rows)].tolist()
    assert all(one.scores.confusion.sum() == 450 for one in rounds)


def test_cells_nobody_knows_are_neither_clicked_nor_scored(cells) -> None:
    space, truth = cells
    partly = np.where(np.arange(900) % 3 == 0, "", truth)
    partly = np.where(partly == "B", "T", partly)
    last = list(click_rounds(space, SimulatedClicker(partly), clicks_per_class=6))[-1]
    assert len(last.rows) == 6 * len(set(partly) - {""})
    assert (partly[list(last.rows)] != "").all()
    assert last.scores.confusion.sum() == (partly != "").sum() - len(last.rows)


def test_the_same_seed_clicks_the_same_cells(cells) -> None:
    space, truth = cells
    first, same, other = (
        list(click_rounds(space, SimulatedClicker(truth, seed=s), clicks_per_class=5))[-1].rows
        for s in (3, 3, 4)
    )
    assert first == same
    assert first != other
