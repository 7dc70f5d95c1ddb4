"""The page in a real browser: it loads, follows its sliders as Python says, and lets nobody else in."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pushforward as pf
from explore.accessible import faults
from explore.conftest import LEVEL, NAME, Made
from pushforward.report import Report, Section
from pushforward.report.canvas import figure, legend
from pushforward.report.charts import histogram
from pushforward.report.html import download, table_of, tag

pytest.importorskip("nicegui", reason="the extra `explore` is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "build" / "explore"
# A browser of the system, or the one of `playwright install chromium`.
CHROMIUM = os.environ.get("PUSHFORWARD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
WAIT = 120_000  # ms: the first view compiles its programs


@pytest.fixture(scope="module")
def address(made: Made) -> Iterator[str]:
    """The address that the verb prints; the server ends at Ctrl-C without a word of an error."""
    command = [sys.executable, "-m", "pushforward", "explore", "--no-browser", str(made.folder), str(made.data)]
    kept = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    env = kept | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    served = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        line = served.stdout.readline() if served.stdout else ""
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
        if found is None:
            served.kill()
            pytest.fail(f"no address: {line} {served.communicate()}")
        yield found[0]
        served.send_signal(signal.SIGINT)
        out, err = served.communicate(timeout=20)
        assert served.returncode == 0, err
        assert out.rstrip().endswith("Stopped.")
        assert not err
    finally:
        served.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        where = CHROMIUM or play.chromium.executable_path
        if not Path(where).exists():
            pytest.skip("no Chromium: apt-get install chromium, or playwright install chromium")
        found = play.chromium.launch(executable_path=where, args=["--no-sandbox"])
        yield found
        found.close()


def test_the_page_follows_its_sliders_as_python_says(address: str, browser: Any, made: Made) -> None:
    page = browser.new_page(viewport={"width": 1360, "height": 900})
    wrong, asked = [], []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("#row-score", timeout=WAIT)
    assert "token" not in page.url
    density = pf.FlowDensity.load(made.folder)
    start = dict(pf.explore.subject_of(density, made.data).start)

    control = page.locator(".control", has=page.locator(".name", has_text=re.compile("^b$")))
    before = page.locator("#row-score").get_attribute("data-value")
    assert float(before) == pytest.approx(pf.explore.score_row(density, start).log_prob, rel=1e-6)
    control.locator("[role=slider] [tabindex='0']").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    changed = f"document.querySelector('#row-score').dataset.value !== '{before}'"
    page.wait_for_function(changed, timeout=WAIT)
    page.wait_for_timeout(600)
    # The cell as the page writes it.
    cell = float(control.locator(".cell").inner_text().replace("−", "-").replace(",", ""))
    assert cell > start["b"]
    shown = float(page.locator("#row-score").get_attribute("data-value"))
    assert shown == pytest.approx(pf.explore.score_row(density, start | {"b": cell}).log_prob, rel=1e-5)
    column, median = NAME, float(page.locator("#density-summary").get_attribute("data-median"))
    held = {name: value for name, value in (start | {"b": cell}).items() if name != column}
    assert median == pytest.approx(pf.explore.conditional(density, column, held).median, rel=1e-5)

    # A menu, whose level is markup, and names that are scripts: they are text.
    assert page.locator(".controls .name", has_text=NAME).count() == 1
    assert page.locator(".control", has_text=LEVEL).count() >= 1 or start["kind"] != LEVEL
    shot(page, "density")
    assert faults(page) == []
    page.get_by_role("tab", name="Rows").click()
    page.wait_for_selector("#brushed", timeout=WAIT)
    rows = page.locator("#brushed").get_attribute("data-rows")
    box = page.locator(".brushable svg").bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_function(f"document.querySelector('#brushed').dataset.rows !== '{rows}'", timeout=WAIT)
    shot(page, "rows")
    assert not wrong
    assert all(url.startswith(address.partition("/?")[0]) for url in asked)
    page.close()


def test_a_report_can_be_read_by_all(browser: Any, tmp_path: Path) -> None:
    axis = np.linspace(0, 1, 5)
    drawing = histogram(axis, {"data-fill": axis[:4], "model-line": axis[:4]}, "a", "Histogram of a.", line=0.5)
    blocks = (
        "A paragraph.",
        legend(("of-data", "rows"), ("of-model", "samples")),
        figure(drawing, "a", "a remark", ["A note."]),
        table_of(["a", "b"], [["x", 1.0], ["y", 2.0]], caption="Rows", classes=["good", "bad"]),
        tag("p", download("a.csv", "a", "Numbers of this figure as CSV"), class_="numbers"),
    )
    page = browser.new_page()
    for standing in ("good", "mind", "bad"):
        report = Report("A report", standing, ("A verdict.",), [("n", "3", "rows")], (Section("a", "A", blocks),))
        report.save(tmp_path / "report.html", force=True)
        page.goto((tmp_path / "report.html").as_uri())
        assert faults(page) == []
    page.locator("th button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("th").first.get_attribute("aria-sort") == "ascending"
    page.close()


def shot(page: Any, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


@pytest.mark.parametrize(
    ("host", "path"),
    [(None, "/"), (None, "/?token=wrong"), ("evil.example", None), (None, "/_nicegui_ws/socket.io/?EIO=4")],
)
def test_nobody_else_is_let_in(address: str, host: str | None, path: str | None) -> None:
    port, right = int(re.findall(r":(\d+)/", address)[0]), "/" + address.rpartition("/")[2]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(
        "GET", right if path is None else path, headers={} if host is None else {"Host": f"{host}:{port}"}
    )
    found = connection.getresponse()
    assert found.status == 403
    assert found.read().startswith(b"This ")
    connection.close()
