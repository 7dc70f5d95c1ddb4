"""What constructors and combinators refuse, and the few facts that no law covers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from cases import autoregressive, coupling
from pushforward.bijections import WithCondition, alternating_split, half_split

KEY = jax.random.key(3)


@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (lambda: pf.Affine(scale=0.0), ValueError, "Affine: expected scales that are finite and not 0"),
        (lambda: pf.Affine(scale=[1.0, np.inf]), ValueError, "finite and not 0"),
        (lambda: pf.Standardize([0.0], [0.0]), ValueError, "Standardize: expected finite loc and scale > 0"),
        (lambda: pf.Standardize([0.0, 1.0], [1.0]), ValueError, "of the same shape"),
        (lambda: pf.Standardize.fit(np.ones((5, 2))), ValueError, "never varies"),
        (lambda: pf.Reverse(0), ValueError, "Reverse: expected dim an integer >= 1"),
        (lambda: pf.Permutation([0, 0, 1]), ValueError, "Permutation: expected a permutation of"),
        (lambda: pf.Permutation([1, 2]), ValueError, "Each index from 0"),
        (lambda: pf.LULinear(KEY, 0), ValueError, "LULinear: expected dim"),
        (lambda: pf.ActNorm(0), ValueError, "ActNorm: expected dim"),
        (lambda: pf.Chain([]), ValueError, "Chain: expected one bijection or more"),
        (lambda: pf.Chain([pf.Reverse(2), pf.Reverse(3)]), ValueError, "layer 0 .Reverse. gives events of shape"),
        (lambda: pf.Chain([pf.Reverse(2), "reverse"]), TypeError, "Chain: layer 1: expected a bijection, got str"),  # type: ignore[list-item]
        (lambda: pf.Scan(pf.ActNorm(3), 2), ValueError, "Scan: expected arrays with a first axis of 2"),
        (lambda: pf.Vmap(pf.ActNorm(3), 2), ValueError, "Vmap: expected arrays with a first axis of 2"),
        (lambda: pf.Partial(pf.ActNorm(2), [0, 0], dim=3), ValueError, "Partial: expected different indices"),
        (lambda: pf.Partial(pf.ActNorm(2), [0, 3], dim=3), ValueError, "different indices from 0 to 2"),
        (lambda: pf.Partial(pf.ActNorm(2), [0], dim=3), ValueError, r"a bijection of shape \(1,\)"),
        (lambda: pf.EmbedCondition(pf.Reverse(2), jnp.tanh, (3,)), ValueError, "a conditional bijection"),
        (lambda: pf.Coupling([False, False], jnp.tanh, pf.AdditiveMap()), ValueError, "one or more True"),
        (lambda: pf.Coupling([1, 0], jnp.tanh, pf.AdditiveMap()), ValueError, "a vector of booleans"),  # type: ignore[list-item]
        (
            lambda: pf.Coupling([True, False], pf.MLP(KEY, 1, (3, 1)), pf.AffineMap()),
            ValueError,
            r"a conditioner with output \(2, 1\)",
        ),
        (
            lambda: pf.Autoregressive(pf.MADE(KEY, 3, 5), pf.AffineMap()),
            ValueError,
            r"2 parameters for each coordinate \(AffineMap\), got 5",
        ),
        (lambda: pf.AffineMap(max_log_scale=-1.0), ValueError, "max_log_scale > 0"),
        (lambda: pf.RationalQuadraticMap(bins=1), ValueError, "expected bins an integer >= 2"),
        (lambda: half_split(0), ValueError, "half_split: expected dim"),
    ],
)  # fmt: skip
def test_constructors_refuse(make: Callable[[], Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        make()


def test_conditions_of_different_shapes_do_not_chain() -> None:
    wide = pf.Autoregressive(pf.MADE(KEY, 2, 2, width=4, cond_shape=(3,)), pf.AffineMap())
    narrow = autoregressive(KEY, 2, pf.AffineMap(), conditional=True)
    with pytest.raises(ValueError, match="EmbedCondition"):
        pf.Chain([wide, narrow])
    with pytest.raises(ValueError, match="the network's output"):
        pf.EmbedCondition(narrow, lambda c: c, (3,)).forward(jnp.zeros(2), jnp.zeros(3))


def test_splits() -> None:
    np.testing.assert_array_equal(half_split(5), [False, False, True, True, True])
    np.testing.assert_array_equal(half_split(1), [True])
    np.testing.assert_array_equal(alternating_split(4), [False, True, False, True])
    np.testing.assert_array_equal(alternating_split(1), [True])


def test_chain_runs_in_the_order_it_reads() -> None:
    double_then_add = pf.Chain([pf.Affine(scale=2.0, shape=(1,)), pf.Affine(loc=1.0, shape=(1,))])
    assert float(double_then_add.forward(jnp.ones(1))[0]) == 3.0
    assert float(double_then_add.inverse(jnp.array([3.0]))[0]) == 1.0


def test_traits_of_compositions() -> None:
    sequential = autoregressive(KEY, 2, pf.AffineMap())
    assert sequential.traits == pf.Traits(inverse="sequential")
    assert pf.Invert(sequential).traits == pf.Traits(forward="sequential")
    assert pf.Chain([sequential, pf.Invert(sequential)]).traits == pf.Traits("sequential", "sequential")


def test_scan_is_the_chain_of_its_layers() -> None:
    scan = pf.Scan.of(lambda k: coupling(k, [True, False], pf.AffineMap()), KEY, n_layers=3)
    x = jnp.array([0.3, -2.0])
    both = eqx.filter_jit(lambda b: b.forward_and_log_det(x))
    for got, expected in zip(both(scan), both(pf.Chain(scan.layers())), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_standardize_is_kept_in_float64_and_not_trained() -> None:
    layer = pf.Standardize.fit(np.array([[1.6e9, 0.0], [1.6e9 + 2, 4.0]]))
    np.testing.assert_array_equal(layer.loc.value, [1.6e9 + 1, 2.0])
    np.testing.assert_allclose(layer.scale.value, [1.0, 2.0])
    assert np.asarray(layer.scale.value).dtype == np.float64
    assert not jax.tree.leaves(pf.trainable(layer)[0])
    weighted = pf.Standardize.fit(np.array([[0.0], [1.0]]), weights=[3.0, 1.0])
    np.testing.assert_allclose(weighted.loc.value, 0.25)


def test_fixing_a_condition_embeds_it_once() -> None:
    calls = []

    def net(c: Any) -> Any:
        calls.append(1)
        return c[:2]

    inner = autoregressive(KEY, 2, pf.AffineMap(), conditional=True)
    chain = pf.Chain(
        [pf.EmbedCondition(inner, net, (3,)), pf.Reverse(2), pf.Invert(pf.EmbedCondition(inner, net, (3,)))]
    )
    condition, x = jnp.array([0.5, -1.0, 9.0]), jnp.array([0.1, 0.2])
    expected = chain.forward(x, condition)
    calls.clear()
    fixed = WithCondition.fix(chain, condition)
    assert len(calls) == 2
    np.testing.assert_allclose(fixed.forward(x), expected, rtol=1e-12)
    assert len(calls) == 2
    assert fixed.cond_shape is None
