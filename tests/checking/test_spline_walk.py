"""The walk from data to latent: it follows the bijection, and finds and meets every spline."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward._parts import unstacked
from pushforward.bijections import WithCondition
from pushforward.bijections.base import run_batch
from pushforward.checking.programs import quickly
from pushforward.checking.spline_walk import Probe, has_splines, spline_knots, walk_splines

KEY = jax.random.key(3)
N = 6
SPLINE = pf.RationalQuadraticMap(bins=3, bound=2.0)

# Eagerly, each of hundreds of operations would be compiled by itself.
walk = quickly(walk_splines)
inverse = quickly(lambda bijection, y, c: run_batch(bijection, y, c, None, False)[0])


def spline_coupling(key: jax.Array) -> pf.Coupling:
    return pf.Coupling(
        [False, True], pf.MLP(key, 1, (8, 1), width=4, depth=1, cond_shape=(2,)), SPLINE, cond_shape=(2,)
    )


def test_the_walk_ends_where_the_bijection_does():
    keys = jax.random.split(KEY, 4)
    given = WithCondition(spline_coupling(keys[0]), jnp.array([0.5, -1.0]))
    embed = pf.EmbedCondition(spline_coupling(keys[1]), lambda c: 2 * c, (2,))
    autoregressive = pf.Autoregressive(pf.MADE(keys[2], 2, 8, width=4), SPLINE)
    layers = [given, pf.Invert(embed), autoregressive]
    bijection = pf.Partial(pf.Chain(layers), [2, 0], dim=3)
    x, c = 1.5 * jax.random.normal(KEY, (3, N)), jax.random.normal(keys[3], (2, N))
    z, met = walk(bijection, x, c)
    np.testing.assert_allclose(z, inverse(bijection, x, c), rtol=1e-12, atol=1e-12)
    assert [one.values.shape for one in met] == [(2, N), (1, N), (1, N)]
    assert has_splines(bijection)


def test_layers_of_a_scan_are_met_from_the_data_inwards():
    flow = pf.flows.nsf(
        KEY, dim=2, n_layers=3, width=4, depth=1, bins=3, bound=2.0, linear="reverse", autoregressive=False
    )
    x = jax.random.normal(KEY, (2, N))
    z, met = walk(flow.bijection, x, None)
    np.testing.assert_allclose(z, inverse(flow.bijection, x, None), atol=1e-12)
    assert [one.high for one in met] == [2.0] * 3
    # The layer next to the data is a reversal, then the coupling: its second coordinate is the data's first.
    np.testing.assert_allclose(met[0].values, x[:1])


def test_probes_land_on_the_bound_of_the_layer_that_they_name():
    keys = jax.random.split(KEY)
    layers = [
        pf.Invert(pf.Autoregressive(pf.MADE(key, 2, 14, width=4), pf.RationalQuadraticMap(bins=5))) for key in keys
    ]
    bijection = pf.Chain(layers)
    x = jax.random.normal(KEY, (2, 4))
    probe = Probe(*(jnp.array(a) for a in ([0, 1, 1, -1], [0, 1, 0, 0], [0, 5, 1, 0], [0, 0, 0, 0])))
    nowhere = Probe(probe.layer * 0 - 1, *probe[1:])
    moved, _ = walk(bijection, x, None, probe=probe)
    z, met = walk(bijection, inverse(pf.Invert(bijection), moved, None), None, probe=nowhere)
    np.testing.assert_allclose(z, moved, atol=1e-10)
    assert met[0].values[0, 0] == pytest.approx(-5.0, abs=1e-9)
    assert met[1].values[1, 1] == pytest.approx(5.0, abs=1e-9)
    np.testing.assert_allclose(moved[:, 3], walk(bijection, x, None, probe=nowhere)[0][:, 3])


def test_rows_of_an_event_are_walked_one_by_one():
    made = pf.Coupling([False, True], pf.MLP(KEY, 1, (8, 1), width=4, depth=1), SPLINE)
    bijection = pf.Vmap(made, 2, in_axes=None)
    x = jax.random.normal(KEY, (2, 2, N))
    z, met = walk(bijection, x, None)
    np.testing.assert_allclose(z, inverse(bijection, x, None), atol=1e-12)
    assert [one.values.shape for one in met] == [(2, N)]
    rows = pf.Vmap(eqx.filter_vmap(spline_coupling)(jax.random.split(KEY, 2)), 2)
    c = jax.random.normal(KEY, (2, N))
    z, met = walk(rows, x, c)
    np.testing.assert_allclose(z, inverse(rows, x, c), atol=1e-12)
    assert [one.values.shape for one in met] == [(1, N)] * 2
    probe = Probe(*(jnp.full(N, number) for number in (1, 0, 2, 0)))
    met = walk(rows, inverse(pf.Invert(rows), walk(rows, x, c, probe=probe)[0], c), c)[1]
    second: Any = unstacked(rows.bijection, 2)[1]
    knots = spline_knots(second.conditioner(x[1, :1], c)[:, 0], SPLINE, by_height=True)
    np.testing.assert_allclose(met[1].values[0], knots[2], atol=1e-9)


def test_knots_are_those_of_the_spline():
    params = jax.random.normal(KEY, (8, 5))
    spline = pf.RationalQuadraticMap(bins=3, low=-1.0, high=4.0)
    forward = quickly(lambda x: spline.forward_and_log_det(x, params))
    xs, ys = spline_knots(params, spline, by_height=False), spline_knots(params, spline, by_height=True)
    for x, y in zip(xs, ys, strict=True):
        np.testing.assert_allclose(forward(x)[0], y, atol=1e-12)
    assert not has_splines(pf.Chain([pf.Reverse(2), pf.LULinear(KEY, 2)]))
