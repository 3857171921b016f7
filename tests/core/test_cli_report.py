"""``virtues report`` on an analysis folder."""

from pathlib import Path

import pytest
import report_samples
import typer
from typer.testing import CliRunner

from virtues_core.cli import report
from virtues_core.errors import InputError, ReadError
from virtues_core.report import page as report_page


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report_page, "CONTENTS", {"stratify": "report_samples"})
    monkeypatch.setattr(report_samples, "content", report_samples.lung_content, raising=False)
    return report_samples.lung_folder(tmp_path / "out")


def call(*args: object) -> str:
    app = typer.Typer()
    report.register(app)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_page_in_the_folder_and_one_to_send(folder: Path, tmp_path: Path) -> None:
    assert call(folder).strip() == str(folder / "report.html")
    made = (folder / "report.html").read_bytes()
    assert made.count(b"<svg") == 7
    sent = tmp_path / "sent.html"
    assert call(folder, "--out", sent).strip() == str(sent)
    assert sent.read_bytes() == made


def test_refusals_leave_nothing(folder: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"end with \.html"):
        call(folder, "--out", tmp_path / "sent.pdf")
    with pytest.raises(ReadError):
        call(tmp_path / "missing")
    with pytest.raises(ReadError):
        call(folder / "summary.json")
    assert sorted(tmp_path.rglob("*")) == before
