"""Tables of hundreds of columns: the rule of their sizes, their start, and what is said of them."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

import pushforward as pf
from pushforward.cli import main
from pushforward.numerics.rational_quadratic_spline import Spline, rational_quadratic_forward
from pushforward.tables.modelling.assemble import COLUMN_BOUND
from pushforward.tables.modelling.wide import BINS, WIDE, column_splines

COLUMNS = WIDE + 10


def table(n: int = 2500, columns: int = COLUMNS, seed: int = 0) -> np.ndarray:
    """Exponential columns with normal scores that depend on their neighbours."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n, 8)) @ np.random.default_rng(1).normal(size=(8, columns))
    scores = (factor + 2 * rng.normal(size=(n, columns))) / np.sqrt(12)
    return -np.log(stats.norm.sf(scores)) + 0.3 * rng.normal(size=scores.shape)


def test_splines_start_at_the_quantiles_of_their_columns():
    rng = np.random.default_rng(0)
    columns = np.stack([rng.normal(size=20_000), rng.exponential(size=20_000) - 1, rng.uniform(-1.7, 1.7, 20_000)])
    x = stats.norm.ppf([0.02, 0.2, 0.5, 0.8, 0.98])
    spline = Spline(BINS, -COLUMN_BOUND, COLUMN_BOUND, "free")
    own, scale = column_splines(columns)
    with jax.enable_x64(True):
        params = jnp.broadcast_to(own[..., None], (spline.n_params, 3, len(x)))
        found = np.asarray(rational_quadratic_forward(jnp.broadcast_to(x, (3, len(x))), params, spline)[0])
    assert np.abs(scale[:, None] * found - np.quantile(columns, stats.norm.cdf(x), axis=1).T).max() < 0.05
    # Columns without any spread, and of one row, have splines too.
    assert np.isfinite(column_splines(np.zeros((2, 5)))[0]).all()
    assert np.isfinite(column_splines(np.ones((2, 1)))[0]).all()


@pytest.mark.thorough
def test_a_wide_table_is_better_than_the_gaussian_after_a_few_steps(tmp_path: Path):
    x = table()
    how = {"max_epochs": 3, "random_state": 0, "verify": False, "progress": False}
    density = pf.FlowDensity(n_layers=2, width=16, **how).fit(x)
    recipe = density.model_.recipe
    assert (recipe.column_bins, recipe.arguments["n_layers"], recipe.arguments["width"]) == (BINS, 2, 16)
    assert recipe.arguments["autoregressive"] is False
    assert any("numbers, 200 or more" in note for note in density.notes_)
    fresh = table(1000, seed=5)
    train = np.delete(x, density.held_out_, axis=0)
    simple: Any = stats.multivariate_normal(train.mean(axis=0), np.cov(train.T))  # pyright: ignore[reportArgumentType]
    gaussian = simple.logpdf(fresh)
    gain = density.score_samples(fresh) - gaussian
    assert gain.mean() > 10 * gain.std() / np.sqrt(len(gain))
    sample = density.sample(500, random_state=0)
    assert np.isfinite(sample).all()
    assert (np.abs(sample - np.median(x, axis=0)) < 2 * np.abs(x - np.median(x, axis=0)).max(axis=0)).all()
    density.save(tmp_path / "model")
    again = pf.FlowDensity.load(tmp_path / "model")
    assert np.allclose(again.score_samples(fresh[:5]), density.score_samples(fresh[:5]), rtol=0, atol=1e-9)


def test_the_dry_run_of_a_wide_table_guesses_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture):
    x = table(1200)
    pq.write_table(pa.table({f"c{i}": column for i, column in enumerate(x.T)}), tmp_path / "wide.parquet")
    line = ["fit", str(tmp_path / "wide.parquet"), "--out", "none", "--dry-run"]
    assert main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["guessed"]
    assert found["arguments"]["autoregressive"] is False
    assert (found["held_out_rows"], found["steps"], found["sampling_passes"]) == (120, 3000, 1)
    assert 0 < found["step_seconds"] < 10
    assert main(line) == 0
    said = capsys.readouterr()
    assert "to a factor of three" in said.out + said.err
    assert f"The flow has {COLUMNS} numbers" in said.out + said.err
