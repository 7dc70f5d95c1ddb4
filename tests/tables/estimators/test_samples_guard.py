"""The guard of samples: wild rows, heaped ends and spiked densities are found, and honest samples are not accused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.tables.encoding import Layout
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators.samples import (
    clipped,
    edge_masses,
    edge_peaks,
    edges_line,
    samples_line,
    wild_rows,
)
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.schema import Column

pytestmark = pytest.mark.float32
TINY: dict[str, Any] = {
    "flow": "realnvp",
    "n_layers": 1,
    "width": 8,
    "max_epochs": 2,
    "random_state": 0,
    "n_members": 1,
}


def layout(*data: np.ndarray, **options: Any) -> Layout:
    kind = options.pop("kind", "real")
    seen = [(float(x.min()), float(x.max())) for x in data]
    return Layout(tuple(Column(name=f"c{i}", kind=kind, seen=s, **options) for i, s in enumerate(seen)))


@pytest.mark.parametrize("n", [20, 200, 2000])
@pytest.mark.parametrize("law", ["normal", "cauchy", "exponential"])
def test_honest_samples_pass(law: str, n: int) -> None:
    rng = np.random.default_rng(0)
    draw = {"normal": rng.standard_normal, "cauchy": rng.standard_cauchy, "exponential": rng.standard_exponential}[law]
    for _ in range(20):
        data, samples = draw((n, 5)), draw((1000, 5))
        assert samples_line(layout(*data.T), samples, n).verdict == "pass"
        assert edges_line(edge_masses(layout(*data.T), data, samples), {}).verdict == "pass"


def test_wild_samples_fail_and_name_the_columns() -> None:
    """As of 166 columns in which every sampled row was ten times beyond the data."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((2449, 166))
    samples = rng.standard_normal((1000, 166))
    samples[:, 3] *= 1e30
    samples[:5, 7] = np.nan
    wild = wild_rows(layout(*data.T), samples, 2449)
    assert wild.share > 0.9
    assert wild.columns == ("c3", "c7")
    line = samples_line(layout(*data.T), samples, 2449)
    assert line.verdict == "fail"
    assert "in c3, c7" in line.sentence
    held = clipped(layout(*data.T), samples)
    assert wild_rows(layout(*data.T), held, 2449).share == 0
    assert (held.max(axis=0) <= data.max(axis=0)).all()
    np.testing.assert_array_equal(held[:, 0], np.clip(samples[:, 0], data[:, 0].min(), data[:, 0].max()))


def test_a_heap_at_an_end_is_found() -> None:
    rng = np.random.default_rng(0)
    data = rng.uniform(size=(1000, 2))
    heaped = rng.uniform(size=(1000, 2))
    heaped[:100, 1] = data[:, 1].max()
    line = edges_line(edge_masses(layout(*data.T), data, heaped), {})
    assert line.verdict == "fail"
    assert "high end of c1" in line.sentence


def test_a_spike_towards_an_end_is_found() -> None:
    """A density that grows like 1/y at 0, as a power law on a half-line does, and an exponential one."""
    data = np.random.default_rng(0).standard_exponential((500, 1))
    own = layout(data[:, 0], kind="positive", low=0.0)

    def honest(rows: np.ndarray, of: np.ndarray) -> np.ndarray:
        return -rows[:, 0]

    def spiked(rows: np.ndarray, of: np.ndarray) -> np.ndarray:
        return -rows[:, 0] - np.log(rows[:, 0] + 1e-13)

    assert edge_peaks(own, data, honest)["c0"] == pytest.approx(data.min(), abs=1e-9)
    assert edges_line([], edge_peaks(own, data, honest)).verdict == "pass"
    line = edges_line([], edge_peaks(own, data, spiked))
    assert line.verdict == "fail"
    assert "c0" in line.sentence
    assert edge_peaks(layout(data[:, 0]), data, spiked) == {}  # a line has no ends


@pytest.fixture(scope="module")
def fitted() -> FlowDensity:
    return FlowDensity(**TINY).fit(pd.DataFrame(np.random.default_rng(0).normal(size=(100, 2)), columns=["a", "b"]))


def test_fit_and_check_have_the_lines(fitted: FlowDensity) -> None:
    assert fitted.checks_ is not None
    for name in ("samples", "edges of columns"):
        assert fitted.checks_[name].verdict == "pass"
    assert fitted.check()["samples"].verdict == "pass"


def test_wild_draws_are_told_and_clipped(
    fitted: FlowDensity, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted.save(tmp_path / "model")
    draw = TableModel.draw
    monkeypatch.setattr(TableModel, "draw", lambda *a: draw(*a) * np.array([1.0, 1e32]))
    with pytest.warns(pf.TableWarning, match=r"samples lie beyond the data .* in b"):
        fitted.sample(100, random_state=0)
    held = fitted.sample(100, random_state=0, clip="observed")
    low, high = fitted.schema_.column("b").seen or (0, 0)
    assert held["b"].between(low, high).all()
    assert fitted.check()["samples"].verdict == "fail"
    with pytest.raises(ValueError, match="clip"):
        fitted.sample(1, clip="tight")  # pyright: ignore[reportArgumentType]
    line = ["sample", str(tmp_path / "model"), "-n", "100", "--out", str(tmp_path / "s.csv"), "--force"]
    assert main(line) == 0
    assert "lie beyond the data" in capsys.readouterr().err
    assert main([*line, "--clip", "observed"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["check", str(tmp_path / "model")]) == 6
