"""One column given the others: against distributions that are known, and against twins that are a little wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pushforward.tables.encoding import Layout
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators.conditional import Conditionals, Mesh, central_coverage
from pushforward.tables.modelling.rows import Scores
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.schema import Column

pytestmark = pytest.mark.float32
TINY: dict[str, Any] = {
    "flow": "realnvp",
    "n_layers": 1,
    "width": 8,
    "max_epochs": 2,
    "verify": False,
    "random_state": 0,
}
SLOPE, SCALE = 2.0, 0.5


def frame(n: int, seed: int = 0) -> pd.DataFrame:
    """y = 2 x + 0.5 times a normal number."""
    x, noise = np.random.default_rng(seed).normal(size=(2, n))
    return pd.DataFrame({"x": x, "y": SLOPE * x + SCALE * noise})


def known(monkeypatch: pytest.MonkeyPatch, shift: float = 0.0) -> FlowDensity:
    """A model whose score is that of the truth, or of a truth that is shifted by so many standard deviations."""

    def score(self: TableModel, encoded: Any, condition: np.ndarray) -> Scores:
        log_prob = stats.norm.logpdf(encoded.rows[:, 0], SLOPE * condition[:, 0] + shift * SCALE, SCALE)
        return Scores(log_prob, 0 * log_prob, log_prob, 0 * log_prob)

    density = FlowDensity(**TINY, given=["x"]).fit(frame(80))
    monkeypatch.setattr(TableModel, "score_encoded", score)
    return density


def test_densities_on_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    density, grid, x = known(monkeypatch), np.linspace(-3, 3, 7), np.array([-0.5, 0.0, 1.0])
    expected = stats.norm.pdf(grid, SLOPE * x[:, None], SCALE)
    for conditions in (x[:, None], pd.DataFrame({"x": x}), {"x": x}, np.stack([x, 0 * x], axis=1)):
        np.testing.assert_allclose(density.pdf_grid(conditions, "y", grid), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="'y'"):
        density.pdf_grid(x[:, None], "x", grid)


def test_pit_loss_and_coverage_of_a_known_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    density, rows = known(monkeypatch), frame(600, 1)
    # The mesh reaches beyond the data of the fit by half their range.
    rows = rows[rows.x.abs() < 2]
    pit = density.pit(rows)
    z = (rows.y - SLOPE * rows.x) / SCALE
    np.testing.assert_allclose(pit, stats.norm.cdf(z), atol=1e-4)
    assert stats.kstest(pit, "uniform").pvalue > 0.01
    own = 1 / (2 * SCALE * np.sqrt(np.pi))  # the integral of the square of a normal density
    expected = own - 2 * np.mean(stats.norm.pdf(z) / SCALE)
    assert density.cde_loss(rows) == pytest.approx(expected, abs=1e-4)
    levels = [0.5, 0.9]
    expected = [np.mean(np.abs(z) <= stats.norm.ppf(0.5 + level / 2)) for level in levels]
    np.testing.assert_allclose(density.coverage(rows, levels), expected, atol=2e-3)


def test_a_shifted_model_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: half a standard deviation off."""
    rows = frame(600, 1)
    rows = rows[rows.x.abs() < 2]
    right, wrong = known(monkeypatch).cde_loss(rows), known(monkeypatch, shift=0.5)
    assert stats.kstest(wrong.pit(rows), "uniform").pvalue < 1e-6
    assert wrong.cde_loss(rows) > right + 0.05


def conditionals(column: Column, log_prob: Any) -> Conditionals:
    mesh = Mesh.of(Layout((column,)))
    return Conditionals(mesh, log_prob(mesh)[None])


def test_counts_are_summed_and_randomised() -> None:
    column = Column(name="n", kind="count", low=0.0, step=1.0, seen=(0.0, 20.0))
    found = conditionals(column, lambda mesh: stats.poisson.logpmf(mesh.points, 4.0))
    assert found.mesh.points[:3].tolist() == [0.0, 1.0, 2.0]
    for y in (0.0, 3.0, 9.0):
        low, high = found.below(np.array([y]))
        assert low[0] == pytest.approx(stats.poisson.cdf(y - 1, 4.0), abs=1e-12)
        assert high[0] == pytest.approx(stats.poisson.cdf(y, 4.0), abs=1e-12)
    y = np.random.default_rng(0).poisson(4.0, 2000).astype(float)
    many = Conditionals(found.mesh, np.repeat(found.log_prob, 2000, axis=0))
    pit = many.pit(y, np.random.default_rng(1))
    assert stats.kstest(pit, "uniform").pvalue > 0.01
    assert stats.kstest(many.below(y)[1], "uniform").pvalue < 1e-6  # the twin: not randomised
    assert found.squared()[0] == pytest.approx((stats.poisson.pmf(np.arange(60), 4.0) ** 2).sum(), abs=1e-9)


def test_rounded_numbers_have_their_step_of_the_density() -> None:
    column = Column(name="v", kind="real", step=0.1, seen=(-3.0, 3.0))

    def log_prob(mesh: Mesh) -> np.ndarray:
        return np.log((stats.norm.cdf(mesh.points + 0.1) - stats.norm.cdf(mesh.points)) / 0.1)

    found = conditionals(column, log_prob)
    low, high = found.below(np.array([0.5]))
    np.testing.assert_allclose([low[0], high[0]], stats.norm.cdf([0.5, 0.6]), atol=1e-6)
    assert found.total() == pytest.approx(1.0, abs=1e-6)


def test_atoms_and_gaps() -> None:
    """Three tenths are exactly 0, a tenth is missing, the rest exponential."""
    column = Column(name="rain", kind="positive", low=0.0, atoms=(0.0,), missing=True, seen=(0.01, 12.0))

    def log_prob(mesh: Mesh) -> np.ndarray:
        assert mesh.rows[-1].tolist() == [1.0, 0.0]  # the state of the atom
        return np.append(np.log(0.6) - mesh.points, np.log(0.3))

    found = conditionals(column, log_prob)
    assert found.total() == pytest.approx(0.9, abs=1e-3)
    low, high = found.below(np.array([0.0]))
    np.testing.assert_allclose([low[0], high[0]], [0.0, 1 / 3], atol=1e-3)
    low, high = found.below(np.array([1.0]))
    np.testing.assert_allclose([low[0], high[0]], 2 * [(0.3 + 0.6 * (1 - np.exp(-1))) / 0.9], atol=1e-3)
    assert np.isnan(found.pit(np.array([np.nan]), np.random.default_rng(0)))[0]


def test_a_fitted_model_agrees_with_its_draws() -> None:
    rows = frame(300)
    density = FlowDensity(**{**TINY, "max_epochs": 20}, given=["x"]).fit(rows)
    few = rows.iloc[:5]
    drawn = density.sample(2000, given=few, random_state=0)["y"].to_numpy().reshape(5, 2000)
    share = (drawn < few.y.to_numpy()[:, None]).mean(axis=1)
    np.testing.assert_allclose(density.pit(few), share, atol=4 * np.sqrt(0.25 / 2000) + 2e-3)


def test_what_has_no_order_or_several_columns_is_refused() -> None:
    joint = FlowDensity(**TINY).fit(frame(60))
    with pytest.raises(ValueError, match="a model of one column"):
        joint.pit(frame(5))
    words = frame(60).assign(y=np.where(frame(60).y > 0, "high", "low"))
    density = FlowDensity(**TINY, given=["x"]).fit(words)
    with pytest.raises(ValueError, match="an order"):
        density.pit(words)
    assert -1 <= density.cde_loss(words) <= 1
    masses = density.pdf_grid(words[["x"]], "y", ["high", "low"])
    np.testing.assert_allclose(masses.sum(axis=1), 1, atol=0.02)  # the rest is that of words never seen
    with pytest.raises(ValueError, match="levels between 0 and 1"):
        central_coverage(np.zeros(3), [68])


def test_conditions_are_read_as_in_the_fit() -> None:
    """A code for missing was taken for a number by `pdf_grid`: photometric redshifts had densities of 1000."""
    rows = frame(120).assign(x=lambda t: t["x"].where(np.arange(len(t)) % 7 > 0, 99.0))
    density = FlowDensity(**TINY, given=["x"], na=[99], missing="model").fit(rows)
    grid = np.linspace(-2, 2, 5)
    coded, plain = (density.pdf_grid(pd.DataFrame({"x": [gap, 0.5]}), "y", grid) for gap in (99.0, np.nan))
    np.testing.assert_array_equal(coded, plain)
    scores = density.score_samples(pd.DataFrame({"x": 99.0, "y": grid}))
    np.testing.assert_allclose(np.log(coded[0]), scores, rtol=1e-5)
