"""Numbers as a report prints them."""

import numpy as np
import pandas as pd
import pytest

from virtues_core.report.numbers import number, p_value, with_interval


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.81234, "0.812"),
        (0.5, "0.500"),
        (0.0, "0"),
        (-0.0, "0"),
        (-2.1e-17, "0"),
        (2.1e-17, "2.10e-17"),
        (-3.14159, "-3.14"),
        (999.4, "999"),
        (999.6, "1,000"),
        (12345.6, "12,346"),
        (1.234e-5, "1.23e-05"),
        (np.float32(2.5), "2.50"),
        (np.int64(12345), "12,345"),
        (float("inf"), "∞"),
        (float("-inf"), "-∞"),
        (float("nan"), "–"),
        (pd.NA, "–"),
        (None, "–"),
        ("7", "–"),
    ],
)
def test_numbers(value: object, told: str) -> None:
    assert number(value) == told


def test_what_was_not_told_is_a_dash_and_never_a_p_value() -> None:
    assert p_value(None) == p_value(float("nan")) == "p –"
    assert p_value(0.0004) == "p < 0.001"
    assert p_value(0.05) == "p = 0.050"
    assert with_interval(2.0, float("nan"), 3.0) == "2.00 (no interval)"
    assert with_interval(0.81, 0.7, 0.9) == "0.810 (95 % interval 0.700 to 0.900)"
