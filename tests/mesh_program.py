"""Flows under meshes, run by `test_meshes.py` in a process of its own: `python mesh_program.py MODE NAMES`.

There are two devices. The mode `explicit` sets a mesh with explicit axes, as `jax.make_mesh` makes them; `manual` runs
within `jax.shard_map`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import pushforward as pf
from pushforward._types import combine
from pushforward.flows.registry import ENTRIES

ROWS = np.random.default_rng(0).normal(size=(8, 2))


def tiny(name: str) -> Any:
    accepted = ENTRIES[name].accepted(None)
    options = {key: value for key, value in {"n_layers": 1, "width": 4, "depth": 1}.items() if key in accepted}
    return pf.flows.ZOO[name](jax.random.key(1), dim=2, **options)


def gap(found: Any, wanted: Any) -> float:
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)) / (1 + np.abs(np.asarray(b))))) for a, b in pairs)


def gaps(name: str, manual: bool) -> dict[str, float]:
    flow = tiny(name)
    key = jax.random.key(3) if flow.needs_key else None
    params, rest = pf.trainable(flow)

    def loss(params: Any, x: Any) -> Any:
        return -jnp.mean(combine(params, rest).log_prob(x, key=key))

    own_key = jax.random.key(4)
    if manual:  # each device has the keys of its own rows
        key = None
        flow = pf.distributions.evaluation_form(flow)
        params, rest = pf.trainable(flow)
    wanted = flow.log_prob(ROWS, key=key), jax.grad(loss)(params, ROWS), flow.sample(own_key, 4)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto if manual else AxisType.Explicit,))
    x = jax.device_put(ROWS, NamedSharding(mesh, P("data")))
    if manual:

        def mapped(function: Any, inside: Any, outside: Any) -> Any:
            return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=inside, out_specs=outside))

        def gradient(params: Any, x: Any) -> Any:
            return jax.grad(lambda own: jax.lax.pmean(loss(own, x), "data"))(params)

        found = (
            mapped(flow.log_prob, P("data"), P("data"))(x),
            mapped(gradient, (P(), P("data")), P())(params, x),
            mapped(lambda x: flow.sample(own_key, 4) + 0 * x[:1], P("data"), P("data"))(x)[:4],
        )
    else:
        with jax.set_mesh(mesh):
            found = (flow.log_prob(x, key=key), jax.jit(jax.grad(loss))(params, x), flow.sample(own_key, 4))
            bijection = flow.bijection
            if bijection.cond_shape is None and not bijection.traits.needs_key:
                # Compiled: done one operation after another, the rule of a solve meets arrays of both kinds of axes.
                jax.jit(jax.grad(lambda x: jnp.sum(jax.vmap(bijection.inverse_and_log_det)(x)[1])))(x)
    return dict(zip(("log_prob", "gradient", "sample"), map(gap, found, wanted), strict=True))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    mode, *names = sys.argv[1:]
    print(json.dumps({name: gaps(name, mode == "manual") for name in names}))
