"""Sequences from FASTA files and from a UniProt that runs here."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from virtues_core.errors import MarkerError
from virtues_core.markers.sequences import (
    cache_folder,
    checked_sequence,
    fetch_sequences,
    read_fasta,
)

ENTRIES = {
    "P01732": ">sp|P01732|CD8A_HUMAN T-cell surface glycoprotein\nMALPVTALLL\nPLALLLHAAR\n",
    "P08575-8": ">sp|P08575-8|PTPRC_HUMAN Isoform 8\nMTMYLWLKLL\n",
    "Q00000": ">sp|P01730|CD4_HUMAN merged\nMNRGVPFRHL\n",
    "P00001": "",
    "P00002": "<html>maintenance</html>",
}


class _UniProt(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        accession = self.path.removeprefix("/uniprotkb/").removesuffix(".fasta")
        status = 200 if accession in ENTRIES else 500 if accession == "P00500" else 404
        body = ENTRIES.get(accession, "no").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep the test's output quiet."""


@pytest.fixture
def uniprot(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _UniProt)
    server.asked = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_fetches_once_and_keeps(uniprot, tmp_path):
    told = []
    for _ in range(2):
        found = fetch_sequences(
            ["P01732", "P08575-8", "P01732"],
            cache=tmp_path,
            base_url=uniprot.url + "/",
            on_done=lambda *what: told.append(what),
        )
        assert found == {"P01732": "MALPVTALLLPLALLLHAAR", "P08575-8": "MTMYLWLKLL"}
    assert uniprot.asked == ["/uniprotkb/P01732.fasta", "/uniprotkb/P08575-8.fasta"]
    assert told[:2] == [("P01732", 1, 2), ("P08575-8", 2, 2)]


def test_address_and_cache_come_from_the_environment(uniprot, tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUES_UNIPROT_URL", uniprot.url)
    monkeypatch.setenv("VIRTUES_CACHE", str(tmp_path / "kept"))
    assert cache_folder() == tmp_path / "kept"
    fetch_sequences(["P01732"])
    assert (tmp_path / "kept" / "uniprot" / "P01732.fasta").is_file()
    monkeypatch.delenv("VIRTUES_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder().name == "napari-virtues"


def test_a_damaged_copy_is_fetched_again(uniprot, tmp_path):
    kept = tmp_path / "uniprot" / "P01732.fasta"
    kept.parent.mkdir()
    kept.write_text(">sp|P01732|CD8A")
    found = fetch_sequences(["P01732"], cache=tmp_path, base_url=uniprot.url)
    assert found["P01732"].startswith("MALPV")
    assert kept.read_text() == ENTRIES["P01732"]


@pytest.mark.parametrize(
    ("accession", "message"),
    [
        ("CD4", "not UniProt accessions: CD4"),
        ("P99999", "could not fetch P99999 .*there is no such entry.*--fasta"),
        ("P00500", "could not fetch P00500 .*it answered 500"),
        ("Q00000", "asked for Q00000, got P01730: the entry was merged"),
        ("P00001", "UniProt has no sequence for P00001"),
        ("P00002", "answer for P00002.* is not FASTA"),
    ],
)
def test_bad_answers_are_explained_and_not_kept(uniprot, tmp_path, accession, message):
    with pytest.raises(MarkerError, match=message):
        fetch_sequences([accession], cache=tmp_path, base_url=uniprot.url)
    assert not list(tmp_path.rglob("*.fasta"))


def test_no_network_is_one_clear_message(uniprot, tmp_path):
    nobody = uniprot.url
    uniprot.shutdown()
    uniprot.server_close()
    with pytest.raises(MarkerError, match=r"could not fetch P01732 .*refused.*Check the network"):
        fetch_sequences(["P01732"], cache=tmp_path, base_url=nobody)
    with pytest.raises(MarkerError, match="expected an http or https address"):
        fetch_sequences(["P01732"], cache=tmp_path, base_url="file:///etc")


def test_a_silent_server_times_out(tmp_path, monkeypatch):
    import socket

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(MarkerError, match="timed out"):
            fetch_sequences(["P01732"], cache=tmp_path, base_url=url, timeout_s=0.2)


def test_reads_fasta(tmp_path):
    path = tmp_path / "some.fasta"
    path.write_text(">sp|P01732|CD8A_HUMAN x\nmalp\nVT*\n\n>P01730 CD4\nMNRG\n>MyMarker\r\nAC\r\n")
    assert read_fasta(path) == {"P01732": "MALPVT", "P01730": "MNRG", "MyMarker": "AC"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not FASTA: .* found 'nothing'"),
        ("MALPV\n", "is not FASTA: .* found 'MALPV'"),
        (">P01732\n\n", "sequence of 'P01732' is empty"),
        (">P01732\nMAL1PV\n", "holds '1' at position 4"),
        (">P01732\nMA\n>P01732\nMA\n", "more than one sequence for 'P01732'"),
    ],
)
def test_bad_fasta_is_explained(tmp_path, text, message):
    path = tmp_path / "bad.fasta"
    path.write_text(text)
    with pytest.raises(MarkerError, match=message):
        read_fasta(path)


def test_unreadable_fasta_is_explained(tmp_path):
    with pytest.raises(MarkerError, match="could not read the FASTA file"):
        read_fasta(tmp_path / "none.fasta")
    assert checked_sequence(" ma lp\n", "x") == "MALP"
