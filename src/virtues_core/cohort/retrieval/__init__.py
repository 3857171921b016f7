"""Tissues like a given one: a database of niche tokens, searched by the 2-Wasserstein distance."""

from virtues_core.cohort.retrieval.building import (
    Added,
    Known,
    add_images,
    add_tables,
    compositions,
)
from virtues_core.cohort.retrieval.database import TissueDatabase
from virtues_core.cohort.retrieval.distance import (
    Nearest,
    assignment_bound,
    costs_below,
    moment_bounds,
    nearest_sets,
    neighbour_bounds,
    wasserstein,
)
from virtues_core.cohort.retrieval.entries import Match, Search, Settings, Stored, TissueEntry
from virtues_core.cohort.retrieval.evaluation import (
    SAME,
    Evaluation,
    RetrievalConfig,
    evaluate_retrieval,
)
from virtues_core.cohort.retrieval.evaluation_results import results_of
from virtues_core.cohort.retrieval.niches import SmallTissueError, niche_tokens
from virtues_core.cohort.retrieval.thumbnail import thumbnail

__all__ = [
    "SAME",
    "Added",
    "Evaluation",
    "Known",
    "Match",
    "Nearest",
    "RetrievalConfig",
    "Search",
    "Settings",
    "SmallTissueError",
    "Stored",
    "TissueDatabase",
    "TissueEntry",
    "add_images",
    "add_tables",
    "assignment_bound",
    "compositions",
    "costs_below",
    "evaluate_retrieval",
    "moment_bounds",
    "nearest_sets",
    "neighbour_bounds",
    "niche_tokens",
    "results_of",
    "thumbnail",
    "wasserstein",
]
