"""When training goes wrong: steps skipped, states rewound, and an error instead of NaN weights."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.objectives import AbstractObjective, MaximumLikelihood, weighted_mean
from pushforward.training import FitError, fit

KEY = jax.random.key(0)
POISON = 7.0


class Poisoned(AbstractObjective):
    """Maximum likelihood whose loss is not finite for a batch that holds the row `POISON`."""

    value: float = eqx.field(static=True, default=float("nan"))
    in_nats: bool = eqx.field(static=True, default=True)

    def __call__(self, flow: Any, x: Any, condition: Any, weights: Any, key: Any):
        loss = weighted_mean(self.per_row(flow, x, condition, key), weights)
        # Filling repeats real rows, so only rows that count may poison the batch.
        hit = jnp.any((x[:, 0] == POISON) & (weights > 0))
        return jnp.where(hit, self.value, 1.0) * loss

    def per_row(self, flow, x, condition, key):
        return MaximumLikelihood().per_row(flow, x, condition, key)


class Bounded(AbstractObjective):
    """Maximum likelihood that is NaN once the flow has moved too far: a large learning rate is thrown out of bounds."""

    limit: float = eqx.field(static=True, default=0.5)
    in_nats: bool = eqx.field(static=True, default=True)

    def __call__(self, flow: Any, x: Any, condition: Any, weights: Any, key: Any):
        loss = weighted_mean(MaximumLikelihood().per_row(flow, x, condition, key), weights)
        return jnp.where(jnp.max(jnp.abs(flow.bijection.loc)) > self.limit, jnp.nan, loss)

    def per_row(self, flow, x, condition, key):
        return MaximumLikelihood().per_row(flow, x, condition, key)


def loc(result: Any) -> np.ndarray:
    return np.asarray(result.flow.bijection.loc)


def affine() -> pf.Flow:
    return pf.Flow(pf.StandardNormal((2,)), pf.Affine(0.0, 1.0, (2,)))


def finite(flow: pf.Flow) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(pf.trainable(flow)[0]))


def rows(n: int = 640) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 2)) + 0.3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_poisoned_batch_is_skipped_and_counted(value):
    x = rows()
    x[11, 0] = POISON
    arguments = {"key": KEY, "batch_size": 32, "max_epochs": 30, "patience": 30, "learning_rate": 0.01}
    result = fit(affine(), x, objective=Poisoned(value=value), validation=rows(50), progress=False, **arguments)
    verdict = result.verdict
    assert verdict.n_skipped == 30  # one batch of each epoch
    assert verdict.n_rewinds == 0  # a twentieth is no reason to go back
    assert finite(result.flow)
    assert "30 non-finite steps were skipped" in verdict.text
    assert result.history["skipped"][-1] == 30
    np.testing.assert_allclose(loc(result), x.mean(0), atol=0.1)


def test_too_many_skipped_steps_rewind_with_a_smaller_rate():
    result = fit(
        affine(),
        rows(),
        key=KEY,
        objective=Bounded(),
        learning_rate=2.0,
        warmup=0,
        batch_size=64,
        ema=0.0,
        progress=False,
    )
    assert result.verdict.n_rewinds >= 1
    assert result.verdict.n_skipped > 0
    assert finite(result.flow)
    np.testing.assert_allclose(loc(result), rows().mean(0), atol=0.1)
    assert "rewind" in result.verdict.text
    rates = result.history["learning_rate"]
    assert rates.max() > 0.5
    assert rates[-1] < 0.5


def test_trouble_that_no_rate_cures_is_an_error():
    with pytest.raises(FitError, match="5 rewinds"):
        fit(affine(), rows(), key=KEY, objective=Bounded(limit=-1.0), progress=False)


def test_fit_error_says_what_to_do():
    with pytest.raises(pf.ConvergenceError, match="learning_rate") as caught:
        fit(affine(), rows(), key=KEY, objective=Bounded(limit=-1.0), validation=None, progress=False)
    assert "non-finite steps" in str(caught.value)


def test_non_finite_held_out_score_is_trouble_too():
    class Liar(AbstractObjective):
        in_nats: bool = eqx.field(static=True, default=True)

        def __call__(self, flow: Any, x: Any, condition: Any, weights: Any, key: Any):
            return MaximumLikelihood()(flow, x, condition, weights, key)

        def per_row(self, flow, x, condition, key):
            return jnp.full(x.shape[0], jnp.nan)

    with pytest.raises(FitError):
        fit(affine(), rows(), key=KEY, objective=Liar(), progress=False)


def test_extreme_rows_do_not_break_the_fit():
    x = rows()
    x[5] = 1e18
    result = fit(affine(), x, key=KEY, max_epochs=20, progress=False)
    assert finite(result.flow)
