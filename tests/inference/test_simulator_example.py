"""The example of sets, series and images, in small."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "examples" / "simulator.py"


@pytest.mark.thorough
def test_the_example_runs() -> None:
    spec = importlib.util.spec_from_file_location("simulator", PATH)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    reports = example.main(n=400, n_members=1, max_epochs=2)
    assert set(reports) == {"set", "series", "image"}
    assert all(report.n_pairs == 100 for report in reports.values())
