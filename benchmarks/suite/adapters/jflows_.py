"""jflows: its autoregressive spline flow on the box [-5, 5], and RealNVP, with a standard normal at one end.

Its flows have no base distribution. The map of one pass takes rows to latents, as for density estimation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.scipy.stats import norm
from jflows.flow import NSF, RealNVP

from suite.adapters.jax_common import JaxAdapter
from suite.work import BINS, BOUND, DEPTH, GRID_BINS, WIDTH


def construct(model: str, dim: int, n_layers: int, seed: int) -> tuple[Any, Callable[[Any], Any]]:
    key, common = jax.random.key(seed), {"transforms": n_layers, "hidden_features": (WIDTH,) * DEPTH}
    if model == "realnvp":
        flow = RealNVP(key, dim, **common)
    elif model in ("nsf_autoregressive", "nsf_grid"):
        bins = GRID_BINS if model == "nsf_grid" else BINS
        flow = NSF(key, [-BOUND] * dim, [BOUND] * dim, bins=bins, **common)
    else:
        raise ValueError(f"jflows has no {model}")
    params, rest = eqx.partition(flow, eqx.is_inexact_array)
    return params, lambda params: eqx.combine(params, rest)


def log_prob(flow: Any, x: jax.Array) -> jax.Array:
    z, log_det = flow.call_and_ladj(x)
    return norm.logpdf(z).sum(-1) + log_det


def draw(flow: Any, key: jax.Array, n: int, dim: int) -> jax.Array:
    return flow.inv(jax.random.normal(key, (n, dim)))


def make() -> JaxAdapter:
    return JaxAdapter("jflows", construct, log_prob, draw)
