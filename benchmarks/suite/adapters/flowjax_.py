"""flowjax: `coupling_flow` and `masked_autoregressive_flow`, and its own step, compiled by `eqx.filter_jit`."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import StandardNormal
from flowjax.flows import (
    block_neural_autoregressive_flow,
    coupling_flow,
    masked_autoregressive_flow,
    planar_flow,
)
from flowjax.train.losses import MaximumLikelihoodLoss
from flowjax.train.train_utils import step as flowjax_step

from suite.work import BINS, BLOCK, BOUND, DEPTH, LEARNING_RATE, SLOPE, WIDTH


def construct(model: str, dim: int, n_layers: int, seed: int) -> Any:
    if model == "planar":
        return planar_flow(
            jax.random.key(seed), base_dist=StandardNormal((dim,)), flow_layers=n_layers, negative_slope=SLOPE
        )
    if model == "bnaf":
        return block_neural_autoregressive_flow(
            jax.random.key(seed),
            base_dist=StandardNormal((dim,)),
            flow_layers=n_layers,
            nn_depth=DEPTH,
            nn_block_dim=BLOCK,
        )
    if model not in ("realnvp", "maf", "nsf_coupling", "nsf_autoregressive"):
        raise ValueError(f"flowjax has no {model}")
    # `knots` are the inner ones: 8 bins.
    spline = RationalQuadraticSpline(knots=BINS - 1, interval=BOUND) if model.startswith("nsf") else None
    make_flow = coupling_flow if model in ("realnvp", "nsf_coupling") else masked_autoregressive_flow
    return make_flow(
        jax.random.key(seed),
        base_dist=StandardNormal((dim,)),
        transformer=spline,
        flow_layers=n_layers,
        nn_width=WIDTH,
        nn_depth=DEPTH,
    )


@eqx.filter_jit
def _log_prob(flow: Any, x: jax.Array) -> jax.Array:
    return flow.log_prob(x)


class FlowjaxAdapter:
    def versions(self) -> dict[str, str]:
        names = ("flowjax", "jax", "equinox")
        return {"python": platform.python_version()} | {name: version(name) for name in names}

    def build(self, model: str, dim: int, n_layers: int, seed: int) -> int:
        self.flow = construct(model, dim, n_layers, seed)
        is_leaf = lambda leaf: isinstance(leaf, paramax.NonTrainable)  # noqa: E731
        self.params, self.static = eqx.partition(self.flow, eqx.is_inexact_array, is_leaf=is_leaf)
        self.optimizer = optax.adam(LEARNING_RATE)
        self.state = self.optimizer.init(self.params)
        self.loss = MaximumLikelihoodLoss()
        self.key = jax.random.key(seed)
        jax.block_until_ready(self.state)
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    def load(self, rows: Any) -> None:
        self.x = jax.block_until_ready(jnp.asarray(rows, jnp.float32))

    def step(self) -> None:
        # As `fit_to_data` calls it.
        self.params, self.state, loss = flowjax_step(
            self.params,
            self.static,
            self.x,
            key=self.key,
            optimizer=self.optimizer,
            opt_state=self.state,
            loss_fn=self.loss,
        )
        jax.block_until_ready((self.params, self.state, loss))

    def density(self) -> None:
        _log_prob(self.flow, self.x).block_until_ready()

    def prepare_sampling(self, n: int) -> None:
        arrays, static = eqx.partition(self.flow, eqx.is_array)
        draw = jax.jit(lambda arrays, key: eqx.combine(arrays, static).sample(key, (n,)))
        compiled = draw.lower(arrays, self.key).compile()
        self.draw = lambda: compiled(arrays, self.key)

    def sample(self) -> None:
        self.draw().block_until_ready()


def make() -> FlowjaxAdapter:
    return FlowjaxAdapter()
