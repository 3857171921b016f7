"""Types learnt from labels: what is fitted, what is refused, what is written."""

import dataclasses

import numpy as np
import pytest
from cohort_samples import PANEL, TYPES, WIDTH, table

from virtues_core.cohort import (
    UNSURE,
    annotate,
    check_method,
    fit_classifier,
    read_table,
    score_annotation,
    write_annotation,
    write_table,
)
from virtues_core.cohort.classify import balanced_rows, kept_out, train
from virtues_core.errors import InputError, MarkerError, ReadError


@pytest.fixture(scope="module")
def classifier():
    return fit_classifier([table()], "phenotype", "logistic").classifier


@pytest.mark.parametrize("method", ["forest", "logistic"])
def test_types_of_new_cells(method) -> None:
    found = fit_classifier([table(seed=0), table(seed=1)], "phenotype", method, held_out=0.3)
    classifier = found.classifier
    assert classifier.classes == TYPES
    assert classifier.panel == tuple(sorted(PANEL))
    assert classifier.cells == dict.fromkeys(TYPES, 160)
    assert found.warnings == ()
    assert found.held_out.macro_f1 > 0.9
    assert sum(one.support for one in found.held_out.classes.values()) < 480 * 0.5
    new = table(seed=2)
    said = annotate(new, classifier)
    assert (said.types == new.obs["phenotype"].to_numpy()).mean() > 0.9
    np.testing.assert_allclose(said.probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(said.probability, said.probabilities.max(1))


def test_the_methods_are_those_of_the_paper() -> None:
    made = table()
    tokens, names = made.obsm["X_virtues"], made.obs["phenotype"].to_numpy(str)
    forest = train(tokens, names, "forest")
    assert len(forest.estimators_) == 100
    assert forest.max_depth == 16
    assert (forest.criterion, forest.bootstrap) == ("gini", True)
    probe = train(tokens, names, "logistic")
    # at the minimum of summed log loss + |W|²/2 the gradient of the former is -W,
    # W the weights of the standardised tokens
    onehot = names[:, None] == probe.classes_
    scaled = (tokens - tokens.mean(0)) / tokens.std(0)
    gradient = (probe.predict_proba(tokens) - onehot).T @ scaled
    np.testing.assert_allclose(probe.coef_ * tokens.std(0), -gradient, atol=0.02)


def test_a_probe_does_not_mind_the_scale_of_tokens() -> None:
    made = table()
    tokens, names = made.obsm["X_virtues"], made.obs["phenotype"].to_numpy(str)
    said = train(tokens, names, "logistic").predict_proba(tokens)
    small = tokens * np.float32(0.05) + np.float32(3)
    again = train(small, names, "logistic").predict_proba(small)
    np.testing.assert_allclose(again, said, atol=1e-3)


def test_a_forest_sees_as_many_cells_of_each_class() -> None:
    names = np.array(["a"] * 50 + ["b"] * 7 + ["c"] * 20)
    rows = balanced_rows(names, seed=1)
    assert {n: int((names[rows] == n).sum()) for n in "abc"} == {"a": 7, "b": 7, "c": 7}
    assert len(set(rows.tolist())) == 21
    assert rows.tolist() == balanced_rows(names, seed=1).tolist()
    assert rows.tolist() != balanced_rows(names, seed=2).tolist()


def test_patients_are_kept_out_whole() -> None:
    groups = [f"P{i % 5}" for i in range(50)]
    test = kept_out(groups, 0.4)
    parts = [{g for g, t in zip(groups, test, strict=True) if t == side} for side in (True, False)]
    assert [len(part) for part in parts] == [2, 3]
    assert not parts[0] & parts[1]
    for fraction, count in ((0.0, 1), (1.0, 4)):
        assert len({g for g, t in zip(groups, kept_out(groups, fraction)) if t}) == count  # noqa: B905
    with pytest.raises(InputError, match="two patients"):
        kept_out(["one", "one"], 0.5)
    with pytest.raises(InputError, match="from 0 to 1, found 7"):
        kept_out(groups, 7)


def test_held_out_scores_are_of_patients_not_learnt_from() -> None:
    """Types that only the patient tells are known on one's own cells and not on another's."""
    made = table(300, patients=6)
    rng = np.random.default_rng(0)
    patients = made.obs["patient_id"].to_numpy(str)
    place = {p: rng.normal(size=WIDTH) * 5 for p in np.unique(patients)}
    made.obsm["X_virtues"] = np.stack([place[p] for p in patients]).astype("f4")
    made.obs["phenotype"] = [f"type {sorted(place).index(p) % 2}" for p in patients]
    found = fit_classifier([made], "phenotype", "logistic", held_out=0.5)
    own = annotate(made, found.classifier).types == made.obs["phenotype"].to_numpy(str)
    assert own.mean() == 1
    assert found.held_out.accuracy < 0.9


def test_unsure_below_a_probability() -> None:
    classifier = fit_classifier([table(spread=3)], "phenotype", "logistic").classifier
    new = table(seed=5, spread=3)
    said = annotate(new, classifier, unsure_below=0.6)
    assert ((said.probability < 0.6) == (said.types == UNSURE)).all()
    assert 0 < (said.types == UNSURE).sum() < len(new)
    with pytest.raises(InputError, match="from 0 to 1"):
        annotate(new, classifier, unsure_below=60)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_types_are_written_and_labels_stay(classifier, tmp_path, suffix) -> None:
    new, labelled = table(seed=1), table(seed=1)
    labelled.obs["cell_type"] = labelled.obs["phenotype"]
    for made in (new, labelled):
        write_annotation(made, annotate(made, classifier, unsure_below=0.8), classifier)
        write_table(made, tmp_path / f"y{suffix}")
        back = read_table(tmp_path / f"y{suffix}")
        types = back.obs["cell_type_predicted"].astype(str)
        assert set(types) <= {*TYPES, UNSURE}
        assert back.obs["cell_type_probability"].between(0, 1).all()
        assert (types == UNSURE).equals(back.obs["cell_type_probability"] < 0.8)
        expected = types if made is new else labelled.obs["phenotype"]
        assert back.obs["cell_type"].astype(str).tolist() == expected.tolist()
        scores, notes = score_annotation(back, "phenotype")
        assert scores.macro_f1 > 0.8
        assert notes == ()
        with pytest.raises(InputError, match="predicted types themselves"):
            score_annotation(back, "cell_type_predicted")
    assert score_annotation(back, "cell_type")[0].macro_f1 == scores.macro_f1
    write_annotation(new, annotate(new, classifier), classifier)  # typed once more
    assert new.obs["cell_type"].tolist() == new.obs["cell_type_predicted"].tolist()
    with pytest.raises(InputError, match="predicted types themselves"):
        score_annotation(new, "cell_type")


def test_missing_labels_and_rare_classes_are_left_out_and_said() -> None:
    made = table()
    names = made.obs["phenotype"].to_numpy(object)
    names[:200] = [None, "", "nan", UNSURE] * 50
    names[200] = "mast"
    made.obs["phenotype"] = names
    found = fit_classifier([made], "phenotype", "logistic")
    assert found.classifier.classes == TYPES
    assert sum(found.classifier.cells.values()) == 39
    assert len(found.warnings) == 2
    assert "only 40 of 240 cells have a label" in found.warnings[0]
    assert found.warnings[1] == "left out, fewer than 10 cells: mast (1)"


def test_too_little_to_learn_from() -> None:
    made = table()
    made.obs["one"] = "B"
    made.obs["none"] = np.nan
    made.obs["few"] = ["B"] * 231 + ["T"] * 9
    with pytest.raises(InputError, match=r"two classes in 'few' .* B \(231\), T \(9\)"):
        fit_classifier([made], "few", "forest")
    with pytest.raises(InputError, match=r"found B \(240\); 0 of 240"):
        fit_classifier([made], "one", "forest")
    with pytest.raises(InputError, match="found none; 240 of 240"):
        fit_classifier([made], "none", "forest")
    with pytest.raises(InputError, match="column 'typ' in obs, found tissue_id"):
        fit_classifier([made], "typ", "forest")
    with pytest.raises(InputError, match="at least one table"):
        fit_classifier([], "one", "forest")
    with pytest.raises(InputError, match="forest, logistic; found 'svm'"):
        check_method("svm")


def test_what_a_classifier_does_not_fit(classifier) -> None:
    for other, said in (
        (table(signature="xyz"), r"the checkpoint 'abc' .* found 'xyz'"),
        (table(level="niche"), r"the level 'cell' .* found 'niche'"),
    ):
        with pytest.raises(InputError, match=said):
            annotate(other, classifier)
    narrow = table()
    narrow.obsm["X_virtues"] = narrow.obsm["X_virtues"][:, :8]
    with pytest.raises(InputError, match=r"width '12' .* found '8'"):
        annotate(narrow, classifier)
    with pytest.raises(MarkerError, match="found 2: P01732, P11836"):
        annotate(table(panel=("P01732", "P11836", "Q9", "Q8")), classifier)
    said = annotate(table(panel=(*PANEL[:3], "Q9")), classifier)
    assert "3 in both" in said.warnings[0]
    assert annotate(table(), classifier).warnings == ()


def test_tables_that_do_not_fit_each_other() -> None:
    for other, said in (
        (table(signature="xyz"), "tokens of one checkpoint in all tables"),
        (table(level="niche"), "tokens of one level in all tables"),
    ):
        with pytest.raises(InputError, match=said):
            fit_classifier([table(), other], "phenotype", "forest")
    with pytest.raises(MarkerError, match="found 1: stain:dna"):
        fit_classifier([table(), table(panel=("stain:dna", "Q9", "Q8"))], "phenotype", "forest")
    nameless = table()
    del nameless.uns["virtues"]
    with pytest.raises(InputError, match="no such entry"):
        fit_classifier([nameless], "phenotype", "forest")
    empty = table()
    del empty.obsm["X_virtues"]
    with pytest.raises(InputError, match="tokens in obsm"):
        fit_classifier([empty], "phenotype", "forest")
    broken = table()
    broken.obsm["X_virtues"][3, 3] = np.nan
    with pytest.raises(InputError, match="found NaN or infinity"):
        fit_classifier([broken], "phenotype", "logistic")


def test_patients_that_cannot_be_held_out_are_said() -> None:
    one = fit_classifier([table(patients=1)], "phenotype", "logistic", held_out=0.2)
    assert one.held_out is None
    assert one.warnings == ("all labels are of one patient: not measured on others",)
    unknown = table()
    unknown.obs["patient_id"] = np.nan
    found = fit_classifier([unknown], "phenotype", "logistic", held_out=0.2)
    assert found.held_out is not None
    assert found.warnings == ("patients are not known: tissues were held out instead",)


def test_files_that_are_no_tables(tmp_path) -> None:
    (tmp_path / "x.h5ad").write_text("no")
    for name, said in (("x.h5ad", "found something else"), ("y.h5ad", "found nothing")):
        with pytest.raises(ReadError, match=said):
            read_table(tmp_path / name)
    with pytest.raises(InputError, match=r"ends in \.h5ad or \.zarr"):
        write_table(table(), tmp_path / "x.csv")


def test_scoring_what_cannot_be_scored(classifier) -> None:
    made = table()
    with pytest.raises(InputError, match="a table with types"):
        score_annotation(made, "phenotype")
    write_annotation(made, annotate(made, classifier), classifier)
    made.obs["none"] = ""
    with pytest.raises(InputError, match="labels in 'none', found none"):
        score_annotation(made, "none")
    made.obs["some"] = made.obs["phenotype"].where(np.arange(240) < 60)
    scores, notes = score_annotation(made, "some")
    assert scores.confusion.sum() == 60
    assert notes == ("180 of 240 have no label in 'some'",)
    assert dataclasses.is_dataclass(scores)
