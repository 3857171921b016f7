"""Opening a report in Chromium, and what is wrong with what it shows."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

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
  narrow: [...document.querySelectorAll("th, td")]
    .filter(c => c.textContent.trim().length > 4 && c.getBoundingClientRect().width < 36)
    .map(c => c.textContent.trim()),
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
WIDTH = 1000
SCRIPTS_ALLOWED = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"


def browser() -> str | None:
    """Where Chromium is."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def browse(page: Path, *options: str) -> str:
    """Open a page without a window; what the browser prints."""
    program = browser()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium-headless-shell")
    ran = subprocess.run(
        [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={page.parent / 'profile'}", *options, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def measured(page: Path) -> dict[str, Any]:
    """Open a page, 1,000 px wide; where its figures and their texts are, in px."""
    text = page.read_text("utf-8").replace(
        "default-src 'none'; style-src 'unsafe-inline'", SCRIPTS_ALLOWED
    )
    probed = page.with_name("probed.html")
    probed.write_text(text.replace("</body>", f"{MEASURE}</body>"), "utf-8")
    dom = browse(probed, f"--window-size={WIDTH},900", "--dump-dom")
    probed.unlink()
    found = re.search(r'<pre id="measured">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    told = json.loads(html.unescape(found[1]))
    assert isinstance(told, dict)
    return told


def problems(told: dict[str, Any]) -> list[str]:
    """What is wrong with a page: what cannot be seen or read."""
    found = [] if told["width"] <= WIDTH else [f"the page is {told['width']} px wide"]
    found += [f"the column of {text!r} is too narrow" for text in told["narrow"]]
    for figure in told["figures"]:
        left, top, right, bottom = figure["svg"]
        if right - left < 200 or bottom - top < 80 or figure["lines"] < 3:
            found.append(f"{figure['name']} cannot be seen")
        for text, (x0, y0, x1, y1) in figure["texts"]:
            if x0 < left - 2 or x1 > right + 2 or y0 < top - 2 or y1 > bottom + 2:
                found.append(f"{figure['name']}: {text!r} is cut off")
    return found
