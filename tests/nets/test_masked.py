"""MADE: both ways of evaluation agree, and the dependences are those of the order, all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from marks import split
from pushforward._types import Array
from pushforward.nets.masked import degrees_of
from pushforward.numerics.product import dense
from pushforward.testing import cast, randomise

KEY = jax.random.key(5)
KINDS = ("layers", "blocks")
# (dim, width, conditional): wide, as many units as degrees, narrow, a single unit, a number.
SIZES = [(5, 16, True), (4, 4, True), (7, 3, False), (7, 3, True), (6, 1, True), (1, 4, False), (1, 4, True)]
N = 24


def build(kind: str, dim: int, width: int, conditional: bool, **options: Any) -> pf.MADE:
    # Smooth, so that no unit is dead and the pattern of dependences is that of the masks.
    options = {"activation": "softplus", "depth": 1 if kind == "blocks" else 2, **options}
    options["cond_shape"] = (2,) if conditional else None
    return randomise(pf.MADE(KEY, dim, 3, width=width, residual=kind == "blocks", **options), KEY, 0.5)


def points(dim: int, conditional: bool) -> tuple[Array, Array | None]:
    rng = np.random.default_rng(0)
    return jnp.asarray(2 * rng.standard_normal((dim, N))), jnp.asarray(
        rng.standard_normal((2, N))
    ) if conditional else None


def scanned(net: pf.AbstractConditioner, x: Array, condition: Array | None) -> Array:
    """The parameters of all steps, one step after the other."""

    def step(carry: tuple, inputs: tuple) -> tuple:
        state, previous = carry
        i, x_i = inputs
        params, state = net.step(state, i, previous)
        return (state, x_i), params

    start = net.init(x.shape[-1:], condition), jnp.zeros(x.shape[-1:], x.dtype)
    return jnp.moveaxis(jax.lax.scan(step, start, (jnp.arange(net.n_steps), x))[1], 0, 1)


def jacobians(function: Callable[[Array], Array], x: Array) -> np.ndarray:
    """Of each row by itself, `(*out, *in, n)`, for a function of rows on the last axis that do not mix."""
    out, pull = jax.vjp(function, x)
    size = out[..., 0].size
    basis = jnp.broadcast_to(jnp.eye(size)[..., None], (size, size, x.shape[-1]))
    (rows,) = jax.vmap(pull)(basis.reshape(size, *out.shape))
    return rows.reshape(*out.shape[:-1], *x.shape)


@eqx.filter_jit
def examine(net: pf.AbstractConditioner, x: Array, condition: Array | None) -> tuple:
    """Both evaluations, and which parameters depend on which inputs and entries of the condition, at any point."""
    by_x = jnp.any(jacobians(lambda x: net(x, condition), x) != 0, axis=-1)
    by_condition = None
    if condition is not None:
        by_condition = jnp.any(jacobians(lambda c: net(x, c), condition) != 0, axis=-1)
    return net(x, condition), scanned(net, x, condition), by_x, by_condition


@pytest.mark.parametrize(("dim", "width", "conditional"), SIZES)
@pytest.mark.parametrize("kind", split(KINDS, lambda kind: "Res" not in kind))
def test_steps_agree_with_the_call_and_each_output_sees_all_earlier_inputs(
    kind: str, dim: int, width: int, conditional: bool
) -> None:
    called, stepped, by_x, by_condition = examine(build(kind, dim, width, conditional), *points(dim, conditional))
    assert called.shape == (3, dim, N)
    np.testing.assert_allclose(stepped, called, rtol=1e-12, atol=1e-12)
    strictly_below = np.broadcast_to(np.tril(np.ones((dim, dim), bool), -1), (3, dim, dim))
    np.testing.assert_array_equal(by_x, strictly_below)
    if by_condition is not None:
        assert by_condition.all()  # the first output, which no input reaches, included


@pytest.mark.parametrize(("dim", "width", "conditional"), [(5, 16, True), (7, 3, False), (6, 1, True), (1, 4, False)])
def test_angles_enter_as_points_of_the_circle(dim: int, width: int, conditional: bool) -> None:
    """Both evaluations agree, also through the window of a narrow network, and a turn makes no difference to either."""
    net, (x, condition) = build("layers", dim, width, conditional, features="circular"), points(dim, conditional)
    called, stepped, by_x, _ = examine(net, x, condition)
    np.testing.assert_allclose(stepped, called, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(by_x, np.broadcast_to(np.tril(np.ones((dim, dim), bool), -1), (3, dim, dim)))
    turned = eqx.filter_jit(lambda net: net(x + 2 * np.pi, condition))
    np.testing.assert_allclose(turned(net), called, atol=1e-12)
    if dim > 1:  # the broken twin: a network that sees the angles themselves
        raw = build("layers", dim, width, conditional)
        assert not np.allclose(turned(raw), raw(x, condition), atol=1e-3)


@pytest.mark.parametrize("activation", ["relu", "elu", "gelu", "silu", "tanh"])
def test_steps_agree_with_the_call_for_each_activation(activation: str) -> None:
    net = build("blocks", 5, 3, True, activation=activation)
    x, condition = points(5, True)
    called, stepped = eqx.filter_jit(lambda n: (n(x, condition), scanned(n, x, condition)))(net)
    np.testing.assert_allclose(stepped, called, rtol=1e-12, atol=1e-12)


def test_a_leaking_mask_is_found() -> None:
    """The broken twin: the output mask compares with >= where it should with >, as an old MADE in the wild does."""
    net = build("layers", 5, 16, False)
    hidden = jnp.asarray(degrees_of(5, 16, False).hidden)

    def patterns(net: pf.MADE, x: Array) -> list:
        def run(x: Array, out: Array) -> Array:
            first, between, _ = net._masked()
            h = jax.nn.softplus(dense(first, x))
            for weight in between:
                h = jax.nn.softplus(dense(weight, h))
            return out[..., :-1] @ h

        sees = jnp.arange(1, 6)[:, None] >= jnp.append(hidden, -1)
        leaky = jnp.where(sees, net.out_weight, 0)
        return [jacobians(lambda x, out=out: run(x, out), x) for out in (net._masked()[2], leaky)]

    right, wrong = eqx.filter_jit(patterns)(net, points(5, False)[0])
    assert not np.any(np.triu(np.any(np.asarray(right) != 0, axis=(0, -1))))
    assert np.any(np.triu(np.any(np.asarray(wrong) != 0, axis=(0, -1))))


def test_one_unit_per_step_is_computed_once() -> None:
    """What makes sampling cheap: together the slices of all steps cover the layer once, give or take a unit each."""
    for dim, width, conditional in SIZES:
        degrees = degrees_of(dim, width, conditional)
        assert np.all(np.diff(degrees.hidden) >= 0)
        assert degrees.slice_size * dim <= width + 2 * dim or dim == 1


def test_float32_stays_float32() -> None:
    net = cast(build("layers", 4, 8, True), jnp.float32)
    x, condition = jnp.ones((4, 2), jnp.float32), jnp.ones((2, 2), jnp.float32)
    assert jax.eval_shape(net, x, condition).dtype == jnp.float32
    assert jax.eval_shape(lambda x, c: scanned(net, x, c), x, condition).dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dim": 0}, "MADE: expected dim an integer >= 1"),
        ({"width": 0}, "MADE: expected width an integer >= 1"),
        ({"depth": 0}, "MADE: expected depth an integer >= 1"),
        ({"n_params": 0}, "MADE: expected n_params an integer >= 1"),
        ({"activation": "swoosh"}, "expected one of relu"),
        ({"features": "polar"}, "features: expected one of identity, circular"),
    ],
)
def test_errors(options: dict, match: str) -> None:
    arguments = {"dim": 3, "n_params": 2, **options}
    with pytest.raises(ValueError, match=match):
        pf.MADE(KEY, arguments.pop("dim"), arguments.pop("n_params"), **arguments)


def test_missing_condition() -> None:
    with pytest.raises(ValueError, match="expected a condition"):
        build("layers", 3, 4, True)(jnp.zeros((3, 1)))
