"""``virtues markers``."""

import json

import pytest
import typer
from test_markers_esm import save_small_esm
from typer.testing import CliRunner

from virtues_core.cli.markers import register
from virtues_core.errors import MarkerError
from virtues_core.markers import MarkerEmbeddings, Panel

FASTA = ">sp|P01732|CD8A_HUMAN x\nMALPVTALLL\n>sp|P01730|CD4_HUMAN x\nMNRGVPFRHL\n"


@pytest.fixture
def run():
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.callback()
    def _root():
        """As the real command line has one."""

    register(app)

    def call(*arguments):
        return CliRunner().invoke(app, ["markers", *map(str, arguments)])

    return call


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text(FASTA)
    return path


def test_map_prints_json_with_exactly_these_keys(run):
    names = ["CD8a(Dy162Di)", "DNA1_Ir191", "131Xe", "Cytoker"]
    result = run("map", *names, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [
        {
            "name": "CD8a(Dy162Di)",
            "accession": "P01732",
            "symbol": "CD8A",
            "status": "resolved",
            "source": "registry",
        },
        {
            "name": "DNA1_Ir191",
            "accession": None,
            "symbol": "DNA",
            "status": "stain",
            "source": "registry",
        },
        {
            "name": "131Xe",
            "accession": None,
            "symbol": "Xe131",
            "status": "background",
            "source": "isotope",
        },
        {"name": "Cytoker", "accession": None, "symbol": "", "status": "review", "source": ""},
    ]


def test_map_prints_a_table_with_suggestions(run):
    result = run("map", "pS6", "Cytoker")
    assert result.exit_code == 0
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["name", "protein", "accession", "status", "source"]
    assert first.split() == ["pS6", "RPS6", "P62753", "resolved", "alias", "phosphorylated"]
    assert second.startswith("Cytoker  –")
    assert "similar: KRT14" in second


def test_embed_by_esm_from_fasta(run, tmp_path, fasta):
    folder = tmp_path / "esm"
    folder.mkdir()
    save_small_esm(folder)
    out = tmp_path / "markers.safetensors"
    settings = ("--fasta", fasta, "--model", folder, "--cache", tmp_path / "cache", "--out", out)
    result = run("embed", "CD8a_Dy162", "DNA1_Ir191", *settings, "--device", "cpu")
    assert result.exit_code == 0, result.output
    made = MarkerEmbeddings.load(out)
    assert (set(made), made.dim) == ({"P01732", "stain:dna"}, 8)
    assert made.stand_ins == {"stain:dna"}
    assert "2 markers of 8 values, 1 of them stand-ins" in result.stdout
    assert "1/1 P01732" in result.stderr
    assert list((tmp_path / "cache" / "esm").rglob("*.safetensors"))
    # nothing named: all that the file holds
    assert run("embed", *settings).exit_code == 0
    assert set(MarkerEmbeddings.load(out)) == {"P01732", "P01730"}


def test_embed_asks_uniprot_for_what_the_fasta_lacks(run, tmp_path, fasta):
    out = tmp_path / "markers.safetensors"
    arguments = ("embed", "P01732", "P04637", "--fasta", fasta, "--cache", tmp_path, "--out", out)
    result = run(*arguments, "--uniprot-url", "http://127.0.0.1:9")
    assert isinstance(result.exception, MarkerError)
    assert "could not fetch P04637 from http://127.0.0.1:9/uniprotkb/P04637.fasta" in str(
        result.exception
    )
    assert not out.exists()


def test_embed_a_panel_by_stand_ins(run, tmp_path):
    panel = tmp_path / "panel.csv"
    Panel.from_names(["CD8a", "Unknownin", "131Xe", "DNA1", "CD8"]).to_csv(panel)
    out = tmp_path / "markers.safetensors"
    result = run("embed", "--panel", panel, "--stand-in", "--out", out)
    assert result.exit_code == 0, result.output
    made = MarkerEmbeddings.load(out)
    assert made.stand_ins == set(made) == {"P01732", "stain:dna"}
    assert made.dim == 640
    assert "left out, no protein known: Unknownin" in result.stderr


def test_embed_refuses_what_it_cannot_do(run, tmp_path):
    out = tmp_path / "markers.safetensors"
    for arguments, message in [
        ((), "nothing to embed: give marker names, --panel or --fasta"),
        (("CD8", "Unknownin"), "no protein to embed for 'Unknownin' (review)"),
        (("131Xe",), "no protein to embed for '131Xe' (background)"),
    ]:
        result = run("embed", *arguments, "--out", out)
        assert isinstance(result.exception, MarkerError)
        assert message in str(result.exception)
    assert not out.exists()
