"""How what is wrong with a cohort is told: by count and by name, all of it at once."""

from collections.abc import Iterable, Sequence

SHOWN = 5
"""Names that are told; of more the first of them."""
PROBLEMS = 12
"""That are told, likewise: one column may be missing from a thousand tables."""


def some(names: Iterable[object], shown: int = SHOWN) -> str:
    """Name things, the first of them where they are many.

    Examples
    --------
    >>> some(["P2", "P1"])
    'P1, P2'
    >>> some(range(7))
    '0, 1, 2, 3, 4 and 2 more'
    """
    told = sorted(str(name) for name in names)
    more = len(told) - shown
    return ", ".join(told[:shown]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, one: str, many: str = "") -> str:
    """Count things.

    Examples
    --------
    >>> counted(1, "patient"), counted(1200, "patient"), counted(2, "has", "have")
    ('1 patient', '1,200 patients', '2 have')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def report(of: str, problems: Sequence[str]) -> str:
    """Put what is to be mended into one message.

    Examples
    --------
    >>> print(report("clinical.csv", ["no column 'died'.", "1 patient twice."]))
    clinical.csv: 2 problems
    - no column 'died'.
    - 1 patient twice.
    """
    if len(problems) == 1:
        return f"{of}: {problems[0]}"
    more = len(problems) - PROBLEMS
    told = [*problems[:PROBLEMS], *([f"and {more} more"] if more > 0 else [])]
    return "\n- ".join([f"{of}: {len(problems)} problems", *told])
