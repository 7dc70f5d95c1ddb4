"""The documentation's snippets run, its links lead somewhere, and its reference pages are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from documents import ROOT, blocks, check_document, leads_somewhere, unknown_names
from marks import split

DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
RUN = ("python", "bash")
RUNNABLE = [path for path in DOCUMENTS if path.parent != ROOT and any(block.language in RUN for block in blocks(path))]
# Their fits take most of a minute each.
LONG = (
    "conditional_density",
    "continuous",
    "flow_matching",
    "neural_ode",
    "pictures",
    "score_matching",
    "tables",
    "bijections",
    "first_density",
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", split(RUNNABLE, lambda path: path.stem not in LONG), ids=name)
def test_snippets_run(document: Path, tmp_path: Path):
    check_document(document, tmp_path)


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if blocks(path)], ids=name)
def test_snippets_name_what_there_is(document: Path):
    """In every run, also of the documents that only `--thorough` runs."""
    assert unknown_names(document) == []


def test_a_name_that_is_gone_is_found(tmp_path: Path):
    document = tmp_path / "gone.md"
    lines = ["import pushforward as pf", "from pushforward.flows import nothing", "pf.flows.nsf(0, dims=2)", "pf.fut()"]
    document.write_text("```python\n" + "\n".join(lines) + "\n```\n")
    found = unknown_names(document)
    assert found == ["pushforward.flows.nothing in line 3", "pf.flows.nsf(dims=) in line 4", "pf.fut in line 5"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text())
    local = [target for target in targets if not target.startswith(("http://", "https://"))]
    assert [target for target in local if not leads_somewhere(document.parent / target)] == []


def test_a_broken_snippet_is_found(tmp_path: Path):
    """The check's own twin: an error, and an output that differs, each fail."""
    for number, text in enumerate(("```python\n1 / 0\n```\n", "```python\nprint(1)\n```\n\n```text\n2\n```\n")):
        document = tmp_path / f"broken{number}.md"
        document.write_text(text)
        with pytest.raises(AssertionError, match="does not run"):
            check_document(document, tmp_path / str(number))


def test_the_reference_names_everything_that_is_exported():
    import pushforward as pf

    page = (ROOT / "docs/reference/bijections.md").read_text()
    exported = {name for module in (pf.bijections, pf.nets, pf.distributions, pf.flows) for name in module.__all__}
    assert {name for name in exported if not re.search(rf"`[^`]*\b{name}\b[^`]*`", page)} == set()


def test_the_reference_names_every_verb_and_option():
    from typer.main import get_command

    from pushforward.cli.app import app_for

    page = (ROOT / "docs/reference/cli.md").read_text()
    verbs = get_command(app_for([])).commands  # type: ignore[attr-defined]
    options = {option for verb in verbs.values() for parameter in verb.params for option in parameter.opts}
    assert set(verbs) == set(re.findall(r"^## `pushforward (\w+)", page, re.MULTILINE))
    assert {option for option in options if option.startswith("-") and f"`{option}" not in page} == set()
    table = "".join(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `"))
    assert {verb for verb in verbs if f"`{verb}`" not in table} == set()
