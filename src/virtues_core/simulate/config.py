"""What can be chosen about one simulated tissue."""

from dataclasses import dataclass, fields

from virtues_core.errors import ConfigError


@dataclass(frozen=True)
class TissueConfig:
    """How much there is of what in a tissue; 1 µm per pixel."""

    tumour_fraction: float = 0.42
    """Fraction of the tissue covered by tumour nests (0 for none)."""
    nest_scale_um: float = 95.0
    """Distance over which tumour and stroma alternate, in µm."""
    lymphoid_fraction: float = 0.07
    """Fraction of the tissue covered by lymphoid aggregates."""
    aggregate_radius_um: float = 60.0
    """Typical radius of a lymphoid aggregate in µm."""
    vessels_per_mm2: float = 75.0
    """Expected number of vessels in a square millimetre."""
    tissue_fraction: float = 1.0
    """Fraction of the image that is tissue; the rest is empty glass."""
    infiltration: float = 1.0
    """Lymphocytes in stroma and tumour nests, relative to the usual number."""
    myeloid: float = 1.0
    """Macrophages and neutrophils in stroma and tumour nests, relative to the usual number."""
    proliferation: float = 0.22
    """Fraction of tumour cells that divide."""
    hub_fraction: float = 0.03
    """Fraction of the tissue covered by immune hubs (CD8 T cells with dendritic cells)."""
    suppressive_fraction: float = 0.03
    """Fraction of the tissue covered by suppressive niches (M2 macrophages with Treg)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            top = 1.0 if field.name.endswith("fraction") or field.name == "proliferation" else 1e4
            bottom = 10.0 if field.name in ("nest_scale_um", "aggregate_radius_um") else 0.0
            if field.name == "tissue_fraction":
                bottom = 0.05
            if not bottom <= value <= top:
                message = (
                    f"expected {field.name} from {bottom:g} to {top:g}, found {value!r}; "
                    "choose a value in that range"
                )
                raise ConfigError(message)
