"""Settings of a stratification."""

from dataclasses import dataclass
from typing import Literal

from virtues_core.errors import ConfigError


@dataclass(frozen=True)
class StratifyConfig:
    """How patients are parted into risk groups; states and groups as in the paper."""

    states: int = 120
    """States that cells are parted into by k-means."""
    groups: int = 4
    """Groups that patients are parted into by k-means of their composition."""
    fit_cells: int = 100_000
    """Cells, drawn at random, that states are found among; all cells are then given a state."""
    folds: int = 5
    """Folds of patients in which groups are merged to high and low risk by the others."""
    permutations: int = 1000
    """Times that groups are dealt anew to patients, for the p-value out of fold."""
    bootstrap: int = 500
    """Draws of patients, for the interval of the concordance."""
    seeds: int = 5
    """Seeds with which states and groups are found, to see how much hangs on them; 1: no look."""
    other_groups: tuple[int, ...] = (2, 3, 5, 6)
    """Other numbers of groups, to see how much hangs on that."""
    structures: tuple[str, ...] = ()
    """Columns of cells or patients that tell of tissue structures, for risk ratios."""
    structure_cells: int = 1
    """Cells of a patient that must bear a structure for it to be there."""
    horizon: float | None = None
    """Time up to which mean survival is compared; none: the shortest follow-up of a risk group."""
    layout: Literal["umap", "pca"] = "umap"
    """How cells and patients are laid out in a plane."""
    layout_cells: int = 5000
    """Cells, drawn at random, that are laid out."""
    seed: int = 0
    """Of all that is drawn."""

    def __post_init__(self) -> None:
        least = {
            "states": 2, "groups": 2, "fit_cells": 2, "folds": 2, "permutations": 19,
            "bootstrap": 20, "seeds": 1, "structure_cells": 1, "layout_cells": 3, "seed": 0,
        }  # fmt: skip
        for name, low in least.items():
            _check_whole(name, getattr(self, name), low)
        _check_whole("states", self.states, 2, most=32_000)
        for name in ("other_groups", "structures"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for count in self.other_groups:
            _check_whole("other_groups", count, 2)
        if not all(isinstance(name, str) and name for name in self.structures):
            message = f"structures: expected names of columns, got {self.structures!r}"
            raise ConfigError(message)
        number = isinstance(self.horizon, int | float) and not isinstance(self.horizon, bool)
        if self.horizon is not None and not (number and self.horizon > 0):
            message = f"horizon: expected a time above 0 or nothing, got {self.horizon!r}"
            raise ConfigError(message)
        if self.layout not in {"umap", "pca"}:
            message = f"layout: expected umap or pca, got {self.layout!r}"
            raise ConfigError(message)


def _check_whole(name: str, value: object, low: int, most: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        message = f"{name}: expected a whole number of at least {low}, got {value!r}"
        raise ConfigError(message)
    if most is not None and value > most:
        message = f"{name}: expected a whole number up to {most}, got {value!r}"
        raise ConfigError(message)
