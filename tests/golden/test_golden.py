"""Models that earlier versions wrote are read for ever: each scores its rows as it did when it was saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pushforward.estimators import FlowDensity
from pushforward.io import load_model
from pushforward.io.schema import FORMAT_VERSION

pytestmark = pytest.mark.float32
HERE = Path(__file__).parent
FOLDERS = sorted(path.name for path in HERE.iterdir() if (path / "config.json").is_file())


def expected_of(name: str) -> tuple[Any, np.ndarray]:
    content = json.loads((HERE / name / "expected.json").read_text())
    if "rows" in content:
        return np.array(content["rows"]), np.array(content["log_prob"])
    frame = pd.DataFrame(content["columns"])
    return frame.assign(day=pd.to_datetime(frame["day"])), np.array(content["log_prob"])


def test_every_format_has_a_model() -> None:
    versions = {json.loads((HERE / name / "config.json").read_text())["format_version"] for name in FOLDERS}
    assert versions == set(range(1, FORMAT_VERSION + 1))
    for name in FOLDERS:
        assert sum(path.stat().st_size for path in (HERE / name).iterdir()) < 100_000


@pytest.mark.parametrize("name", FOLDERS)
def test_scores_and_samples_as_when_it_was_saved(name: str, tmp_path: Path) -> None:
    rows, expected = expected_of(name)
    density = FlowDensity.load(HERE / name)
    np.testing.assert_allclose(density.score_samples(rows), expected, rtol=1e-9)
    given = rows[:2, :1] if density.given_ else None
    drawn = density.sample(3, given=given, random_state=0)
    assert np.isfinite(density.score_samples(drawn)).all()
    assert set(density.row_status(rows)) <= {"ok", "tail", "extrapolated"}
    # Saved again it has the present format, and is the same model.
    density.save(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config["format_version"] == FORMAT_VERSION
    again = FlowDensity.load(tmp_path / "again")
    np.testing.assert_array_equal(again.score_samples(rows), density.score_samples(rows))
    assert again.result_.verdict == density.result_.verdict
    assert load_model(HERE / name).rows in (300, 400)
