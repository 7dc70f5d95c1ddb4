"""The report on a density: its numbers, its safety, its size, and the command line."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pushforward.cli import main
from pushforward.report import Report, make_report
from pushforward.tables.estimators import FlowDensity, evaluate
from pushforward.tables.reading.writing import write_arrow

pytestmark = pytest.mark.float32
EVALUATION: Any = sys.modules["pushforward.tables.estimators.evaluate"]
SCRIPT, LEVEL, QUOTED = "<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "\"&'</title>"


def hostile(n: int, seed: int) -> pa.Table:
    """Rows whose names and levels are markup."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    words = np.where(rng.random(n) < 0.3, LEVEL, "plain")
    return pa.table({SCRIPT: x[:, 0], QUOTED: x[:, 0] + 0.5 * x[:, 1], "words": words})


@pytest.fixture(scope="module")
def light() -> Iterator[None]:
    """Evaluation without its slow tests, which have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EVALUATION, "TAIL_SAMPLES", 100)
        patch.setattr(EVALUATION, "c2st", lambda *sides, **options: None)
        patch.setattr(EVALUATION, "LEAST_ROWS", 30)
        yield


@pytest.fixture(scope="module")
def density() -> FlowDensity:
    made = FlowDensity("realnvp", n_layers=1, width=8, max_epochs=3, n_members=1, verify=False, random_state=0)
    return made.fit(hostile(300, 0))


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return hostile(60, 1)


@pytest.fixture(scope="module")
def report(density: FlowDensity, rows: pa.Table, light: None) -> Report:
    return make_report(density, rows, seed=3, name=SCRIPT)


class Page(HTMLParser):
    """The elements of a page with their attributes, and its links."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_numbers_are_those_of_evaluate_and_check(
    density: FlowDensity, rows: pa.Table, report: Report, light: None
) -> None:
    found = evaluate(density, rows, seed=3)
    checked = density.check(rows, random_state=3)
    text = report.html
    assert json.loads(json.dumps(report.facts["evaluate"])) == json.loads(json.dumps(found.to_json()))
    lines = [(line.name, line.verdict, line.figure) for line in checked.lines]
    assert [(each["name"], each["verdict"], each["figure"]) for each in report.facts["check"]["lines"]] == lines
    for sentence in (found.sentences[0], checked["round trip"].sentence):
        assert sentence.replace("'", "&#x27;") in text


def test_nothing_in_it_is_taken_for_markup(report: Report) -> None:
    text = report.html
    page = Page(text)
    assert [name for name, _ in page.elements].count("script") == 1
    assert not page.of("img")
    assert "<script>alert" not in text
    assert "<img" not in text
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;img src=x" in text


def test_it_asks_no_network(report: Report) -> None:
    page = Page(report.html)
    links = [value for _, each in page.elements for key, value in each.items() if key in ("href", "src") and value]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "url(" not in report.html
    assert "@import" not in report.html
    (policy,) = [each["content"] for each in page.of("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy


def test_sections_figures_and_links(report: Report) -> None:
    page = Page(report.html)
    keys = {each["id"] for each in page.of("section")}
    assert {link["href"] for link in page.of("a") if str(link["href"]).startswith("#")} == {
        f"#{key}" for key in keys
    } | {"#main"}
    expected = {"columns", "pairs", "correlations", "simple-densities", "checks", "learning-curve", "latents"}
    assert expected | {"least-likely", "extrapolation", "samples", "run"} <= keys
    drawings = page.of("svg")
    assert len(drawings) >= 9
    assert all(each["role"] == "img" and each["aria-label"] for each in drawings)
    assert all(len(table) > 0 for table in tables(report))
    assert len(report.html) < 600_000


def tables(report: Report) -> list[list[list[str]]]:
    """The tables of numbers that lie behind figures."""
    found = re.findall(r'download="[^"]*csv" href="data:text/csv;charset=utf-8;base64,([^"]*)"', report.html)
    return [list(csv.reader(io.StringIO(base64.b64decode(each).decode()))) for each in found]


def test_numbers_behind_figures(report: Report) -> None:
    histograms = tables(report)[0]
    assert histograms[0] == ["column", "from", "to", "data", "model"]
    shares = [float(row[3]) for row in histograms if row[0] == "words"]
    assert sum(shares) == pytest.approx(1.0)
    assert {row[1] for row in histograms if row[0] == "words"} == {"plain", LEVEL}
    inside = [row for row in histograms if row[0] == SCRIPT]
    mass = sum(float(row[3]) * (float(row[2]) - float(row[1])) for row in inside)
    assert mass == pytest.approx(1.0, abs=0.05)


def test_colours_have_contrast() -> None:
    """Text has 4.5 against its background, marks have 3, in light and in dark."""
    style = (Path(__file__).parents[2] / "src/pushforward/report/assets/page.css").read_text()
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(themes) == 3
    for colours in themes:
        for name in ("ink", "soft", "link", "good", "mind", "bad"):
            sheets = ["paper", *(["sheet", f"{name}-sheet"] if f"{name}-sheet" in colours else ["sheet"])]
            assert all(contrast(colours[name], colours[sheet]) >= 4.5 for sheet in sheets), name
        assert min(contrast(colours[name], colours["paper"]) for name in ("data", "model")) >= 3


def contrast(first: str, second: str) -> float:
    """The ratio of luminances by WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


def test_notebook_shows_the_head(report: Report) -> None:
    head = report._repr_html_()
    assert "<script" not in head
    assert report.verdict[1].replace("'", "&#x27;") in head
    assert len(head) < 20_000


def test_command_line(
    density: FlowDensity, rows: pa.Table, light: None, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    density.save("model")
    write_arrow(tmp_path / "rows.csv", rows)
    code = main(["report", "model", "rows.csv", "--out", "report.html", "--seed", "3", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert (printed["ok"], printed["command"]) == (True, "report")
    assert code == (6 if printed["standing"] == "bad" else 0)
    text = (tmp_path / "report.html").read_text()
    assert len(text.encode()) == printed["bytes"]
    assert "pushforward report model rows.csv --seed 3" in text
    assert main(["report", "model", "--out", "report.html"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["report", "nothing", "rows.csv", "--out", "other.html"]) == 2


def test_without_data_it_tells_of_the_fit(density: FlowDensity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FlowDensity, "check", lambda self, **options: None)
    made = make_report(density)
    keys = [section.key for section in made.sections]
    assert "evaluation" not in keys
    assert "samples" in keys
    assert made.standing == "mind"
    with pytest.raises(TypeError, match="expected a fitted density"):
        make_report("model")
