"""A report in Chromium: all that is drawn is seen, nothing is asked of a network."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_samples import lung_content, lung_folder
from skimage.io import imread

from report_browser import browse, measured, problems
from virtues_core.cohort.patients.results import read_results
from virtues_core.report import write_page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = lung_folder(tmp_path_factory.mktemp("browser") / "out")
    results = read_results(out)
    return write_page(out, results, lung_content(results))


@pytest.fixture(scope="module")
def told(page: Path) -> dict[str, Any]:
    return measured(page)


def test_all_figures_are_seen(told: dict[str, Any]) -> None:
    names = [figure["name"] for figure in told["figures"]]
    assert names == ["curves", "bars", "ratios", "heat", "map", "shares", "chance"]
    assert problems(told) == []


def test_what_is_wrong_would_be_told(told: dict[str, Any], page: Path) -> None:
    curves, bars = told["figures"][:2]
    left, top, _, _ = curves["svg"]
    broken = [
        {**curves, "svg": [left, top, left, top], "texts": []},
        {**bars, "texts": [["AUROC", [-50, 0, 20, 10]]]},
    ]
    assert problems({"width": 1200, "narrow": ["macrophage"], "figures": broken}) == [
        "the page is 1200 px wide",
        "the column of 'macrophage' is too narrow",
        "curves cannot be seen",
        "bars: 'AUROC' is cut off",
    ]
    hidden = page.with_name("hidden.html")
    hidden.write_text(
        page.read_text("utf-8").replace("<style>", "<style>#heat svg { display: none }", 1), "utf-8"
    )
    assert "heat cannot be seen" in problems(measured(hidden))


def test_no_text_of_a_table_is_run(told: dict[str, Any]) -> None:
    assert told["title"].startswith("Survival by <script>")


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
