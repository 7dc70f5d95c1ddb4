"""A model that another machine wrote scores its rows here as it did when it was saved."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pushforward.io import UntrustedModelError
from pushforward.tables import load_model
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.modelling.folder import inspect_model
from pushforward.tables.modelling.records import FORMAT_VERSION

pytestmark = pytest.mark.float32
HERE = Path(__file__).parent
FOLDERS = sorted(path.name for path in HERE.iterdir() if (path / "config.json").is_file())


def expected_of(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    content = json.loads((HERE / name / "expected.json").read_text())
    frame = pd.DataFrame(content["columns"])
    return frame.assign(day=pd.to_datetime(frame["day"])), np.array(content["log_prob"])


def test_the_format_has_a_model() -> None:
    versions = {json.loads((HERE / name / "config.json").read_text())["format_version"] for name in FOLDERS}
    assert versions == {FORMAT_VERSION}
    for name in FOLDERS:
        assert sum(path.stat().st_size for path in (HERE / name).iterdir()) < 150_000


@pytest.mark.parametrize("name", FOLDERS)
def test_scores_and_samples_as_when_it_was_saved(name: str, tmp_path: Path) -> None:
    rows, expected = expected_of(name)
    density = FlowDensity.load(HERE / name)
    np.testing.assert_allclose(density.score_samples(rows), expected, rtol=1e-9)
    drawn = density.sample(3, random_state=0)
    assert np.isfinite(density.score_samples(drawn)).all()
    assert set(density.row_status(rows)) <= {"ok", "tail", "extrapolated"}
    density.save(tmp_path / "again")
    again = FlowDensity.load(tmp_path / "again")
    np.testing.assert_array_equal(again.score_samples(rows), density.score_samples(rows))
    assert again.result_.verdict == density.result_.verdict
    assert load_model(HERE / name).rows == 300


def test_another_format_is_refused_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(HERE / "format1", folder)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"format_version": 1', '"format_version": 2'))
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in folder.glob("*.*"))
    listed = (folder / "manifest.sha256").read_text()
    (folder / "manifest.sha256").write_text("".join(f"{line}\n" for line in lines if line.split()[1] in listed))
    for read in (load_model, inspect_model):
        with pytest.raises(UntrustedModelError, match="format_version 2, but this pushforward reads format 1 alone"):
            read(folder)
