"""A report in Chromium: all that is drawn is seen, nothing is asked of a network."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_samples import lung_content, lung_folder
from skimage.io import imread

from virtues_core.cohort.patients.results import read_results
from virtues_core.report import write_page

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
MEASURE = """
<script>
const box = e => {
  const b = e.getBoundingClientRect();
  return [b.left, b.top, b.right, b.bottom];
};
const told = {
  title: document.title,
  width: document.documentElement.scrollWidth,
  height: document.documentElement.scrollHeight,
  figures: [...document.querySelectorAll("figure")].map(f => ({
    name: f.id,
    svg: box(f.querySelector("svg")),
    texts: [...f.querySelectorAll("svg text")].map(t => [t.textContent, box(t)]),
    lines: [...f.querySelectorAll("svg path")].filter(p => p.getTotalLength() > 5).length,
  })),
};
const kept = document.createElement("pre");
kept.id = "measured";
kept.textContent = JSON.stringify(told);
document.body.append(kept);
</script>
"""
SCRIPTS_ALLOWED = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"


def browse(page: Path, *options: str) -> str:
    """Open a page without a window; what the browser prints."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium: apt-get install chromium-headless-shell")
    ran = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={page.parent / 'profile'}", *options, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = lung_folder(tmp_path_factory.mktemp("browser") / "out")
    results = read_results(out)
    return write_page(out, results, lung_content(results))


@pytest.fixture(scope="module")
def measured(page: Path) -> dict[str, Any]:
    text = page.read_text("utf-8").replace("default-src 'none'; style-src 'unsafe-inline'",
                                           SCRIPTS_ALLOWED)  # fmt: skip
    probed = page.with_name("probed.html")
    probed.write_text(text.replace("</body>", f"{MEASURE}</body>"), "utf-8")
    dom = browse(probed, "--window-size=1000,900", "--dump-dom")
    found = re.search(r'<pre id="measured">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    told = json.loads(html.unescape(found[1]))
    assert isinstance(told, dict)
    return told


def test_all_figures_are_seen(measured: dict[str, Any]) -> None:
    names = [figure["name"] for figure in measured["figures"]]
    assert names == ["curves", "bars", "ratios", "heat", "map", "shares", "chance"]
    for figure in measured["figures"]:
        left, top, right, bottom = figure["svg"]
        assert right - left > 300, figure["name"]
        assert bottom - top > 100, figure["name"]
        assert figure["lines"] >= 3, figure["name"]


def test_no_text_leaves_its_figure_and_no_figure_its_page(measured: dict[str, Any]) -> None:
    assert measured["width"] <= 1000
    outside = [
        (figure["name"], text)
        for figure in measured["figures"]
        for text, (left, top, right, bottom) in figure["texts"]
        if left < figure["svg"][0] - 2
        or right > figure["svg"][2] + 2
        or top < figure["svg"][1] - 2
        or bottom > figure["svg"][3] + 2
    ]
    assert outside == []


def test_no_text_of_a_table_is_run(measured: dict[str, Any]) -> None:
    assert measured["title"].startswith("Survival by <script>")


def requests(page: Path) -> set[str]:
    """Addresses that the browser asked a network for."""
    log = page.with_suffix(".net.json")
    browse(page, f"--log-net-log={log}", "--dump-dom")
    return set(re.findall(r'"url":"(https?:[^"]+)"', log.read_text("utf-8")))


def test_nothing_is_asked_of_a_network(page: Path) -> None:
    assert requests(page) == set()
    asking = page.with_name("asking.html")
    asking.write_text('<img src="http://127.0.0.1:9/seen.png">', "utf-8")
    assert requests(asking) == {"http://127.0.0.1:9/seen.png"}


def test_ink_is_on_the_page(page: Path) -> None:
    picture = page.with_name("page.png")
    browse(page, "--window-size=900,3000", f"--screenshot={picture}")
    shown = imread(picture)[..., :3]
    assert shown.shape[:2] == (3000, 900)
    assert (shown < 250).any(axis=(1, 2)).mean() > 0.4
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 100
