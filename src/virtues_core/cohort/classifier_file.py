"""Classifiers on disk, written and read by skops: no pickle, and nothing but what is listed here.

A file is a zip archive of ``schema.json`` and arrays. Before anything of it is made, each type that
its schema names is looked up in `TRUSTED`.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from virtues_core.cohort.annotate import Classifier
from virtues_core.cohort.classify import check_method
from virtues_core.errors import InputError, ReadError
from virtues_core.files import replacing

FORMAT = 2
"""1: of tokens alone."""
TRUSTED = frozenset(
    {
        "builtins.bool",
        "builtins.dict",
        "builtins.float",
        "builtins.int",
        "builtins.list",
        "builtins.NoneType",
        "builtins.str",
        "builtins.tuple",
        "numpy.dtype",
        "numpy.float32",
        "numpy.float64",
        "numpy.int32",
        "numpy.int64",
        "numpy.ndarray",
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._tree.Tree",
    }
)
"""What a classifier is made of."""


def save_classifier(classifier: Classifier, path: Path) -> None:
    """Write a classifier; an older file is replaced when the new one is whole.

    Raises
    ------
    VirtuesError
        The disk is full or the folder cannot be written.
    """
    import skops.io

    about = {
        "format": FORMAT,
        "method": classifier.method,
        "label": classifier.label,
        "classes": list(classifier.classes),
        "level": classifier.level,
        "checkpoint": classifier.checkpoint,
        "checkpoint_signature": classifier.signature,
        "panel": list(classifier.panel),
        "width": classifier.width,
        "cells": classifier.cells,
        "markers": list(classifier.markers),
    }
    with replacing(Path(path)) as new:
        skops.io.dump({"about": json.dumps(about), "estimator": classifier.estimator}, new)


def load_classifier(path: Path) -> Classifier:
    """Read a classifier that `save_classifier` wrote.

    Raises
    ------
    ReadError
        Nothing is there; it is no such file, damaged, of a later version, or names a type that is
        not trusted (nothing of it is made then).
    """
    path = Path(path)
    if not path.is_file():
        message = (
            f"expected a classifier at {str(path)!r}, found no file. Check the path, or make one "
            "with `virtues annotate fit`."
        )
        raise ReadError(message)
    held = _read(path)
    try:
        about, estimator = json.loads(held["about"]), held["estimator"]
        classifier = Classifier(
            estimator=estimator,
            method=check_method(about["method"]),
            label=str(about["label"]),
            classes=tuple(map(str, about["classes"])),
            level=str(about["level"]),
            checkpoint=str(about["checkpoint"]),
            signature=str(about["checkpoint_signature"]),
            panel=tuple(map(str, about["panel"])),
            width=int(about["width"]),
            cells={str(name): int(n) for name, n in about["cells"].items()},
            markers=tuple(map(str, about["markers"] if about["format"] > 1 else ())),
        )
        sound = about["format"] <= FORMAT and _sound(classifier)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, InputError) as error:
        raise _damaged(path, str(error)) from error
    if not sound:
        raise _damaged(path, "its parts do not fit each other, or it is of a later version")
    return classifier


def _read(path: Path) -> Any:
    """Read the archive, once each type in it is known to be trusted."""
    import skops.io

    try:
        with zipfile.ZipFile(path) as archive:
            schema = json.loads(archive.read("schema.json"))
        strange = sorted(set(_types(schema)) - TRUSTED)
        if strange:
            message = (
                f"{path.name} holds {', '.join(strange)}, which no classifier of ours is made of, "
                "and was not opened. Use a file that `virtues annotate fit` wrote."
            )
            raise ReadError(message)
        return skops.io.load(path, trusted=sorted(TRUSTED))
    except ReadError:
        raise
    except Exception as error:  # a damaged archive may raise anything
        raise _damaged(path, str(error)) from error


def _types(node: Any) -> Iterator[str]:
    """Names of the types that a schema asks for, wherever they stand."""
    if isinstance(node, dict):
        if "__class__" in node:
            yield f"{node.get('__module__')}.{node['__class__']}"
        for value in node.values():
            yield from _types(value)
    elif isinstance(node, list):
        for value in node:
            yield from _types(value)


def _sound(classifier: Classifier) -> bool:
    """Say whether an estimator is what its description says, and safe to run."""
    estimator, classes = classifier.estimator, classifier.classes
    width = classifier.width + len(classifier.markers)
    if tuple(map(str, estimator.classes_)) != classes or estimator.n_features_in_ != width:
        return False
    if classifier.method == "logistic":
        rows = 1 if len(classes) == 2 else len(classes)
        shapes = (np.shape(estimator.coef_), np.shape(estimator.intercept_))
        return type(estimator).__name__ == "LogisticRegression" and shapes == (
            (rows, width),
            (rows,),
        )
    return type(estimator).__name__ == "RandomForestClassifier" and all(
        _sound_tree(one.tree_, width, len(classes)) for one in estimator.estimators_
    )


def _sound_tree(tree: Any, width: int, classes: int) -> bool:
    """Say whether each inner node of a tree leads to two later ones, by a value that rows have.

    Compiled code follows them unchecked.
    """
    left, right, count = tree.children_left, tree.children_right, tree.node_count
    place, inner = np.arange(count), left != -1
    if tree.n_features != width or tree.value.shape != (count, 1, classes) or not count:
        return False
    ahead = [
        (child[inner] > place[inner]).all() and (child[inner] < count).all()
        for child in (left, right)
    ]
    feature = tree.feature[inner]
    return bool(all(ahead) and (feature >= 0).all() and (feature < width).all())


def _damaged(path: Path, why: str) -> ReadError:
    return ReadError(
        f"{path.name} is not a whole classifier ({why}). Copy it again, or make it anew with "
        "`virtues annotate fit`."
    )
