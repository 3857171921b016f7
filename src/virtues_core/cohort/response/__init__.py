"""Response to a treatment: how far cells move between two times, and in which direction."""

from virtues_core.cohort.response.barycentres import (
    Barycentre,
    Displacement,
    barycentre,
    displacement,
)
from virtues_core.cohort.response.distance import (
    RepeatedTransport,
    Transport,
    repeated_wasserstein,
    wasserstein,
)
from virtues_core.cohort.response.response import (
    Response,
    ResponseConfig,
    response,
)
from virtues_core.cohort.response.results import results_of

__all__ = [
    "Barycentre",
    "Displacement",
    "RepeatedTransport",
    "Response",
    "ResponseConfig",
    "Transport",
    "barycentre",
    "displacement",
    "repeated_wasserstein",
    "response",
    "results_of",
    "wasserstein",
]
