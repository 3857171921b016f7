"""Panels of simulated instruments: channel names as each writes them, gains, noise, modality."""

from dataclasses import dataclass

from virtues_core.errors import ConfigError

_IMC_TUMOUR = """
190BCKG BCKG190 - 0 .05
131Xe Xe131 - 0 9
MPO Y89 MPO 26 .15
HistoneH3 In113 HistoneH3 80 .6
SMA Pr141 SMA 95 .5
CD146 Nd142 CD146 9 .2
Vimentin Nd143 Vimentin 52 .5
CD14 Nd144 CD14 9 .2
FAP Nd145 FAP 7 .25
CD16 Nd146 CD16 14 .3
CD163 Sm147 CD163 15 .2
panCK Nd148 panCK 60 .4
CD11b Sm149 CD11b 7 .2
PD-L1 Nd150 PD-L1 8 .3
CD31 Eu151 CD31 14 .2
CD45 Sm152 CD45 26 .3
LAG-3 Eu153 LAG3 6 .2
CD11c Sm154 CD11c 13 .2
FOXP3 Gd155 FOXP3 9 .25
CD4 Gd156 CD4 11 .25
E-cadherin Gd158 E-cadherin 34 .3
CD68 Tb159 CD68 42 .4
VCAM1 Gd160 VCAM1 9 .2
CD20 Dy161 CD20 55 .3
CD8a Dy162 CD8 19 .25
TCF1/TCF7 Dy163 TCF7 7 .2
CA9 Dy164 CA9 14 .2
PD-1 Ho165 PD1 7 .25
CD45RO Er166 CD45RO 17 .25
Granzyme B Er167 GranzymeB 18 .2
Ki67 Er168 Ki67 26 .2
Collagen I Tm169 CollagenI 70 .5
CD3 Er170 CD3 15 .2
CD138 Yb171 CD138 17 .25
CD15 Yb172 CD15 20 .2
HLA-DR Yb173 HLA-DR 30 .35
CD38 Yb174 CD38 20 .2
pS6 Lu175 pS6 16 .3
CD56 Yb176 CD56 12 .2
DNA1 Ir191 DNA 75 1
DNA2 Ir193 DNA 138 1.4
"""

_IMC_IMMUNE = """
80ArAr ArAr80 - 0 900
131Xe Xe131 - 0 60
alphaSMA Pr141 SMA 70 .6
VIM Nd143 Vimentin 44 .6
CD21 Nd145 CD21 14 .3
PDPN Nd146 PDPN 12 .3
CD11b Sm149 CD11b 8 .2
CD45 Sm152 CD45 30 .3
CD206 Gd155 CD206 11 .2
CD4 Gd156 CD4 8 .3
CD68 Tb159 CD68 50 .5
CD20 Dy161 CD20 75 .3
CD8a Dy162 CD8 14 .4
CXCL13 Ho165 CXCL13 9 .25
CD7 Er166 CD7 9 .2
Ki-67 Er168 Ki67 22 .2
CollagenI Tm169 CollagenI 40 .4
CD3 Er170 CD3 10 .2
CD45RA Yb172 CD45RA 16 .3
HLA-DR Yb174 HLA-DR 32 .4
CD31 Lu175 CD31 12 .2
HistoneH3 Yb176 HistoneH3 70 .6
DNA1 Ir191 DNA 60 1
DNA3 Ir193 DNA 110 1.4
"""

_CODEX = """
DAPI DNA 900
CD3e CD3 260
CD4 CD4 210
CD8 CD8 320
CD20 CD20 500
CD21 CD21 260
CD31 CD31 380
CD34 CD34 300
CD38 CD38 340
CD45 CD45 300
CD45RO CD45RO 280
CD68 CD68 330
CD163 CD163 300
CD206 CD206 240
CD11c CD11c 260
CD14 CD14 220
CD56 CD56 180
CD57 CD57 180
CD66b CD66b 420
CD79a CD79a 260
CD138 CD138 330
HLA-DR HLA-DR 480
FOXP3 FOXP3 150
PD-1 PD1 170
PD-L1 PD-L1 160
ICOS ICOS 130
LAG3 LAG3 120
GZMB GranzymeB 260
Ki67 Ki67 420
PCNA PCNA 380
Pan-Cytokeratin panCK 800
E-cadherin E-cadherin 520
EpCAM EpCAM 480
SMA SMA 900
Vimentin Vimentin 560
Podoplanin PDPN 340
Collagen IV CollagenIV 520
IDO1 IDO1 200
Beta-catenin B-catenin 360
Tryptase Tryptase 700
"""

_MIBI = """
dsDNA 89 DNA 9
Histone H3 113 HistoneH3 11
SMA 115 SMA 12
Vimentin 117 Vimentin 7
CK7 141 CK7 7
CD4 143 CD4 2.6
CD14 144 CD14 2.2
FoxP3 146 FOXP3 2.4
PD-1 148 PD1 1.8
CD31 150 CD31 3.2
Ecadherin 151 E-cadherin 5
CD68 156 CD68 5
CD8 158 CD8 4
CD3 159 CD3 3
Fibronectin 153 Fibronectin 9
CD11c 162 CD11c 3
IDO 155 IDO1 3
PD-L1 166 PD-L1 2
Ki67 168 Ki67 5
MPO 164 MPO 7
CD20 160 CD20 7
CD45 169 CD45 4.5
HLA-DR 170 HLA-DR 6
CD163 161 CD163 4
CD209 152 CD209 2.6
Tryptase 167 Tryptase 9
GLUT1 145 GLUT1 4
CD57 163 CD57 2.2
Granzyme B 154 GranzymeB 4
TIM-3 147 TIM3 1.6
Pan-Keratin 165 panCK 9
HLA class 1 173 MHC1 5
CD45RO 149 CD45RO 3
S100A9 157 S100A9 6
"""


@dataclass(frozen=True)
class ChannelSpec:
    """One channel of a simulated instrument."""

    name: str
    """The channel's name as the instrument writes it."""
    marker: str | None
    """The simulator's name of the marker; None for a channel that holds only background."""
    gain: float
    """Expected counts in a pixel of the part of a cell that is stained, at level 1."""
    background: float
    """Expected counts in a pixel without any tissue."""
    mass: float
    """Mass of the metal, or the place in the staining order: neighbours spill over."""


@dataclass(frozen=True)
class PanelPreset:
    """A simulated instrument with its panel."""

    name: str
    """Also the dataset's name in a cohort."""
    modality: str
    """imc, codex or mibi."""
    channels: tuple[ChannelSpec, ...]
    """In the order of the image's channels."""
    blur_px: float
    """Standard deviation of the optical or laser blur, in px."""
    autofluorescence: float
    """Extra signal of any tissue, as a fraction of a channel's gain."""
    counts_per_ion: float
    """Stored counts for one detected ion or photon; 1 for ion counting."""
    offset: float
    """Camera offset in counts."""
    neighbour_spill: float
    """Fraction of a channel's signal that shows in each neighbouring one."""
    hot_pixels: float
    """Fraction of a channel's pixels that are hot."""

    @property
    def names(self) -> tuple[str, ...]:
        """Channel names."""
        return tuple(channel.name for channel in self.channels)

    @property
    def markers(self) -> tuple[str | None, ...]:
        """The simulator's marker of each channel."""
        return tuple(channel.marker for channel in self.channels)


def _metal_channels(table: str, form: str) -> tuple[ChannelSpec, ...]:
    """Channels of a mass cytometer; `form` puts name and metal together."""
    channels = []
    for line in table.strip().splitlines():
        *words, metal, marker, gain, background = line.split()
        name = form.format(name=" ".join(words), metal=metal)
        mass = float("".join(letter for letter in metal if letter.isdigit()))
        channels.append(_spec(name, marker, float(gain), float(background), mass))
    return tuple(channels)


def _plain_channels(table: str, *, masses: bool, background: float) -> tuple[ChannelSpec, ...]:
    """Channels that carry only the marker's name; `background` is relative to the gain."""
    channels = []
    for place, line in enumerate(table.strip().splitlines()):
        *words, marker, gain_text = line.split()
        mass = float(words.pop()) if masses else float(place)
        gain = float(gain_text)
        channels.append(_spec(" ".join(words), marker, gain, background * gain, mass))
    return tuple(channels)


def _spec(name: str, marker: str, gain: float, background: float, mass: float) -> ChannelSpec:
    return ChannelSpec(name, None if marker == "-" else marker, gain, background, mass)


def panel_presets() -> dict[str, PanelPreset]:
    """Return the panels that can be simulated, by name."""
    imc = {"blur_px": 0.5, "autofluorescence": 0.004, "counts_per_ion": 1.0, "offset": 0.0,
           "neighbour_spill": 0.006, "hot_pixels": 1.5e-5}  # fmt: skip
    presets = (
        PanelPreset("imc-tumour", "imc", _metal_channels(_IMC_TUMOUR, "{name}({metal}Di)"), **imc),
        PanelPreset("imc-immune", "imc", _metal_channels(_IMC_IMMUNE, "{name}_{metal}"), **imc),
        PanelPreset(
            "codex", "codex", _plain_channels(_CODEX, masses=False, background=0.03),
            blur_px=0.75, autofluorescence=0.035, counts_per_ion=9.0, offset=110.0,
            neighbour_spill=0.003, hot_pixels=4e-6,
        ),
        PanelPreset(
            "mibi", "mibi", _plain_channels(_MIBI, masses=True, background=0.006),
            blur_px=0.45, autofluorescence=0.004, counts_per_ion=1.0, offset=0.0,
            neighbour_spill=0.005, hot_pixels=3e-6,
        ),
    )  # fmt: skip
    return {preset.name: preset for preset in presets}


def panel_preset(name: str) -> PanelPreset:
    """Return a panel by name.

    Raises
    ------
    ConfigError
        There is no such panel.
    """
    presets = panel_presets()
    if name not in presets:
        message = f"expected a panel out of {', '.join(presets)}; found {name!r}"
        raise ConfigError(message)
    return presets[name]
