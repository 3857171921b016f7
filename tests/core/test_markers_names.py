"""Channel names as instruments write them."""

import pytest

from virtues_core.markers import Panel
from virtues_core.markers.names import alias_key, parse_channel


@pytest.mark.parametrize(
    ("name", "target", "metals"),
    [
        ("CD8a(Dy162Di)", "CD8a", ("Dy162",)),
        ("162Dy_CD8a", "CD8a", ("Dy162",)),
        ("CD8a_Dy162", "CD8a", ("Dy162",)),
        ("Dy162(CD8a)", "CD8a", ("Dy162",)),
        ("162Dy-CD8a(Dy162Di)", "CD8a", ("Dy162",)),
        ("¹⁶²Dy_CD8a", "CD8a", ("Dy162",)),
        ("Y89_CD45", "CD45", ("Y89",)),
        ("S100_Er166", "S100", ("Er166",)),  # 100 is no isotope of anything spelled S
        ("131Xe_Xe131", "", ("Xe131",)),
        ("190BCKG_BCKG190", "", ("BCKG190",)),
        ("80ArAr_ArAr80", "", ("ArAr80",)),
        ("107Ag(Ag107Di)", "", ("Ag107",)),
        ("CD45_Sm151", "CD45_Sm151", ()),  # samarium has no isotope 151
        ("CD111", "CD111", ()),
        ("111Cd_CD3", "CD3", ("Cd111",)),
        ("CD3_Cd111", "CD3", ("Cd111",)),
        ("CD111(Cd111Di)", "CD111", ("Cd111",)),
        ("Ki-67", "Ki-67", ()),
    ],
)
def test_metal_tags_come_off(name, target, metals):
    parsed = parse_channel(name)
    assert (parsed.target, parsed.metals) == (target, metals)


def test_names_are_compared_exactly_but_for_punctuation():
    assert alias_key("α-SMA") == alias_key("alpha SMA") == "alphasma"
    assert alias_key("HLA-DR") == alias_key("hla.dr") == alias_key("HLA DR")
    assert alias_key("TCRγδ") == alias_key("TCR gamma-delta")
    # a separator between digits counts, or two names would become a third
    assert len({alias_key("CD34"), alias_key("CD3_4"), alias_key("CD3/4")}) == 3


@pytest.mark.parametrize(
    ("name", "accession", "status"),
    [
        ("aSMA", "P62736", "resolved"),
        ("α-SMA", "P62736", "resolved"),
        ("panCK", "P02533", "resolved"),
        ("HLA-DR", "P01903", "resolved"),
        ("pS6", "P62753", "resolved"),
        ("PD-L1", "Q9NZQ7", "resolved"),
        ("PD-1", "Q15116", "resolved"),
        ("Ki67", "P46013", "resolved"),
        ("TCRγδ", "B7Z8K6", "resolved"),
        ("Granzyme B", "P10144", "resolved"),
        ("CD45RA", "P08575-8", "resolved"),
        ("CD45RO", "P08575", "resolved"),
        ("Y89_CD45", "P08575", "resolved"),
        ("CD8 (C8/144B)", "P01732", "resolved"),
        ("CD3_D7A6E_Er170", "P07766", "resolved"),
        ("CD3 clone UCHT1", "P07766", "resolved"),
        ("CD4-AF647", "P01730", "resolved"),
        ("CD68_Cyc3_ch2", "P34810", "resolved"),
        ("anti-CD20", "P11836", "resolved"),
        ("01_CD3", "P07766", "resolved"),
        ("CD56 (NCAM)", "P13591", "resolved"),
        ("Laminin_681((851))Sm147(Sm147Di)", "P11047", "resolved"),
        ("H3K27Ac_1977((2242))Yb172(Yb172Di)", "P68431", "resolved"),
        ("P01732", "P01732", "resolved"),
        ("DNA1_Ir191", None, "stain"),
        ("191Ir", None, "stain"),
        ("DAPI_R2", None, "stain"),
        ("Hoechst 33342", None, "stain"),
        ("H&E", None, "stain"),
        ("Ru101", None, "stain"),
        ("131Xe", None, "background"),
        ("140Ce", None, "background"),
        ("Blank_3", None, "background"),
        ("chan_39", None, "background"),
        ("Fe", None, "background"),
        ("Si", None, "background"),
    ],
)
def test_what_a_name_means(name, accession, status):
    (entry,) = Panel.from_names([name]).entries
    assert (entry.accession, entry.status) == (accession, status)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("pERK1/2", "phosphorylated"),
        ("pERK", "phosphorylated"),
        ("pLAT", "phosphorylated"),
        ("p-STAT3", "phosphorylated"),
        ("Phospho-ZAP70", "phosphorylated"),
        ("pIRF7", "phosphorylated"),
        ("S6 (pS235/236)", "phosphorylated"),
        ("γH2AX", "phosphorylated"),
        ("Cleaved Caspase-3", "cleaved"),
        ("cPARP", "cleaved"),
        ("cleaved caspase 9", "cleaved"),
        ("H3K27me3", "methylated"),
        ("H3 (K27me3)", "methylated"),
        ("CD45RO", "isoform"),
        ("HLA-ABC", "complex"),
        ("CK8/18", "cocktail"),
        ("CD15", "carbohydrate"),
        ("S6", ""),
        ("Caspase 3", ""),
    ],
)
def test_the_form_that_is_measured(name, form):
    (entry,) = Panel.from_names([name]).entries
    assert entry.status == "resolved"
    assert entry.form == form


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("CD24x", "CD24"),
        ("Cytoker", "KRT14"),
        ("CD20_CD3", "MS4A1"),
        ("CD3 (CD20)", None),
        ("CD3/4", None),
        ("CD3_4", None),
        ("Cd111", "NECTIN1"),
        ("C3", "C3"),
        ("Channel 2", None),
        ("CA12", None),
        ("AF488", None),
        ("SI", None),  # sucrase-isomaltase, not silicon
        ("PERK", None),  # EIF2AK3, not phosphorylated ERK
        ("barcode_Pd102", None),
    ],
)
def test_near_misses_are_suggested_and_never_applied(name, suggested):
    (entry,) = Panel.from_names([name]).entries
    assert (entry.status, entry.accession, entry.key) == ("review", None, None)
    if suggested:
        assert suggested in entry.suggestions


def test_neighbours_in_name_stay_apart():
    names = ["CD4", "CD24", "CD44", "CD34", "CD3", "CD13", "KRT8", "KRT18", "p16", "p63"]
    accessions = [e.accession for e in Panel.from_names(names).entries]
    assert len(set(accessions)) == len(names)
    assert None not in accessions


def test_cocktails_stand_under_their_first_protein():
    panel = Panel.from_names(["E-cadherin/P-cadherin", "CD45RA + CD45RO", "FSP1 / S100A4"])
    assert [e.accession for e in panel.entries] == ["P12830", "P08575-8", "P26447"]
    assert [e.form for e in panel.entries] == ["cocktail", "cocktail", ""]
    assert panel.entries[0].note == "measures E-cadherin + P-cadherin; stands under the first"
    assert Panel.from_names(["CD3 + Unknownin"]).entries[0].status == "review"
