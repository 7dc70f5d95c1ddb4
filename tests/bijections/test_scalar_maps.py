"""Scalar maps with wild parameters, on their knots and one float beside them, where random inputs find nothing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import SigmoidAffineMap

BOUND, BINS = 5.0, 8
SPLINE = pf.RationalQuadraticMap(bins=BINS, bound=BOUND)
PLAIN = [pf.AdditiveMap(), pf.AffineMap(), SigmoidAffineMap(), SPLINE]
N = 4096


def knots(params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inner knots in x and y, `(bins - 1, n)`, in float64: Durkan et al., 2019, section 3.1."""

    def edges(raw: np.ndarray) -> np.ndarray:
        share = np.exp(raw - raw.max(0))
        share = 1e-3 + (1 - BINS * 1e-3) * share / share.sum(0)
        return -BOUND + 2 * BOUND * np.cumsum(share, axis=0)[:-1]

    return edges(params[:BINS]), edges(params[BINS : 2 * BINS])


def wild(spread: float, dtype: Any, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs on a knot of each column's own spline, or a float or two beside it; and the parameters."""
    rng = np.random.default_rng(int(spread))
    params = (spread * rng.standard_normal((SPLINE.n_params, N))).astype(dtype)
    x = knots(params.astype(np.float64))[side][rng.integers(BINS - 1, size=N), np.arange(N)].astype(dtype)
    steps = rng.integers(-2, 3, size=N)
    for _ in range(2):
        x = np.where(steps > 0, np.nextafter(x, dtype(9)), np.where(steps < 0, np.nextafter(x, dtype(-9)), x))
        steps = np.sign(steps) * (np.abs(steps) - 1)
    x[: N // 8] = np.nextafter(dtype(BOUND), dtype(0)) * np.sign(rng.standard_normal(N // 8))
    x[N // 8 : N // 4] = BOUND * np.sign(rng.standard_normal(N // 8))
    return x, params


@jax.jit
def there_and_back(x: Array, params: Array) -> tuple[Array, ...]:
    y, log_slope = SPLINE.forward_and_log_det(x, params)
    back, back_log_slope = SPLINE.inverse_and_log_det(y, params)
    again, _ = SPLINE.forward_and_log_det(back, params)
    return y, log_slope, back, back_log_slope, again


@jax.jit
def back_and_there(y: Array, params: Array) -> tuple[Array, ...]:
    x, log_slope = SPLINE.inverse_and_log_det(y, params)
    again, again_log_slope = SPLINE.forward_and_log_det(x, params)
    return x, log_slope, again, again_log_slope


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_spline_on_its_knots(spread: float, dtype: Any) -> None:
    x, params = wild(spread, dtype, side=0)
    y, log_slope, back, back_log_slope, again = (np.asarray(a, np.float64) for a in there_and_back(x, params))
    for array in (y, log_slope, back, back_log_slope, again):
        assert np.all(np.isfinite(array))
    assert np.all(np.abs(y) <= BOUND)  # the image stays in the domain of the inverse
    eps = np.finfo(dtype).eps
    # Rounding x by an ulp moves y by the slope times that (up to 1e6 here), and rounding y moves x by its inverse.
    steepest = np.exp(np.maximum(log_slope, -back_log_slope))
    flattest = np.exp(np.minimum(log_slope, -back_log_slope))
    # At the wildest the slope changes by orders of magnitude from one float to the next: there one in a thousand may
    # land beyond what the slopes at the two points say.
    allowed = 1e-3 if spread == 8.0 else 0.0
    assert np.mean(np.abs(again - y) > 400 * eps * BOUND * (1 + steepest)) <= allowed
    assert np.mean(np.abs(back - x) > 400 * eps * BOUND * (1 + 1 / flattest)) <= allowed
    if spread <= 1:
        assert np.max(np.abs(again - y)) < (1e-4 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_spline_inverse_on_its_knots(spread: float, dtype: Any) -> None:
    y, params = wild(spread, dtype, side=1)
    x, log_slope, again, again_log_slope = (np.asarray(a, np.float64) for a in back_and_there(y, params))
    for array in (x, log_slope, again, again_log_slope):
        assert np.all(np.isfinite(array))
    assert np.all(np.abs(x) <= BOUND)
    steepest = np.exp(np.maximum(again_log_slope, -log_slope))
    beyond = np.abs(again - y) > 400 * np.finfo(dtype).eps * BOUND * (1 + steepest)
    assert np.mean(beyond) <= (1e-3 if spread == 8.0 else 0.0)


def test_a_plain_quadratic_formula_is_found() -> None:
    """The broken twin: without its guards the inverse takes the root of a negative discriminant at the knots."""
    y, params = wild(3.0, np.float32, side=1)
    edges_x, edges_y = (np.concatenate([np.full((1, N), -BOUND), k, np.full((1, N), BOUND)]) for k in knots(params))
    edges_x, edges_y = edges_x.astype(np.float32), edges_y.astype(np.float32)
    raw = np.concatenate([np.full((1, N), np.log(np.expm1(0.999))), params[2 * BINS :] + np.log(np.expm1(0.999))])
    raw = np.concatenate([raw, raw[:1]])
    slope = (np.float32(1e-3) + np.logaddexp(0, raw)).astype(np.float32)
    k = np.clip((y >= edges_y[:-1]).sum(0) - 1, 0, BINS - 1), np.arange(N)
    width, height = np.diff(edges_x, axis=0)[k], np.diff(edges_y, axis=0)[k]
    secant, rise, s0, s1 = height / width, y - edges_y[:-1][k], slope[:-1][k], slope[1:][k]
    a = height * (secant - s0) + rise * (s0 + s1 - 2 * secant)
    b = height * s0 - rise * (s0 + s1 - 2 * secant)
    with np.errstate(invalid="ignore"):
        root = np.sqrt(b * b + 4 * a * secant * rise)
    assert np.isnan(root).sum() > 0
    assert np.all(np.isfinite(back_and_there(y, params)[0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("scalar_map", PLAIN, ids=lambda m: type(m).__name__)
def test_gradients_are_finite_everywhere(scalar_map: pf.AbstractScalarMap, inverse: bool, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    tiny = float(np.finfo(dtype).smallest_subnormal)
    values = [
        0.0,
        tiny,
        -tiny,
        5.0,
        -5.0,
        np.nextafter(dtype(5), dtype(9)),
        np.nextafter(dtype(5), dtype(0)),
        1e3,
        -1e3,
    ]
    x = np.repeat(np.array([*values, 1e30, -1e30, *rng.standard_normal(5)], dtype), 16)
    params = (3 * rng.standard_normal((scalar_map.n_params, len(x)))).astype(dtype)
    run = scalar_map.inverse_and_log_det if inverse else scalar_map.forward_and_log_det

    def total(x: Array, params: Array) -> Array:
        y, log_slope = run(x, params)
        return jnp.sum(y) + jnp.sum(log_slope)

    assert np.all(np.isfinite(run(jnp.asarray(x), jnp.asarray(params))[0]))
    for gradient in jax.jit(jax.grad(total, argnums=(0, 1)))(x, params):
        assert gradient.dtype == dtype
        assert np.all(np.isfinite(gradient))


def test_hand_written_gradients_of_the_spline_are_right() -> None:
    """Against differences: of the value and of the log-slope, by the input and by each parameter, both ways."""
    rng = np.random.default_rng(4)
    x, params = 3 * rng.standard_normal(30), 1.5 * rng.standard_normal((SPLINE.n_params, 30))
    weights = rng.standard_normal((2, 30))
    for run in (SPLINE.forward_and_log_det, SPLINE.inverse_and_log_det):

        @jax.jit
        def total(x: Array, params: Array, run: Any = run) -> Array:
            y, log_slope = run(x, params)
            return jnp.sum(weights[0] * y) + jnp.sum(weights[1] * log_slope)

        by_x, by_params = jax.jit(jax.grad(total, argnums=(0, 1)))(x, params)
        step = 1e-6
        for number in range(0, 30, 7):
            ahead, behind = x.copy(), x.copy()
            ahead[number] += step
            behind[number] -= step
            slope = (total(ahead, params) - total(behind, params)) / (2 * step)
            np.testing.assert_allclose(by_x[number], slope, rtol=1e-4, atol=1e-6)
        for row in range(SPLINE.n_params):
            direction = np.zeros_like(params)
            direction[row] = rng.standard_normal(30)
            slope = (total(x, params + step * direction) - total(x, params - step * direction)) / (2 * step)
            np.testing.assert_allclose(np.sum(by_params * direction), slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scalar_map", PLAIN, ids=lambda m: type(m).__name__)
def test_parameters_of_zero_give_the_identity(scalar_map: pf.AbstractScalarMap) -> None:
    x = np.linspace(-7, 7, 101)
    y, log_slope = scalar_map.forward_and_log_det(jnp.asarray(x), jnp.zeros((scalar_map.n_params, 101)))
    np.testing.assert_allclose(y, x, atol=1e-14)
    np.testing.assert_allclose(log_slope, 0, atol=1e-14)


def test_spline_increases_and_is_the_identity_outside() -> None:
    params = np.repeat(3 * np.random.default_rng(2).standard_normal((SPLINE.n_params, 1)), 2001, axis=1)
    x = np.linspace(-8, 8, 2001)
    y, log_slope = (np.asarray(a) for a in SPLINE.forward_and_log_det(jnp.asarray(x), jnp.asarray(params)))
    assert np.all(np.diff(y) > 0)
    outside = np.abs(x) > BOUND
    np.testing.assert_array_equal(y[outside], x[outside])
    np.testing.assert_array_equal(log_slope[outside], 0)
    assert np.all(np.isnan(SPLINE.forward_and_log_det(jnp.array([jnp.nan]), jnp.asarray(params[:, :1]))[0]))


def test_log_scale_is_bounded() -> None:
    params = jnp.array([[0.0, 0.0], [1e6, -1e6]])
    _, log_slope = pf.AffineMap(max_log_scale=2.0).forward_and_log_det(jnp.ones(2), params)
    assert np.all(np.abs(log_slope) <= 2.0)
    assert np.all(np.abs(log_slope) > 1.9)
