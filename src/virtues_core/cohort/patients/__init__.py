"""Patients: what a clinic knows of them, their cells, and the folder that an analysis leaves."""

from virtues_core.cohort.patients.clinical import Clinical, Columns, read_clinical
from virtues_core.cohort.patients.proportions import counts, proportions

__all__ = ["Clinical", "Columns", "counts", "proportions", "read_clinical"]
