"""Types of cells (or niches, or tissues) learnt from labels, here or in another cohort.

Source: the paper, Methods, "Cell-level tasks"; see `virtues_core.cohort.classify`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from virtues_core import __version__
from virtues_core.cohort import classify
from virtues_core.cohort.classify import Labels, Method
from virtues_core.cohort.scores import TypingScores, score
from virtues_core.cohort.table import UNSURE, features_of, labels, patients, provenance, tokens
from virtues_core.errors import InputError, MarkerError

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_CELLS = 10
"""A class with fewer labelled cells is left out: nothing can be learnt or measured of it."""
LEAST_SHARED = 3
"""Markers that two tables must share for types to be carried from one to the other."""
RECORD = "annotation"
"""Entry of ``uns`` that says how a table was typed."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """What was learnt, and what it fits."""

    estimator: Any
    """A fitted forest or logistic regression of scikit-learn."""
    method: Method
    label: str
    """Column of ``obs`` that it was learnt from."""
    classes: tuple[str, ...]
    """K names, in the order of its probabilities."""
    level: str
    """cell, niche or tissue."""
    checkpoint: str
    signature: str
    """Of the checkpoint whose tokens it reads."""
    panel: tuple[str, ...]
    """Marker keys that all the tables show that it was learnt from."""
    width: int
    """Values in a token."""
    cells: dict[str, int]
    """Labelled rows of each class."""
    markers: tuple[str, ...] = ()
    """Keys of those whose mean intensities it reads beside a token."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A classifier and what is to be said of it."""

    classifier: Classifier
    held_out: TypingScores | None
    """Of one fitted in the same way on the other patients; None where that was not measured."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Annotation:
    """Types of N rows."""

    types: Labels
    """(N,) names of classes, or "unsure"."""
    probability: NDArray[np.float32]
    """(N,) of the likeliest class."""
    probabilities: NDArray[np.float32]
    """(N, K) of all classes."""
    classes: tuple[str, ...]
    unsure_below: float
    warnings: tuple[str, ...] = ()


def fit_classifier(
    tables: Sequence["AnnData"],
    label: str,
    method: Method,
    *,
    held_out: float = 0.0,
    least_cells: int = LEAST_CELLS,
    seed: int = 0,
) -> Fitted:
    """Learn types from the labelled rows of some tables.

    Parameters
    ----------
    tables
        As `virtues embed` writes them, of one checkpoint and one level.
    label
        Column of ``obs``; rows without a label are not used.
    method
        ``forest`` or ``logistic``.
    held_out
        Share of the patients on which a classifier is measured that is fitted on the others; 0
        leaves that out. The one that is given is fitted on all of them.
    least_cells
        Classes with fewer labelled cells are left out, with a warning.
    seed
        Draws patients, rows and trees.

    Raises
    ------
    InputError
        Tables that do not fit each other, no tokens, or fewer than two classes that can be used.
    MarkerError
        The tables share fewer than three markers.
    """
    if not tables:
        message = "expected at least one table to learn from, found none."
        raise InputError(message)
    made, panel = _agreed(tables)
    features = np.concatenate([tokens(table) for table in tables])
    names, known = (np.concatenate(parts) for parts in zip(*(labels(t, label) for t in tables)))  # noqa: B905
    used, notes = usable(names, known, label, least_cells)
    estimator = classify.train(features[used], names[used], method, seed=seed)
    if not classify.converged(estimator):
        notes.append("the fit ran out of iterations: probabilities may be off")
    measured = None
    if held_out:
        measured, said = _measured(tables, features, names, used, method, held_out, seed)
        notes += said
    classifier = Classifier(
        estimator=estimator,
        method=method,
        label=label,
        classes=tuple(str(name) for name in estimator.classes_),
        level=made.level,
        checkpoint=made.checkpoint,
        signature=made.signature,
        panel=panel,
        width=features.shape[1],
        cells=dict(sorted(Counter(names[used].tolist()).items())),
    )
    return Fitted(classifier, measured, tuple(notes))


def annotate(table: "AnnData", classifier: Classifier, *, unsure_below: float = 0.0) -> Annotation:
    """Type the rows of a table.

    Parameters
    ----------
    table
        As `virtues embed` writes it, with the checkpoint and level of the classifier.
    classifier
        From `fit_classifier` or `load_classifier`.
    unsure_below
        Rows whose likeliest class is less probable are "unsure".

    Raises
    ------
    InputError
        Another checkpoint, level or width of tokens than the classifier was fitted on.
    MarkerError
        The table shares fewer than three markers with it, or lacks one whose intensity it reads.
    """
    if not 0 <= unsure_below <= 1:
        message = f"expected a probability from 0 to 1 to be sure, found {unsure_below!r}."
        raise InputError(message)
    notes = _check_fit(table, classifier)
    found = classify.probabilities(classifier.estimator, features_of(table, classifier.markers))
    best = found.argmax(1)
    probability = found[np.arange(len(found)), best]
    names = np.array(classifier.classes)[best]
    types = np.where(probability < unsure_below, UNSURE, names).astype(str)
    return Annotation(types, probability, found, classifier.classes, unsure_below, tuple(notes))


def write_annotation(table: "AnnData", found: Annotation, classifier: Classifier) -> None:
    """Put types into a table, in place; labels that it brought stay as they are.

    ``obs`` gets ``cell_type_predicted`` and ``cell_type_probability`` (``niche_type…`` or
    ``tissue_type…`` at those levels), and ``cell_type`` too where the table has no labels there;
    ``uns["annotation"]`` says how that was done.
    """
    import pandas as pd

    base = f"{classifier.level}_type"
    types = pd.Categorical(found.types, categories=[*found.classes, UNSURE])
    types = types.remove_unused_categories()
    own = base in table.obs and labels(table, base)[1].any()
    filled = not own or bool(table.uns.get(RECORD, {}).get("filled", False))
    table.obs[f"{base}_predicted"] = types
    table.obs[f"{base}_probability"] = found.probability
    if filled:
        table.obs[base] = types
    table.uns[RECORD] = {
        "column": f"{base}_predicted",
        "probability": f"{base}_probability",
        "filled": filled,
        "method": classifier.method,
        "label": classifier.label,
        "classes": list(classifier.classes),
        "checkpoint_signature": classifier.signature,
        "panel": list(classifier.panel),
        "unsure_below": float(found.unsure_below),
        "version": __version__,
    }


def score_annotation(table: "AnnData", label: str) -> tuple[TypingScores, tuple[str, ...]]:
    """Set the types of a table against labels that it brought.

    The calibration curve is of the cells that got a type.

    Parameters
    ----------
    table
        With types as `write_annotation` puts them.
    label
        Column of ``obs`` with the labels; rows without one are not counted.

    Returns
    -------
    scores, warnings

    Raises
    ------
    InputError
        The table has not been typed, has no such column, or no row has a label there; or the
        column holds the types themselves.
    """
    record = table.uns.get(RECORD)
    if record is None or str(record["column"]) not in table.obs:
        message = (
            "expected a table with types, found none. Type it with `virtues annotate predict`."
        )
        raise InputError(message)
    column = str(record["column"])
    if label == column or (bool(record["filled"]) and label == column.removesuffix("_predicted")):
        message = (
            f"expected labels in {label!r}, found the predicted types themselves. Name the column "
            "that says what the cells are."
        )
        raise InputError(message)
    names, known = labels(table, label)
    if not known.any():
        message = f"expected labels in {label!r}, found none. Name another column."
        raise InputError(message)
    notes = (
        [] if known.all() else [f"{int((~known).sum())} of {len(known)} have no label in {label!r}"]
    )
    types = table.obs[column].astype(str).to_numpy(str)
    probability = table.obs[str(record["probability"])].to_numpy(np.float32)
    probability = np.where(types == UNSURE, np.nan, probability).astype(np.float32)
    return score(names[known], types[known], probability[known]), tuple(notes)


def usable(
    names: Labels, known: NDArray[np.bool_], label: str, least_cells: int
) -> tuple[NDArray[np.bool_], list[str]]:
    """Choose the rows to learn from: labelled, and of a class with enough of them.

    Parameters
    ----------
    names, known
        (N,) as `labels` gives them.
    label
        Their column, for messages.
    least_cells
        Of a class.

    Returns
    -------
    rows
        (N,) True where it is used.
    warnings
        What was left out.

    Raises
    ------
    InputError
        Fewer than two classes are left.
    """
    counts = Counter(names[known].tolist())
    rare = {name: n for name, n in sorted(counts.items()) if n < least_cells}
    if len(counts) - len(rare) < 2:
        found = ", ".join(f"{name} ({n})" for name, n in sorted(counts.items())) or "none"
        message = (
            f"expected two classes in {label!r} with {least_cells} labelled cells or more, found "
            f"{found}; {int((~known).sum())} of {len(known)} cells have no label. Label more of "
            "them, or name another column."
        )
        raise InputError(message)
    notes = []
    if known.mean() < 0.5:
        notes.append(
            f"only {int(known.sum())} of {len(known)} cells have a label in {label!r}: if those "
            "were not chosen at random, types may be biased"
        )
    if rare:
        told = ", ".join(f"{name} ({n})" for name, n in rare.items())
        notes.append(f"left out, fewer than {least_cells} cells: {told}")
    return known & ~np.isin(names, list(rare)), notes


def _agreed(tables: Sequence["AnnData"]) -> tuple[Any, tuple[str, ...]]:
    """Check that tables can be learnt from together; give what made the first, and the markers."""
    made = [provenance(table) for table in tables]
    first = made[0]
    for number, other in enumerate(made[1:], start=2):
        for what, own, its in (
            ("checkpoint", first.signature, other.signature),
            ("level", first.level, other.level),
        ):
            if own != its:
                message = (
                    f"expected tokens of one {what} in all tables, found {its!r} in table {number} "
                    f"({_tissue(tables[number - 1])}) and {own!r} in the first "
                    f"({_tissue(tables[0])}). Embed them in the same way."
                )
                raise InputError(message)
    panel = set(first.panel).intersection(*(other.panel for other in made[1:]))
    if len(panel) < LEAST_SHARED:
        raise MarkerError(_too_few_shared(panel))
    widths = {tokens(table).shape[1] for table in tables}
    if len(widths) > 1:
        message = f"expected tokens of one width, found {sorted(widths)}. Embed them again."
        raise InputError(message)
    return first, tuple(sorted(panel))


def _tissue(table: "AnnData") -> str:
    """Name the tissue of a table's first row, for messages."""
    return str(table.obs["tissue_id"].iloc[0]) if "tissue_id" in table.obs else "no tissue_id"


def _measured(
    tables: Sequence["AnnData"],
    features: NDArray[np.float32],
    names: Labels,
    used: NDArray[np.bool_],
    method: Method,
    fraction: float,
    seed: int,
) -> tuple[TypingScores | None, list[str]]:
    """Fit on some patients and score on the others."""
    found = [patients(table) for table in tables]
    unit = "patient" if all(own == "patient" for _, own in found) else "tissue"
    groups = np.concatenate([own for own, _ in found])
    if len(np.unique(groups[used])) < 2:
        return None, [f"all labels are of one {unit}: not measured on others"]
    test = np.zeros(len(used), bool)
    test[used] = classify.kept_out(groups[used].tolist(), fraction, seed=seed)
    rest = used & ~test
    if len(np.unique(names[rest])) < 2:
        return None, [f"the {unit}s that are left show one class alone: not measured"]
    estimator = classify.train(features[rest], names[rest], method, seed=seed)
    probability = classify.probabilities(estimator, features[test])
    types = estimator.classes_[probability.argmax(1)].astype(str)
    notes = [] if unit == "patient" else ["patients are not known: tissues were held out instead"]
    return score(names[test], types, probability.max(1)), notes


def _check_fit(table: "AnnData", classifier: Classifier) -> list[str]:
    made, width = provenance(table), tokens(table).shape[1]
    for what, expected, found in (
        ("the checkpoint", classifier.signature, made.signature),
        ("the level", classifier.level, made.level),
        ("tokens of the width", str(classifier.width), str(width)),
    ):
        if expected != found:
            message = (
                f"expected {what} {expected!r} (as the classifier was fitted with: "
                f"{classifier.checkpoint}), found {found!r} ({made.checkpoint}). Embed the image "
                "with that one, or fit a classifier on tokens like these."
            )
            raise InputError(message)
    shared = set(classifier.panel) & set(made.panel)
    if len(shared) < LEAST_SHARED:
        raise MarkerError(_too_few_shared(shared))
    if set(made.panel) == set(classifier.panel):
        return []
    return [
        f"tokens here are of {len(made.panel)} markers, those learnt from of "
        f"{len(classifier.panel)}, {len(shared)} in both: types carry over best where both are "
        "embedded from the shared ones alone (`virtues embed --markers`)"
    ]


def _too_few_shared(shared: set[str]) -> str:
    return (
        f"expected {LEAST_SHARED} markers or more that both panels show, found {len(shared)}"
        f"{': ' + ', '.join(sorted(shared)) if shared else ''}. Types cannot be carried over from "
        "that; check the accessions (`virtues markers map`), or label cells of this cohort."
    )
