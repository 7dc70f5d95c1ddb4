"""The one walk: every composite is walked, and one that hides its member is caught."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward._parts import Part
from pushforward.bijections import Concatenate, Conv1x1, WithCondition
from pushforward.bijections.base import (
    AbstractBijection,
    AbstractComposite,
    AbstractTwoWayBijection,
    Layout,
    Step,
    run_batch,
)
from pushforward.testing import LawError, law_walk

KEY = jax.random.key(5)
KEYS = jax.random.split(KEY, 3)
CONDITION = jnp.array([0.5, -1.0, 0.25])


def stacked(probe: Callable) -> Any:
    return eqx.filter_vmap(probe)(KEYS)


# One composite of each kind around probes of vectors of two numbers.
COMPOSITES: dict[str, Callable] = {
    "Chain": lambda probe: pf.Chain([probe(KEYS[0]), pf.Reverse(2), probe(KEYS[1])]),
    "Invert": lambda probe: pf.Invert(probe(KEY)),
    "Scan": lambda probe: pf.Scan.of(probe, KEY, n_layers=3),
    "Partial": lambda probe: pf.Partial(probe(KEY), [2, 0], dim=3),
    "Vmap": lambda probe: pf.Vmap(stacked(probe), 3),
    "Vmap, shared": lambda probe: pf.Vmap(probe(KEY), 3, in_axes=None),
    "Conv1x1": lambda probe: Conv1x1(probe(KEY), (2, 1, 2)),
    "Concatenate": lambda probe: Concatenate([probe(KEYS[0]), probe(KEYS[1])]),
    "Invert(Scan(Partial))": lambda probe: pf.Invert(
        pf.Scan.of(lambda key: pf.Partial(probe(key), [1, 0], dim=3), KEY, n_layers=2)
    ),
    "Vmap(Scan)": lambda probe: pf.Vmap(stacked(lambda key: pf.Scan.of(probe, key, n_layers=2)), 3),
}
CONDITIONAL: dict[str, Callable] = {
    "EmbedCondition": lambda probe: pf.EmbedCondition(probe(KEY), lambda c: 2 * c[:2], (3,)),
    "WithCondition": lambda probe: WithCondition(probe(KEY), CONDITION[:2]),
    "Vmap, a condition a row": lambda probe: pf.Vmap(stacked(probe), 3, cond_axis=0),
    "Conv1x1, conditional": lambda probe: Conv1x1(probe(KEY), (2, 1, 2)),
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_composites_are_walked(name: str):
    law_walk(COMPOSITES[name])


@pytest.mark.parametrize("name", CONDITIONAL)
def test_conditional_composites_are_walked(name: str):
    law_walk(CONDITIONAL[name], cond_dim=2)


def test_every_exported_composite_has_a_case():
    exported = {name for name in pf.bijections.__all__ if issubclass_of(name, AbstractComposite)}
    cased = {type(make(lambda key: pf.ActNorm(2))).__name__ for make in COMPOSITES.values()}
    assert exported == cased | {"EmbedCondition", "WithCondition"}


def issubclass_of(name: str, kind: type) -> bool:
    item = getattr(pf.bijections, name)
    return inspect.isclass(item) and issubclass(item, kind) and not name.startswith("Abstract")


@pytest.mark.parametrize("name", [name for name in pf.bijections.__all__ if issubclass_of(name, AbstractBijection)])
def test_a_bijection_that_holds_bijections_is_a_composite(name: str):
    item = getattr(pf.bijections, name)
    holds = [field.name for field in dataclasses.fields(item) if "Bijection" in str(field.type)]
    assert issubclass(item, AbstractComposite) == bool(holds)


class Own(AbstractComposite):
    """A third party's: runs its member twice; declares nothing but what it is made of."""

    inner: AbstractBijection
    in_shape: tuple[int, ...] = eqx.field(static=True)
    out_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, inner: AbstractBijection):
        self.inner, self.in_shape, self.out_shape = inner, inner.in_shape, inner.out_shape

    def with_members(self, members: tuple[Any, ...]) -> Own:
        return type(self)(*members)

    def run_with(self, step: Step, value: Any, condition: Any, keys: Any, forward: bool) -> Any:
        value, log_det, extra = step(self.inner, value, condition, keys, forward)
        return value, log_det, (extra,)


class Deaf(Own):
    """Broken: it runs its member by itself, whatever the step."""

    def run_with(self, step: Step, value: Any, condition: Any, keys: Any, forward: bool) -> Any:
        extra = step(self.inner, value, condition, keys, forward)[2]
        value, log_det = run_batch(self.inner, value, condition, keys, forward)
        return value, log_det, (jax.tree.map(jnp.zeros_like, extra),)


class Hidden(AbstractTwoWayBijection):
    """Broken: no composite at all, with a member in its field."""

    inner: AbstractBijection
    in_shape: tuple[int, ...] = eqx.field(static=True)
    out_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, inner: AbstractBijection):
        self.inner, self.in_shape, self.out_shape = inner, inner.in_shape, inner.out_shape

    def run_rows(self, value: Any, condition: Any, keys: Any, forward: bool) -> Any:
        return run_batch(self.inner, value, condition, keys, forward)


def test_a_third_partys_composite_joins():
    law_walk(lambda probe: Own(probe(KEY)))
    assert Own(pf.ActNorm(2)).cond_shape is None
    assert Own(pf.ActNorm(2)).traits == pf.Traits()
    assert Own(pf.ActNorm(2)).layout == Layout()


@pytest.mark.parametrize("broken", [Deaf, Hidden])
def test_broken_composites_are_caught(broken: type):
    with pytest.raises(LawError, match="does not reach"):
        law_walk(lambda probe: broken(probe(KEY)))


def test_chains_are_sequences():
    members = [pf.Affine(scale=2.0, shape=(2,)), pf.Reverse(2), pf.ActNorm(2)]
    chain = pf.Chain(members)
    assert len(chain) == 3
    assert chain[-1] is members[2]
    assert list(chain) == members
    assert isinstance(chain[1:], pf.Chain)
    assert list(chain[1:]) == members[1:]
    with pytest.raises(ValueError, match="got none"):
        chain[3:]


def test_rows_with_arrays_of_their_own_and_shared_ones():
    scales = jnp.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]])
    inner = eqx.tree_at(
        lambda b: (b.log_scale, b.bias), pf.ActNorm(2), (jnp.log(jnp.abs(scales)), jnp.array([5.0, 6.0]))
    )
    x = jax.random.normal(KEY, (3, 2))
    want = x * jnp.abs(scales).T + jnp.array([5.0, 6.0])
    by_leaf = pf.Vmap(inner, 3, in_axes=lambda leaf: 1 if leaf.ndim == 2 else None)
    axes = eqx.tree_at(lambda b: (b.log_scale, b.bias), pf.ActNorm(2), (1, None))
    prefix = pf.Vmap(inner, 3, in_axes=axes)
    for rows in (by_leaf, prefix):
        y, log_det = rows.forward_and_log_det(x)
        np.testing.assert_allclose(y, want, rtol=1e-12)
        np.testing.assert_allclose(log_det, jnp.log(jnp.abs(scales)).sum(), rtol=1e-12)
        np.testing.assert_allclose(rows.inverse(y), x, rtol=1e-9)
    with pytest.raises(ValueError, match="arrays with axis 1 of 4"):
        pf.Vmap(inner, 4, in_axes=lambda leaf: 1 if leaf.ndim == 2 else None)


def test_rows_with_conditions_of_their_own():
    def make(key: jax.Array) -> pf.Coupling:
        return pf.Coupling(
            [False, True], pf.MLP(key, 1, (2, 1), width=4, cond_shape=(2,)), pf.AffineMap(), cond_shape=(2,)
        )

    x, c = jax.random.normal(KEY, (3, 2)), jax.random.normal(KEYS[1], (3, 2))
    each = [make(key) for key in KEYS]
    rows = pf.Vmap(eqx.filter_vmap(make)(KEYS), 3, cond_axis=0)
    assert rows.cond_shape == (3, 2)
    want = jnp.stack([one.forward(x[n], c[n]) for n, one in enumerate(each)])
    np.testing.assert_allclose(rows.forward(x, c), want, rtol=1e-9)
    last = pf.Vmap(each[0], 3, in_axes=None, cond_axis=1)
    assert last.cond_shape == (2, 3)
    want = jnp.stack([each[0].forward(x[n], c[n]) for n in range(3)])
    np.testing.assert_allclose(last.forward(x, c.T), want, rtol=1e-9)
    fixed = WithCondition.fix(last, c.T)
    np.testing.assert_allclose(fixed.forward(x), want, rtol=1e-9)
    with pytest.raises(ValueError, match="cond_axis"):
        pf.Vmap(pf.ActNorm(2), 3, in_axes=None, cond_axis=0)


def test_events_of_integers_and_lists_are_converted():
    b = pf.Affine(loc=1.0, scale=2.0, shape=(2,))
    assert b.forward([1, 2]).tolist() == [3.0, 5.0]
    assert b.inverse(np.array([3, 5])).tolist() == [1.0, 2.0]
    net = pf.MLP(KEY, 0, (2, 1), width=2, cond_shape=(1,))
    one: Any = [1]
    given = WithCondition(pf.Coupling([True], net, pf.AffineMap(), cond_shape=(1,)), one)
    assert jnp.issubdtype(given.condition.dtype, jnp.floating)
    with pytest.raises(ValueError, match=r"x of shape \(2,\), got shape \(5, 2\).*jax.vmap"):
        b.forward(np.zeros((5, 2)))


def test_parts_of_distributions_are_counted_too():
    residual = pf.bijections.Residual(pf.nets.LipschitzMLP(KEY, 1, width=4))
    flow = pf.Flow(pf.StandardNormal((2,)), pf.Partial(residual, [0], dim=2))
    x = jax.random.normal(KEY, (4, 2))
    one, two = (model.log_prob(x, with_error=True) for model in (flow, pf.Mixture([flow, flow])))
    assert (two.n_evaluations == 2 * one.n_evaluations).all()
    assert not one.failed.any()
    assert isinstance(flow, Part)
