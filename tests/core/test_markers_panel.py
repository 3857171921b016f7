"""Panels: what to look at, a person's word, and CSV."""

import csv

import pytest
import tifffile

from virtues_core.errors import MarkerError
from virtues_core.markers import DNA_KEY, Panel

SPLEEN_KEYS = {
    "CD11b_Sm149": "P11215",
    "CD20_Dy161": "P11836",
    "CD3_Er170": "P07766",
    "CD45_Sm152": "P08575",
    "CD4_Gd156": "P01730",
    "CD68_Tb159": "P34810",
    "CD8a_Dy162": "P01732",
    "CollagenI_Tm169": "P02452",
    "DNA1_Ir191": DNA_KEY,
    "DNA3_Ir193": DNA_KEY,
    "HistoneH3_Yb176": "P68431",
    "VIM_Nd143": "P08670",
    "alphaSMA_Pr141": "P62736",
}


def test_all_channels_of_a_real_image(shared_data):
    with tifffile.TiffFile(shared_data / "spleen_imc" / "r2.ome.tiff") as file:
        meta = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]
    names = [channel["Name"] for channel in meta]
    assert len(names) == 25
    panel = Panel.from_names(names)
    assert {e.name: e.key for e in panel.entries if e.key} == SPLEEN_KEYS
    others = [e for e in panel.entries if not e.key]
    assert len(others) == 12
    assert {(e.status, e.source, e.keep) for e in others} == {("background", "isotope", False)}
    assert panel.report().ok


def test_report_names_duplicates_blanks_and_unknowns():
    panel = Panel.from_names(["CD4", "CD4", "", "  ", "Unknownin", "CD45", "CD45RO"])
    report = panel.report()
    assert report.duplicates == ("CD4",)
    assert report.blank == (2, 3)
    assert [e.name for e in report.review] == ["Unknownin"]
    assert report.shared == {"P01730": ("CD4", "CD4"), "P08575": ("CD45", "CD45RO")}
    assert not report.ok
    text = str(report)
    assert "more than one channel is called CD4" in text
    assert "channel number 3, 4" in text
    assert "not known: 'Unknownin'" in text


def test_the_registry_can_be_replaced():
    from virtues_core.markers import Registry, Target

    mine = Registry.from_targets([Target("XYZ1", "P00001", aliases=("Foo",))])
    assert Panel.from_names(["foo", "CD4"], registry=mine).keys == ("P00001", None)


def test_a_person_has_the_last_word(tmp_path):
    panel = Panel.from_names(["Mystery", "CD4", "Nuc", "Mystery"])
    panel = panel.assign("CD4", accession="P01732", note="tubes were swapped")
    panel = panel.assign("Nuc", accession=DNA_KEY)
    panel = panel.assign(3, status="background")
    panel = panel.assign(0, accession="Q00000", symbol="MYS")
    assert panel.keys == ("Q00000", "P01732", DNA_KEY, None)
    assert [e.symbol for e in panel.entries] == ["MYS", "CD8A", "DNA", ""]
    assert {e.source for e in panel.entries} == {"user"}
    panel.to_csv(tmp_path / "panel.csv")
    assert Panel.from_csv(tmp_path / "panel.csv") == panel


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accession": "CD4"}, "'CD4' is not a UniProt accession"),
        ({"accession": "P01730", "status": "background"}, "exactly when it has an accession"),
        ({"status": "resolved"}, "exactly when it has an accession"),
        ({"status": "maybe"}, "is none of resolved, stain, background, review"),
    ],
)
def test_a_word_that_cannot_be_right_is_refused(arguments, message):
    with pytest.raises(MarkerError, match=message):
        Panel.from_names(["Foo"]).assign("Foo", **arguments)


def test_a_channel_is_found_by_its_one_name():
    panel = Panel.from_names(["CD4", "CD8", "CD8"])
    assert panel["CD4"].accession == "P01730"
    with pytest.raises(MarkerError, match="2 channels named 'CD8'"):
        panel.position("CD8")
    with pytest.raises(MarkerError, match=r"no channel named 'CD9'.*CD4, CD8, CD8"):
        panel["CD9"]


def test_round_trip_through_csv(tmp_path):
    names = [*SPLEEN_KEYS, "131Xe_Xe131", "Unknownin", "pS6", "CD31+vWF", "PNAd", "H&E", 'a,"b"']
    panel = Panel.from_names(names)
    panel.to_csv(tmp_path / "panel.csv")
    with (tmp_path / "panel.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["channel", "name", "keep", "ilastik", "deepcell"]
    assert (rows[0]["channel"], rows[0]["name"], rows[0]["keep"]) == ("Sm149", "CD11b_Sm149", "1")
    assert rows[len(SPLEEN_KEYS)]["keep"] == "0"
    assert Panel.from_csv(tmp_path / "panel.csv") == panel


def test_a_panel_of_steinbock_opens(shared_data, tmp_path):
    panel = Panel.from_csv(shared_data / "imc_raw" / "panel.csv")
    assert panel.names == ("Ag107", "Cytokeratin 5", "Laminin", "YBX1", "H3K27Ac")
    assert panel.keys == (None, "P13647", "P11047", "P67809", "P68431")
    assert [e.metal for e in panel.entries] == ["Ag107", "Pr141", "Sm147", "Eu153", "Yb172"]
    assert [e.ilastik for e in panel.entries] == [1, None, None, 2, 3]
    assert all(e.keep for e in panel.entries)
    panel.to_csv(tmp_path / "again.csv")
    assert Panel.from_csv(tmp_path / "again.csv") == panel


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("marker,protein\nCD4,P01730\n", "expected the columns channel, name, .* found marker"),
        ("", "expected the columns .* found none"),
        ("channel,name,keep\nx,CD4,yes\n", "line 2 .* keep must be a whole number .* 'yes'"),
        ("channel,name,accession,status\nx,CD4,CD4,resolved\n", "line 2 .* not a UniProt"),
        ("channel,name,accession,status\nx,CD4,,sure\n", "line 2 .* 'sure' is none of"),
        ("channel,name,accession,status,form\nx,CD4,P01730,resolved,big\n", "form 'big'"),
    ],
)
def test_a_bad_panel_file_is_explained(tmp_path, text, message):
    path = tmp_path / "panel.csv"
    path.write_text(text)
    with pytest.raises(MarkerError, match=message):
        Panel.from_csv(path)


def test_a_missing_or_binary_panel_file_is_explained(tmp_path):
    with pytest.raises(MarkerError, match="could not read the panel"):
        Panel.from_csv(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MarkerError, match="could not read the panel"):
        Panel.from_csv(tmp_path / "binary.csv")
