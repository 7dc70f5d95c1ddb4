"""Log-determinants of contractions against slogdet, their gradients row by row, and the memory these take."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.numerics.log_det_series import (
    AbstractLogDet,
    ExactLogDet,
    Geometric,
    Poisson,
    RussianRoulette,
    Truncated,
    draw_count,
    log_det_of,
    truncation_bound,
)
from pushforward.numerics.trace_estimators import ExactTrace, Hutchinson

D, ROWS, N = 3, 4, 4000
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.standard_normal((D, ROWS)))
RAW = RNG.standard_normal((D, D))
WEIGHT = jnp.asarray(0.8 * RAW / np.linalg.norm(RAW, 2))
UPSTREAM = jnp.array([1.0, -2.0, 0.5, 3.0])


def function(x: Any, weight: Any) -> Any:
    return jnp.tanh(weight @ x)


def exact(weight: Any) -> Any:
    slopes = 1 - jnp.tanh(weight @ X) ** 2
    jacobians = jnp.eye(D) + slopes.T[:, :, None] * weight
    return jnp.linalg.slogdet(jacobians)[1]


def random_rows(log_det: AbstractLogDet) -> tuple[np.ndarray, np.ndarray]:
    """Over many keys: the log-determinants `(N, ROWS)`, and the gradients of each row's."""

    @jax.jit
    def run(keys: Any) -> Any:
        def one(key: Any) -> Any:
            rows = jax.random.split(key, ROWS)
            value, pull = jax.vjp(lambda w: log_det(function, X, w, rows)[1], WEIGHT)
            return value, jax.vmap(pull)(jnp.eye(ROWS))[0]

        return jax.vmap(one)(keys)

    value, gradient = run(jax.random.split(jax.random.key(0), N))
    return np.asarray(value), np.asarray(gradient)


def off(estimates: np.ndarray, expected: Any) -> float:
    """The largest deviation of a mean, in standard errors."""
    error = estimates.std(axis=0) / np.sqrt(len(estimates))
    return float(np.max(np.abs(estimates.mean(axis=0) - np.asarray(expected)) / error))


@pytest.mark.parametrize("size", [1, 4, 20])
def test_determinants(size: int) -> None:
    raw = np.random.default_rng(1).standard_normal((5, size, size))
    matrices = np.eye(size) + 0.9 * raw / np.linalg.norm(raw, 2, axis=(1, 2), keepdims=True)
    found = log_det_of(jnp.asarray(np.moveaxis(matrices, 0, -1)))
    np.testing.assert_allclose(found, np.linalg.slogdet(matrices)[1], rtol=1e-10, atol=1e-12)
    matrices[0, 0] *= -1  # not of a contraction: no number
    assert np.isnan(log_det_of(jnp.asarray(np.moveaxis(matrices, 0, -1)))[0])


def test_exact_and_truncated() -> None:
    np.testing.assert_allclose(ExactLogDet()(function, X, WEIGHT, None)[1], exact(WEIGHT), rtol=1e-12)
    for n_terms in (3, 10, 60):
        series = Truncated(n_terms, ExactTrace())
        error = np.abs(series(function, X, WEIGHT, None)[1] - exact(WEIGHT))
        assert np.all(error <= series.error_bound(0.8, D))
        assert series.error_bound(0.8, D) == truncation_bound(n_terms, 0.8, D)
    assert np.all(error < 1e-6)
    assert ExactLogDet().error_bound(0.8, D) == 0
    assert RussianRoulette().error_bound(0.8, D) == np.inf


def test_neumann_gradient_of_a_truncated_series_is_that_of_its_value() -> None:
    gradients = [
        jax.grad(lambda w, log_det=log_det: UPSTREAM @ log_det(function, X, w, None)[1])(WEIGHT)
        for log_det in (Truncated(4, ExactTrace()), Truncated(4, ExactTrace(), "plain"))
    ]
    np.testing.assert_allclose(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "log_det",
    [
        RussianRoulette(),
        RussianRoulette(Geometric(0.5), 1, Hutchinson(2, "gaussian")),
        RussianRoulette(n_exact=0, gradient="plain"),
    ],
)
def test_roulette_is_unbiased_row_by_row(log_det: AbstractLogDet) -> None:
    value, gradient = random_rows(log_det)
    expected = jax.jacobian(exact)(WEIGHT)
    assert off(value, exact(WEIGHT)) < 4
    assert off(gradient, expected) < 4.5  # the largest of 36
    weighted = np.einsum("i,nijk->njk", UPSTREAM, gradient)
    assert off(weighted, jnp.einsum("i,ijk->jk", UPSTREAM, expected)) < 4
    # The broken twins: the weight of the first row for all, and the later terms not weighted by their rarity.
    assert off(UPSTREAM[0] * gradient.sum(axis=1), jnp.einsum("i,ijk->jk", UPSTREAM, expected)) > 4


def test_unweighted_terms_are_found() -> None:
    """The broken twin of Russian roulette: terms as they are, however seldom they are there."""

    class Unweighted(Poisson):
        def survival(self) -> np.ndarray:
            return np.ones(12)  # says that all terms are always there

    true = RussianRoulette(n_exact=1)
    count = draw_count(Poisson(2.0).survival(), jax.random.split(jax.random.key(2), ROWS))
    assert int(count.max()) < 12
    terms = [Truncated(1 + int(n), ExactTrace())(function, X, WEIGHT, None)[1] for n in range(8)]
    counts = np.asarray(draw_count(Poisson(2.0).survival(), jax.random.split(jax.random.key(3), N)))
    unweighted = np.asarray(terms)[np.minimum(counts, 7)]
    assert off(unweighted, exact(WEIGHT)) > 4
    assert off(random_rows(true)[0], exact(WEIGHT)) < 4


@pytest.mark.parametrize(("distribution", "mean"), [(Poisson(2.0), 2.0), (Geometric(0.25), 4.0)])
def test_numbers_of_terms(distribution: Any, mean: float) -> None:
    survival = distribution.survival()
    assert np.all(np.diff(survival) < 0)
    np.testing.assert_allclose(survival.sum(), mean, rtol=1e-12)
    counts = np.asarray(draw_count(survival, jax.random.split(jax.random.key(0), 20_000)))
    for j in (1, 2, 5):
        share, error = np.mean(counts >= j), np.sqrt(survival[j - 1] * (1 - survival[j - 1]) / len(counts))
        assert abs(share - survival[j - 1]) <= 4 * error + 1e-12


def test_memory_of_the_gradient_does_not_grow_with_the_series() -> None:
    x, weight = jnp.zeros((64, 32)), jnp.zeros((64, 64))

    def memory(n_terms: int, gradient: Any) -> int:
        log_det = Truncated(n_terms, Hutchinson(seed=0), gradient)
        run = jax.jit(jax.grad(lambda w: jnp.sum(log_det(function, x, w, None)[1])))
        analysis: Any = run.lower(weight).compile().memory_analysis()
        return analysis.temp_size_in_bytes

    flat = [memory(n, "neumann") for n in (4, 64)]
    assert flat[1] <= 1.05 * flat[0]
    plain = [memory(n, "plain") for n in (4, 64)]  # the broken twin, which keeps every term
    assert plain[1] > 3 * plain[0]


def test_errors() -> None:
    with pytest.raises(ValueError, match="a rate > 0"):
        Poisson(0.0)
    with pytest.raises(ValueError, match="p in"):
        Geometric(1.0)
    with pytest.raises(ValueError, match="n_terms"):
        Truncated(0)
    with pytest.raises(ValueError, match="gradient 'neumann' or 'plain'"):
        RussianRoulette(gradient="exact")  # pyright: ignore[reportArgumentType]
