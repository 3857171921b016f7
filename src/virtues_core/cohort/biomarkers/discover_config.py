"""Settings of a discovery."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.cohort.biomarkers.interpret_config import InterpretConfig
from virtues_core.cohort.biomarkers.ratios import RatioTypes
from virtues_core.errors import ConfigError

MOST_RESOLUTIONS = 1000
"""Each takes a partition of all cells."""


@dataclass(frozen=True)
class DiscoverConfig:
    """How signatures are found; clusters, ranks and choice as in the paper."""

    resolution_from: float = 4.0
    """Lowest resolution of the clusters (Leiden)."""
    resolution_to: float = 5.0
    """Highest."""
    resolution_step: float = 0.05
    """From one to the next."""
    cells_below: int = 2000
    """Clusters of fewer cells than this are looked at."""
    most_cells: int = 100_000
    """Cells that are clustered, as many of each patient; the others join them."""
    neighbours: int = 15
    """Nearest neighbours of each cell in the graph, itself among them."""
    each: int = 2
    """Signatures of response, and as many of non-response."""
    folds: int = 4
    """Folds that patients are parted into."""
    repeats: int = 10
    """Partitions by which clusters are chosen, also within the nested estimate."""
    joint_repeats: int = 25
    """Partitions by which the chosen ones are judged together."""
    nested_repeats: int = 5
    """Partitions of the nested estimate."""
    permutations: int = 200
    """Times that outcomes are dealt out by chance; 0: no p-value of the whole."""
    tumour: tuple[str, ...] = ()
    """Cell types that count as tumour cells in the ratios; usual names if empty."""
    cd4: tuple[str, ...] = ()
    """Those that count as CD4 T cells."""
    cd8: tuple[str, ...] = ()
    """Those that count as CD8 T cells."""
    b: tuple[str, ...] = ()
    """Those that count as B cells."""
    radius_um: float = 20.0
    """Cells no farther apart than this are neighbours when signatures are looked at, µm."""
    nearest: int = 0
    """If above 0, neighbours are instead so many nearest cells."""
    seed: int = 0
    """Of all that is drawn."""

    def __post_init__(self) -> None:
        whole = {
            "cells_below": 2, "most_cells": 3, "neighbours": 2, "each": 1, "folds": 2,
            "repeats": 1, "joint_repeats": 1, "nested_repeats": 1, "permutations": 0, "seed": 0,
        }  # fmt: skip
        for name, least in whole.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                message = f"{name}: expected a whole number of {least} or more, found {value!r}."
                raise ConfigError(message)
        low, high, step = self.resolution_from, self.resolution_to, self.resolution_step
        if not (np.isfinite([low, high, step]).all() and 0 < low <= high and step > 0):
            message = (
                "expected resolutions from above 0 to as much or more by a step above 0, found "
                f"{low!r} to {high!r} by {step!r}."
            )
            raise ConfigError(message)
        if (high - low) / step > MOST_RESOLUTIONS - 1:
            message = (
                f"resolution_step: expected {MOST_RESOLUTIONS} resolutions or fewer, found "
                f"{(high - low) / step + 1:,.0f}. Take a larger step."
            )
            raise ConfigError(message)
        if 0 < self.permutations < 19:
            message = (
                "permutations: expected 0 or 19 or more, for fewer cannot give a p-value of 0.05; "
                f"found {self.permutations}."
            )
            raise ConfigError(message)
        for name in ("tumour", "cd4", "cd8", "b"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self.interpretation  # noqa: B018 - checks itself

    @property
    def interpretation(self) -> InterpretConfig:
        """How the signatures are looked at."""
        return InterpretConfig(radius_um=self.radius_um, nearest=self.nearest, seed=self.seed)

    @property
    def resolutions(self) -> NDArray[np.float64]:
        """All of them, both ends included."""
        count = int((self.resolution_to - self.resolution_from) / self.resolution_step + 1e-6)
        return np.round(self.resolution_from + self.resolution_step * np.arange(count + 1), 6)

    @property
    def ratio_types(self) -> RatioTypes:
        """What the ratios are made of."""
        return RatioTypes(self.tumour, self.cd4, self.cd8, self.b)
