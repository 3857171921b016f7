"""F1, confusion and calibration against counts by hand."""

import json

import numpy as np
import pytest

from virtues_core.cohort import score
from virtues_core.cohort.scores import told
from virtues_core.errors import InputError

LABELS = np.array(["a", "a", "a", "b", "b", "c"])
TYPES = np.array(["a", "a", "b", "b", "unsure", "d"])


def test_scores_by_hand() -> None:
    found = score(LABELS, TYPES)
    a, b, c = (found.classes[name] for name in "abc")
    assert (a.precision, a.support) == (1, 3)
    assert (a.recall, a.f1) == (pytest.approx(2 / 3), pytest.approx(0.8))
    assert (b.precision, b.recall, b.f1, b.support) == (0.5, 0.5, 0.5, 2)
    assert (c.f1, c.support) == (0, 1)
    assert set(found.classes) == {"a", "b", "c"}
    assert found.macro_f1 == pytest.approx((0.8 + 0.5 + 0) / 3)
    assert found.accuracy == pytest.approx(0.5)
    assert found.names == ("a", "b", "c", "d", "unsure")
    assert found.confusion.tolist() == [
        [2, 1, 0, 0, 0],
        [0, 1, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    assert np.isnan(found.calibration_error)


def test_calibration_by_hand() -> None:
    probability = np.array([0.95, 1.0, 0.55, 0.52, np.nan, 0.0], np.float32)
    found = score(LABELS, TYPES, probability)
    assert [(b.cells, b.right) for b in found.calibration] == [(1, 0), (2, 0.5), (2, 1)]
    assert found.calibration[1].probability == pytest.approx(0.535)
    expected = (1 * 0 + 2 * abs(0.535 - 0.5) + 2 * 0.025) / 5
    assert found.calibration_error == pytest.approx(expected, abs=1e-6)


def test_json_holds_the_keys_that_others_rely_on() -> None:
    found = json.loads(json.dumps(score(LABELS, TYPES).to_dict(), allow_nan=False))
    assert found["macro_f1"] == pytest.approx(1.3 / 3)
    assert {"f1", "support"} <= set(found["classes"]["a"])
    assert found["confusion"]["cells"][0][1] == 1


def test_a_table_for_people() -> None:
    said = told({"tokens": score(LABELS, TYPES), "intensities": score(LABELS[:3], TYPES[:3])})
    assert said.splitlines() == [
        "class     cells  tokens  intensities",
        "a         3      0.800   0.800",
        "b         2      0.500   -",
        "c         1      0.000   -",
        "macro F1         0.433   0.800",
    ]


def test_refusals() -> None:
    with pytest.raises(InputError, match="found 0 types and 0 labels"):
        score(LABELS[:0], TYPES[:0])
    with pytest.raises(InputError, match="found 5 types and 6 labels"):
        score(LABELS, TYPES[:5])


def test_cells_of_one_class_alone() -> None:
    found = score(np.array(["a", "a"]), np.array(["a", "a"]))
    assert found.confusion.tolist() == [[2]]
    assert found.macro_f1 == 1


def test_further_rows_stand_below_their_columns() -> None:
    found = score(np.array(["a", "b"]), np.array(["a", "b"]))
    *_, macro, below = told({"x": found, "another": found}, [["95 %", "0.9-1.0", "0.8-1.0"]]).split(
        "\n"
    )
    assert below.index("0.8-1.0") == macro.rindex("1.000")
