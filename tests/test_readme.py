"""The README does what it says: its set-up commands exist, its snippets run, its table of costs is true."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

import pushforward as pf
from documents import ROOT, SETUP_COMMANDS, blocks, check_document

README = ROOT / "README.md"


def test_opens_with_the_two_commands():
    first = blocks(README)[0]
    commands = [line for line in first.text.splitlines() if line and not line.startswith(("#", "git clone", "cd "))]
    assert commands == ["python3 examples/quickstart.py", "python3 scripts/test.py"]
    assert set(commands) < set(SETUP_COMMANDS)
    for command in commands:
        assert (ROOT / command.split()[1]).exists()


def test_ci_runs_the_test_command():
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert "python3 scripts/test.py" in script.read_text()


def test_shows_the_commands_of_the_quickstart(monkeypatch: pytest.MonkeyPatch):
    """What the set-up command runs is what the README explains (and what the test below runs)."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples"), *sys.path])
    import quickstart  # type: ignore[import-not-found]

    joined = "\n".join(block.text for block in blocks(README) if block.language == "bash").replace("\\\n", " ")
    shown = {tuple(shlex.split(line)) for line in joined.splitlines()}
    assert {("pushforward", *command.split()) for command in quickstart.COMMANDS} <= shown


def test_snippets_run(tmp_path: Path):
    check_document(README, tmp_path)
    assert (tmp_path / "examples/out/samples.csv").read_text().count("\n") == 1462
    assert (tmp_path / "examples/out/weather.png").read_bytes().startswith(b"\x89PNG")


def table_of_costs() -> dict[str, list[str]]:
    """The rows of the zoo's table: the call, and its costs."""
    rows = re.findall(r"^\| `pf\.flows\.(\w+)(\(.*?\))?` \|(.*)\|$", README.read_text(), re.MULTILINE)
    return {name + options: [cell.strip() for cell in cells.split("|")] for name, options, cells in rows}


def test_table_of_costs_is_true():
    table = table_of_costs()
    assert {name.split("(")[0] for name in table} == set(pf.flows.ZOO)
    true = {row.call: (row.density, row.sampling, row.log_det) for row in pf.flows.describe()}
    for name, (_, density, sampling, log_det, _) in table.items():
        assert (density, sampling, log_det) == true[name], name
