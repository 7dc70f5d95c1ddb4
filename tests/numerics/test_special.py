"""Special functions against SciPy, near 0, far out, and at the end of the floats; and Student's tail."""

# Pyright takes a frozen distribution of scipy for a discrete one.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from pushforward.numerics.special import (
    first_and_last,
    inside,
    lambert_w_of_square,
    log1p_square,
    log_cosh,
    softplus_inverse,
)
from pushforward.numerics.student_t import StudentTail, log_density, log_tail, student_tail, tail_quantile

DTYPES = [np.float64, np.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_lambert_w(dtype: type) -> None:
    y = np.concatenate([[0.0], np.logspace(-36, 36, 200)]).astype(dtype)
    factor = np.array([[0.0], [1e-30], [1e-3], [0.1], [1.0], [50.0]], dtype)
    y, factor = (np.array(part) for part in np.broadcast_arrays(y, factor))
    (w, slopes) = jax.jit(lambda *a: (lambert_w_of_square(*a), jax.vjp(lambert_w_of_square, *a)[1](jnp.ones_like(y))))(
        jnp.asarray(y), jnp.asarray(factor)
    )
    assert w.dtype == dtype
    expected = special.lambertw(factor.astype(float) * y.astype(float) ** 2).real
    eps = np.finfo(dtype).eps
    # Relative where W is large; where it is small, only its distance to 0 counts.
    np.testing.assert_allclose(w, expected, rtol=64 * eps, atol=0.05 * eps)
    # w' = w / (1 + w) per unit of the logarithm of its argument.
    rate = expected / (1 + expected)
    for slope, argument in zip(slopes, (y / 2, factor), strict=True):
        assert np.isfinite(slope).all()
        inner = (y > 1e-15) & (y < 1e15) & (factor > 1e-20)
        np.testing.assert_allclose((slope * argument)[inner], rate[inner], rtol=256 * eps, atol=1e-20)


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_of_hyperbolic_functions_and_squares(dtype: type) -> None:
    small = np.logspace(-15, -5, 11).astype(dtype)
    np.testing.assert_allclose(log_cosh(jnp.asarray(small)), small.astype(float) ** 2 / 2, rtol=1e-5)
    x = np.array([-1e30, -50.0, -1.0, 0.0, 0.999, 2.0, 1e30], dtype)
    np.testing.assert_allclose(log_cosh(jnp.asarray(x)), np.logaddexp(x, -x) - np.log(2), rtol=4e-7, atol=1e-7)
    np.testing.assert_allclose(log1p_square(jnp.asarray(x)), np.log1p(x.astype(float) ** 2), rtol=4e-7)
    for function in (log_cosh, log1p_square):
        assert np.isfinite(jax.vmap(jax.grad(function))(jnp.asarray(x))).all()
    y = np.array([1e-30, 0.1, 80.0], dtype)
    inverse, log_slope = softplus_inverse(jnp.asarray(y))
    np.testing.assert_allclose(inverse, np.log(np.expm1(y.astype(float))), rtol=1e-6)
    np.testing.assert_allclose(log_slope, -np.log(-np.expm1(-y.astype(float))), rtol=1e-5, atol=1e-34)


@pytest.mark.parametrize("dtype", DTYPES)
def test_floats_inside_an_interval(dtype: type) -> None:
    low, high = np.array([0.0, -1.0, -5.0, 1e6], dtype), np.array([1.0, 0.0, 3.0, 1e6 + 1], dtype)
    first, last = (np.asarray(part) for part in first_and_last(jnp.asarray(low), jnp.asarray(high)))
    tiny = np.finfo(dtype).tiny
    np.testing.assert_array_equal(first, [tiny, *np.nextafter(low[1:], high[1:])])
    np.testing.assert_array_equal(last, [np.nextafter(high[0], low[0]), -tiny, *np.nextafter(high[2:], low[2:])])
    kept = np.asarray(inside(jnp.asarray(np.array([-1.0, 0.0, 2.0, np.inf, np.nan], dtype)), 0.0, np.inf))
    np.testing.assert_array_equal(kept, np.array([tiny, tiny, 2.0, np.finfo(dtype).max, np.nan], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_student_tails_far_out(dtype: type) -> None:
    df = np.array([0.05, 0.3, 1.0, 3.0, 100.0, 1e4])[:, None]
    x = np.concatenate([[0.0], np.logspace(-3, 30, 100)]).astype(dtype)
    tail = StudentTail(*(jnp.asarray(part, dtype) for part in student_tail(df)))
    log_p, density = log_tail(jnp.asarray(x), tail), log_density(jnp.asarray(x), tail)
    with np.errstate(all="ignore"):
        expected = stats.t(df).logsf(x.astype(float))
    tolerance = 1e-12 if dtype == np.float64 else 4e-6
    known = expected > -600
    np.testing.assert_allclose(np.asarray(log_p)[known], expected[known], rtol=tolerance, atol=tolerance)
    # Beyond what SciPy can say the tail is a power.
    np.testing.assert_allclose(np.diff(log_p, axis=1)[:, -1] / np.diff(np.log(x[-2:])), -df[:, 0], rtol=1e-4)
    rate = (density - log_p)[:-1, -1]  # with 1e4 degrees of freedom, float32 has no digits left for a difference
    np.testing.assert_allclose(rate, np.log(df[:-1, 0] / x[-1]), rtol=1e-3)
    # The quantile there is the number again, up to where numbers end.
    near = (x > 0.01) & (x < 1e20)
    back = jax.jit(tail_quantile)(log_p, tail)
    limit = 1e-10 if dtype == np.float64 else 2e-3
    np.testing.assert_allclose(np.log(back[:, near]), np.broadcast_to(np.log(x[near]), back[:, near].shape), atol=limit)
