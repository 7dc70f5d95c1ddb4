"""bijx: its coupling flows; their residual networks have two hidden products of 64, as the others' networks have.

Its splines are on [0, 1]; their cost is that of any interval. It has no masked autoregression.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bijx
import jax
import jax.numpy as jnp
from flax import nnx
from jax.scipy.stats import norm

from suite.adapters.jax_common import JaxAdapter
from suite.work import BINS, DEPTH, WIDTH


def construct(model: str, dim: int, n_layers: int, seed: int) -> tuple[Any, Callable[[Any], Any]]:
    common = {"n_coupling_layers": n_layers, "width": WIDTH, "depth": DEPTH - 1, "rngs": nnx.Rngs(seed)}
    if model == "realnvp":
        flow = bijx.realnvp_flow(dim, **common)
    elif model == "nsf_coupling":
        flow = bijx.coupling_flow(dim, lambda rngs: bijx.MonotoneRQSpline(BINS + 1, (), rngs=rngs), **common)
    else:
        raise ValueError(f"bijx has no {model}")
    graph, params, rest = nnx.split(flow, nnx.Param, ...)
    return params, lambda params: nnx.merge(graph, params, rest)


def log_prob(flow: Any, x: jax.Array) -> jax.Array:
    z, minus_log_det = flow.reverse(x, jnp.zeros(len(x)))
    return norm.logpdf(z).sum(-1) + minus_log_det


def draw(flow: Any, key: jax.Array, n: int, dim: int) -> jax.Array:
    return flow.forward(jax.random.normal(key, (n, dim)), jnp.zeros(n))[0]


def make() -> JaxAdapter:
    return JaxAdapter("bijx", construct, log_prob, draw)
