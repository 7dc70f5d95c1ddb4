"""Every page of the gallery has what a page needs, and one of them runs; the build of the site runs them all."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from documents import ROOT, leads_somewhere

GALLERY = ROOT / "gallery"
PAGES = sorted(path for path in GALLERY.glob("*.py") if not path.name.startswith("_"))
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.read_text().startswith("# %% [markdown]"))
# Modules of later versions of Python, which JAX tries to import.
TAKEN = ("compression", "annotationlib")
CELL = re.compile(r"^# %%(.*)\n((?:(?!# %%).*\n?)*)", re.MULTILINE)


def parts(page: str) -> tuple[str, str]:
    """The text and the code of a page in the percent format."""
    cells = CELL.findall(page)
    text = [re.sub(r"^# ?", "", body, flags=re.MULTILINE) for kind, body in cells if kind.strip() == "[markdown]"]
    return "\n".join(text), "\n".join(body for kind, body in cells if not kind.strip())


def faults(page: str) -> list[str]:
    """What a page lacks."""
    text, code = parts(page)
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    checks = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assert)]
    checks += [call for call in calls if ast.unparse(call.func).startswith("np.testing.assert")]  # type: ignore[list-item]
    links = re.findall(r"\]\(([^)#]+\.md)(?:#[^)]*)?\)", text)
    needs = {
        "a title": bool(re.match(r"# \S", text)) and len(re.findall(r"^# ", text, re.MULTILINE)) == 1,
        "an equation": "$$" in text,
        "a picture with its text": any(ast.unparse(call.func) == "show" and len(call.args) == 2 for call in calls),
        "a check": bool(checks),
        "where to read on": "\n## Read on\n" in text and bool(links),
        "links that lead somewhere": all(leads_somewhere(ROOT / "docs/gallery" / link) for link in links),
    }
    return [need for need, there in needs.items() if not there]


@pytest.mark.parametrize("page", PAGES + EXAMPLES, ids=lambda page: page.stem)
def test_a_page_has_what_it_needs(page: Path):
    assert faults(page.read_text()) == []


def test_a_page_that_lacks_everything_is_found():
    """The broken twin."""
    lacks = "# %% [markdown]\n# Words, and a [link](gone.md)\n# %%\nx = 1\n"
    assert len(faults(lacks)) == 6


def test_every_page_has_its_place_and_every_place_its_page():
    sections = tomllib.loads((GALLERY / "contents.toml").read_text())["section"]
    listed = {name: section.get("folder", "gallery") for section in sections for name in section["pages"]}
    assert listed == {page.stem: page.parent.name for page in PAGES + EXAMPLES}
    found = {page.stem: importlib.util.find_spec(page.stem) for page in PAGES}
    modules = [name for name, spec in found.items() if name in TAKEN or (spec is not None and spec.origin is not None)]
    assert modules == []  # a script's folder comes first where modules are looked for, and its pages would hide them
    assert "<!-- cards -->" in (ROOT / "docs/gallery/index.md").read_text()


def test_a_page_runs_as_a_script(tmp_path: Path):
    for name in ("change_of_variables.py", "_style.py"):  # what a reader downloads
        (tmp_path / "gallery").mkdir(exist_ok=True)
        (tmp_path / "gallery" / name).write_text((GALLERY / name).read_text())
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    script = [sys.executable, "gallery/change_of_variables.py"]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    picture = tmp_path / "build/gallery_pictures/change_of_variables-1.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"Picture: {picture}" in done.stdout
