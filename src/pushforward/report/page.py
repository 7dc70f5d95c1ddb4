"""A report as an object, and as one page of HTML that asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pushforward._json import to_json
from pushforward.io.files import write_file
from pushforward.report.html import Html, download, joined, markup, tag

# How far a model can be believed: what the first line of a report says.
Standing = Literal["good", "mind", "bad"]
# Entries of a list in the numbers that a page holds.
MOST_ENTRIES = 500
STANDINGS: dict[Standing, str] = {"good": "Passed", "mind": "Mind the remarks", "bad": "Do not trust"}


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Args:
        key: Name that links lead to: letters and hyphens.
        title: Heading.
        blocks: Paragraphs (plain strings, which are escaped) and markup.
    """

    key: str
    title: str
    blocks: tuple[Any, ...]


@dataclass(frozen=True)
class Report:
    """A report on a model: a verdict, figures, tables and the numbers behind them.

    Args:
        title: What the report is about.
        standing: Whether the model passed, has remarks, or should not be trusted.
        verdict: The verdict, in up to three sentences.
        key_figures: Name, value and remark of the figures at the top.
        sections: The sections.
        facts: All numbers, as the verbs of the command line give them with `--json`.

    Example:
        >>> from pushforward.report import Report, Section
        >>> page = Report("A model", "good", ("It is good.",), (), (Section("why", "Why", ("<It> passed.",)),), {})
        >>> "&lt;It&gt; passed." in page.html
        True
    """

    title: str
    standing: Standing
    verdict: tuple[str, ...]
    key_figures: Sequence[tuple[str, str, str]]
    sections: tuple[Section, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def html(self) -> str:
        """The page. It holds its style, its few lines of script and all figures, and forbids itself any request."""
        script = _asset("page.js")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
        links = [tag("li", tag("a", each.title, href=f"#{each.key}")) for each in self.sections]
        numbers = download("report.json", to_json(shortened(self.facts)), "All numbers as JSON", "application/json")
        body = [
            tag("a", "Skip to the report", href="#main", class_="skip"),
            tag("header", tag("h1", self.title), self._head(), tag("p", numbers, class_="numbers")),
            tag("div", tag("nav", tag("ol", links), aria_label="Sections"), tag("main", self._main(), id="main"),
                class_="columns"),
        ]  # fmt: skip
        head = [
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", name="generator", content="pushforward"),
            tag("title", self.title),
            tag("style", Html(_asset("page.css"))),
        ]
        made = tag("html", tag("head", head), tag("body", body, tag("script", Html(script))), lang="en")
        return f"<!DOCTYPE html>\n{made}\n"

    def save(self, path: str | os.PathLike, *, force: bool = False) -> int:
        """Write the page to a file: complete, or not at all.

        Args:
            path: File to write.
            force: Whether an existing file is replaced.

        Returns:
            Its size in bytes.

        Raises:
            FileExistsError: The file exists and `force` is False.
        """
        data = self.html.encode("utf-8")
        write_file(Path(path), lambda file: file.write(data), force)
        return len(data)

    def _head(self) -> Html:
        """The verdict and the figures at the top."""
        words = tag("p", tag("strong", STANDINGS[self.standing] + ". "), joined(self.verdict, " "))
        figures = [
            tag("div", tag("dt", name), tag("dd", tag("b", value), " ", tag("small", remark)))
            for name, value, remark in self.key_figures
        ]
        return Html(
            tag("div", words, class_=f"verdict {self.standing}")
            + (tag("dl", figures, class_="facts") if figures else "")
        )

    def _main(self) -> Html:
        made = []
        for each in self.sections:
            blocks = [block if isinstance(block, Html) else tag("p", block) for block in each.blocks if block]
            made.append(tag("section", tag("h2", each.title), blocks, id=each.key))
        return joined(made)

    def _repr_html_(self) -> str:
        """What a notebook shows: the head of the report; `save` writes all of it."""
        # Nested rules hold within the element alone, and leave the notebook as it is.
        style = tag("style", Html(f".pushforward-report {{ {_asset('page.css').replace(':root', '&')} }}"))
        heading = tag("h3", self.title)
        tail = tag(
            "p", "report.save('report.html') writes the whole report: ", joined((s.title for s in self.sections), ", ")
        )
        return str(tag("div", style, heading, self._head(), tail, class_="pushforward-report"))


def shortened(value: Any) -> Any:
    """Facts with numbers of six digits; a list that is very long ends with how many entries are left out."""
    if isinstance(value, Mapping):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        more = len(value) - MOST_ENTRIES
        return [shortened(item) for item in value[:MOST_ENTRIES]] + ([f"and {more:,} more"] if more > 0 else [])
    return float(f"{value:.6g}") if isinstance(value, float) else value


@cache
def _asset(name: str) -> str:
    return resources.files("pushforward.report").joinpath("assets", name).read_text("utf-8")


def sentences(lines: Sequence[str]) -> Html | None:
    """Sentences as a list; None where there are none."""
    return tag("ul", [tag("li", markup(line)) for line in lines]) if lines else None
