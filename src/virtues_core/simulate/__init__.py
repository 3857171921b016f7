"""Tissues and cohorts with known ground truth."""

from virtues_core.simulate.biology import CELL_TYPES, NICHES, STATES
from virtues_core.simulate.cohort import Cohort, CohortConfig, simulate_cohort
from virtues_core.simulate.config import TissueConfig
from virtues_core.simulate.panels import ChannelSpec, PanelPreset, panel_preset, panel_presets
from virtues_core.simulate.plain import write_ome_tiffs
from virtues_core.simulate.spora import write_spora
from virtues_core.simulate.tissue import (
    SimulatedCells,
    SimulatedTissue,
    simulate_cells,
    simulate_tissue,
)
from virtues_core.simulate.tokens import neighbourhood_tokens

__all__ = [
    "CELL_TYPES",
    "NICHES",
    "STATES",
    "ChannelSpec",
    "Cohort",
    "CohortConfig",
    "PanelPreset",
    "SimulatedCells",
    "SimulatedTissue",
    "TissueConfig",
    "neighbourhood_tokens",
    "panel_preset",
    "panel_presets",
    "simulate_cells",
    "simulate_cohort",
    "simulate_tissue",
    "write_ome_tiffs",
    "write_spora",
]
