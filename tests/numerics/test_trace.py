"""Traces: exact, and unbiased by random probes; broken probes are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.numerics.trace_estimators import AbstractTrace, ExactTrace, Hutchinson, HutchPlusPlus, draw_rows

D, N = 6, 4000
MATRIX = jnp.asarray(np.random.default_rng(0).standard_normal((D, D)))
KEYS = jax.random.split(jax.random.key(1), N)
RANDOM = {
    "signs": Hutchinson(2),
    "normal": Hutchinson(3, "gaussian"),
    "sketch": HutchPlusPlus(2, 2),
    "sketch, normal": HutchPlusPlus(3, 1, "gaussian"),
}


def of_matrix(v: jax.Array) -> jax.Array:
    return MATRIX.T @ v


def draws(trace: AbstractTrace, broken: Callable[[Any], Any] = lambda probes: probes) -> np.ndarray:
    @jax.jit
    def run(keys: Any) -> Any:
        return jax.vmap(lambda key: trace(of_matrix, broken(trace.draw(key, (D,), jnp.float64))))(keys)

    return np.asarray(run(KEYS))


def standard_errors_off(estimates: np.ndarray) -> float:
    error = estimates.std() / np.sqrt(N)
    return abs(estimates.mean() - float(jnp.trace(MATRIX))) / error


@pytest.mark.parametrize("name", RANDOM)
def test_unbiased(name: str) -> None:
    assert standard_errors_off(draws(RANDOM[name])) < 4


def test_broken_twins_are_found() -> None:
    trace = RANDOM["signs"]
    assert standard_errors_off(draws(trace, lambda probes: 1.2 * probes)) > 4  # the variance is not 1
    assert standard_errors_off(draws(trace, lambda probes: probes + 0.5)) > 4  # the mean is not 0
    assert standard_errors_off(2 * draws(trace)) > 4  # a sum over two probes, not a mean


def test_exact_traces() -> None:
    expected = float(jnp.trace(MATRIX))
    exact, key = ExactTrace(), jax.random.key(0)
    np.testing.assert_allclose(exact(of_matrix, exact.draw(None, (D,), jnp.float64)), expected, rtol=1e-12)
    sketch = HutchPlusPlus(D + 3, 1)  # a sketch of all dimensions leaves nothing to chance
    np.testing.assert_allclose(sketch(of_matrix, sketch.draw(key, (D,), jnp.float64)), expected, rtol=1e-10)


def test_sketch_lowers_the_variance_of_a_map_of_low_rank() -> None:
    global MATRIX
    whole = MATRIX
    try:
        MATRIX = whole[:, :1] @ whole[:1] + 0.01 * whole
        assert draws(HutchPlusPlus(1, 1)).std() < 0.2 * draws(Hutchinson(3)).std()
    finally:
        MATRIX = whole


@pytest.mark.parametrize("trace", [ExactTrace(), Hutchinson(2), HutchPlusPlus(2, 2)])
def test_rows_are_events_one_by_one(trace: AbstractTrace) -> None:
    matrices = jnp.asarray(np.random.default_rng(2).standard_normal((D, D, 3)))
    keys = jax.random.split(jax.random.key(5), 3)
    probes = draw_rows(trace, keys, 3, (2, 3), jnp.float64)

    def product(v: jax.Array) -> jax.Array:
        return jnp.einsum("ijn,in->jn", matrices, v.reshape(D, -1)).reshape(v.shape)

    together = trace(product, probes, rows=True)
    for i in range(3):
        one = trace(lambda v, i=i: (matrices[..., i].T @ v.ravel()).reshape(v.shape), probes[..., i])
        np.testing.assert_allclose(together[i], one, rtol=1e-10)


def test_a_seed_fixes_the_probes() -> None:
    trace = Hutchinson(2, seed=3)
    assert not trace.needs_key
    np.testing.assert_array_equal(trace.draw(None, (D,), jnp.float64), trace.draw(KEYS[0], (D,), jnp.float64))


def test_errors() -> None:
    with pytest.raises(ValueError, match="expected a key"):
        Hutchinson().draw(None, (2,), jnp.float64)
    with pytest.raises(ValueError, match="noise to be one of"):
        HutchPlusPlus(noise="uniform")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="n_probes"):
        Hutchinson(0)
