"""Autoregression along a graph: each variable is mapped with parameters that depend on its parents alone."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.autoregressive import check_n_params
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.bijections.scalar_maps.inversion import inverse_of_rows
from pushforward.nets.graph_made import GraphMADE


class GraphAutoregressive(AbstractBatchedBijection):
    r"""$y_i = m(x_i; \theta_i(x_{\mathrm{pa}(i)}, c))$, with the parents of a directed graph without cycles.

    The forward direction knows all of `x` and takes one pass. The inverse takes **as many passes as the graph is
    deep**: variables without parents are right after the first pass, their children after the second. A graph of pairs
    takes two passes, whatever their number; a chain takes as many as it is long, and for a full order `Autoregressive`
    is the better choice.

    `Invert(GraphAutoregressive(...))` over independent latents is a Bayesian network's density
    $\prod_i p(x_i \mid x_{\mathrm{pa}(i)}, c)$, exactly: variables that are independent in the graph are independent
    in the model, whatever the weights. **This holds for one layer, not for a stack of them**: in a second layer the
    parents depend on their own parents, so that $n$ layers condition on ancestors up to $n$ generations back. For more
    flexible conditionals compose scalar maps (`RepeatedMap`), whose parameters all come from the original parents, as
    the zoo's `adjacency=` does.

    Args:
        conditioner: A network that respects a graph, such as `GraphMADE`.
        scalar_map: The map of each variable.

    Cost: forward one pass of the network; inverse `n_passes` passes and as many inverses of the map. The log-det is as
        exact as the map's.

    Raises:
        ValueError: the conditioner gives another number of parameters than the map takes.

    Source: Wehenkel and Louppe, 2021, arXiv 2006.02548.
    """

    conditioner: GraphMADE
    scalar_map: AbstractScalarMap
    n_passes: int = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, conditioner: GraphMADE, scalar_map: AbstractScalarMap):
        check_n_params("GraphAutoregressive", conditioner, scalar_map)
        self.conditioner, self.scalar_map = conditioner, scalar_map
        self.n_passes = conditioner.graph.depth
        self.in_shape = self.out_shape = (conditioner.graph.dim,)
        self.cond_shape = conditioner.cond_shape
        passes = Traits(inverse="parallel" if self.n_passes == 1 else "sequential")
        self.traits = Traits.worst(scalar_map.traits, passes)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        y, log_slope = self.scalar_map.forward_and_log_det(x, self.conditioner(x, condition))
        return y, jnp.sum(log_slope, axis=0)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        params_of = self.conditioner.bind(condition)
        levels = jnp.asarray(self.conditioner.graph.levels()[:, None])

        def run(x: Array, level: Array | int) -> tuple[Array, Array]:
            # Values that are not known yet enter as 0: weights of 0 would not keep an infinity out.
            return inverse_of_rows(self.scalar_map, y, params_of(jnp.where(levels < level, x, 0)))

        if self.n_passes == 1:
            x, log_slope = run(y, 0)
            return x, jnp.sum(log_slope, axis=0)
        dtype = jax.eval_shape(run, y, 0)[0].dtype
        start = jnp.zeros(y.shape, dtype), jnp.zeros(y.shape, dtype)

        def one_pass(carry: tuple[Array, Array], level: Array) -> tuple[tuple[Array, Array], None]:
            x, log_slope = run(carry[0], level)
            return (x.astype(dtype), log_slope.astype(dtype)), None

        (x, log_slope), _ = scan(one_pass, start, jnp.arange(self.n_passes))
        return x, jnp.sum(log_slope, axis=0)
