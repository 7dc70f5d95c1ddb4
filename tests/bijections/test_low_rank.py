"""Planar, radial and Sylvester layers: formulas, the edge of the constraint, derivatives of the inverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import AbstractBijection, Cayley, Planar, Radial, Sylvester
from pushforward.numerics.ridge import above_minus_one, ridge_of
from pushforward.numerics.root import solve_increasing
from pushforward.testing import LawError, Trial, law_round_trip, randomise

KEY = jax.random.key(17)
RNG = np.random.default_rng(17)


def with_start(layer: Any, start: Any) -> Any:
    return eqx.tree_at(lambda b: b.params.start, layer, jnp.asarray(start, jnp.float64))


@eqx.filter_jit
def forward(layer: AbstractBijection, x: Any, condition: Any = None) -> Any:
    """One event, or a batch of them with their conditions."""
    if jnp.ndim(x) == 1:
        return layer.forward_and_log_det(x, condition)
    return jax.vmap(layer.forward_and_log_det)(x, condition)


# --- the scalar equation -----------------------------------------------------------------------------------------


def test_the_constraint() -> None:
    a = jnp.concatenate([-jnp.logspace(-3, 30, 40), jnp.zeros(1), jnp.logspace(-3, 30, 40)]).sort()
    slope = above_minus_one(a)
    assert (np.diff(slope.value) >= -1e-15).all()
    assert (np.asarray(slope.excess) > 0).all()  # also where c itself rounds to -1
    np.testing.assert_allclose(slope.excess, 1 + slope.value, rtol=1e-12, atol=1e-15)
    assert float(above_minus_one(jnp.zeros(())).value) == 0
    assert np.isfinite(jax.vmap(jax.grad(lambda v: above_minus_one(v).value))(a)).all()


@pytest.mark.parametrize("kind", ["tanh", "leaky_relu"])
def test_the_scalar_equation_up_to_the_edge(kind: str) -> None:
    """Solved, with the slope of its derivative, from far inside the constraint to 1e-6 from its edge."""
    free = jnp.array([-1e6, -30.0, -2.0, 0.0, 2.0, 1e3])[:, None]
    t = jnp.concatenate([jnp.linspace(-4.0, 4.0, 33), jnp.array([-1e5, -30.0, 30.0, 1e5])])[None]
    slope = jax.tree.map(lambda v: jnp.broadcast_to(v, (6, 37)), above_minus_one(free))
    t = jnp.broadcast_to(t, slope.value.shape)
    chosen = ridge_of("test", kind)

    @jax.jit
    def run(t: Any) -> Any:
        y = t + slope.value * chosen.value(t)
        derivative = jax.jvp(lambda t: t + slope.value * chosen.value(t), (t,), (jnp.ones_like(t),))[1]
        return chosen.solve(y, slope), jnp.log(derivative), chosen.log_slope(t, slope)

    found, expected, got = map(np.asarray, run(t))
    # The rounding of y moves t by that over the slope, and by its third root where the slope is zero.
    tolerance = np.minimum(1e-14 * (1 + np.abs(t)) / np.exp(got), 1e-4) + 1e-13 * np.abs(t)
    assert (np.abs(found - t) <= 10 * tolerance).all()
    inside = np.exp(got) > 1e-3
    np.testing.assert_allclose(got[inside], expected[inside], atol=1e-9)
    assert np.isfinite(got).all()


def test_gradients_through_the_inverse_are_those_of_the_implicit_function() -> None:
    for layer in (Planar(KEY, 3), Sylvester(KEY, 3, 2)):
        layer = randomise(layer, KEY, 0.3)
        y = jnp.asarray(RNG.standard_normal(3))

        @eqx.filter_jit
        def both(layer: Any, y: Any) -> Any:
            x = layer.inverse(y)
            params, rest = pf.trainable(layer)
            by_y = jax.jacobian(layer.inverse)(y)
            at_x = jax.jacobian(layer.forward)(x)
            moved = jax.jacobian(lambda p: pf.combine(p, rest).inverse(y))(params).params.start
            moves = jax.jacobian(lambda p: pf.combine(p, rest).forward(x))(params).params.start
            return by_y @ at_x, moved, -by_y @ moves

        identity, moved, expected = both(layer, y)
        np.testing.assert_allclose(identity, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(moved, expected, atol=1e-9)


# --- planar ------------------------------------------------------------------------------------------------------


def test_planar_is_the_formula() -> None:
    u, w, b = np.array([0.5, -0.2]), np.array([1.0, 2.0]), 0.3
    layer = with_start(Planar(KEY, 2), [*u, *w, b])
    x = np.array([0.7, -1.1])
    a = u @ w
    hat = u / (1 + np.log1p(np.exp(-a)))
    t = w @ x + b
    y, log_det = forward(layer, x)
    np.testing.assert_allclose(y, x + hat * np.tanh(t), rtol=1e-14)
    np.testing.assert_allclose(log_det, np.log(1 + hat @ w * (1 - np.tanh(t) ** 2)), rtol=1e-12)


EDGE = [-60.0, -30.0, 1.0, 0.5, 0.2]  # u . w = -75: the constrained product is -0.987


def test_planar_at_the_edge_of_its_constraint_is_invertible() -> None:
    layer = with_start(Planar(KEY, 2), EDGE)
    law_round_trip(Trial(layer, KEY, n_draws=1, scale=0.01))


class Folding(AbstractBijection):
    """The broken twin of `Planar`: `u` as it is, without the constraint. Space folds, three points become one."""

    u: Any = eqx.field(converter=jnp.asarray)
    w: Any = eqx.field(converter=jnp.asarray)
    b: Any = eqx.field(converter=jnp.asarray)
    in_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    out_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=None)
    traits: pf.Traits = eqx.field(static=True, default=pf.Traits(inverse="iterative"))

    def forward_and_log_det(self, x: Any, condition: Any = None, *, key: Any = None) -> Any:
        t = self.w @ x + self.b
        log_det = jnp.log(jnp.abs(1 + self.u @ self.w * (1 - jnp.tanh(t) ** 2)))
        return x + self.u * jnp.tanh(t), log_det

    def inverse_and_log_det(self, y: Any, condition: Any = None, *, key: Any = None) -> Any:
        c = self.u @ self.w

        def function(t: Any) -> Any:
            return t + c * jnp.tanh(t), jnp.log(jnp.abs(1 + c * (1 - jnp.tanh(t) ** 2)))

        t = solve_increasing(function, self.w @ y + self.b).x
        return y - self.u * jnp.tanh(t), -function(t)[1]


def test_without_the_constraint_planar_folds_and_is_found() -> None:
    u, w, b = np.array([-3.0, -1.0]), np.array([1.0, 0.5]), 0.2
    law_round_trip(Trial(with_start(Planar(KEY, 2), [*u, *w, b]), KEY, n_draws=1, scale=0.01))
    with pytest.raises(LawError, match="law_round_trip"):
        law_round_trip(Trial(Folding(u=u, w=w, b=b), KEY, n_draws=1, scale=0.01))


def test_a_planar_layer_of_the_condition_is_that_of_its_parameters() -> None:
    layer = randomise(Planar(KEY, 2, cond_shape=(2, 2)), KEY, 0.3)
    condition, x = jnp.asarray(RNG.standard_normal((5, 2, 2))), jnp.asarray(RNG.standard_normal((5, 2)))
    got = forward(layer, x, condition)
    net: Any = layer.params.net
    for n in range(5):
        own = with_start(Planar(KEY, 2), layer.params.start + net(condition[n].reshape(-1)))
        for part, expected in zip(forward(own, x[n]), got, strict=True):
            np.testing.assert_allclose(part, expected[n], rtol=1e-10, atol=1e-13)


# --- radial ------------------------------------------------------------------------------------------------------


def test_radial_is_the_formula_and_leaves_directions() -> None:
    layer = randomise(Radial(KEY, 3), KEY, 0.5)
    start = np.asarray(layer.params.start)
    centre, alpha = start[:3], np.exp(start[3] / (1 + abs(start[3]) / 10))
    beta = alpha * start[4] / (1 + np.log1p(np.exp(-start[4])))
    x = np.array([0.7, -1.1, 2.0])
    r = np.linalg.norm(x - centre)
    y, log_det = forward(layer, x)
    np.testing.assert_allclose(y, x + beta * (x - centre) / (alpha + r), rtol=1e-13)
    h = 1 / (alpha + r)
    expected = 2 * np.log1p(beta * h) + np.log(1 + beta * h - beta * r * h**2)
    np.testing.assert_allclose(log_det, expected, rtol=1e-12)


@pytest.mark.parametrize("strength", [-1e8, -30.0, 0.0, 30.0, 1e8])
def test_radial_is_inverted_from_its_centre_to_the_end_of_the_floats(strength: float) -> None:
    layer = with_start(Radial(KEY, 2), [0.0, 0.0, 0.5, strength])
    radii = np.concatenate([[0.0, 1e-300], np.logspace(-12, 30, 43), [1e150]])
    x = jnp.asarray(radii[:, None] * np.array([0.6, -0.8]))

    @eqx.filter_jit
    def around(layer: Any) -> Any:
        y, log_det = jax.vmap(layer.forward_and_log_det)(x)
        gradient = jax.vmap(jax.grad(lambda y: layer.inverse_and_log_det(y)[1]))(y)
        return log_det, *jax.vmap(layer.inverse_and_log_det)(y), gradient

    log_det, back, other, gradient = around(layer)
    np.testing.assert_allclose(back, x, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(other, -log_det, rtol=1e-7, atol=1e-7)
    assert np.isfinite(gradient).all()


# --- Sylvester ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("basis", ["householder", "cayley"])
def test_sylvester_is_the_formula(basis: str) -> None:
    shared = Cayley(KEY, 4) if basis == "cayley" else None
    layer = randomise(Sylvester(KEY, 4, 3, basis=shared), KEY, 0.5)
    params = np.asarray(layer.params.start)
    packed = params[:12].reshape(3, 4)
    first, second, b = np.triu(packed[:, 1:]), np.tril(packed[:, :3]).T, params[12:15]
    a = np.diag(first) * np.diag(second)
    np.fill_diagonal(first, np.diag(first) / (1 + np.log1p(np.exp(-a))))
    if layer.basis is None:
        q = np.eye(4)
        for v in params[15:].reshape(3, 4):
            q = q @ (np.eye(4) - 2 * np.outer(v, v) / (v @ v))
    else:
        q = np.asarray(layer.basis.matrix())
    q = q[:, :3]
    np.testing.assert_allclose(q.T @ q, np.eye(3), atol=1e-13)
    x = RNG.standard_normal(4)
    t = second @ q.T @ x + b
    y, log_det = forward(layer, x)
    np.testing.assert_allclose(y, x + q @ first @ np.tanh(t), rtol=1e-11)
    jacobian = np.eye(4) + q @ first @ np.diag(1 - np.tanh(t) ** 2) @ second @ q.T
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-10)


def test_amortised_reflections_are_those_of_the_compact_form() -> None:
    layer = randomise(Sylvester(KEY, 4, 2, cond_shape=(1,)), KEY, 0.3)
    free = Sylvester(KEY, 4, 2)
    condition, x = jnp.asarray(RNG.standard_normal((3, 1))), jnp.asarray(RNG.standard_normal((3, 4)))
    flow = pf.Flow(pf.StandardNormal((4,)), pf.Invert(layer))
    z = flow.encode(x, condition)
    net: Any = layer.params.net
    for n in range(3):
        own = with_start(free, layer.params.start + net(condition[n]))
        np.testing.assert_allclose(z[n], forward(own, x[n])[0], rtol=1e-9)
    np.testing.assert_allclose(flow.decode(z, condition), x, atol=1e-9)


def test_rank_one_is_planar() -> None:
    """Sylvester of rank 1 with Q = w / |w| is planar with u along w."""
    layer = randomise(Sylvester(KEY, 3, 1), KEY, 0.3)
    r, s, b = np.asarray(layer.params.start)[[1, 0, 2]]  # packed: the second triangle stands first
    v = np.asarray(layer.params.start)[3:]
    q = np.eye(3)[0] - 2 * v * v[0] / (v @ v)
    planar = with_start(Planar(KEY, 3), [*(r * q), *(s * q), b])
    x = jnp.asarray(RNG.standard_normal(3))
    for got, expected in zip(forward(layer, x), forward(planar, x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10)


# --- flows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["planar", "sylvester"])
def test_the_fast_direction_has_no_loop(name: str) -> None:
    def traits(**options: Any) -> pf.Traits:
        make = getattr(pf.flows, name)
        return eqx.filter_eval_shape(lambda key: make(key, dim=3, n_layers=2, **options), KEY).bijection.traits

    assert traits() == pf.Traits(forward="iterative")
    assert traits(fast="sample") == pf.Traits(inverse="iterative")
    assert traits(ridge="leaky_relu") == pf.Traits(forward="parallel" if name == "planar" else "sequential")


@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (lambda: Planar(KEY, 0), ValueError, "Planar: expected dim"),
        (lambda: Planar(KEY, 2, ridge="relu"), ValueError, "Planar: expected ridge to be one of tanh, leaky_relu"),
        (lambda: Planar(KEY, 2, net=pf.MLP(KEY, 1, (5,))), ValueError, "no net without a condition"),
        (lambda: Radial(KEY, 2, cond_shape=(1,), net=pf.MLP(KEY, 1, (5,))), ValueError, r"a net with output \(4,\)"),
        (lambda: Sylvester(KEY, 2, 3), ValueError, "Sylvester: expected rank"),
        (lambda: Sylvester(KEY, 2, 1, basis=Cayley(KEY, 3)), ValueError, r"a basis of shape \(2,\)"),
        (lambda: pf.flows.planar(KEY, dim=2, fast="both"), ValueError, "one of score, sample"),  # type: ignore[arg-type]
        (lambda: pf.flows.sylvester(KEY, dim=2, basis="qr"), ValueError, "one of householder, cayley"),  # type: ignore[arg-type]
    ],
)
def test_errors(make: Callable[[], Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        make()


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_sylvester_in_one_dimension(seed: int) -> None:
    """The vector of its reflection was 0 for half of all keys."""
    layer = pf.bijections.Sylvester(jax.random.key(seed), 1, 1)
    x = jnp.array([0.7])
    y, log_det = layer.forward_and_log_det(x)
    np.testing.assert_allclose(log_det, jnp.log(jnp.abs(jax.jacfwd(layer.forward)(x)[0, 0])), rtol=1e-12)
    np.testing.assert_allclose(layer.inverse(y), x, rtol=1e-12)
