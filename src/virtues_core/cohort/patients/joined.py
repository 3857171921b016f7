"""Cells and clinical data of the same patients."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.patients.cells import CellTables
from virtues_core.cohort.patients.clinical import Clinical
from virtues_core.cohort.patients.clinical_checks import bare_name
from virtues_core.cohort.patients.seen import under_two_names
from virtues_core.cohort.patients.wording import counted, some
from virtues_core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FEW_CELLS = 100
"""Of a patient, below which the composition is noted to be uncertain."""


@dataclass(frozen=True, eq=False)
class PatientCells:
    """P patients of whom there are cells and clinical data."""

    cells: CellTables
    """All cells of the tables, those of other patients too."""
    clinical: Clinical
    """Of the P patients alone."""
    patients: tuple[str, ...]
    """Their names, sorted."""
    codes: NDArray[np.int32]
    """(N,) place of each cell's patient in `patients`; -1 for cells of others."""
    notes: tuple[str, ...]
    """What a reader should know: of the tables, and who is in one and not in the other."""

    @property
    def owners(self) -> dict[str, str]:
        """``tissue_id`` → patient, of the P patients' tissues."""
        names = self.cells.cells["tissue_id"].cat
        place = np.full(len(names.categories), -1, np.int32)
        place[names.codes.to_numpy()] = self.codes  # a tissue is of one patient
        found = zip(names.categories, place, strict=True)
        return {str(tissue): self.patients[code] for tissue, code in found if code >= 0}

    def several_tissues(self, taken: str = "they count together") -> list[str]:
        """Note patients of several tissues; ``taken`` says how an analysis takes these."""
        counts = Counter(self.owners.values())
        several = [name for name, count in counts.items() if count > 1]
        if not several:
            return []
        return [
            f"{counted(len(several), 'patient')} with several tissues (up to {max(counts.values())}"
            f"): {taken}, whenever they were taken. Tissue taken after treatment began "
            "may tell of an outcome without foretelling it: give the tables of one time."
        ]

    def uneven_cells(self) -> list[str]:
        """Note patients of few cells, and one who has most of all."""
        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.patients))
        few = [self.patients[i] for i in np.flatnonzero(counts < FEW_CELLS)]
        notes = []
        if few:
            notes.append(
                f"{counted(len(few), 'patient')} with fewer than {FEW_CELLS} cells, of an "
                f"uncertain composition: {some(few)}."
            )
        share = counts.max() / counts.sum()
        if len(counts) > 2 and share > 0.5:
            notes.append(
                f"{share:.0%} of all cells are of one patient, {self.patients[counts.argmax()]}, "
                "who rules what is found among cells."
            )
        return notes

    def patient_rows(self) -> "pd.DataFrame":
        """Give P rows: ``patient_id``, ``tissues`` (joined by ``;``), ``cells`` (their number)."""
        import pandas as pd

        own = self.codes >= 0
        pairs = pd.Series(self.owners)
        tissues = pairs.index.to_series().groupby(pairs.to_numpy())
        told = tissues.agg(lambda names: ";".join(sorted(names)))[list(self.patients)]
        counts = np.bincount(self.codes[own], minlength=len(self.patients))
        return pd.DataFrame(
            {"patient_id": self.patients, "tissues": told.to_numpy(), "cells": counts}
        )


def join(cells: CellTables, clinical: Clinical) -> PatientCells:
    """Find whose cells they are.

    A clinical table that names tissues says so; else the tables' own column of that name (as
    ``columns.patient``) does, or their ``patient_id``; where those say nothing, a column
    ``tissue_id`` of the clinical table (`Columns.tissue`).

    Parameters
    ----------
    cells
        Of any number of patients.
    clinical
        Of any number of patients.

    Returns
    -------
    PatientCells
        Those who are in both; the notes count and name the others.

    Raises
    ------
    InputError
        Nobody is in both, or someone by two spellings, a tissue belongs to two patients or goes by
        two names, or those in both have one outcome alone, or all of them are censored.
    """
    tissues, owners = _owners(cells, clinical)
    known = clinical.table.index
    theirs = sorted(set(owners) & set(known))
    _check_spellings(set(owners) - {""}, set(known))
    if not theirs:
        named = sorted(set(owners) - {""})
        message = (
            "expected patients with cells and clinical data, found none: the tables name "
            f"{some(named) if named else 'nobody'}, the clinical table {some(known)}. Name "
            "patients alike, or the column that maps tissues to them (--tissue)."
        )
        raise InputError(message)
    _check_once(
        cells, [tissue for tissue, owner in zip(tissues, owners, strict=True) if owner in known]
    )
    place = {patient: code for code, patient in enumerate(theirs)}
    of_tissue = np.array([place.get(owner, -1) for owner in owners], np.int32)
    codes = of_tissue[cells.cells["tissue_id"].cat.codes.to_numpy()]
    notes = _told(tissues, owners, list(known), len(theirs))
    return PatientCells(
        cells, clinical.of(theirs), tuple(theirs), codes, (*cells.notes, *clinical.notes, *notes)
    )


def _check_spellings(ours: set[str], theirs: set[str]) -> None:
    """Refuse patients whom the tables and the clinic write in two ways."""
    lone = {bare_name(name): name for name in sorted(ours - theirs)}
    pairs = [
        f"{lone[bare_name(name)]!r} and {name!r}"
        for name in sorted(theirs - ours)
        if bare_name(name) in lone
    ]
    if pairs:
        message = (
            f"expected each patient written in one way, found {counted(len(pairs), 'patient')} "
            f"otherwise in the tables of tokens than in the clinical table: {some(pairs)}. Write "
            "them alike."
        )
        raise InputError(message)


def _check_once(cells: CellTables, tissues: Sequence[str]) -> None:
    """Refuse one tissue under two names: it would be on both sides of a split."""
    twice = under_two_names(cells, tissues)
    if twice:
        message = (
            f"expected each tissue once, found {counted(len(twice), 'tissue')} under several names "
            f"with the very same cells: {some(' and '.join(names) for names in twice)}. Leave all "
            "but one of each out: what is learnt from the one would tell the other."
        )
        raise InputError(message)


def _owners(cells: CellTables, clinical: Clinical) -> tuple[list[str], list[str]]:
    """Give all tissues and the patient of each; "" where nobody says."""
    pairs = _own_pairs(cells, clinical.columns.patient)
    tissues = [str(name) for name in cells.cells["tissue_id"].cat.categories]
    told = pairs[pairs["patient_id"] != ""].groupby("tissue_id")["patient_id"].agg(set)
    own: dict[str, set[str]] = {str(tissue): set(names) for tissue, names in told.items()}
    if clinical.tissues is not None:
        by_clinic = clinical.tissues.to_dict()
        for tissue in set(tissues) & set(by_clinic):
            if clinical.columns.tissue or tissue not in own:
                own.setdefault(tissue, set()).add(str(by_clinic[tissue]))
    torn = {tissue: names for tissue, names in own.items() if len(names) > 1}
    if torn:
        told_torn = some(f"{tissue}: {' and '.join(sorted(n))}" for tissue, n in torn.items())
        message = (
            f"expected one patient for each tissue, found two for {counted(len(torn), 'tissue')} "
            f"({told_torn}). Correct the tables or the clinical table."
        )
        raise InputError(message)
    if clinical.tissues is not None and clinical.columns.tissue:
        own = {tissue: own[tissue] for tissue in set(tissues) & set(clinical.tissues.index)}
    return tissues, [next(iter(own.get(tissue, {""}))) for tissue in tissues]


def _own_pairs(cells: CellTables, column: str) -> "pd.DataFrame":
    """Give the pairs of tissue and patient that the tables themselves name."""
    import pandas as pd

    pairs = cells.cells[["tissue_id", "patient_id"]].drop_duplicates().astype(str)
    if column == "patient_id":
        return pairs
    named = [own for file in cells.files if (own := file.patients_by(column)) is not None]
    if not named:
        return pairs
    found = pd.concat(named, ignore_index=True)
    return pd.concat([pairs[~pairs["tissue_id"].isin(set(found["tissue_id"]))], found])


def _told(
    tissues: Sequence[str], owners: Sequence[str], known: Sequence[str], both: int
) -> list[str]:
    """Count and name who is in one and not in the other."""
    with_images, clinic = set(owners) - {""}, set(known)
    nobody = [tissue for tissue, owner in zip(tissues, owners, strict=True) if not owner]
    notes = [f"{counted(both, 'patient')} with images and clinical data."]
    for names, text in (
        (clinic - with_images, "with clinical data and without images"),
        (with_images - clinic, "with images and without clinical data"),
    ):
        if names:
            notes.append(f"{counted(len(names), 'patient')} {text}: {some(names)}.")
    if nobody:
        notes.append(f"{counted(len(nobody), 'tissue')} of no known patient: {some(nobody)}.")
    return notes
