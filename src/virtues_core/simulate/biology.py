"""What the simulated cells are: their types, sizes, niches, and what they express.

Every number here is invented to look plausible; none is measured. A marker's level is 1 in the
cells that are brightest for it; a level that is not listed is `LEAK`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtues_core.errors import ConfigError

CELL_TYPES = (
    "tumour", "fibroblast", "smooth_muscle", "endothelial", "CD4_T", "CD8_T", "Treg", "B",
    "plasma", "macrophage", "M2_macrophage", "dendritic", "neutrophil", "NK", "mast",
)  # fmt: skip
"""Names of the cell types; a type is stored as its position here."""

_LETTERS = "TFVE48RBPmsDNKA"  # one letter for each of CELL_TYPES, as used in the tables below

NICHES = (
    "background", "tumour_nest", "stroma", "invasive_margin", "vessel", "b_follicle", "t_zone",
    "immune_hub", "suppressive_niche",
)  # fmt: skip
"""Names of the niches; the label image holds positions in this tuple, 0 = no tissue."""

STATES = ("proliferating", "activated", "hypoxic", "interferon", "mesenchymal", "germinal")
"""Graded cell states, 0 to 1, on top of the types."""

LEAK = 0.012
"""Level of a marker in cells that do not express it."""

SPACING_UM = np.array([14.0, 8.6, 9.6, 7.8, 6.0, 5.2, 5.5, 6.2, 7.4])
"""Least distance between cell centres in each niche."""


@dataclass(frozen=True)
class CellShapes:
    """Size and form of each type: arrays over `CELL_TYPES`, lengths in µm."""

    long_um: NDArray[np.float64]
    """Half of the long axis."""
    short_um: NDArray[np.float64]
    """Half of the short axis."""
    nucleus: NDArray[np.float64]
    """Nuclear half axis as a fraction of the cell's, along the short axis."""
    nucleus_long: NDArray[np.float64]
    """The same along the long axis."""
    eccentric: NDArray[np.float64]
    """How far the nucleus lies from the centre, as a fraction of the short half axis."""


def cell_shapes() -> CellShapes:
    """Return the size and form of each cell type."""
    #         half axes   nucleus: short, long, off-centre
    rows = [
        (8.2, 7.1, 0.56, 0.56, 0.10),  # tumour
        (14.0, 3.3, 0.72, 0.42, 0.05),  # fibroblast
        (12.5, 2.7, 0.75, 0.45, 0.05),  # smooth muscle
        (8.5, 2.1, 0.85, 0.50, 0.05),  # endothelial
        (4.3, 3.9, 0.82, 0.80, 0.06),  # CD4 T
        (4.3, 3.9, 0.82, 0.80, 0.06),  # CD8 T
        (4.4, 4.0, 0.80, 0.80, 0.06),  # Treg
        (4.3, 4.0, 0.82, 0.82, 0.05),  # B
        (6.0, 4.6, 0.58, 0.50, 0.35),  # plasma
        (7.2, 5.4, 0.52, 0.50, 0.15),  # macrophage
        (7.8, 5.2, 0.52, 0.48, 0.15),  # M2 macrophage
        (7.8, 4.6, 0.56, 0.48, 0.15),  # dendritic
        (5.2, 4.6, 0.68, 0.66, 0.10),  # neutrophil
        (4.7, 4.2, 0.76, 0.76, 0.10),  # NK
        (5.6, 4.4, 0.52, 0.52, 0.10),  # mast
    ]
    return CellShapes(*(np.array(column) for column in zip(*rows, strict=True)))


_COMPOSITION = """
tumour_nest       T:90 8:2.6 4:1 m:2.2 s:1 D:.8 K:.5 N:.5
stroma            F:50 V:2 E:5 4:8 8:5 R:1 B:2 P:5 m:7 s:7 D:2.5 N:3 K:1.2 A:2.5
invasive_margin   F:32 V:2 E:4 4:13 8:12 R:2.5 B:3 P:5 m:10 s:8 D:4 N:3 K:2 A:1.5
vessel            F:60 V:20 E:8 m:6 A:4 4:2
b_follicle        B:86 4:8 8:1 D:3 m:2
t_zone            4:52 8:20 R:5 B:9 D:9 m:3 E:3
immune_hub        8:42 D:20 4:17 m:8 K:5 B:3 F:5
suppressive_niche s:38 R:16 F:22 N:9 4:8 8:3 m:4
"""

# marker, where in the cell, group that varies together, levels by cell type; after "|" what a
# cell state adds
_MARKERS = """
DNA       nuclear  dna     T:1.1 F:.8 V:.8 E:.85 4:1 8:1 R:1 B:1 P:.9 m:.8 s:.8 D:.8 N:1 K:1 A:.8
HistoneH3 nuclear dna T:1.1 F:.8 V:.75 E:.8 4:.95 8:.95 R:.95 B:1 P:.8 m:.7 s:.7 D:.8 N:.7 K:.9 A:.7
CD45      membrane leuko   4:1 8:1 R:1 B:.85 P:.25 m:.55 s:.5 D:.6 N:.4 K:.9 A:.4
CD45RA    membrane leuko   B:.8 4:.3 8:.35 K:.6 | germinal:-.4 activated:-.3
CD45RO    membrane leuko   4:.9 8:.8 R:.9 m:.3 s:.3 D:.25 N:.2 | activated:.4
CD3       membrane tcell   4:1 8:1 R:.9
CD4       membrane tcell   4:.9 R:.85 m:.2 s:.22 D:.15
CD8       membrane tcell   8:1 K:.15
CD5       membrane tcell   4:.8 8:.7 R:.8 B:.08
CD7       membrane tcell   4:.5 8:.7 K:.7 R:.2
FOXP3     nuclear  treg    R:1 4:.03
CD25      membrane treg    R:.8 4:.12 8:.06 | activated:.2
ICOS      membrane treg    R:.7 4:.25 8:.1 | activated:.4
CTLA4     cytoplasm treg   R:.7 4:.1 8:.08 | activated:.2
TCF7      nuclear  naive   4:.7 8:.45 R:.2 K:.25 | activated:-.3
PD1       membrane exhaust 4:.12 8:.12 R:.25 | activated:1 germinal:.1
LAG3      membrane exhaust 8:.06 4:.04 R:.1 K:.06 | activated:.7
TIM3      membrane exhaust 8:.05 m:.2 s:.3 D:.3 K:.15 | activated:.5
CD39      membrane exhaust R:.6 E:.5 s:.25 8:.06 B:.15 | activated:.5
TOX       nuclear  exhaust 8:.08 4:.1 | activated:.8
GranzymeB granule  cytotox K:.8 8:.15 | activated:.9
CD57      membrane cytotox K:.6 8:.12
NKp46     membrane cytotox K:.8
CD56      membrane cytotox K:.7 T:.015
CD20      membrane bcell   B:1
CD19      membrane bcell   B:.8 P:.25
CD79a     cytoplasm bcell  B:.8 P:.8
CD21      membrane bcell   B:.45 D:.05 | germinal:.7
PAX5      nuclear  bcell   B:.85
BCL6      nuclear  bcell   B:.05 | germinal:.9
CD38      membrane plasma  P:1 B:.06 4:.05 K:.3 m:.08 | germinal:.35 activated:.3
CD138     membrane plasma  P:1 T:.3
IgG       cytoplasm plasma P:1 B:.06
MUM1      nuclear  plasma  P:.9 4:.03
CD68      granule  myeloid m:1 s:.95 D:.25 N:.12
CD163     membrane m2      s:1 m:.12
CD206     membrane m2      s:.85 m:.12 D:.25 E:.05
CD204     membrane m2      s:.8 m:.25
CD14      membrane myeloid m:.8 s:.85 D:.3 N:.15
CD16      membrane myeloid N:.7 K:.6 m:.3 s:.25
CD11b     membrane myeloid N:.9 m:.5 s:.55 K:.2 D:.3
CD11c     membrane dc      D:1 m:.35 s:.15
HLA-DR    membrane dc      D:1 m:.7 s:.45 B:.75 E:.12 P:.1 T:.03 | interferon:.5
CD209     membrane dc      D:.6 s:.35
CD1c      membrane dc      D:.7 B:.08
IDO1      cytoplasm dc     D:.25 E:.04 | interferon:.7
PD-L1     membrane ifn     D:.35 m:.25 s:.2 T:.06 | interferon:.9
MHC1 membrane ifn T:.4 E:.5 4:.7 8:.7 R:.7 B:.7 m:.6 s:.6 D:.7 F:.3 K:.6 P:.4 N:.4 | interferon:.4
CXCL13    cytoplasm ifn    4:.03 D:.05 | activated:.4 germinal:.1
CD15      membrane neutro  N:1
MPO       granule  neutro  N:1 m:.08
CD66b     membrane neutro  N:.9
S100A9    cytoplasm neutro N:1 m:.35 s:.3
ARG1      cytoplasm neutro N:.5 s:.1
Tryptase  granule  mast    A:1
CD117     membrane mast    A:.9
panCK     cytoplasm epithel T:1 | mesenchymal:-.3
CK7       cytoplasm epithel T:.7 | mesenchymal:-.2
E-cadherin membrane epithel T:1 | mesenchymal:-.5
EpCAM     membrane epithel T:.9 | mesenchymal:-.2
B-catenin membrane epithel T:.8 E:.2 F:.06
EGFR      membrane epithel T:.6 F:.08
CA9       membrane hypoxia T:.02 | hypoxic:1.1
GLUT1     membrane hypoxia T:.18 | hypoxic:.8
p53       nuclear  prolif  T:.25 | proliferating:.3
Ki67      nuclear  prolif  T:.02 | proliferating:1 germinal:.6
PCNA      nuclear  prolif  T:.25 B:.1 4:.06 8:.06 | proliferating:.7 germinal:.5
pS6       cytoplasm prolif T:.2 P:.2 m:.1 | proliferating:.35 germinal:.3
H3K27ac nuclear dna T:.9 F:.7 V:.6 E:.7 4:.6 8:.6 R:.6 B:.7 P:.6 m:.7 s:.7 D:.7 N:.3 K:.6 A:.5
CC3       cytoplasm none   T:.03 | hypoxic:.25
Vimentin cytoplasm mesen F:1 V:.7 E:.9 m:.6 s:.6 D:.5 4:.4 8:.4 R:.4 B:.1 K:.4 | mesenchymal:.45
SMA       cytoplasm muscle V:1.2 F:.1
Desmin    cytoplasm muscle V:.8
CD146     membrane muscle  V:.6 E:.8 F:.04
FAP       membrane caf     F:.6 V:.06
PDPN      membrane caf     F:.45 D:.06
PDGFRB    membrane caf     F:.6 V:.7
S100A4    cytoplasm caf    F:.6 m:.4 s:.4 4:.3 8:.3 D:.4 N:.3
CD73      membrane caf     F:.3 E:.3 B:.15 T:.06
CDH11     membrane caf     F:.5
CD10      membrane caf     F:.15 N:.4 | germinal:.3
CD31      membrane endo    E:1 N:.05 m:.05 P:.06
CD34      membrane endo    E:.9 F:.1
vWF       granule  endo    E:.9
CAV1      membrane endo    E:.8 F:.35 V:.4
LYVE1     membrane endo    E:.15 s:.15
VCAM1     membrane endo    E:.15 F:.06 D:.15 | germinal:.1
CollagenI fibre    ecm     F:.25 V:.15
Fibronectin fibre  ecm     F:.3 V:.1 E:.1
CollagenIV basement ecm    E:.3 V:.3
Laminin   basement ecm     E:.25 V:.35
"""

COMPARTMENTS = ("nuclear", "membrane", "cytoplasm", "granule", "fibre", "basement")
"""Where in the tissue a marker lies."""


@dataclass(frozen=True)
class MarkerProfile:
    """How one marker is expressed."""

    name: str
    """The simulator's own name of it; a panel gives channel names."""
    compartment: str
    """One of `COMPARTMENTS`."""
    group: str
    """Markers of one group vary together from cell to cell."""
    levels: tuple[float, ...]
    """Median level in each of `CELL_TYPES`."""
    states: tuple[float, ...]
    """What each of `STATES` adds to it, in the cells that have that state."""


def _by_letter(words: list[str]) -> list[float]:
    values = [0.0] * len(_LETTERS)
    for word in words:
        letter, _, value = word.partition(":")
        values[_LETTERS.index(letter)] = float(value)
    return values


def marker_profiles() -> dict[str, MarkerProfile]:
    """Return the profile of each marker that can be simulated, by name."""
    profiles = {}
    for line in _MARKERS.strip().splitlines():
        levels, _, extra = line.partition("|")
        name, compartment, group, *words = levels.split()
        states = dict.fromkeys(STATES, 0.0)
        for word in extra.split():
            state, _, value = word.partition(":")
            states[state] = float(value)
        floored = tuple(max(level, LEAK) for level in _by_letter(words))
        profiles[name] = MarkerProfile(name, compartment, group, floored, tuple(states.values()))
    return profiles


def composition() -> NDArray[np.float64]:
    """Return how often each type occurs in each niche.

    Returns
    -------
    numpy.ndarray
        (len(NICHES), len(CELL_TYPES)); rows sum to 1, but for the background's, which is zero.
    """
    table = np.zeros((len(NICHES), len(CELL_TYPES)))
    for line in _COMPOSITION.strip().splitlines():
        niche, *words = line.split()
        row = np.array(_by_letter(words))
        table[NICHES.index(niche)] = row / row.sum()
    return table


def type_index(name: str) -> int:
    """Return the position of a cell type in `CELL_TYPES`.

    Raises
    ------
    ConfigError
        There is no such type.
    """
    if name not in CELL_TYPES:
        message = f"expected a cell type out of {', '.join(CELL_TYPES)}; found {name!r}"
        raise ConfigError(message)
    return CELL_TYPES.index(name)
