"""Classifiers on disk: what goes in comes out, and nothing else does."""

import copy
import json
import pickle
import zipfile

import numpy as np
import pytest
import skops.io
from cohort_samples import table

from virtues_core.cohort import annotate, fit_classifier, load_classifier, save_classifier
from virtues_core.cohort.classifier_file import TRUSTED
from virtues_core.errors import ReadError


@pytest.fixture(scope="module", params=["forest", "logistic"])
def classifier(request):
    return fit_classifier([table()], "phenotype", request.param).classifier


def rewritten(path, change):
    """Change the schema of an archive."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    change(schema)
    parts["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def test_a_classifier_comes_back_whole(classifier, tmp_path) -> None:
    path = tmp_path / "model"  # any name will do
    save_classifier(classifier, path)
    back = load_classifier(path)
    for field in ("method", "label", "classes", "level", "checkpoint", "signature", "panel",
                  "width", "cells", "markers"):  # fmt: skip
        assert getattr(back, field) == getattr(classifier, field)
    new = table(seed=7)
    np.testing.assert_array_equal(
        annotate(new, back).probabilities, annotate(new, classifier).probabilities
    )


def test_a_file_from_before_intensities(classifier, tmp_path) -> None:
    path = tmp_path / "model.skops"
    save_classifier(classifier, path)
    about = json.loads(skops.io.load(path, trusted=sorted(TRUSTED))["about"])
    del about["markers"]
    held = {"about": json.dumps(about | {"format": 1}), "estimator": classifier.estimator}
    skops.io.dump(held, path)
    assert load_classifier(path).markers == ()


def test_no_pickle_and_no_other_type(classifier, tmp_path) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(pickle.dumps({"about": "{}"}))
    with pytest.raises(ReadError, match="not a whole classifier"):
        load_classifier(path)
    from sklearn.svm import SVC

    skops.io.dump({"about": "{}", "estimator": SVC()}, path)
    with pytest.raises(ReadError, match=r"holds sklearn\.svm\._classes\.SVC"):
        load_classifier(path)
    save_classifier(classifier, path)

    def worse(schema) -> None:
        schema["content"]["about"] = {
            "__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1,
            "content": {"module_path": "os", "function": "system"},
        }  # fmt: skip

    rewritten(path, worse)
    with pytest.raises(ReadError, match=r"holds os\.system"):
        load_classifier(path)


def test_damage_is_noticed(classifier, tmp_path) -> None:
    path = tmp_path / "model.skops"
    with pytest.raises(ReadError, match="found no file"):
        load_classifier(path)
    save_classifier(classifier, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReadError, match="not a whole classifier"):
        load_classifier(path)
    skops.io.dump({"about": "{}", "estimator": classifier.estimator}, path)
    with pytest.raises(ReadError, match="not a whole classifier"):
        load_classifier(path)
    path.write_bytes(whole)
    assert load_classifier(path).classes == classifier.classes


def test_parts_that_do_not_fit_each_other(classifier, tmp_path) -> None:
    path = tmp_path / "model.skops"
    save_classifier(classifier, path)
    about = json.loads(skops.io.load(path, trusted=sorted(TRUSTED))["about"])
    for change in (
        {"width": 11},
        {"classes": ["B", "T", "mast"]},
        {"format": 3},
        {"markers": ["P01732"]},
        {"method": "logistic" if classifier.method == "forest" else "forest"},
    ):
        held = {"about": json.dumps(about | change), "estimator": classifier.estimator}
        skops.io.dump(held, path)
        with pytest.raises(ReadError, match="not a whole classifier"):
            load_classifier(path)


def test_a_tree_that_leads_astray_is_refused(tmp_path) -> None:
    """Compiled code would follow it out of its memory."""
    classifier = fit_classifier([table()], "phenotype", "forest").classifier
    for name, value in (("left_child", 10**6), ("right_child", 0), ("feature", 10**6)):
        tree = classifier.estimator.estimators_[5].tree_
        state = copy.deepcopy(tree.__getstate__())  # it shows the tree's own memory
        nodes = state["nodes"].copy()
        nodes[name][0] = value
        tree.__setstate__(state | {"nodes": nodes})
        save_classifier(classifier, tmp_path / "model")
        with pytest.raises(ReadError, match="not a whole classifier"):
            load_classifier(tmp_path / "model")
        tree.__setstate__(state)
    save_classifier(classifier, tmp_path / "model")
    load_classifier(tmp_path / "model")
