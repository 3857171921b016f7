"""What a clinic knows of its patients, checked before any analysis runs.

All that is wrong with a table is told in one message, by count and by name.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from virtues_core.cohort.patients.clinical_checks import (
    gaps,
    once_each,
    outcome_of,
    problems_of_names,
    problems_of_values,
    spelt_twice,
    survival_of,
    told_by,
    typed,
    unknown,
)
from virtues_core.cohort.patients.clinical_file import read_text
from virtues_core.cohort.patients.wording import report
from virtues_core.errors import ConfigError, InputError

if TYPE_CHECKING:
    import pandas as pd

TISSUE = "tissue_id"
"""The column that is taken to name tissues where no other is named."""


@dataclass(frozen=True)
class Columns:
    """Which column of a clinical table is what; empty where there is none."""

    patient: str
    """Names the patient."""
    tissue: str = ""
    """Names the tissue, as in the tables of tokens; then the table has one row a tissue. Where it
    is empty and a column ``tissue_id`` tells the rows apart, that says whose the tissues are of
    which the tables of tokens do not."""
    outcome: str = ""
    """What is to be told of a patient: 0 or 1, yes or no, true or false; else see `positive`."""
    positive: str = ""
    """Value of the outcome that counts as 1; all others count as 0."""
    time: str = ""
    """Follow-up to the event or to the last contact, in any unit."""
    event: str = ""
    """1, yes or true: the event was seen; 0, no or false: censored."""
    timepoint: str = ""
    """When a tissue was taken: a name, such as baseline."""
    covariates: tuple[str, ...] = ()
    """What an analysis adjusts for: numbers or categories."""

    def __post_init__(self) -> None:
        if not self.patient or self.patient == self.tissue:
            found = "none" if not self.patient else f"{self.tissue!r} for tissues as well"
            message = f"patient: expected the name of a column of its own, found {found}."
            raise ConfigError(message)
        object.__setattr__(self, "covariates", tuple(dict.fromkeys(self.covariates)))
        for name in {self.patient, self.tissue} & {*self.of_patients, self.timepoint} - {""}:
            message = (
                f"expected another column for what is known of patients and tissues, found "
                f"{name!r}, which names them. Name another one."
            )
            raise ConfigError(message)
        if self.time and self.time == self.event:
            message = f"expected two columns for time and event, found {self.time!r} for both."
            raise ConfigError(message)
        if bool(self.time) != bool(self.event):
            message = "time, event: expected both columns or neither, found one. Name the other."
            raise ConfigError(message)
        for name in {self.outcome, self.time, self.event} & {*self.covariates} - {""}:
            message = (
                f"covariates: expected columns other than what is to be told, found {name!r}: "
                "adjusted for itself, nothing is left to tell. Leave it out."
            )
            raise ConfigError(message)
        if self.positive and not self.outcome:
            message = f"positive: {self.positive!r} is a value of an outcome, found no column of "
            raise ConfigError(message + "that. Name the outcome's column.")

    @property
    def used(self) -> tuple[str, ...]:
        """Names of all columns that are used, each once."""
        named = (
            self.patient, self.tissue, self.outcome, self.time, self.event, self.timepoint,
            *self.covariates,
        )  # fmt: skip
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def of_patients(self) -> tuple[str, ...]:
        """Names of those that must be the same in all rows of a patient."""
        named = (self.outcome, self.time, self.event, *self.covariates)
        return tuple(dict.fromkeys(name for name in named if name))


@dataclass(frozen=True, eq=False)
class Clinical:
    """A clinical table of P patients, as `read_clinical` checked it."""

    table: "pd.DataFrame"
    """P rows; index ``patient_id``, text, sorted. The file's other columns: numbers where all
    values are, else text with gaps. Of a table of tissues a patient's first known value."""
    tissues: "pd.Series | None"
    """``tissue_id`` → ``patient_id``; None where the table does not name tissues."""
    columns: Columns
    """As they were asked for."""
    notes: tuple[str, ...] = ()
    """What a reader should know: gaps by column, rows that said the same twice, …"""
    by_tissue: "pd.DataFrame | None" = None
    """The file's other columns by ``tissue_id``; None where it does not name tissues."""
    path: str = ""
    """The file it was read from."""

    def outcome(self) -> "pd.Series":
        """Give the outcome, 0 or 1, by patient; those of whom it is not known are left out.

        Raises
        ------
        InputError
            No column was named as the outcome, or all patients have the same.
        """
        column = self._named("outcome")
        values, problems = outcome_of(self.table[column], self.columns.positive)
        _refuse(self, problems)
        return values

    def outcome_twins(self) -> list[str]:
        """Note other columns by which the outcome of each patient is known."""
        return told_by(self.table, self.outcome())

    def survival(self) -> "pd.DataFrame":
        """Give ``time`` (float) and ``event`` (bool) by patient; those without are left out.

        Raises
        ------
        InputError
            No columns were named as time and event, or nobody had the event.
        """
        time, event = self._named("time"), self._named("event")
        values, problems = survival_of(self.table[time], self.table[event])
        _refuse(self, problems)
        return values

    def covariates(self) -> "pd.DataFrame":
        """Give what an analysis adjusts for, by patient, with gaps: numbers or categories."""
        found = self.table[list(self.columns.covariates)].copy()
        for name in found.columns:
            if found[name].dtype == object:
                found[name] = found[name].astype("category")
        return found

    def timepoints(self) -> "pd.Series":
        """Give when each tissue was taken: ``tissue_id`` → name, gaps left out.

        Raises
        ------
        InputError
            No column of time points, or the table does not name tissues.
        """
        column = self._named("timepoint")
        if self.by_tissue is None:
            message = (
                "expected a row a tissue for time points, found a row a patient. Name the column "
                "of tissues (--tissue)."
            )
            raise InputError(message)
        return self.by_tissue[column].dropna().astype(str)

    def of(self, patients: Sequence[str]) -> "Clinical":
        """Give the part of some patients.

        Raises
        ------
        InputError
            Those have one outcome alone, or none of them had the event.
        """
        kept = self.table.loc[sorted(patients)]
        tissues, by_tissue = self.tissues, self.by_tissue
        if tissues is not None and by_tissue is not None:
            own = tissues.isin(set(patients))
            tissues, by_tissue = tissues[own], by_tissue[own.to_numpy()]
        part = dataclasses.replace(self, table=kept, tissues=tissues, by_tissue=by_tissue)
        _refuse(part, problems_of_values(part.table, part.columns))
        return part

    def _named(self, role: str) -> str:
        column = str(getattr(self.columns, role))
        if not column:
            message = (
                f"expected a column of the clinical table as {role}, found none named. Name it "
                f"with --{role}."
            )
            raise InputError(message)
        return column


def read_clinical(path: Path | str, columns: Columns) -> Clinical:
    """Read a clinical table and check all that the named columns say.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv`` or ``.parquet``; one row a patient, or, with ``columns.tissue``, one
        row a tissue, whose rows agree on what is said of a patient.
    columns
        Which column is what.

    Returns
    -------
    Clinical

    Raises
    ------
    ReadError
        The file is missing or cannot be read.
    InputError
        All that is wrong, at once: columns that are not there, rows without a name, rows that
        contradict each other, times that are negative or text, events other than 0 and 1, one
        outcome alone, nobody with the event, a category spelt in two ways.
    """
    path = Path(path)
    raw = read_text(path)
    problems = [unknown(name, raw) for name in columns.used if name not in raw.columns]
    if problems:
        raise InputError(report(path.name, problems))
    asked = columns
    if names_tissues(raw, columns):
        columns = dataclasses.replace(columns, tissue=TISSUE)
    problems = problems_of_names(raw, columns)
    notes: list[str] = []
    rows = once_each(raw, columns, problems, notes)
    table = typed(rows.groupby(columns.patient, sort=True).first().rename_axis("patient_id"))
    problems += spelt_twice(rows, columns, notes)
    problems += problems_of_values(table, columns)
    if problems:
        raise InputError(report(path.name, problems))
    notes += gaps(table, columns)
    tissues = by_tissue = None
    if columns.tissue:
        rows = rows.set_index(columns.tissue).rename_axis("tissue_id").sort_index()
        tissues = rows.pop(columns.patient).rename("patient_id")
        by_tissue = typed(rows)
    return Clinical(table, tissues, asked, tuple(notes), by_tissue, str(path))


def names_tissues(raw: "pd.DataFrame", columns: Columns) -> bool:
    """Tell whether a table's rows are tissues by ``tissue_id``, though no column was named so."""
    if columns.tissue or TISSUE in columns.used or TISSUE not in raw.columns:
        return False
    named = raw.drop_duplicates()[TISSUE]
    return bool(named.notna().all() and named.is_unique)


def _refuse(clinical: Clinical, problems: list[str]) -> None:
    if problems:
        raise InputError(report(Path(clinical.path).name or "the clinical table", problems))
