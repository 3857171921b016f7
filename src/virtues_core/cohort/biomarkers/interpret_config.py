"""How signatures are looked at."""

from dataclasses import dataclass

from virtues_core.cohort.biomarkers.neighbours import check_neighbourhood
from virtues_core.cohort.biomarkers.regions import check_side
from virtues_core.errors import ConfigError


@dataclass(frozen=True)
class InterpretConfig:
    """How signatures are looked at."""

    radius_um: float = 20.0
    """Cells no farther apart than this are neighbours, µm. The paper does not say."""
    nearest: int = 0
    """If above 0, a cell's neighbours are instead so many nearest cells of its tissue."""
    region_um: float = 256.0
    """Side of an example region, µm."""
    regions: int = 4
    """Example regions of each signature, each of another patient."""
    seed: int = 0
    """Draws the patients of the intervals."""

    def __post_init__(self) -> None:
        check_neighbourhood(self.radius_um, self.nearest)
        check_side(self.region_um)
        for name in ("regions", "seed"):
            if getattr(self, name) < 0:
                message = f"{name}: expected 0 or more, found {getattr(self, name)!r}."
                raise ConfigError(message)

    @property
    def neighbourhood(self) -> str:
        """Who is a neighbour, in words."""
        if self.nearest:
            return f"the {self.nearest} nearest cells of the tissue"
        return f"cells of the tissue within {self.radius_um:g} µm"
