"""Numbers as a report prints them; what could not be told is a dash."""

import math
import numbers

DASH = "–"
_SMALLEST_P = 0.001
_ROUNDING = -1e-12
"""What is left below zero of a sum that is zero; above it a p-value may be as small."""


def number(value: object, digits: int = 3) -> str:
    """Print a number with so many significant digits; whole numbers whole, with commas.

    Parameters
    ----------
    value
        A number, or None or NaN where there is none.
    digits
        Significant digits of what is not whole.

    Examples
    --------
    >>> number(0.81234), number(12345), number(12345.6), number(None), number(0.00001234)
    ('0.812', '12,345', '12,346', '–', '1.23e-05')
    """
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    if not isinstance(value, numbers.Real) or math.isnan(value):
        return DASH
    found = float(value)
    if math.isinf(found):
        return "∞" if found > 0 else "-∞"
    if _ROUNDING < found <= 0:
        return "0"
    if abs(found) >= 10**digits - 0.5:
        return f"{found:,.0f}"
    return f"{found:#.{digits}g}".rstrip(".")


def p_value(value: object) -> str:
    """Print a p-value: three decimals, or that it is below 0.001.

    Examples
    --------
    >>> p_value(0.0312), p_value(0.00004), p_value(None)
    ('p = 0.031', 'p < 0.001', 'p –')
    """
    if not isinstance(value, numbers.Real) or math.isnan(value):
        return f"p {DASH}"
    return f"p < {_SMALLEST_P}" if value < _SMALLEST_P else f"p = {float(value):.3f}"


def with_interval(value: object, lower: object, upper: object, digits: int = 3) -> str:
    """Print an estimate with its 95 % interval.

    Examples
    --------
    >>> with_interval(0.81, 0.7, 0.9), with_interval(2.0, None, None)
    ('0.810 (95 % interval 0.700 to 0.900)', '2.00 (no interval)')
    """
    low, high = number(lower, digits), number(upper, digits)
    told = "no interval" if DASH in (low, high) else f"95 % interval {low} to {high}"
    return f"{number(value, digits)} ({told})"
