"""Patients: what a clinic knows of them, their cells, and the folder that an analysis leaves."""

from virtues_core.cohort.patients.cells import CellTables, open_cells
from virtues_core.cohort.patients.checked import check_values
from virtues_core.cohort.patients.clinical import Clinical, Columns, read_clinical
from virtues_core.cohort.patients.joined import PatientCells, join
from virtues_core.cohort.patients.proportions import counts, proportions
from virtues_core.cohort.patients.results import (
    LinkedPlot,
    Results,
    cells_of,
    check_out,
    is_results,
    origin,
    read_results,
    write_results,
)
from virtues_core.cohort.patients.seen import Seen

__all__ = [
    "CellTables",
    "Clinical",
    "Columns",
    "LinkedPlot",
    "PatientCells",
    "Results",
    "Seen",
    "cells_of",
    "check_out",
    "check_values",
    "counts",
    "is_results",
    "join",
    "open_cells",
    "origin",
    "proportions",
    "read_clinical",
    "read_results",
    "write_results",
]
