"""Densities on supports against SciPy's, what lies at and beyond their ends, and what saturates in float32."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import (
    AbstractSupport,
    Circle,
    ColumnUnits,
    Concatenate,
    HalfLine,
    Interval,
    IntoBox,
    Product,
    Real,
    Simplex,
    Sphere,
    StickBreaking,
    Torus,
    biject_to,
)
from pushforward.bijections.base import run_batch
from pushforward.bijections.elementwise import Unit

KEY = jax.random.key(31)
RNG = np.random.default_rng(31)
MIXED = Product([Real(2), Interval(10.0, 12.0), HalfLine(-3.0, -1, through="softplus"), Simplex(3)])
# Whose ends float32 meets: offsets, ends at 0, several shares.
SATURATING = [Interval(1.0, 3.0, 2), Interval(), Interval(-1.0, 0.0), HalfLine(), HalfLine(7.0), HalfLine(0.0, -1)]
SATURATING += [HalfLine(-2.0, -1, through="softplus"), Simplex(1), Simplex(5)]


def normal_on(support: AbstractSupport) -> pf.Flow:
    return pf.Flow(pf.StandardNormal((support.dim,)), biject_to(support))


def test_interval_of_a_normal_is_uniform() -> None:
    y = RNG.uniform(-1.0, 3.0, (50, 1))
    np.testing.assert_allclose(normal_on(Interval(-1.0, 3.0)).log_prob(y), -math.log(4.0), rtol=1e-10)


@pytest.mark.parametrize(("bound", "sign"), [(0.0, 1), (5.0, 1), (0.0, -1), (-3.0, -1)])
def test_half_lines_against_scipy(bound: float, sign: int) -> None:
    size = np.exp(RNG.standard_normal((50, 1)))
    got = normal_on(HalfLine(bound, sign)).log_prob(bound + sign * size)
    np.testing.assert_allclose(got, stats.lognorm.logpdf(size[:, 0], 1.0), rtol=1e-9, atol=1e-9)
    z = np.log(np.expm1(size[:, 0]))
    expected = stats.norm.logpdf(z) - np.log(-np.expm1(-size[:, 0]))  # dz/dy = 1 / (1 - e^-y)
    got = normal_on(HalfLine(bound, sign, through="softplus")).log_prob(bound + sign * size)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def dirichlet_of_logistic_betas(alpha: np.ndarray, y: Array, wrong: float = 0.0) -> np.ndarray:
    """The log-density of shares whose parts of the stick are independent beta variables, by change of variables."""
    b = StickBreaking(len(alpha) - 1)
    x, log_det = (np.asarray(a) for a in run_batch(b, y.T, None, None, False))
    x = x.T
    rest = np.cumsum(alpha[::-1])[::-1][1:]
    z = special.expit(x - np.log(np.arange(len(rest), 0, -1) + wrong))
    log_p = stats.beta.logpdf(z, alpha[:-1], rest) + np.log(z * (1 - z))
    return log_p.sum(axis=1) + log_det


@pytest.mark.parametrize("alpha", [(1.0, 2.0), (4.0, 0.7, 1.0, 2.5, 1.3)])
def test_simplex_against_the_dirichlet(alpha: tuple[float, ...]) -> None:
    shares = stats.dirichlet(alpha).rvs(200, random_state=2)
    expected = stats.dirichlet(alpha).logpdf(shares.T)
    y = jnp.asarray(shares[:, :-1])
    np.testing.assert_allclose(dirichlet_of_logistic_betas(np.array(alpha), y), expected, rtol=1e-7, atol=1e-7)
    # The broken twin: another centre than the bijection's.
    assert not np.allclose(dirichlet_of_logistic_betas(np.array(alpha), y, 0.5), expected, rtol=1e-2)


@pytest.mark.parametrize(
    ("support", "inside", "outside"),
    [
        (Real(2), [[0.0, -1e300]], [[0.0, np.inf], [np.nan, 0.0]]),
        (Interval(0.0, 1.0), [[1e-300], [1 - 1e-16]], [[0.0], [1.0], [-1.0], [np.nan]]),
        (HalfLine(2.0), [[np.nextafter(2.0, 3.0)]], [[2.0], [np.inf], [np.nan]]),
        (HalfLine(2.0, -1), [[np.nextafter(2.0, 1.0)]], [[2.0], [-np.inf], [3.0]]),
        (Simplex(2), [[0.5, 0.4999]], [[0.5, 0.5], [0.0, 0.5], [-0.1, 0.2], [np.nan, 0.1]]),
        (Circle(), [[-math.pi], [0.0]], [[math.pi], [4.0], [np.nan]]),
        (Sphere(2), [[0.0, -math.pi], [0.999, 3.0]], [[1.0, 0.0], [0.0, math.pi], [-1.5, 0.0]]),
        (Product([Interval(), Simplex(1)]), [[0.5, 0.5]], [[0.0, 0.5], [0.5, 1.0]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_contains_at_the_ends(support: AbstractSupport, inside: list, outside: list) -> None:
    assert np.all(support.contains(inside))
    assert not np.any(support.contains(outside))
    assert support.contains(np.zeros((3, 4, support.dim))).shape == (3, 4)


@pytest.mark.parametrize("support", [Interval(0.0, 1.0), HalfLine(), HalfLine(0.0, -1), Simplex(1)], ids=repr)
def test_density_at_an_end_is_finite_and_beyond_it_zero(support: AbstractSupport) -> None:
    upper = 0.0 if getattr(support, "sign", 1) < 0 else 1.0
    got = np.asarray(normal_on(support).log_prob([[0.0], [upper], [-1.0], [2.0], [np.nan]]))
    assert np.all(np.isfinite(got[:2]))
    beyond = np.array([not support.contains([value]) for value in (-1.0, 2.0)])
    assert np.all(np.isneginf(got[2:4]) == beyond)
    assert beyond.any()
    assert np.isnan(got[4])


@pytest.mark.float32
def test_saturated_samples_lie_strictly_inside_and_have_a_density() -> None:
    support = Product(SATURATING)
    # Normal latents, wild ones up to 1e30, and one extreme beside ordinary ones.
    latents = RNG.standard_normal((400, support.dim)) * np.repeat([1, 10, 100, 1e30], 100)[:, None]
    latents[:50] = np.where(RNG.random((50, support.dim)) < 0.2, 1e4, latents[:50])
    y, log_prob = both_ways(biject_to(support), jnp.asarray(latents, jnp.float32))
    assert y.dtype == log_prob.dtype == jnp.float32
    start = 0
    for part in support.parts:
        own = np.asarray(y[:, start : start + part.dim])
        assert np.all(part.contains(own)), part
        start += part.dim
    usual = np.abs(latents).max(axis=1) < 1e15  # softplus and lines hand on 1e30, whose square float32 does not hold
    assert np.all(np.isfinite(log_prob[usual]))
    assert not np.any(np.isnan(log_prob))


@jax.jit
def both_ways(b: pf.AbstractBijection, x: Array) -> tuple[Array, Array]:
    """Images, and their log-densities if `x` are normal."""
    y = run_batch(b, x.T, None, None, True)[0]
    z, log_det = run_batch(b, y, None, None, False)
    return y.T, log_det - 0.5 * jnp.sum(z * z, axis=0)


@pytest.mark.float32
def test_a_distribution_function_alone_ends_at_the_end() -> None:
    """The broken twin: without the stop before the end, float32 rounds to it, which is not in the support."""
    x = jnp.full(1, -30.0, jnp.float32)
    assert not Interval(1.0, 3.0).contains(1 + 2 * jax.scipy.special.ndtr(x))
    for inside in (ColumnUnits([Unit("interval", 1.0, 2.0)]), IntoBox([1.0], [3.0])):
        assert Interval(1.0, 3.0).contains(inside.forward(x))


def test_product_is_its_parts_in_as_few_bijections_as_can_be() -> None:
    whole = biject_to(MIXED)
    assert isinstance(whole, Concatenate)
    assert [type(member) for member in whole.bijections] == [IntoBox, StickBreaking]
    assert isinstance(biject_to(Product([Real(), Interval(), HalfLine()])), IntoBox)
    assert MIXED.dim == 7
    assert MIXED.source == Real(7)
    x = jnp.asarray(RNG.standard_normal(7))

    @jax.jit
    def by_part(x: Array) -> tuple:
        values, total, start = [], 0.0, 0
        for part in MIXED.parts:
            own, log_det = biject_to(part).forward_and_log_det(x[start : start + part.dim])
            values, total, start = [*values, own], total + log_det, start + part.dim
        return (*whole.forward_and_log_det(x), jnp.concatenate(values), total)

    y, log_det, expected, total = by_part(x)
    assert MIXED.contains(np.asarray(y))
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    np.testing.assert_allclose(log_det, total, rtol=1e-12)
    nested = Product([Product([Real(), Circle()]), Sphere(3)])
    assert nested.parts == (Real(), Torus(1), Sphere(3))
    assert nested.source == Product([Real(), Torus(1), Real(2), Torus(1)])


@pytest.mark.parametrize("dim", [2, 4])
def test_sphere_its_points_and_its_area(dim: int) -> None:
    sphere = Sphere(dim)
    z = np.concatenate([RNG.standard_normal((40, dim - 1)), RNG.uniform(-math.pi, math.pi, (40, 1))], axis=1)

    @jax.jit
    def tour(z: Array) -> tuple:
        x, log_det = jax.vmap(biject_to(sphere).forward_and_log_det)(z)
        points = sphere.points(x)
        back, jacobians = sphere.coordinates(3 * points), jax.vmap(jax.jacfwd(sphere.points))(x)
        return x, log_det, points, back, jacobians, sphere.log_area(x), sphere.contains(x)

    x, log_det, points, back, jacobians, log_area, inside = (np.asarray(a) for a in tour(z))
    assert np.all(inside)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(back, x, rtol=1e-9, atol=1e-12)
    gram = np.einsum("nij,nik->njk", jacobians, jacobians)
    np.testing.assert_allclose(log_area, np.linalg.slogdet(gram)[1] / 2, rtol=1e-9, atol=1e-9)
    if dim == 2:  # normals and a uniform angle are uniform on the sphere of area 4 pi
        log_p = stats.norm.logpdf(z[:, 0]) - math.log(2 * math.pi) - log_det - log_area
        np.testing.assert_allclose(log_p, -math.log(4 * math.pi), rtol=1e-9)


def test_a_pole_has_coordinates() -> None:
    np.testing.assert_array_equal(Sphere(3).coordinates([[0.0, 0.0, 0.0, 2.0]]), [[1.0, 0.0, 0.0]])


def test_torus_is_where_it_comes_from() -> None:
    assert Circle() == Torus(1)
    assert Torus(2).source == Torus(2)
    assert biject_to(Torus(2)).forward(jnp.array([3.0, -3.0])).tolist() == [3.0, -3.0]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Real(0), ValueError, "Real: expected dim"),
        (lambda: Interval(1.0, 1.0), ValueError, "finite low < high"),
        (lambda: Interval(0.0, math.inf), ValueError, "HalfLine"),
        (lambda: HalfLine(math.nan), ValueError, "finite bound"),
        (lambda: HalfLine(0.0, 2), ValueError, "sign of 1 or -1"),
        (lambda: HalfLine(through="square"), ValueError, "exp or softplus"),  # pyright: ignore[reportArgumentType]
        (lambda: Sphere(1), ValueError, "dim an integer >= 2"),
        (lambda: Product([]), ValueError, "one support or more"),
        (lambda: Product([Real(), 3]), TypeError, "Product: part 1"),  # pyright: ignore[reportArgumentType]
        (lambda: biject_to(3), TypeError, "biject_to: expected a support"),  # pyright: ignore[reportArgumentType]
        (lambda: Interval().contains(np.zeros(3)), ValueError, r"vectors \(\*batch, 1\)"),
        (lambda: IntoBox([0.0], [1.0, 2.0]), ValueError, "as many lower ends"),
        (lambda: IntoBox([0.0, math.nan], [1.0, 2.0]), ValueError, "low < high"),
        (lambda: IntoBox([1e9], [1e9 + 1]).forward(jnp.zeros(1, jnp.float32)), ValueError, "float32 numbers between"),
        (lambda: StickBreaking(0), ValueError, "StickBreaking: expected dim"),
        (lambda: Concatenate([]), ValueError, "one bijection or more"),
        (lambda: Concatenate([Real()]), TypeError, "member 0"),  # pyright: ignore[reportArgumentType]
        (lambda: Concatenate([pf.Affine(shape=(2, 2))]), ValueError, "Vmap"),
    ],
)
def test_errors(make, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()
