"""The page of a report."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from report_samples import COMMAND, HOSTILE, lung_content, lung_folder, lung_results

from virtues_core.cohort.patients.results import read_results
from virtues_core.errors import InputError, ReadError
from virtues_core.report import Table, write_page, write_report
from virtues_core.report import page as report_page


class Parsed(HTMLParser):
    """Elements of a page with their attributes, and all its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = lung_folder(tmp_path_factory.mktemp("report") / "out")
    results = read_results(out)
    write_page(out, results, lung_content(results))
    return out


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "report.html").read_text("utf-8")


def test_all_is_there_and_the_headline_first(text: str) -> None:
    told = Parsed(text).text
    order = ["Log-rank p = 0.001", "3 patients have no image", "1. Survival", "mean age",
             "States by k-means.", "120", "status", "lifelines", COMMAND, "/data/lung"]  # fmt: skip
    place = 0
    for part in order:
        place = told.index(part, place)


def test_one_file_that_loads_nothing_and_runs_nothing(text: str) -> None:
    page = Parsed(text)
    assert page.count("svg") == 7
    assert page.count("script") == page.count("link") == page.count("iframe") == 0
    sources = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href"}
    ]
    assert all(str(s).startswith(("#", "data:image/png")) for s in sources)
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_text_of_the_results_is_only_text(text: str) -> None:
    page = Parsed(text)
    assert page.text.count(HOSTILE.replace("\x07", "\N{REPLACEMENT CHARACTER}")) > 10
    assert "\x07" not in text
    assert not [a for _, a in page.elements if "onerror" in a or "onload" in a]


def test_tables_say_what_they_leave_out(text: str, folder: Path) -> None:
    told = Parsed(text).text
    assert "25 of 228 rows and 4 of 4 columns are shown; all are in patients.csv." in told
    assert "All of it: tables/ages.csv." in told
    assert (folder / "tables" / "ages.csv").is_file()
    assert "62.1" in told  # three digits, and none for what is not known
    assert '<td class="number">–</td>' in text


def test_a_table_has_a_short_title_and_its_caption_beneath(text: str) -> None:
    assert re.search(r'<h3>Ages</h3>\s*<p class="caption">Mean .*</p>\s*<table>', text)
    assert re.search(r"<h3>Curves</h3>\s*<table>", text)
    with pytest.raises(InputError, match="up to 60 letters, found 61"):
        Table("x" * 61)


def test_figures_are_files_too(folder: Path) -> None:
    names = sorted(path.name for path in (folder / "figures").iterdir())
    assert names == [
        f"{n}.svg" for n in ("bars", "chance", "curves", "heat", "map", "ratios", "shares")
    ]


def test_a_report_without_notes_figures_and_tables(tmp_path: Path) -> None:
    results = lung_results()
    bare = type(results)(
        analysis="stratify",
        summary={},
        patients=pd.DataFrame(index=pd.Index([], name="patient_id")),
        cells=None,
        tables={},
        plots=(),
        notes=(),
    )
    path = write_page(tmp_path, bare, report_page.Content("Bare", ("Nothing.",), ()))
    told = Parsed(path.read_text("utf-8")).text
    assert "Before you read on" not in told
    assert "Nothing." in told


def test_an_analysis_without_a_report_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = lung_folder(tmp_path / "out")
    monkeypatch.setattr(report_page, "CONTENTS", {"response": "virtues_core.report.response"})
    with pytest.raises(ReadError, match=r"expected results of response .* found 'stratify'"):
        write_report(out)
    with pytest.raises(ReadError):
        write_report(tmp_path / "missing")


def test_tables_that_were_changed_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = lung_folder(tmp_path / "out")
    monkeypatch.setattr(report_page, "CONTENTS", {"stratify": "report_samples"})
    monkeypatch.setattr("report_samples.content", lung_content, raising=False)
    page = write_report(out, tmp_path / "elsewhere" / "sent.html")
    assert page == tmp_path / "elsewhere" / "sent.html"
    assert page.is_file()
    assert not (out / "report.html").exists()
    before = page.read_text("utf-8")
    pd.DataFrame({"other": range(206)}).to_csv(out / "tables" / "curves.csv", index=False)
    with pytest.raises(ReadError, match=r"not those that 'stratify' writes.*Run the analysis"):
        write_report(out, page)
    assert page.read_text("utf-8") == before
