"""A simulated tissue looks and measures like tissue, and what is said of it is true."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from virtues_core.errors import ConfigError, InputError
from virtues_core.markers import Panel
from virtues_core.simulate import (
    CELL_TYPES,
    NICHES,
    STATES,
    ChannelSpec,
    SimulatedTissue,
    TissueConfig,
    panel_preset,
    panel_presets,
    simulate_cells,
    simulate_tissue,
)
from virtues_core.simulate.biology import (
    LEAK,
    cell_shapes,
    composition,
    marker_profiles,
    type_index,
)
from virtues_core.simulate.fields import smooth_noise, streamline_noise
from virtues_core.simulate.instrument import spill_matrix
from virtues_core.simulate.layout import draw_layout


@pytest.fixture(scope="module")
def tissue() -> SimulatedTissue:
    return simulate_tissue("imc-tumour", (384, 448), seed=4)


def channel(tissue: SimulatedTissue, name: str) -> np.ndarray:
    index = [i for i, found in enumerate(tissue.channels) if found.startswith(f"{name}(")]
    return tissue.pixels[index[0]].astype(float)


def mean_per_cell(tissue: SimulatedTissue, name: str) -> np.ndarray:
    return ndimage.mean(channel(tissue, name), tissue.cell_mask, tissue.cells["cell_id"])


def of_type(tissue: SimulatedTissue, *types: str) -> np.ndarray:
    return tissue.cells["cell_type"].isin(types).to_numpy()


def test_has_the_promised_shapes_and_types(tissue: SimulatedTissue) -> None:
    panel = panel_preset("imc-tumour")
    assert tissue.pixels.shape == (len(panel.channels), 384, 448)
    assert tissue.pixels.dtype == np.uint16
    assert tissue.channels == panel.names
    assert tissue.modality == "imc"
    assert tissue.cell_mask.dtype == np.int32
    assert tissue.tissue_mask.dtype == bool
    for part in (tissue.cell_mask, tissue.cell_types, tissue.niches, tissue.tissue_mask):
        assert part.shape == tissue.shape == (384, 448)
    assert tissue.expression.shape == (len(tissue.cells), len(tissue.markers))
    image = tissue.image
    assert image.shape == tissue.pixels.shape
    assert image.pixel_size_um == (1.0, 1.0)
    assert np.array_equal(image.compute([3])[0], tissue.pixels[3])


def test_the_same_seed_gives_the_same_tissue_and_another_seed_another() -> None:
    first = simulate_tissue("mibi", (128, 160), seed=(3, 5))
    again = simulate_tissue("mibi", (128, 160), seed=(3, 5))
    other = simulate_tissue("mibi", (128, 160), seed=(3, 6))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.cells.equals(again.cells)
    assert not np.array_equal(first.cell_mask, other.cell_mask)


def test_another_panel_shows_the_same_cells() -> None:
    imc = simulate_tissue("imc-immune", (128, 128), seed=2)
    codex = simulate_tissue("codex", (128, 128), seed=2)
    assert np.array_equal(imc.cell_mask, codex.cell_mask)
    assert imc.cells.equals(codex.cells)
    cd20 = imc.expression[:, imc.markers.index("CD20_Dy161")]
    assert np.array_equal(cd20, codex.expression[:, codex.markers.index("CD20")])


def test_table_and_masks_agree(tissue: SimulatedTissue) -> None:
    cells = tissue.cells
    ids, areas = np.unique(tissue.cell_mask[tissue.cell_mask > 0], return_counts=True)
    assert np.array_equal(ids, cells["cell_id"])
    assert np.array_equal(ids, np.arange(1, len(cells) + 1))
    assert np.allclose(areas, cells["area_um2"])
    types = np.array(["", *CELL_TYPES])[tissue.cell_types]
    first_pixel = np.unique(tissue.cell_mask, return_index=True)[1][1:]
    assert np.array_equal(types.ravel()[first_pixel], cells["cell_type"])
    at = cells["y_um"].astype(int), cells["x_um"].astype(int)
    assert np.array_equal(np.array(NICHES)[tissue.niches[at]], cells["niche"])
    assert set(STATES) <= set(cells.columns)
    assert cells[list(STATES)].min().min() >= 0
    assert cells[list(STATES)].max().max() <= 1


def test_each_cell_is_one_piece_in_tissue(tissue: SimulatedTissue) -> None:
    windows = ndimage.find_objects(tissue.cell_mask)
    for label, window in enumerate(windows[::9], start=1):
        own = tissue.cell_mask[window] == 9 * (label - 1) + 1
        assert ndimage.label(own)[1] == 1


def test_size_density_and_mixing_are_realistic(tissue: SimulatedTissue) -> None:
    cells = tissue.cells
    per_mm2 = len(cells) / (tissue.tissue_mask.sum() * 1e-6)
    assert 6_000 < per_mm2 < 20_000
    assert 0.55 < (tissue.cell_mask > 0).mean() < 0.95
    diameter = 2 * np.sqrt(cells.groupby("cell_type")["area_um2"].median() / np.pi)
    assert diameter.between(6.5, 13).all()
    assert diameter["tumour"] > diameter["CD8_T"] + 2
    assert cells["cell_type"].nunique() >= 12
    assert len(CELL_TYPES) >= 12


def test_types_live_in_their_niches(tissue: SimulatedTissue) -> None:
    share = tissue.cells.groupby("niche")["cell_type"].value_counts(normalize=True)
    assert share["tumour_nest", "tumour"] > 0.75
    assert share["b_follicle", "B"] > 0.6
    assert share["immune_hub", "CD8_T"] + share["immune_hub", "dendritic"] > 0.4
    assert share["suppressive_niche", "M2_macrophage"] > 0.2
    assert share["vessel", "endothelial"] > 0.2
    assert share["stroma", "fibroblast"] > 0.3


def test_stains_show_their_cells(tissue: SimulatedTissue) -> None:
    for marker, types in {
        "CD3": ("CD4_T", "CD8_T", "Treg"),
        "CD20": ("B",),
        "panCK": ("tumour",),
        "CD31": ("endothelial",),
        "SMA": ("smooth_muscle",),
        "CD68": ("macrophage", "M2_macrophage"),
        "FOXP3": ("Treg",),
        "MPO": ("neutrophil",),
        "CD138": ("plasma",),
    }.items():
        means, own = mean_per_cell(tissue, marker), of_type(tissue, *types)
        assert np.median(means[own]) > 4 * np.median(means[~own]) + 0.1, marker


def test_markers_are_correlated_as_they_should_be(tissue: SimulatedTissue) -> None:
    dna = np.corrcoef(mean_per_cell(tissue, "DNA1"), mean_per_cell(tissue, "DNA2"))[0, 1]
    assert dna > 0.9
    tumour = of_type(tissue, "tumour")
    levels = np.log(tissue.expression[tumour])
    names = [name.partition("(")[0] for name in tissue.markers]
    matrix = np.corrcoef(levels.T)
    assert matrix[names.index("panCK"), names.index("E-cadherin")] > 0.35
    assert abs(matrix[names.index("panCK"), names.index("CA9")]) < 0.35
    helper = np.log(tissue.expression[of_type(tissue, "CD4_T")])
    assert np.corrcoef(helper.T)[names.index("CD3"), names.index("CD4")] > 0.35


def test_expression_is_log_normal_within_a_type() -> None:
    cells = simulate_cells("imc-tumour", (512, 512), seed=1)
    own = (cells.cells["cell_type"] == "tumour").to_numpy()
    level = np.log(cells.expression[own, cells.markers.index("panCK(Nd148Di)")])
    level = level[(cells.cells["mesenchymal"] < 0.05).to_numpy()[own]]
    assert 0.35 < level.std() < 0.55
    assert abs(((level - level.mean()) ** 3).mean() / level.std() ** 3) < 0.35


def test_nuclear_stains_lie_inside_and_membrane_stains_at_the_rim(
    tissue: SimulatedTissue,
) -> None:
    rim = tissue.cell_mask > 0
    core = ndimage.binary_erosion(rim, iterations=1)
    for axis in (0, 1):
        for step in (1, -1):
            core &= np.roll(tissue.cell_mask, step, axis) == tissue.cell_mask
    rim &= ~core
    large = np.isin(tissue.cell_types, [1 + type_index("tumour")])
    for marker in ("DNA1", "HistoneH3"):
        plane = channel(tissue, marker)
        assert plane[core & large].mean() > 1.5 * plane[rim & large].mean()
    ecadherin = channel(tissue, "E-cadherin")
    assert ecadherin[rim & large].mean() > 1.3 * ecadherin[core & large].mean()


def test_collagen_lies_between_the_cells_of_the_stroma(tissue: SimulatedTissue) -> None:
    plane, between = channel(tissue, "Collagen I"), tissue.cell_mask == 0
    stroma = tissue.niches == NICHES.index("stroma")
    nests = tissue.niches == NICHES.index("tumour_nest")
    assert plane[stroma & between].mean() > 1.25 * plane[stroma & ~between].mean()
    assert plane[stroma].mean() > 4 * plane[nests].mean()


def test_states_follow_their_cause() -> None:
    cells = simulate_cells("imc-tumour", (512, 512), seed=7).cells
    tumour = cells[cells["cell_type"] == "tumour"]
    assert tumour["hypoxic"].max() > 0.5
    assert (cells.loc[cells["cell_type"] != "tumour", "hypoxic"] == 0).all()
    killers = cells[cells["cell_type"] == "CD8_T"]
    in_hub = killers["niche"] == "immune_hub"
    assert killers.loc[in_hub, "activated"].mean() > 2 * killers.loc[~in_hub, "activated"].mean()
    near = np.hypot(
        *(tumour[[axis]].to_numpy() - killers[axis].to_numpy() for axis in ("y_um", "x_um"))
    ).min(axis=1)
    response = tumour["interferon"].to_numpy()
    assert response[near < 15].mean() > 0.1
    assert (response[near > 23] == 0).all()


def test_a_background_channel_holds_poisson_noise_and_hot_pixels_stand_out() -> None:
    tissue = simulate_tissue("imc-immune", (384, 384), seed=3, batch_strength=0)
    argon = tissue.pixels[tissue.channels.index("80ArAr_ArAr80")].astype(float)
    inner = argon[argon < argon.mean() * 1.4]
    assert inner.var() == pytest.approx(inner.mean(), rel=0.15)
    hot = panel_preset("imc-immune")
    many = replace(hot, hot_pixels=1e-3)
    assert simulate_tissue(many, (128, 128), seed=3).pixels.max() > 3000
    none = replace(hot, hot_pixels=0.0)
    cold = simulate_tissue(none, (128, 128), seed=3).pixels
    warm = simulate_tissue(many, (128, 128), seed=3).pixels
    assert 0.0005 < (cold != warm).mean() < 0.002


def test_neighbouring_metals_spill_over() -> None:
    channels = (
        ChannelSpec("panCK(Nd148Di)", "panCK", 400, 0, 148),
        ChannelSpec("empty(Sm149Di)", None, 0, 0, 149),
        ChannelSpec("empty(Gd158Di)", None, 0, 0, 158),
        ChannelSpec("empty(Dy164Di)", None, 0, 0, 164),
    )
    panel = replace(
        panel_preset("imc-tumour"), channels=channels, autofluorescence=0.0, hot_pixels=0.0
    )
    matrix = spill_matrix(panel)
    assert matrix[0, 1] == pytest.approx(0.006)
    assert matrix[0, 2] == 0
    assert matrix[0, 3] == pytest.approx(0.003)
    pixels = simulate_tissue(panel, (256, 256), seed=1).pixels.astype(float)
    assert pixels[1].mean() == pytest.approx(0.006 * pixels[0].mean(), rel=0.1)
    assert pixels[2].max() == 0
    assert pixels[3].mean() == pytest.approx(0.003 * pixels[0].mean(), rel=0.1)


def test_batch_effects_scale_channels_per_dataset_and_per_image() -> None:
    def means(**settings: float) -> np.ndarray:
        made = simulate_tissue("codex", (128, 128), seed=9, **settings)
        return made.pixels.mean(axis=(1, 2)) - 110

    plain = means(batch_strength=0)
    assert np.array_equal(plain, means(batch_strength=0, dataset_seed=5))
    one, two = means(dataset_seed=5), means(dataset_seed=6)
    for shifted in (one / plain, two / plain, one / two):
        assert np.log(shifted).std() > 0.1


@pytest.mark.parametrize(
    ("field", "low", "high", "measure"),
    [
        ("tumour_fraction", 0.1, 0.6, lambda t: (t.cells["cell_type"] == "tumour").mean()),
        ("lymphoid_fraction", 0.0, 0.3, lambda t: t.cells["niche"].isin(["t_zone"]).mean()),
        ("vessels_per_mm2", 0.0, 200.0, lambda t: (t.cells["niche"] == "vessel").mean()),
        ("infiltration", 0.2, 4.0, lambda t: (t.cells["cell_type"] == "CD4_T").mean()),
        ("myeloid", 0.2, 4.0, lambda t: (t.cells["cell_type"] == "macrophage").mean()),
        ("proliferation", 0.05, 0.6, lambda t: t.cells["proliferating"].mean()),
        ("hub_fraction", 0.0, 0.15, lambda t: (t.cells["niche"] == "immune_hub").mean()),
        (
            "suppressive_fraction", 0.0, 0.15,
            lambda t: (t.cells["niche"] == "suppressive_niche").mean(),
        ),
        ("tissue_fraction", 0.4, 1.0, lambda t: len(t.cells)),
    ],
)  # fmt: skip
def test_each_setting_changes_what_it_names(field: str, low: float, high: float, measure) -> None:
    little = simulate_cells(shape=(320, 320), config=TissueConfig(**{field: low}))
    much = simulate_cells(shape=(320, 320), config=TissueConfig(**{field: high}))
    assert measure(much) > 1.5 * measure(little)


def test_nests_and_aggregates_have_the_size_asked_for() -> None:
    def pieces(niche: str, config: TissueConfig) -> int:
        made = draw_layout(np.random.default_rng(2), (448, 448), config).niches
        zones = np.isin(made, [NICHES.index(name) for name in niche.split("+")])
        return int((np.bincount(ndimage.label(zones)[0].ravel())[1:] > 200).sum())

    small, large = TissueConfig(nest_scale_um=30), TissueConfig(nest_scale_um=200)
    assert pieces("tumour_nest", small) > pieces("tumour_nest", large)
    crowd = TissueConfig(tumour_fraction=0.1, lymphoid_fraction=0.25, vessels_per_mm2=0)
    lymph = "b_follicle+t_zone"
    small_zones = pieces(lymph, replace(crowd, aggregate_radius_um=30))
    assert small_zones > pieces(lymph, replace(crowd, aggregate_radius_um=120))


def test_tissue_and_glass() -> None:
    made = simulate_tissue("codex", (256, 256), config=TissueConfig(tissue_fraction=0.6))
    assert made.tissue_mask.mean() == pytest.approx(0.6, abs=0.01)
    assert np.array_equal(made.niches == 0, ~made.tissue_mask)
    dapi = made.pixels[0].astype(float)
    assert dapi[made.tissue_mask].mean() > 3 * dapi[~made.tissue_mask].mean()


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_tissue_without_tumour_or_with_nothing_else(fraction: float) -> None:
    config = TissueConfig(tumour_fraction=fraction, lymphoid_fraction=0.3)
    made = simulate_tissue("mibi", (128, 128), config=config)
    share = (made.cells["cell_type"] == "tumour").mean()
    assert share < 0.02 if fraction == 0 else share > 0.6


def test_cells_alone_are_those_of_the_image() -> None:
    alone = simulate_cells("codex", (160, 160), seed=6)
    shown = simulate_tissue("codex", (160, 160), seed=6)
    merged = shown.cells.merge(alone.cells, on=["y_um", "x_um", "cell_type", "niche"])
    assert len(merged) == len(shown.cells)
    assert len(alone.cells) <= 1.1 * len(shown.cells)
    assert merged["area_um2_x"].median() == pytest.approx(merged["area_um2_y"].median(), rel=0.3)


def test_panels_are_known_to_the_marker_registry() -> None:
    accessions: dict[str, set[str | None]] = {}
    presets = panel_presets()
    assert len({preset.modality for preset in presets.values()}) == 3
    for preset in presets.values():
        entries = Panel.from_names(preset.names).entries
        for spec, entry in zip(preset.channels, entries, strict=True):
            if spec.marker is None:
                assert entry.status == "background", spec.name
            else:
                assert entry.status in {"resolved", "stain"}, spec.name
                accessions.setdefault(spec.marker, set()).add(entry.key)
    assert {name: keys for name, keys in accessions.items() if len(keys) != 1} == {}
    imc, codex = (set(presets[name].markers) for name in ("imc-tumour", "codex"))
    assert len(imc & codex) >= 15
    assert len(imc - codex) >= 5


def test_tables_of_biology_are_complete() -> None:
    shares = composition().sum(axis=1)
    assert shares[0] == 0
    assert np.allclose(shares[1:], 1)
    assert len(cell_shapes().long_um) == len(CELL_TYPES)
    for profile in marker_profiles().values():
        assert len(profile.levels) == len(CELL_TYPES)
        assert max(profile.levels) > LEAK
        assert len(profile.states) == len(STATES)


def test_fields_have_unit_variance_and_fibres_follow_their_angle() -> None:
    rng = np.random.default_rng(0)
    field = smooth_noise(rng, (400, 400), 10, octaves=2)
    assert field.std() == pytest.approx(1, abs=0.15)
    assert np.abs(np.diff(field, axis=0)).max() < 1
    level = streamline_noise(rng, np.zeros((100, 100), np.float32), 10)
    along = np.corrcoef(level[:, :-3].ravel(), level[:, 3:].ravel())[0, 1]
    across = np.corrcoef(level[:-3].ravel(), level[3:].ravel())[0, 1]
    assert along > 0.7
    assert abs(across) < 0.1


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(InputError, match="at least 64 × 64 px, found \\(32, 128\\)"):
        simulate_tissue("mibi", (32, 128))
    with pytest.raises(InputError, match="seed of 0 or more, found -3"):
        simulate_cells("mibi", (64, 64), seed=-3)
    with pytest.raises(ConfigError, match=r"out of imc-tumour, .* found 'IMC'"):
        simulate_cells("IMC")
    with pytest.raises(ConfigError, match=r"tumour_fraction from 0 to 1, found 1\.2"):
        TissueConfig(tumour_fraction=1.2)
    with pytest.raises(ConfigError, match=r"tissue_fraction from 0\.05"):
        TissueConfig(tissue_fraction=0)
    with pytest.raises(ConfigError, match="found 'T cell'"):
        type_index("T cell")
