"""When training goes wrong: steps skipped, states rewound, and an error instead of NaN weights."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from interrupted import objects
from pushforward.objectives import AbstractObjective, MaximumLikelihood
from pushforward.training import FitError, fit

KEY = jax.random.key(0)
POISON = 7.0


class Poisoned(AbstractObjective):
    """Maximum likelihood whose loss is not finite for the row `POISON`, or with `whole` for a batch that holds it."""

    value: float = eqx.field(static=True, default=float("nan"))
    whole: bool = eqx.field(static=True, default=False)
    in_nats: bool = eqx.field(static=True, default=True)

    def per_row(self, flow: Any, x: Any, condition: Any = None, key: Any = None):
        losses, hit = MaximumLikelihood().per_row(flow, x, condition, key), jnp.asarray(x)[:, 0] == POISON
        return jnp.where(jnp.any(hit) if self.whole else hit, self.value, losses)


class Steep(AbstractObjective):
    """Maximum likelihood whose loss is finite for the rows from `POISON` on, and its gradient is not."""

    in_nats: bool = eqx.field(static=True, default=True)

    def per_row(self, flow: Any, x: Any, condition: Any = None, key: Any = None):
        zero = jnp.where(jnp.asarray(x)[:, 0] >= POISON, 0.0, 1.0) * flow.bijection.loc[0] ** 2
        return MaximumLikelihood().per_row(flow, x, condition, key) + 0.0 * jnp.sqrt(zero)


class Bounded(AbstractObjective):
    """Maximum likelihood that is NaN once the flow has moved too far: a large learning rate is thrown out of bounds."""

    limit: float = eqx.field(static=True, default=0.5)
    in_nats: bool = eqx.field(static=True, default=True)

    def per_row(self, flow: Any, x: Any, condition: Any = None, key: Any = None):
        losses = MaximumLikelihood().per_row(flow, x, condition, key)
        return jnp.where(jnp.max(jnp.abs(flow.bijection.loc)) > self.limit, jnp.nan, losses)  # pyright: ignore


def loc(result: Any) -> np.ndarray:
    return np.asarray(result.flow.bijection.loc)


def affine() -> pf.Flow:
    return pf.Flow(pf.StandardNormal((2,)), pf.Affine(0.0, 1.0, (2,)))


def finite(flow: pf.Flow) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(pf.trainable(flow)[0]))


def rows(n: int = 640) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 2)) + 0.3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("whole", [False, True])
def test_a_row_is_left_out_and_a_batch_without_others_is_skipped(value: float, whole: bool):
    x = rows()
    x[11, 0] = POISON
    how = objects(batch_size=32, patience=30, learning_rate=0.01)
    objective = Poisoned(value=value, whole=whole)
    result = fit(affine(), x, key=KEY, objective=objective, validation=rows(50), max_epochs=30, progress=False, **how)
    verdict = result.verdict
    assert verdict.n_rewinds == 0  # a twentieth is no reason to go back
    assert (verdict.n_skipped, verdict.n_rows_left_out) == ((30, 0) if whole else (0, 30))  # one of each epoch
    assert (result.history["skipped"][-1], result.history["rows_left_out"][-1]) == ((30, 0) if whole else (0, 30))
    assert ("30 non-finite steps were skipped" if whole else "left out of a step 30 times") in verdict.text
    assert finite(result.flow)
    np.testing.assert_allclose(loc(result), np.delete(x, 11, axis=0).mean(0), atol=0.1)


@pytest.mark.parametrize("places", [[11], [0, 300, 639]])
def test_rows_whose_gradient_alone_is_not_finite_are_found(places: list[int]):
    x, how = rows(), {"key": KEY, "validation": None, "max_epochs": 20, "progress": False}
    x[places, 0] = POISON + np.arange(len(places))
    start = pf.Flow(pf.StandardNormal((2,)), pf.Affine(0.1, 1.0, (2,)))
    result = fit(start, x, objective=Steep(), **how, **objects(batch_size=100, learning_rate=0.01))
    assert (result.verdict.n_rows_left_out, result.verdict.n_skipped) == (20 * len(places), 0)
    kept = np.delete(x, places, axis=0)
    without = fit(start, kept, **how, **objects(batch_size=100, learning_rate=0.01))
    np.testing.assert_allclose(loc(result), loc(without), atol=0.02)


@pytest.mark.float32
@pytest.mark.parametrize("name", ["realnvp", "maf", "naf", "radial"])
def test_one_row_of_1e30_costs_that_row_alone(name: str):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)).astype(np.float32)
    x[:, 1] += x[:, 0] ** 2
    options = {} if name == "radial" else {"width": 8}
    flow = pf.flows.ZOO[name](jax.random.key(1), dim=2, n_layers=2, **options)
    how = {"key": KEY, "validation": x[300:], "max_epochs": 40, "progress": False}
    wild = np.insert(x[:300], 17, 1e30, axis=0)
    with_it, without = fit(flow, wild, **how), fit(flow, x[:300], **how)
    # Without attempts each epoch would lose the batch of that row.
    assert with_it.verdict.n_skipped == without.verdict.n_skipped == without.verdict.n_rows_left_out == 0
    assert with_it.verdict.n_rows_left_out == with_it.verdict.epochs == 40
    assert with_it.verdict.held_out_nats == pytest.approx(without.verdict.held_out_nats, abs=0.05)


@pytest.mark.float32
def test_a_held_out_row_without_a_score_is_left_out_of_it_and_counted():
    x = rows().astype(np.float32)
    held_out = np.insert(x[:100], 3, 1e30, axis=0)
    result = fit(affine(), x[100:], key=KEY, validation=held_out, max_epochs=20, progress=False)
    assert result.verdict.n_rows_unscored == 1
    assert "1 held-out row " in result.verdict.text
    nats = np.asarray(result.flow.log_prob(x[:100]))
    assert result.verdict.held_out_nats == pytest.approx(float(nats.mean()), abs=1e-4)


@pytest.mark.parametrize("validation", [0.1, None])
def test_a_fit_without_one_finite_step_is_an_error(validation: float | None):
    """Too few steps for five rewinds: it must not be called recovered."""
    with pytest.raises(FitError, match="20 non-finite steps of 20"):
        fit(
            affine(),
            rows(200),
            key=KEY,
            objective=Bounded(limit=-1.0),
            validation=validation,
            max_epochs=20,
            progress=False,
        )


class Lossy(AbstractObjective):
    """Maximum likelihood that is NaN in about half of the steps, whatever the weights are."""

    in_nats: bool = eqx.field(static=True, default=True)

    def per_row(self, flow: Any, x: Any, condition: Any = None, key: Any = None):
        lost = jax.random.uniform(jax.random.key(0) if key is None else key) < 0.5
        return jnp.where(lost, jnp.nan, MaximumLikelihood().per_row(flow, x, condition, key))


def test_a_fit_in_which_no_round_went_well_is_an_error():
    """Too few rounds for five rewinds, and some finite steps: each rewind went back to the untrained weights."""
    with pytest.raises(FitError, match="non-finite steps"):
        fit(affine(), rows(200), key=KEY, objective=Lossy(), validation=None, max_epochs=20, progress=False)


def test_an_interrupted_fit_without_one_finite_step_is_an_error():
    def interrupt(row: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    how = {"objective": Bounded(limit=-1.0), "max_epochs": 40, "progress": False}
    with pytest.raises(FitError, match="non-finite steps"):
        fit(affine(), rows(200), key=KEY, options=pf.training.Reporting(callback=interrupt), **how)


def test_too_many_skipped_steps_rewind_with_a_smaller_rate():
    result = fit(
        affine(),
        rows(),
        key=KEY,
        objective=Bounded(),
        progress=False,
        optimizer=pf.training.Adam(2.0, warmup=0),
        options=pf.training.Steps(batch_size=64, ema=0.0),
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
    with pytest.raises(pf.ConvergenceError, match="learning rate") as caught:
        fit(affine(), rows(), key=KEY, objective=Bounded(limit=-1.0), validation=None, progress=False)
    assert "non-finite steps" in str(caught.value)


def test_non_finite_held_out_score_is_trouble_too():
    class Liar(AbstractObjective):
        in_nats: bool = eqx.field(static=True, default=True)

        def per_row(self, flow: Any, x: Any, condition: Any = None, key: Any = None):
            held_out = x.shape[0] != 32  # a batch has 32 rows
            losses = MaximumLikelihood().per_row(flow, x, condition, key)
            return jnp.nan * losses if held_out else losses

    with pytest.raises(FitError):
        fit(affine(), rows(), key=KEY, objective=Liar(), progress=False, options=pf.training.Steps(batch_size=32))


def test_extreme_rows_do_not_break_the_fit():
    x = rows()
    x[5] = 1e18
    result = fit(affine(), x, key=KEY, max_epochs=20, progress=False)
    assert finite(result.flow)
