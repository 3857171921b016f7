"""Tissues like a given one: a database of niche tokens, searched by the 2-Wasserstein distance."""

from virtues_core.cohort.retrieval.database import TissueDatabase
from virtues_core.cohort.retrieval.distance import (
    Nearest,
    moment_bounds,
    nearest_sets,
    neighbour_bounds,
    wasserstein,
)
from virtues_core.cohort.retrieval.entries import Match, Search, Settings, Stored, TissueEntry

__all__ = [
    "Match",
    "Nearest",
    "Search",
    "Settings",
    "Stored",
    "TissueDatabase",
    "TissueEntry",
    "moment_bounds",
    "nearest_sets",
    "neighbour_bounds",
    "wasserstein",
]
