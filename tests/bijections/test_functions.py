"""Elementwise functions against closed forms, in their tails and at the ends of the floats."""

# Pyright takes a frozen distribution of scipy for a discrete one.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.bijections import (
    ELU,
    AbstractFixedMap,
    Exp,
    LambertW,
    LeakyReLU,
    NormalCDF,
    PolarToCartesian,
    Power,
    Sigmoid,
    SignedPower,
    SinhArcsinh,
    Softplus,
    Square,
    StudentTCDF,
    Tanh,
)

INNER = np.array([1e-12, 0.01, 0.3, 0.5, 0.9, 0.999])
POSITIVE = np.array([1e-6, 0.1, 0.7, 1.0, 3.0, 50.0])
REAL = np.array([-30.0, -3.0, -0.4, 0.0, 1e-9, 0.2, 1.0, 25.0])


def pushed(bijection: AbstractFixedMap, base: Any, y: np.ndarray) -> np.ndarray:
    """The log-density of what becomes of `base`."""
    x, log_slope = jax.jit(lambda y: bijection.each_inverse(y))(jnp.asarray(y))
    return base.logpdf(np.asarray(x)) + np.asarray(log_slope)


# The bijection, what enters, what comes out, where; `Invert` stands for the other direction.
CLOSED: dict[str, tuple[AbstractFixedMap, Any, Any, np.ndarray]] = {
    "Exp": (Exp(), stats.norm, stats.lognorm(s=1.0), POSITIVE),
    "Sigmoid": (Sigmoid(), stats.logistic, stats.uniform, INNER),
    "Sigmoid onto an interval": (Sigmoid(-1.0, 3.0), stats.logistic, stats.uniform(-1, 4), 4 * INNER - 1),
    "Tanh": (Tanh(), stats.logistic(scale=0.5), stats.uniform(-1, 2), 2 * INNER - 1),
    "ELU": (ELU(2.0), stats.gumbel_l, stats.expon(loc=-2.0, scale=2.0), -2 * INNER),
    "Power": (Power(1 / 3), stats.expon, stats.weibull_min(3.0), POSITIVE[:5]),
    "Power, negative": (Power(-1.0), stats.gamma(2.5), stats.invgamma(2.5), POSITIVE),
    "Power of 2": (Power(2.0), stats.halfnorm, stats.chi2(1), POSITIVE),
    "Square": (Square(), stats.halfnorm, stats.chi2(1), POSITIVE),
    "NormalCDF": (NormalCDF(), stats.norm, stats.uniform, INNER),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name: str) -> None:
    bijection, base, expected, y = CLOSED[name]
    np.testing.assert_allclose(pushed(bijection, base, y), expected.logpdf(y), rtol=1e-11, atol=1e-11)


def test_a_wrong_law_is_not_taken_for_the_right_one() -> None:
    """The broken twin of the closed forms: a normal, not a half-normal, has half the density of a chi-square."""
    assert np.abs(pushed(Square(), stats.norm, POSITIVE) - stats.chi2(1).logpdf(POSITIVE)).min() > 0.5


def test_the_other_direction_is_invert() -> None:
    log, logit = pf.Invert(Exp((2,))), pf.Invert(Sigmoid(shape=(2,)))
    np.testing.assert_allclose(log.forward(jnp.array([1.0, np.e])), [0.0, 1.0], atol=1e-15)
    np.testing.assert_allclose(logit.forward(jnp.array([0.5, 1e-30])), [0.0, np.log(1e-30)], atol=1e-15)


def test_softplus_and_elu_and_leaky_relu() -> None:
    x = jnp.asarray(REAL)
    np.testing.assert_allclose(Softplus().each_forward(x)[0], np.logaddexp(0, REAL), rtol=1e-14)
    np.testing.assert_allclose(ELU(0.5).each_forward(x)[0], np.where(REAL < 0, 0.5 * np.expm1(REAL), REAL), rtol=1e-14)
    y, log_slope = LeakyReLU(0.2).each_forward(x)
    np.testing.assert_allclose(y, np.where(REAL < 0, 0.2 * REAL, REAL), rtol=1e-14)
    np.testing.assert_allclose(log_slope, np.where(REAL < 0, np.log(0.2), 0.0), rtol=1e-14)


def test_signed_powers() -> None:
    x = jnp.asarray(REAL)
    cube, root = SignedPower(3.0), SignedPower(1 / 3)
    np.testing.assert_allclose(cube.each_forward(x)[0], REAL**3, rtol=1e-13, atol=1e-100)
    np.testing.assert_allclose(root.each_inverse(x)[0], REAL**3, rtol=1e-13, atol=1e-30)
    np.testing.assert_allclose(cube.each_inverse(x)[0], np.cbrt(REAL), rtol=1e-13, atol=1e-50)
    with np.errstate(divide="ignore"):
        expected = np.log(3 * REAL**2)
    away = np.abs(REAL) > 0
    np.testing.assert_allclose(np.asarray(cube.each_forward(x)[1])[away], expected[away], rtol=1e-13)
    # At 0, where the power's slope is 0, the map has one that there and back agree on.
    assert np.isfinite(cube.each_forward(x)[1]).all()
    np.testing.assert_allclose(cube.each_forward(x)[1][3], -cube.each_inverse(x)[1][3], rtol=1e-14)


def test_polar_coordinates_of_a_normal() -> None:
    """Radius Rayleigh, angle uniform: in every quadrant, on the cut, and where squares overflow or vanish."""
    angles = np.array([0.0, 0.5, np.pi / 2, 2.0, np.pi, -3.0, -np.pi / 2, -1e-9])
    x = jnp.stack([jnp.linspace(0.1, 5.0, 8), jnp.asarray(angles)])
    polar = PolarToCartesian()
    y, log_det = polar.forward_rows(x, None, None)
    base = stats.rayleigh.logpdf(x[0]) - np.log(2 * np.pi)
    np.testing.assert_allclose(base - log_det, stats.norm.logpdf(y).sum(axis=0), rtol=1e-12)
    back, back_log_det = polar.inverse_rows(y, None, None)
    np.testing.assert_allclose(back, x, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(back_log_det, -log_det, atol=1e-14)
    assert float(polar.inverse(jnp.array([-1.0, -0.0]))[1]) == np.pi
    far = jnp.asarray([[3e-35, 3e35, 0.0], [-4e-35, -4e35, 0.0]], jnp.float32)
    (found, log_det), slopes = jax.jit(
        lambda v: jax.jvp(lambda v: polar.inverse_rows(v, None, None), (v,), (jnp.ones_like(v),))
    )(far)
    np.testing.assert_allclose(found[:, :2], [[5e-35, 5e35], [np.arctan2(-4, 3)] * 2], rtol=1e-6)
    for array in (found, log_det, *slopes):
        assert np.isfinite(array).all()
    assert np.isnan(polar.forward(jnp.array([-1.0, 0.0]))).all()


def test_tails_at_40() -> None:
    """Log-slopes far out, where the value itself is 0 or 1 to rounding."""
    left, both = jnp.asarray([-37.0, -40.0]), jnp.asarray([-40.0, 40.0])
    logistic = stats.logistic.logpdf(both)
    slopes = [(Sigmoid(), logistic), (Tanh(), 2 * (np.log(2.0) - 40)), (NormalCDF(), stats.norm.logpdf(both))]
    values = [(NormalCDF(), stats.norm.cdf(left)), (Sigmoid(), stats.logistic.cdf(left)), (Softplus(), np.exp(left))]
    for bijection, expected in slopes:
        np.testing.assert_allclose(bijection.each_forward(both)[1], expected, rtol=1e-13)
    for bijection, expected in values:
        kept = expected > np.finfo(float).tiny
        np.testing.assert_allclose(bijection.each_forward(left)[0][kept], expected[kept], rtol=1e-12)
        np.testing.assert_allclose(bijection.each_inverse(jnp.asarray(expected))[0][kept], left[kept], rtol=1e-9)


def test_student_t() -> None:
    df = np.array([0.5, 1.0, 2.0, 3.0, 30.0, 1e4, 1e8])[:, None]
    x = np.concatenate([-np.logspace(6, -8, 40), [0.0], np.logspace(-8, 0.5, 20)])
    bijection = StudentTCDF(df[:, 0])
    # The inverse sees probabilities that are right, not its own.
    cdf = stats.t(df).cdf(x)
    # SciPy's loses half its digits near 0 for one degree of freedom.
    cdf[1] = np.where(x < -1, np.arctan(-1 / np.minimum(x, -1)), np.pi / 2 + np.arctan(x)) / np.pi
    y, log_slope, back, back_slope = jax.jit(lambda x, y: (*bijection.each_forward(x), *bijection.each_inverse(y)))(
        jnp.broadcast_to(x, (len(df), len(x))), jnp.asarray(cdf)
    )
    seen = cdf > 1e-290
    np.testing.assert_allclose(np.where(seen, y, 0), np.where(seen, cdf, 0), rtol=1e-11)
    np.testing.assert_allclose(log_slope[:-1], stats.t(df[:-1]).logpdf(x), rtol=1e-10, atol=1e-11)
    # The left tail comes back right to rounding; near 0, the probability holds the digits of 1/2.
    wide = np.broadcast_to(x, y.shape)
    np.testing.assert_allclose(np.where(seen, back, 0), np.where(seen, wide, 0), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(np.where(seen, back_slope + log_slope, 0), 0, atol=1e-8)
    # A normal is no Student-t with 30 degrees of freedom, but one with 1e8.
    np.testing.assert_allclose(y[-1][40:], stats.norm.cdf(x[40:]), rtol=1e-7)
    assert np.abs(y[4][40:] / stats.norm.cdf(x[40:]) - 1).max() > 1e-3


def test_sinh_arcsinh() -> None:
    x = jnp.asarray(REAL)
    np.testing.assert_allclose(SinhArcsinh().each_forward(x)[0], REAL, rtol=1e-14)
    np.testing.assert_allclose(SinhArcsinh().each_forward(x)[1], 0.0, atol=1e-14)
    heavy = SinhArcsinh(0.3, 1.5)
    np.testing.assert_allclose(heavy.each_forward(x)[0], np.sinh(1.5 * (np.arcsinh(REAL) + 0.3)), rtol=1e-13)
    # The right tail is the longer one, and both fall slower than a normal's.
    far = np.asarray(heavy.each_forward(jnp.array([-6.0, 6.0]))[0])
    assert far[1] > -far[0] > 6.0


def test_lambert_w_has_the_moments_of_its_law() -> None:
    r"""Goerg, 2015: the variance is $(1 - 2\delta)^{-3/2}$ and the fourth moment $3 (1 - 4\delta)^{-5/2}$."""
    delta = 0.1
    bijection = LambertW(delta)
    y = np.sinh(np.linspace(-18.0, 18.0, 4001))
    density = np.exp(pushed(bijection, stats.norm, y))
    moments = [np.trapezoid(y**k * density, y) for k in (0, 2, 4)]
    np.testing.assert_allclose(moments, [1.0, (1 - 2 * delta) ** -1.5, 3 * (1 - 4 * delta) ** -2.5], rtol=2e-4)
    # The tails fall like a power: log P(Y > y) by 1 / delta for every factor e in y, up to a logarithm.
    x = np.array([30.0, 32.0])
    far = np.asarray(bijection.each_forward(jnp.asarray(x))[0])
    np.testing.assert_allclose(np.diff(stats.norm.logsf(x)) / np.diff(np.log(far)), -1 / delta, rtol=0.02)


def test_lambert_w_becomes_the_identity() -> None:
    x = jnp.asarray(REAL)
    for delta in (1e-12, 1e-300):
        y, log_slope = LambertW(delta).each_forward(x)
        np.testing.assert_allclose(y, REAL, rtol=1e-8)
        np.testing.assert_allclose(log_slope, 0.0, atol=1e-8)
        np.testing.assert_allclose(LambertW(delta).each_inverse(x)[0], REAL, rtol=1e-8)


@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (lambda: Exp(3), TypeError, r"Exp: expected a tuple as shape, got the integer 3. Write shape=\(3,\)"),
        (lambda: Sigmoid(1.0, 1.0), ValueError, "Sigmoid: expected finite low < high"),
        (lambda: Sigmoid(0.0, np.inf), ValueError, "finite low < high"),
        (lambda: ELU(-1.0), ValueError, "ELU: expected a finite alpha > 0"),
        (lambda: LeakyReLU(0.0), ValueError, "LeakyReLU: expected a finite slope > 0"),
        (lambda: Power(0.0), ValueError, "Power: expected an exponent that is finite and not 0"),
        (lambda: SignedPower(-1.0), ValueError, "Power takes negative exponents"),
        (lambda: PolarToCartesian((3,)), ValueError, "PolarToCartesian: expected a shape that ends in 2"),
        (lambda: StudentTCDF([3.0, 0.0]), ValueError, "StudentTCDF: expected finite df > 0"),
        (lambda: SinhArcsinh(np.nan), ValueError, "SinhArcsinh: expected a finite skewness"),
        (lambda: SinhArcsinh(0.0, -1.0), ValueError, "tailweight > 0"),
        (lambda: LambertW(0.0), ValueError, "LambertW: expected a finite tail > 0"),
    ],
)
def test_constructors_refuse(make: Callable[[], Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        make()


def test_shapes_follow_from_the_parameters() -> None:
    assert Sigmoid([0.0, 1.0], 2.0).in_shape == (2,)
    assert StudentTCDF([[1.0], [2.0]]).out_shape == (2, 1)
    assert SinhArcsinh(np.zeros(3)).in_shape == (3,)
    assert LambertW().in_shape == ()
    assert LambertW(0.1, (2, 2)).raw_tail.shape == (2, 2)
    assert not jax.tree.leaves(pf.trainable(StudentTCDF([3.0]))[0])
