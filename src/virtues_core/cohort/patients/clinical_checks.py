"""What a clinical table's columns say, in numbers, and what is wrong with them, in words."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from virtues_core.cohort.patients.wording import counted, some

if TYPE_CHECKING:
    import pandas as pd

    from virtues_core.cohort.patients.clinical import Columns

_CATEGORIES = 30
"""A column of more different values is no category."""
_YES = {"1", "1.0", "yes", "true"}
_NO = {"0", "0.0", "no", "false"}


def unknown(name: str, raw: "pd.DataFrame") -> str:
    """Say that a column is not there, and which may be meant."""
    names = [str(column) for column in raw.columns]
    near = get_close_matches(name.lower(), [n.lower() for n in names], n=2, cutoff=0.6)
    close = [n for n in names if n.lower() in near]
    hint = (
        f"did you mean {' or '.join(map(repr, close))}?" if close else f"it has {some(names, 20)}."
    )
    return f"expected a column {name!r}, found none; {hint}"


def problems_of_names(raw: "pd.DataFrame", columns: "Columns") -> list[str]:
    """Tell rows without a name, and names that differ in case or blanks alone."""
    problems = []
    for what, name in (("patient", columns.patient), ("tissue", columns.tissue)):
        if not name:
            continue
        lacking = (np.flatnonzero(raw[name].isna().to_numpy()) + 2).tolist()
        if lacking:
            problems.append(
                f"{counted(len(lacking), 'row')} without a {what} in {name!r} (line "
                f"{some(lacking)}). Name the {what}, or delete the row."
            )
        alike = _alike(raw[name].dropna(), bare_name, numbers=True)
        if alike:
            problems.append(f"a {what} written in two ways: {some(alike)}. Write each in one way.")
    return problems


def bare_name(text: str) -> str:
    """Give what is left of a name without what a spreadsheet changes: case, blanks, zeros.

    Examples
    --------
    >>> [bare_name(text) for text in ("P 1", "p  1", "001", "1.0", "1.10")]
    ['p 1', 'p 1', '1', '1', '1.10']
    """
    number = re.fullmatch(r"0*(\d+)(\.0)?", text)
    return number[1] if number else " ".join(text.casefold().split())


def once_each(
    raw: "pd.DataFrame", columns: "Columns", problems: list[str], notes: list[str]
) -> "pd.DataFrame":
    """Keep one row a patient, or a tissue; tell rows that contradict each other."""
    key = columns.tissue or columns.patient
    rows = raw.dropna(subset=[name for name in (columns.patient, columns.tissue) if name])
    once = rows.drop_duplicates()
    if len(once) < len(rows):
        again = some(rows.loc[rows.duplicated(), key].unique())
        notes.append(f"{counted(len(rows) - len(once), 'row')} said the same twice: {again}.")
    twice = once.loc[once[key].duplicated(), key].unique()
    if len(twice):
        what = "tissue" if columns.tissue else "patient"
        problems.append(
            f"{counted(len(twice), what)} in several rows that differ ({some(twice)}). Leave one "
            "row of each"
            + (
                "." if columns.tissue
                else ", or name the column of tissues if a row is a tissue (--tissue)."
            )
        )  # fmt: skip
    if columns.tissue:
        for name in columns.of_patients:
            many = once.groupby(columns.patient)[name].nunique()
            if (many > 1).any():
                problems.append(
                    f"{name!r} differs between tissues of "
                    f"{counted(int((many > 1).sum()), 'patient')} ({some(many.index[many > 1])}). "
                    "A patient has one value."
                )
    return once.drop_duplicates(subset=[key]).reset_index(drop=True)


def typed(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Make numbers of columns in which all that is known is one."""
    import pandas as pd

    found = {}
    for name in rows.columns:
        numbers = pd.to_numeric(rows[name], errors="coerce")
        whole = bool((numbers.notna() == rows[name].notna()).all()) and bool(numbers.notna().any())
        found[name] = numbers if whole else rows[name].astype(object)
    return pd.DataFrame(found, index=rows.index, columns=rows.columns)


def spelt_twice(rows: "pd.DataFrame", columns: "Columns", notes: list[str]) -> list[str]:
    """Tell values that differ in case, blanks or punctuation alone; noted where not used."""
    problems = []
    used = {*columns.of_patients, columns.timepoint} - {columns.time, ""}
    for name in rows.columns:
        if name in {columns.patient, columns.tissue}:
            continue
        alike = _alike(rows[name].dropna(), _bare)
        if alike and name in used:
            problems.append(
                f"{name!r} has a category spelt in two ways: {some(alike)}. Spell each in one way."
            )
        elif alike and rows[name].nunique() <= _CATEGORIES:
            notes.append(f"{name!r} (not used) has a category spelt in two ways: {some(alike)}.")
    return problems


def _bare(text: str) -> str:
    """Give what is left of a spelling without case, blanks and what only parts words.

    Signs stay (ER+ is not ER-), and so does what parts two numbers (T1-2 is not T12).
    """
    kept = re.sub(r"(?<=\d)[\s_.,:-]+(?=\d)", "~", text.casefold())
    return re.sub(r"[\s_.,;:'\"()]|(?<=\w)-(?=\w)", "", kept) or text


def _alike(values: "pd.Series", bare: Callable[[str], str], *, numbers: bool = False) -> list[str]:
    """Give spellings that are one in their bare form, as ``'a' and 'A'``; of numbers if asked."""
    spellings: dict[str, set[str]] = {}
    for text in values.unique():
        if numbers or not _is_number(text):
            spellings.setdefault(bare(text), set()).add(text)
    ways = [sorted(found) for found in spellings.values() if len(found) > 1]
    return [" and ".join(map(repr, found)) for found in ways]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def gaps(table: "pd.DataFrame", columns: "Columns") -> list[str]:
    """Count missing values by column."""
    missing = {name: int(table[name].isna().sum()) for name in columns.of_patients}
    return [
        f"{name!r} is missing for {counted(count, 'patient')} of {len(table):,}."
        for name, count in missing.items()
        if count
    ]


def problems_of_values(table: "pd.DataFrame", columns: "Columns") -> list[str]:
    """Say what keeps the outcome and the survival of these patients from being analysed."""
    problems = []
    if columns.outcome:
        problems += outcome_of(table[columns.outcome], columns.positive)[1]
    if columns.time:
        problems += survival_of(table[columns.time], table[columns.event])[1]
    return problems


def outcome_of(column: "pd.Series", positive: str) -> tuple["pd.Series", list[str]]:
    """Give 0 or 1 by patient, gaps left out, and what is wrong; see `Columns.positive`."""
    known = column.dropna().map(_plain)
    values = sorted(set(known))
    if positive:
        if positive not in values:
            said = (
                f"expected {positive!r} among the values of {column.name!r}, found {some(values)}."
            )
            return known, [f"{said} Name one of those as positive."]
        found = (known == positive).astype(int)
    else:
        odd = {value for value in values if value.lower() not in _YES | _NO}
        if odd:
            said = (
                f"expected 0 or 1, yes or no, true or false in {column.name!r}, found {some(odd)}."
            )
            return known, [f"{said} Say which value counts as 1 (--positive)."]
        found = known.map(lambda value: int(value.lower() in _YES))
    if found.nunique() < 2:
        said = f"expected two classes of outcome in {column.name!r}, found "
        only = f"{some(values)} for all {len(found):,} patients" if values else "no value at all"
        return found, [f"{said}{only}. There is nothing to tell apart."]
    return found, []


def told_by(table: "pd.DataFrame", outcome: "pd.Series") -> list[str]:
    """Note columns of categories by which the outcome of each patient is known.

    Parameters
    ----------
    table
        Clinical columns by patient.
    outcome
        0 and 1, or classes, by patient; that of others is not known.
    """
    found = []
    for name in table.columns:
        own = table.loc[outcome.index, name].dropna()
        if name == outcome.name or not 1 < own.nunique() <= len(own) // 3:
            continue
        groups = outcome[own.index].groupby(own.to_numpy())
        if (groups.nunique() == 1).all() and outcome[own.index].nunique() > 1:
            found.append(repr(str(name)))
    if not found:
        return []
    return [
        f"{', '.join(found)} of the clinical table tells {str(outcome.name)!r} of every patient: "
        "where it is a batch (site, slide, day of staining), what is found may be that."
    ]


def _plain(value: object) -> str:
    """Write a value as the table has it: 1.0, of a column with gaps, as 1."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def survival_of(times: "pd.Series", events: "pd.Series") -> tuple["pd.DataFrame", list[str]]:
    """Give ``time`` and ``event`` of the patients who have both, and what is wrong."""
    import pandas as pd

    problems = []
    numbers = pd.to_numeric(times, errors="coerce")
    faults = (
        ("text", times.notna() & numbers.isna()),
        ("negative", numbers < 0),
        ("infinite", numbers.abs() == np.inf),
    )
    for what, wrong in faults:
        if wrong.any():
            told = [f"{name}: {_plain(value)}" for name, value in times[wrong].items()]
            problems.append(
                f"expected times of 0 or more in {times.name!r}, found {what} for "
                f"{counted(int(wrong.sum()), 'patient')} ({some(told)}). Mend or empty them."
            )
    if not problems and (numbers == 0).any() and not (numbers > 0).any():
        problems.append(
            f"expected times above 0 in {times.name!r}, found 0 for all patients. Name "
            "another column."
        )
    known = events.dropna().map(lambda value: _plain(value).lower())
    odd = known[~known.isin(_YES | _NO)]
    if len(odd):
        problems.append(
            f"expected 1 (seen) or 0 (censored) in {events.name!r}, found {some(set(odd))} for "
            f"{counted(len(odd), 'patient')}. Write 0 or 1."
        )
    seen = known.isin(_YES)
    both = numbers.notna() & events.notna()
    if not problems and not both.any():
        problems.append(
            f"expected a time in {times.name!r} and 0 or 1 in {events.name!r}, found no patient "
            "with both. Name other columns, or fill them."
        )
    elif not problems and not seen[both[both].index].any():
        problems.append(
            f"expected an event in {events.name!r}, found {counted(int(both.sum()), 'patient')} "
            "with a time, all of them censored. There is no survival to compare."
        )
    table = pd.DataFrame({"time": numbers.astype(float), "event": seen.reindex(times.index)})
    return table[both].astype({"event": bool}), problems
