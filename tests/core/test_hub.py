"""Checkpoints from the hub, against a real local server that answers as the hub does."""

import hashlib
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from virtues_core.cli import download
from virtues_core.errors import CheckpointError
from virtues_core.markers import MarkerEmbeddings
from virtues_core.model import Checkpoint, ModelConfig, VirTues, load_checkpoint, save_checkpoint
from virtues_core.model.hub import PUBLISHED, cached, fetch, licence

TINY = ModelConfig(
    model_dim=8, feedforward_dim=8, num_heads=1, encoder_pattern="hv", decoder_pattern="f"
)
COMMIT = "1234567890abcdef1234567890abcdef12345678"


@dataclass
class Hub:
    """Files by their path in ``owner/repository``, and the requests that came in."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    claimed_size: int | None = None
    status: int | None = None
    stop: Callable[[], None] = lambda: None

    def gets(self) -> list[str]:
        return [line for line in self.requests if line.startswith("GET ")]

    def repositories(self) -> set[str]:
        return {"/".join(path.split("/")[:2]) for path in self.files}


class _Answer(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        hub = self.hub
        hub.requests.append(f"{self.command} {self.path}")
        owner, name, *rest = self.path.strip("/").split("/")
        content = hub.files.get(f"{owner}/{name}/" + "/".join(rest[2:]))
        large = rest[-1:] and rest[-1].endswith(".safetensors")
        if hub.status is not None:
            self.finish_with(hub.status, {})
        elif rest[:1] == ["stored"] and content is not None:  # where large files really lie
            self.send_content(content, body=body, headers={})
        elif f"{owner}/{name}" not in hub.repositories():
            self.finish_with(404, {"X-Error-Code": "RepoNotFound"})
        elif rest[:2] != ["resolve", "main"] or content is None:
            self.finish_with(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            etag = hashlib.sha256(content).hexdigest()
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}
            if large:
                size = hub.claimed_size or len(content)
                stored = (
                    f"{hub.url.replace('127.0.0.1', 'localhost')}/{owner}/{name}/stored/main/"
                    + "/".join(rest[2:])
                )
                linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(size)}
                self.finish_with(302, headers | linked | {"Location": stored})
            else:
                self.send_content(content, body=body, headers=headers)

    def finish_with(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def send_content(self, content: bytes, *, body: bool, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal quiet."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    answer = type("Answer", (_Answer,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answer)
    answer.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    answer.hub.stop = server.shutdown
    monkeypatch.setenv("HF_ENDPOINT", answer.hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    yield answer.hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make every request fail at once: nobody listens on that port."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)


def own_checkpoint(folder: Path) -> dict[str, bytes]:
    model = VirTues(TINY)
    embeddings = MarkerEmbeddings({"P04637": np.ones(640, np.float32)})
    save_checkpoint(
        Checkpoint(model=model, config=TINY, embeddings=embeddings, card="# Ours\n"), folder
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def yes(terms: str) -> bool:
    return True


def test_download_command_shows_the_licence_and_obeys(hub: Hub, tmp_path: Path) -> None:
    files = own_checkpoint(tmp_path / "own")
    hub.files = {f"bunnelab/virtues/virtues-sp32/{name}": data for name, data in files.items()}
    app = typer.Typer()
    download.register(app)
    declined = CliRunner().invoke(app, ["sp32"])  # nobody at the terminal says yes
    assert isinstance(declined.exception, CheckpointError)
    assert "CC BY-NC" in declined.output
    assert cached("sp32") is None
    accepted = CliRunner().invoke(app, ["sp32", "--accept-licence"])
    assert accepted.exit_code == 0, accepted.output
    assert "CC BY-NC" in accepted.output
    assert load_checkpoint("sp32").config == TINY


def test_published_variants_and_their_licences() -> None:
    assert {name: str(v.licence).split(". ")[0] for name, v in PUBLISHED.items()} == {
        "sp31": "MIT",
        "sp32": "CC BY-NC 4.0",
        "imc14": "CC BY-NC 4.0",
    }
    assert {v.repository for v in PUBLISHED.values()} == {"bunnelab/virtues"}


def test_fetch_shows_the_licence_first_then_keeps_the_files(hub: Hub, tmp_path: Path) -> None:
    hub.files = {
        "bunnelab/virtues/virtues-sp31/model.safetensors": b"weights",
        "bunnelab/virtues/virtues-sp31/segmentation-head.safetensors": b"head",
    }
    shown = []

    def accept(terms: str) -> bool:
        assert not hub.requests
        shown.append(terms)
        return True

    assert cached("sp31") is None
    folder = fetch("sp31", accept=accept)
    assert "MIT" in shown[0]
    assert folder.is_relative_to(tmp_path / "home")
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert (folder / "segmentation-head.safetensors").read_bytes() == b"head"
    assert len([line for line in hub.gets() if "/stored/" in line]) == 2
    assert {line.split("/")[1:3] == ["bunnelab", "virtues"] for line in hub.requests} == {True}


def test_second_fetch_asks_neither_the_server_nor_the_user(hub: Hub) -> None:
    hub.files = {"bunnelab/virtues/virtues-imc14/model.safetensors": b"weights"}
    folder = fetch("imc14", accept=yes)
    hub.stop()
    before = list(hub.requests)
    assert fetch("imc14", accept=lambda terms: False) == folder
    assert cached("imc14") == folder
    assert hub.requests == before
    assert cached("sp31") is None


def test_a_downloaded_checkpoint_opens_by_its_name(hub: Hub, tmp_path: Path) -> None:
    saved = own_checkpoint(tmp_path / "saved")
    hub.files = {f"lab/spleen-model/{name}": content for name, content in saved.items()}
    with pytest.raises(CheckpointError, match="downloaded before"):
        load_checkpoint("lab/spleen-model")
    fetch("lab/spleen-model", accept=yes)
    hub.stop()
    opened = load_checkpoint("lab/spleen-model")
    assert opened.config == TINY
    assert opened.card == "# Ours\n"
    assert "P04637" in opened.embeddings
    again = VirTues.from_pretrained("lab/spleen-model").state_dict()
    expected = load_checkpoint(tmp_path / "saved").model.state_dict()
    assert all(torch.equal(again[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: apache-2.0\n---\n# A model", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: lab-terms\nlicense_link: x\n---\n", "lab-terms"),
        ("---\nlicense: other\n---\n", "not stated"),
        ("---\n{ broken: [\n---\n", "not stated"),
        ("# no metadata", "not stated"),
        (None, "not stated"),
    ],
)
def test_licence_of_other_repositories_comes_from_their_card(
    hub: Hub, card: str | None, expected: str
) -> None:
    hub.files = {"lab/model/model.safetensors": b"weights"}
    if card is not None:
        hub.files["lab/model/README.md"] = card.encode()
    shown = []
    assert licence("lab/model").name == expected
    with pytest.raises(CheckpointError, match="not accepted"):
        fetch("lab/model", accept=lambda terms: bool(shown.append(terms)))
    assert expected in shown[0]
    assert not any("safetensors" in line for line in hub.requests)


def test_a_declined_licence_downloads_nothing(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match=r"CC BY-NC 4\.0.* was not accepted"):
        fetch("sp32", accept=lambda terms: False)
    assert hub.requests == []
    assert cached("sp32") is None


def test_a_repository_without_weights(hub: Hub) -> None:
    hub.files = {"lab/other/config.json": b"{}"}
    with pytest.raises(CheckpointError, match=r"lab/other on the hub has no model\.safetensors"):
        fetch("lab/other", accept=yes)


def test_no_such_repository(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match="no repository for 'lab/nothing'"):
        fetch("lab/nothing", accept=yes)


def test_a_server_in_trouble(hub: Hub) -> None:
    hub.status = 500
    with pytest.raises(CheckpointError, match=r"refused 'sp31'.*500.*Try again later"):
        fetch("sp31", accept=yes)


@pytest.mark.parametrize("name", ["sp99", "a/b/c", "../secret", "a--b/c", ""])
def test_a_name_that_is_none(name: str, no_network: None) -> None:
    assert cached(name) is None
    with pytest.raises(CheckpointError, match="Expected one of sp31, sp32, imc14"):
        fetch(name, accept=yes)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["sp31", "lab/model"])
def test_no_network(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"from http://127\.0\.0\.1:9.*Check the network"):
        fetch(name, accept=yes)


def test_a_file_larger_than_the_disk_is_refused_before_it_starts(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"bunnelab/virtues/virtues-sp31/model.safetensors": b"weights"}
    hub.claimed_size = 10**18
    with pytest.raises(CheckpointError, match=r"not enough space.*1000000000000\.0 MB.*HF_HOME"):
        fetch("sp31", accept=yes)
    assert hub.gets() == []


def test_a_disk_that_fills_up_leaves_no_partial_file(hub: Hub, tmp_path: Path) -> None:
    """A process that may write 100 kB a file meets the error of a full disk in mid-download."""
    hub.files = {"bunnelab/virtues/virtues-sp31/model.safetensors": bytes(1_000_000)}
    script = """
        import resource
        from virtues_core.model.hub import cached, fetch
        from virtues_core.errors import CheckpointError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            fetch("sp31", accept=lambda terms: True)
        except CheckpointError as error:
            print(error, cached("sp31"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert "sp31 could not be written to" in done.stdout
    assert "Free some space" in done.stdout
    assert done.stdout.endswith("None\n")
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert not [path for path in files if path.stat().st_size >= 100_000]


def test_no_telemetry_in_a_fresh_process(hub: Hub) -> None:
    """The hub's client would ask more of the server at its first request, unless told not to."""
    hub.files = {"bunnelab/virtues/virtues-sp31/model.safetensors": b"weights"}
    script = "from virtues_core.model.hub import fetch; fetch('sp31', accept=lambda terms: True)"
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert hub.gets()
    assert all("/bunnelab/virtues/" in line for line in hub.requests), hub.requests
