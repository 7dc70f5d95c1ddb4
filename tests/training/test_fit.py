"""`fit`: it finds known answers, keeps its promises about data, and says how it ended."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pushforward as pf
from interrupted import objects
from pushforward.training import fit
from pushforward.training.result import COLUMNS

KEY = jax.random.key(0)


def loc(result: Any) -> np.ndarray:
    return np.asarray(result.flow.bijection.loc)


def affine(dim: int = 2) -> pf.Flow:
    return pf.Flow(pf.StandardNormal((dim,)), pf.Affine(0.0, 1.0, (dim,)))


def rows(n: int = 600, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 2)) * [2.0, 0.5] + [1.0, -1.0]


def gaussian_nats(x: np.ndarray) -> float:
    """The mean log-density of the best diagonal Gaussian."""
    return float(-0.5 * np.sum(1 + np.log(2 * np.pi * x.var(0))))


@pytest.fixture(scope="module")
def fitted():
    return fit(affine(), rows(), key=KEY, progress=False, optimizer=pf.training.Adam(0.02))


def test_finds_the_maximum_likelihood_gaussian():
    x = rows()
    result = fit(affine(), x, key=KEY, validation=None, progress=False, optimizer=pf.training.Adam(0.02))
    flow: Any = result.flow
    np.testing.assert_allclose(flow.bijection.loc, x.mean(0), atol=0.02)
    np.testing.assert_allclose(np.exp(flow.bijection.log_scale), x.std(0), rtol=0.02)
    assert float(np.mean(flow.log_prob(x))) == pytest.approx(gaussian_nats(x), abs=2e-3)
    assert result.verdict.held_out_nats is None
    assert result.verdict.status == "stopped: epochs"
    assert np.isnan(result.history["held_out_nats"]).all()


def test_history_is_columns_of_equal_length(fitted):
    assert set(fitted.history) == set(COLUMNS)
    lengths = {len(column) for column in fitted.history.values()}
    assert len(lengths) == 1
    assert min(lengths) > 3
    for name in ("step", "epoch", "seconds"):
        assert (np.diff(fitted.history[name]) >= 0).all(), name
    assert np.isfinite(fitted.history["train_nats"]).all()


def test_verdict_reports_the_weights_returned(fitted):
    verdict, history = fitted.verdict, fitted.history
    best = int(np.argmax(history["held_out_nats"]))
    assert verdict.held_out_nats == pytest.approx(history["held_out_nats"][best])
    assert verdict.best_step == history["step"][best]
    assert verdict.n_skipped == verdict.n_rewinds == 0
    assert "nats per row" in str(verdict)


def test_explicit_validation_gives_its_exact_score():
    x, held_out = rows(), rows(150, seed=1)
    result = fit(affine(), x, key=KEY, validation=held_out, progress=False, optimizer=pf.training.Adam(0.02))
    nats = np.asarray(result.flow.log_prob(held_out))
    assert result.verdict.held_out_nats == pytest.approx(nats.mean(), abs=1e-5)
    assert result.verdict.standard_error == pytest.approx(nats.std() / np.sqrt(len(nats)), rel=1e-4)


def test_large_validation_set_is_scored_in_chunks():
    held_out = rows(2500, seed=1)
    result = fit(affine(), rows(64), key=KEY, validation=held_out, max_epochs=5, progress=False)
    nats = np.asarray(result.flow.log_prob(held_out))
    assert result.verdict.held_out_nats == pytest.approx(nats.mean(), abs=1e-5)
    assert result.verdict.standard_error == pytest.approx(nats.std() / np.sqrt(len(nats)), rel=1e-4)


def test_same_key_gives_the_same_bits():
    results = [fit(affine(), rows(), key=KEY, max_epochs=20, progress=False) for _ in range(2)]
    one, two = (jax.tree.leaves(pf.trainable(result.flow)[0]) for result in results)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    other = fit(affine(), rows(), key=jax.random.key(1), max_epochs=20, progress=False)
    assert any((a != b).any() for a, b in zip(one, jax.tree.leaves(pf.trainable(other.flow)[0]), strict=True))


def test_how_steps_are_cut_into_calls_changes_nothing(monkeypatch):
    from pushforward.training import loop

    one = fit(affine(), rows(), key=KEY, max_epochs=30, progress=False)
    monkeypatch.setattr(loop, "FIRST_STEPS", 3)
    monkeypatch.setattr(loop, "GROWTH", 2)
    two = fit(affine(), rows(), key=KEY, max_epochs=30, progress=False)
    np.testing.assert_array_equal(loc(one), loc(two))
    np.testing.assert_array_equal(one.history["held_out_nats"], two.history["held_out_nats"])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 17])
def test_very_few_rows(n):
    result = fit(affine(), rows(n), key=KEY, max_epochs=30, progress=False)
    assert np.isfinite(result.flow.log_prob(rows(n))).all()


def test_stops_early_when_it_overfits():
    flow = pf.flows.maf(jax.random.key(1), dim=2, n_layers=2, width=32, linear="reverse")
    x = rows(40)
    result = fit(flow, x, key=KEY, validation=rows(200, seed=1), progress=False, optimizer=pf.training.Adam(0.01))
    history = result.history["held_out_nats"]
    assert result.verdict.status == "converged"
    assert result.verdict.steps < 2000
    assert result.verdict.held_out_nats == pytest.approx(history.max())
    assert history[-1] < history.max()


def test_weights_count_as_copies():
    """Weights 3 on one half of the rows: the fit is that of the rows with copies."""
    x = np.concatenate([rows(300) - 2.0, rows(300, seed=1) + 2.0])
    weights = np.repeat([3.0, 1.0], 300)
    result = fit(
        affine(),
        x,
        key=KEY,
        weights=weights,
        validation=None,
        max_epochs=1500,
        progress=False,
        optimizer=pf.training.Adam(0.02),
    )
    expected = np.average(x, axis=0, weights=weights)
    np.testing.assert_allclose(loc(result), expected, atol=0.05)
    assert abs(x.mean(0) - expected).min() > 0.5  # the broken twin: a fit that ignores weights fails the line above


def test_rows_of_weight_zero_may_hold_anything():
    x = rows(100)
    weights = np.ones(100)
    x[50:], weights[50:] = 1e30, 0.0
    one = fit(affine(), x, key=KEY, weights=weights, validation=None, max_epochs=10, progress=False)
    two = fit(affine(), x[:50], key=KEY, validation=None, max_epochs=10, progress=False)
    np.testing.assert_array_equal(loc(one), loc(two))


def test_condition_is_learned():
    rng = np.random.default_rng(0)
    condition = rng.uniform(-1, 1, size=(800, 1))
    x = 2 * condition + 0.1 * rng.normal(size=(800, 1))
    flow = pf.flows.maf(jax.random.key(0), dim=1, condition_dim=1, n_layers=1, width=16, linear="reverse")
    held_out = (x[:100], condition[:100])
    result = fit(
        flow,
        x[100:],
        condition=condition[100:],
        key=KEY,
        validation=held_out,
        progress=False,
        optimizer=pf.training.Adam(0.01),
    )
    ideal = -0.5 * np.log(2 * np.pi * np.e * 0.01)
    assert result.verdict.held_out_nats == pytest.approx(ideal, abs=0.2)
    np.testing.assert_allclose(result.flow.log_prob(x[:3], condition[:3]).shape, (3,))


def test_max_seconds_shortens_the_schedule_and_ends_it():
    result = fit(
        affine(),
        rows(),
        key=KEY,
        validation=None,
        max_epochs=10_000_000,
        progress=False,
        options=pf.training.Stopping(max_seconds=3.0),
    )
    assert result.verdict.status == "stopped: budget"
    assert result.verdict.seconds < 6.0
    assert result.history["learning_rate"][-1] < 0.3 * result.history["learning_rate"].max()


def test_interrupt_keeps_the_best():
    def callback(row):
        if row["step"] > 200:
            raise KeyboardInterrupt

    result = fit(
        affine(),
        rows(),
        key=KEY,
        progress=False,
        optimizer=pf.training.Adam(0.02),
        options=pf.training.Reporting(callback=callback),
    )
    assert result.verdict.status == "interrupted"
    assert result.verdict.held_out_nats is not None
    assert result.verdict.held_out_nats >= result.history["held_out_nats"][0]
    assert result.verdict.held_out_nats == pytest.approx(float(result.history["held_out_nats"].max()))


def test_callback_sees_every_row(fitted):
    seen = []
    result = fit(
        affine(), rows(), key=KEY, max_epochs=40, progress=False, options=pf.training.Reporting(callback=seen.append)
    )
    assert [row["step"] for row in seen] == result.history["step"].tolist()
    assert set(seen[0]) == set(COLUMNS)


def test_actnorm_is_initialised_from_the_data():
    flow = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=2, width=8, actnorm=True, linear="reverse")
    x = rows() * 10 + 50
    result = fit(flow, x, key=KEY, max_epochs=1, progress=False)
    assert result.history["held_out_nats"][-1] > gaussian_nats(x) - 0.5


def test_float32_flow_stays_float32_under_x64():
    with jax.enable_x64(False):
        flow = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=1, width=8, linear="reverse")
    result = fit(flow, rows(), key=KEY, max_epochs=2, progress=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(pf.trainable(result.flow)[0])} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": np.zeros((10, 3))}, ValueError, "shape"),
        ({"x": np.full((10, 2), np.nan)}, ValueError, "finite numbers in x"),
        ({"x": np.array([["a", "b"]])}, TypeError, "numeric"),
        ({"x": np.zeros((0, 2))}, ValueError, "at least one row"),
        ({"key": 0}, TypeError, "one JAX key"),
        ({"weights": -np.ones(600)}, ValueError, "weights >= 0"),
        ({"weights": np.ones(3)}, ValueError, "weights of shape"),
        ({"condition": np.ones((600, 1))}, ValueError, "unconditional"),
        ({"validation": 1.5}, ValueError, "validation in"),
        ({"validation": "yes"}, TypeError, "validation"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate > 0"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate > 0"),
        ({"ema": 1.0}, ValueError, "ema"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"max_epochs": 0}, ValueError, "max_epochs"),
        ({"max_seconds": -1.0}, ValueError, "max_seconds"),
        ({"patience": 0}, ValueError, "patience"),
        ({"progress": "loud"}, ValueError, "progress"),
    ],
)
def test_errors_name_what_is_wrong(change, error, text):
    arguments = {"x": rows(), "key": KEY, "progress": False, **change}
    with pytest.raises(error, match=text):
        fit(affine(), arguments.pop("x"), **objects(**arguments))


def test_missing_condition_and_missing_pair():
    flow = pf.flows.maf(jax.random.key(0), dim=2, condition_dim=1, n_layers=1, width=8, linear="reverse")
    with pytest.raises(ValueError, match="condition"):
        fit(flow, rows(), key=KEY, progress=False)
    with pytest.raises(ValueError, match="pair"):
        fit(flow, rows(), condition=np.ones((600, 1)), validation=rows(10), key=KEY, progress=False)


def test_nothing_to_train():
    flow = pf.Flow(pf.StandardNormal((2,)), pf.Reverse(2))
    with pytest.raises(ValueError, match="trainable"):
        fit(flow, rows(), key=KEY, progress=False)


def test_interrupt_leaves_a_history_without_gaps_or_repeats():
    def callback(row):
        if row["step"] > 200:
            raise KeyboardInterrupt

    result = fit(affine(), rows(), key=KEY, progress=False, options=pf.training.Reporting(callback=callback))
    assert (np.diff(result.history["step"]) > 0).all()


def test_a_short_budget_still_gets_past_the_warm_up():
    result = fit(
        affine(),
        rows(),
        key=KEY,
        validation=None,
        max_epochs=1_000_000,
        progress=False,
        options=pf.training.Stopping(max_seconds=4.0),
    )
    assert result.history["learning_rate"].max() > 1e-3
    assert 2.0 < result.verdict.seconds < 8.0
