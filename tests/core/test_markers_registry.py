"""The table of proteins, held against published panels."""

import csv
import re
from pathlib import Path

import pytest

from virtues_core.errors import MarkerError
from virtues_core.markers import Panel, Registry, Target

DOCS = Path(__file__).parents[2] / "docs" / "markers.md"


@pytest.fixture(scope="module")
def registry():
    return Registry.load()


def _rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_covers_what_panels_use(registry):
    proteins = {t.accession.partition("-")[0] for t in registry.targets if t.accession}
    assert len(proteins) >= 300
    forms = {t.form for t in registry.targets}
    assert forms >= {"phosphorylated", "cleaved", "complex", "cocktail", "isoform", "stain"}


def test_a_cocktail_complex_or_isoform_says_what_it_stands_for(registry):
    silent = [
        t.symbol
        for t in registry.targets
        if t.form in ("complex", "cocktail", "isoform", "carbohydrate") and not t.note
    ]
    assert silent == []


def test_a_symbol_has_one_protein(registry):
    by_symbol = {}
    for target in registry.targets:
        if target.accession:
            base = target.accession.partition("-")[0]
            by_symbol.setdefault(target.symbol, set()).add(base)
    assert {s: a for s, a in by_symbol.items() if len(a) > 1} == {}


def test_two_targets_may_not_share_a_name():
    with pytest.raises(MarkerError, match=r"'CD-X' names both A .* and B "):
        Registry.from_targets(
            [Target("A", "P00001", aliases=("CDX",)), Target("B", "P00002", aliases=("CD-X",))]
        )
    with pytest.raises(MarkerError, match="expected a UniProt accession"):
        Registry.from_targets([Target("A", "CD4")])


@pytest.mark.parametrize("column", ["channel_name", "original_channel_name"])
def test_reproduces_the_published_panel(shared_data, column):
    rows = _rows(shared_data / "markers" / "cords_panel_gold.csv")
    assert len(rows) == 43
    entries = Panel.from_names(row[column] for row in rows).entries
    wrong = {
        e.name: (e.accession, row["uniprot_id"])
        for row, e in zip(rows, entries, strict=True)
        if (e.accession or "") != row["uniprot_id"]
    }
    assert wrong == {}
    no_protein = {
        row["channel_name"]: (e.status, e.key)
        for row, e in zip(rows, entries, strict=True)
        if not row["uniprot_id"]
    }
    assert no_protein == {
        "PNAd": ("review", None),
        "Iridium": ("stain", "stain:dna"),
        "Iridium (V2)": ("stain", "stain:dna"),
    }


def _documented_exceptions():
    text = DOCS.read_text("utf-8")
    section = text.partition("## Where the OMAP table is not followed")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (\w[^|]*?) \| (\w+) \| ([^|]*?) \| ", section, re.MULTILINE)
    return {name: (theirs, ours) for name, theirs, ours in found if name != "target_symbol"}


def test_agrees_with_the_omap_table_but_for_the_documented_rows(shared_data):
    rows = [
        row
        for row in _rows(shared_data / "markers" / "omap_targets.csv")
        if "," not in row["uniprot_accessions"]
    ]
    assert len(rows) > 300
    entries = Panel.from_names(row["target_symbol"] for row in rows).entries
    differing = {
        e.name: (row["uniprot_accessions"], e.accession or "none")
        for row, e in zip(rows, entries, strict=True)
        if e.accession != row["uniprot_accessions"]
    }
    assert differing == _documented_exceptions()


def test_finds_the_omap_synonyms(shared_data):
    rows = [
        row
        for row in _rows(shared_data / "markers" / "omap_targets.csv")
        if row["synonyms"] and "," not in row["uniprot_accessions"]
    ]
    assert len(rows) > 20
    entries = Panel.from_names(row["synonyms"] for row in rows).entries
    assert [e.accession for e in entries] == [row["uniprot_accessions"] for row in rows]


def test_omap_cocktails_stand_under_one_of_their_proteins(shared_data):
    """Where the table names several proteins and we resolve that, ours is the first named."""
    rows = [
        row
        for row in _rows(shared_data / "markers" / "omap_targets.csv")
        if "," in row["uniprot_accessions"]
    ]
    entries = Panel.from_names(row["target_symbol"] for row in rows).entries
    first = [re.split(r",\s*", row["uniprot_accessions"])[0] for row in rows]
    resolved = [(e.accession, f) for e, f in zip(entries, first, strict=True) if e.accession]
    assert len(resolved) >= 10
    assert [a for a, _ in resolved] == [f for _, f in resolved]
