"""Patients: what a clinic knows of them, their cells, and the folder that an analysis leaves."""

from virtues_core.cohort.patients.cells import CellTables, open_cells
from virtues_core.cohort.patients.clinical import Clinical, Columns, read_clinical
from virtues_core.cohort.patients.joined import PatientCells, join
from virtues_core.cohort.patients.proportions import counts, proportions

__all__ = [
    "CellTables",
    "Clinical",
    "Columns",
    "PatientCells",
    "counts",
    "join",
    "open_cells",
    "proportions",
    "read_clinical",
]
