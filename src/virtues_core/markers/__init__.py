"""Channel name → protein → embedding."""

from virtues_core.markers.embeddings import MarkerEmbeddings
from virtues_core.markers.entry import DNA_KEY, PanelEntry, Status
from virtues_core.markers.panel import Panel, PanelReport
from virtues_core.markers.registry import Registry, Target

__all__ = [
    "DNA_KEY",
    "MarkerEmbeddings",
    "Panel",
    "PanelEntry",
    "PanelReport",
    "Registry",
    "Status",
    "Target",
]
