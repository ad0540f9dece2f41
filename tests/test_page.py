"""The report's page in a real browser: what a phone and a desktop show, light and dark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_report import report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        BROWSER is None, reason=f"no browser here (looked for {', '.join(BROWSERS)}): pages are not looked at"
    ),
]

LOOK = """<script>
addEventListener("load", () => setTimeout(() => {
const color = (element, what) => getComputedStyle(element)[what];
const wide = [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll") && !e.closest("svg")
  && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + ": " + e.textContent.slice(0, 60));
const lines = e => new Set([...e.getClientRects()].map(r => Math.round(r.top))).size;
const seen = {
  width: innerWidth, height: innerHeight, scrolls: document.documentElement.scrollWidth, wide,
  headline: document.querySelector(".headline").getBoundingClientRect().bottom,
  paper: color(document.body, "backgroundColor"), ink: color(document.body, "color"),
  chart: color(document.querySelector("figure svg text"), "fill"),
  behind: color(document.querySelector("figure"), "backgroundColor"),
  dead: [...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute("href").slice(1))
    .filter(id => !document.getElementById(id)),
  wrapped: [...document.querySelectorAll(".digest")].filter(e => lines(e) > 1).length,
  opened: location.hash ? !!document.querySelector(location.hash).closest("details").open : null,
};
parent.postMessage(JSON.stringify(seen), "*");
}, 300));
</script>"""
"""What a browser is asked of a page once it stands."""

SCREEN = """<body style="margin: 0"><iframe src="PAGE" style="border: 0; width: WIDTHpx; height: HEIGHTpx"></iframe>
<script>addEventListener("message", message => document.body.textContent = message.data)</script>"""
"""A screen of any size: a browser's own window is never narrower than 500 pixels."""


@dataclass(frozen=True)
class Screen:
    width: int
    height: int
    dark: bool

    def look(self, page: Path, at: str = "") -> dict[str, Any]:
        """What this screen shows of a page."""
        asking, screen = page.with_name("asking.html"), page.with_name("screen.html")
        asking.write_text(page.read_text(encoding="utf-8").replace("</html>", LOOK + "</html>"), encoding="utf-8")
        sizes = {"PAGE": f"asking.html{at}", "WIDTH": self.width, "HEIGHT": self.height}
        screen.write_text(re.sub("PAGE|WIDTH|HEIGHT", lambda word: str(sizes[word[0]]), SCREEN), encoding="utf-8")
        dark = f"--blink-settings=preferredColorScheme={0 if self.dark else 1}"
        words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", dark, "--dump-dom"]
        done = subprocess.run([str(BROWSER), *words, screen.as_uri()], capture_output=True, text=True, timeout=120)
        found = re.search(r"(\{.*\})</body>", done.stdout, re.DOTALL)
        assert found, done.stderr[-2000:]
        return json.loads(found[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    report(
        folder, lambda arm, n: None if arm == "values/aft" and n < 3 else (n % 10 == 0) != (arm == "values/msm-aff+aft")
    )
    return folder / "out" / "report.html"


def brightness(color: str) -> float:
    """0 black to 1 white, of `rgb(...)`."""
    return sum(int(part) for part in re.findall(r"\d+", color)[:3]) / 765


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)], ids=["phone", "desktop"])
def test_the_answer_comes_first_and_everything_fits_and_can_be_read(
    page: Path, width: int, height: int, dark: bool
) -> None:
    seen = Screen(width, height, dark).look(page)
    assert seen["width"] == width
    assert seen["headline"] < seen["height"]
    assert seen["wide"] == []
    assert seen["scrolls"] <= width
    assert (brightness(seen["paper"]) < 0.3) is dark
    for text in (seen["ink"], seen["chart"]):
        assert abs(brightness(text) - brightness(seen["paper"])) > 0.6
    assert seen["behind"] in ("rgba(0, 0, 0, 0)", seen["paper"])  # a chart on a white card would glare in the dark
    assert seen["wrapped"] == 0
    assert seen["dead"] == []


def test_a_rate_leads_to_what_it_comes_from(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    link = re.search(r'href="(#from-\d+)"', text)
    assert link
    assert Screen(1280, 900, False).look(page, link[1])["opened"] is True
    folders = set(re.findall(r'href="\.\./\.\./([^"]+)/"', text))
    assert {folder.partition("/")[0] for folder in folders} >= {"verdicts", "midtrain", "sft", "corpus"}
