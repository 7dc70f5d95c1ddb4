"""Maps made of integrals: against NumPy's polynomials and SciPy's quadrature, and increasing for wild parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
from numpy.polynomial import chebyshev

import pushforward as pf
from marks import split
from pushforward._types import Array
from pushforward.bijections import BernsteinMap, IntegralMap, SumOfSquaresMap
from pushforward.bijections.scalar_maps.sum_of_squares import MAX_COEFFICIENT, MIN_SLOPE
from pushforward.numerics.quadrature import AbstractRule, ClenshawCurtis, GaussLegendre
from pushforward.testing import randomise

KEY = jax.random.key(5)
BOUND = 5.0
SQUARES, BERNSTEIN = SumOfSquaresMap(degree=3, components=2), BernsteinMap(degree=9)


def of_network(rule: AbstractRule, **options: Any) -> IntegralMap:
    return IntegralMap(KEY, 3, width=8, depth=2, rule=rule, **options)


MAPS = [SQUARES, BERNSTEIN, randomise(of_network(ClenshawCurtis(7)), KEY, 0.5)]


def names(scalar_map: object) -> str:
    return type(scalar_map).__name__


def test_sums_of_squares_are_numpys() -> None:
    raw = 2 * np.random.default_rng(0).standard_normal(SQUARES.n_params)
    free = raw[1:].reshape(4, 2)
    coefficients = free / (1 + np.abs(free) / MAX_COEFFICIENT)
    coefficients[0] += 2**-0.5
    polynomials = [chebyshev.Chebyshev(column, domain=[-BOUND, BOUND]) for column in coefficients.T]
    slope = MIN_SLOPE + (1 - MIN_SLOPE) * sum((p**2 for p in polynomials), chebyshev.Chebyshev([0], [-BOUND, BOUND]))
    value = raw[0] + slope.integ(lbnd=0)
    x = np.linspace(-BOUND, BOUND, 41)
    y, log_slope = SQUARES.forward_and_log_det(jnp.asarray(x), jnp.asarray(np.tile(raw[:, None], 41)))
    np.testing.assert_allclose(y, value(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.exp(log_slope), slope(x), rtol=1e-12)


def test_bernstein_polynomials_are_scipys() -> None:
    raw = np.random.default_rng(1).standard_normal(BERNSTEIN.n_params)
    rho = np.exp(raw[1:] / (1 + np.abs(raw[1:]) / 5))
    slope = scipy.interpolate.BPoly(rho[:, None], [-BOUND, BOUND])
    value = slope.antiderivative()
    x = np.linspace(-BOUND, BOUND, 41)
    y, log_slope = BERNSTEIN.forward_and_log_det(jnp.asarray(x), jnp.asarray(np.tile(raw[:, None], 41)))
    np.testing.assert_allclose(y, raw[0] + value(x) - value(0.0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.exp(log_slope), slope(x), rtol=1e-12)
    beyond, steepest = BERNSTEIN.forward_and_log_det(jnp.array([7.0]), jnp.asarray(raw[:, None]))
    np.testing.assert_allclose(beyond, np.asarray(y)[-1:] + 2 * rho[-1], rtol=1e-12)
    np.testing.assert_allclose(steepest, np.log(rho[-1:]), rtol=1e-12)


@pytest.mark.parametrize("kind", [ClenshawCurtis, GaussLegendre], ids=lambda kind: kind.__name__)
def test_the_integral_of_the_network_converges_to_scipys(kind: Callable[[int], AbstractRule]) -> None:
    params = 1.5 * np.random.default_rng(2).standard_normal(4)
    fine = of_network(kind(2))

    @jax.jit
    def log_integrand(t: Array) -> Array:
        return fine.log_integrand(t[None], jnp.asarray(params[1:]))[0]

    points = np.array([-5.0, -3.3, -0.4, 0.0, 1.7, 5.0])
    expected = [scipy.integrate.quad(lambda t: np.exp(log_integrand(np.float64(t))), 0, x)[0] for x in points]
    expected = params[0] + MIN_SLOPE * points + (1 - MIN_SLOPE) * np.array(expected)
    errors = []
    for nodes in (4, 8, 16, 32):
        y, _ = of_network(kind(nodes)).forward_and_log_det(jnp.asarray(points), jnp.tile(params[:, None], 6))
        errors.append(np.abs(np.asarray(y) - expected).max())
    # Exponentially: twice the nodes, and the error falls by a factor that grows.
    assert errors[2] < 0.3 * errors[1]
    assert errors[3] < 0.05 * errors[2]
    assert errors[3] < 1e-3


def wild(scalar_map: pf.AbstractScalarMap, n: int, spread: float = 4.0) -> Array:
    return jnp.asarray(spread * np.random.default_rng(3).standard_normal((scalar_map.n_params, n)))


@pytest.mark.parametrize("scalar_map", MAPS, ids=names)
def test_increasing_with_the_slope_it_says_for_wild_parameters(scalar_map: pf.AbstractScalarMap) -> None:
    grid, n_draws = np.linspace(-7, 7, 801), 40
    x = jnp.asarray(np.tile(grid, (n_draws, 1)))
    params = jnp.broadcast_to(wild(scalar_map, n_draws)[:, :, None], (scalar_map.n_params, n_draws, len(grid)))
    y, log_slope = (np.asarray(a) for a in jax.jit(lambda *both: scalar_map.forward_and_log_det(*both))(x, params))
    assert np.all(np.diff(y) > 0)
    # Simpson's rule on each pair of intervals: the derivative of `value` is written by hand.
    step, slope = grid[1] - grid[0], np.exp(log_slope)
    rise = step / 3 * (slope[:, :-2] + 4 * slope[:, 1:-1] + slope[:, 2:])
    inner = np.abs(grid[1:-1]) < BOUND - step
    scale = slope.max(axis=1, keepdims=True) * step
    assert np.max(np.abs(y[:, 2:] - y[:, :-2] - rise)[:, inner] / scale) < 1e-3
    # Its broken twin: a slope that is 1 % off somewhere.
    assert np.max(np.abs(y[:, 2:] - y[:, :-2] - 1.01 * rise)[:, inner] / scale) > 1e-3


def test_a_sum_at_points_that_move_with_x_would_decrease() -> None:
    """The twin of the literature: 7 nodes between 0 and x, for a network that they do not resolve."""
    scalar_map = randomise(of_network(ClenshawCurtis(7)), KEY, 1.0)
    params = wild(scalar_map, 40)
    points, weights = np.polynomial.legendre.leggauss(7)
    grid = np.linspace(0.05, 5, 100)
    t = (grid[:, None] * (1 + points) / 2).ravel()
    integrand = np.exp(scalar_map.log_integrand(jnp.asarray(t), params[1:])).reshape(100, 7, 40)
    moving = grid[:, None] / 2 * np.einsum("p,xpk->xk", weights, integrand)
    assert np.any(np.diff(moving, axis=0) < 0)


@pytest.mark.parametrize("scalar_map", split(MAPS, lambda m: type(m).__name__ == "IntegralMap"), ids=names)
def test_there_and_back_and_finite_gradients_in_single_precision(scalar_map: pf.AbstractScalarMap) -> None:
    tiny = float(np.finfo(np.float32).smallest_subnormal)
    special = [0.0, tiny, -tiny, 5.0, -5.0, 1e3, -1e3, 1e30, -1e30]
    x = np.repeat(np.array([*special, *3 * np.random.default_rng(4).standard_normal(5)], np.float32), 8)
    params = wild(scalar_map, len(x)).astype(np.float32)

    @jax.jit
    def tour(x: Array, params: Array) -> tuple[Array, tuple[Array, ...]]:
        y, log_slope = scalar_map.forward_and_log_det(x, params)
        back, back_log_slope = scalar_map.inverse_and_log_det(y, params)
        total = jnp.sum(jnp.where(jnp.abs(y) < 1e32, y, 0)) + jnp.sum(log_slope) + jnp.sum(back_log_slope)
        return total + jnp.sum(back), (y, log_slope, back, back_log_slope)

    (_, (y, log_slope, back, back_log_slope)), gradients = jax.jit(
        jax.value_and_grad(tour, argnums=(0, 1), has_aux=True)
    )(x, params)
    assert all(bool(jnp.all(jnp.isfinite(a))) for a in (y, log_slope, back, back_log_slope, *gradients))
    # Rounding y moves x by as much over the slope.
    allowed = 1e-5 * (1 + np.abs(x) + (1 + np.abs(y)) * np.exp(-np.asarray(log_slope, float)))
    assert np.all(np.abs(back - x) <= allowed)
    assert np.all(np.isnan(scalar_map.inverse_and_log_det(jnp.array([np.nan]), params[:, :1])[0]))


@pytest.mark.parametrize("scalar_map", MAPS, ids=names)
def test_parameters_of_zero_give_the_identity(scalar_map: pf.AbstractScalarMap) -> None:
    x = np.linspace(-7, 7, 101)
    y, log_slope = scalar_map.forward_and_log_det(jnp.asarray(x), jnp.zeros((scalar_map.n_params, 101)))
    np.testing.assert_allclose(y, x, atol=1e-13)
    np.testing.assert_allclose(log_slope, 0, atol=1e-13)


@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (lambda: BernsteinMap(degree=0), ValueError, "BernsteinMap: expected degree"),
        (lambda: BernsteinMap(bound=0.0), ValueError, "expected bound > 0"),
        (lambda: SumOfSquaresMap(components=65), ValueError, "SumOfSquaresMap: expected components"),
        (lambda: SumOfSquaresMap(bound=-1.0), ValueError, "expected bound > 0"),
        (lambda: ClenshawCurtis(1), ValueError, "ClenshawCurtis: expected nodes"),
        (lambda: of_network(16), TypeError, "a quadrature rule, got int"),  # type: ignore[arg-type]
        (lambda: of_network(ClenshawCurtis(4), bound=0.0), ValueError, "expected bound > 0"),
        (lambda: of_network(ClenshawCurtis(4), activation="swoosh"), ValueError, "expected one of relu"),
        (lambda: IntegralMap(KEY, 0), ValueError, "IntegralMap: expected embedding"),
    ],
)
def test_constructors_refuse(make: Callable[[], Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        make()
