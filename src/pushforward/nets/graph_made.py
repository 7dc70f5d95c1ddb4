r"""GraphMADE: a masked network whose outputs see the parents of a given graph and nothing else.

A hidden unit carries a set of inputs and sees no others; it may feed another unit if its set is contained in that
unit's, and output $i$ if its set is contained in the parents of variable $i$. The sets are the distinct sets of
parents, so that each output has units that see all its parents, and shares those of the outputs that know less. Every
parent also enters its output directly: no dependence is lost when rectifiers die, and a linear one needs no units.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import (
    activation_of,
    check_sizes,
    flat_condition,
    hidden_layer,
    limit_input,
    output_layer,
    size_of,
    uniforms,
)
from pushforward.nets.masked import through_hidden
from pushforward.numerics.product import dense, dense_output


@dataclass(frozen=True)
class Graph:
    """Which variable may depend on which: a directed graph without cycles, packed so that it can be hashed.

    Args:
        dim: number of variables.
        n_cond: number of entries of the condition.
        bits: the adjacency `(dim, dim + n_cond)`, eight entries per byte; `Graph.of` packs it.
    """

    dim: int
    n_cond: int
    bits: bytes

    @staticmethod
    def of(name: str, adjacency: Any, n_cond: int = 0) -> Graph:
        """The graph with a given adjacency.

        Args:
            name: Name of the caller, for messages.
            adjacency: Array of shape `(dim, dim + n_cond)` of booleans, or zeros and ones: entry `[i, j]` says that
                variable `i` may depend on variable `j`, or on entry `j - dim` of the condition. `(dim, dim)` with a
                condition: every variable may depend on all of it.
            n_cond: number of entries of the condition.

        Raises:
            ValueError: the shape or the entries do not fit, or there is a cycle, which is named.
        """
        try:
            matrix: Any = np.asarray(adjacency)
        except ValueError:  # rows of different lengths
            matrix = np.empty(0, object)
        dim = len(matrix) if matrix.ndim else 0
        if matrix.ndim != 2 or not dim or matrix.shape[1] not in {dim, dim + n_cond}:
            expected = f"an adjacency (dim, dim{f' + {n_cond}' if n_cond else ''})"
            fix = "One row per variable, one column per variable and entry of the condition."
            raise ValueError(message(name, expected, f"shape {matrix.shape}", fix))
        if matrix.dtype.kind not in "bui" or not np.isin(matrix, (0, 1)).all():
            fix = "Entry [i, j] says whether variable i may depend on variable j."
            raise ValueError(message(name, "an adjacency of booleans, or 0 and 1", f"{matrix.dtype}", fix))
        full = np.ones((dim, dim + n_cond), bool)
        full[:, : matrix.shape[1]] = matrix.astype(bool)
        cycle = _cycle(full[:, :dim])
        if cycle:
            fix = "A density cannot factorise along a cycle: leave one of these dependences out."
            raise ValueError(message(name, "an adjacency without cycles", " <- ".join(map(str, cycle)), fix))
        return Graph(dim, n_cond, np.packbits(full).tobytes())

    def parents(self) -> np.ndarray:
        """The adjacency, booleans `(dim, dim + n_cond)`."""
        size = self.dim * (self.dim + self.n_cond)
        bits = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=size)
        return bits.astype(bool).reshape(self.dim, self.dim + self.n_cond)

    def levels(self) -> np.ndarray:
        """The length of the longest path to each variable, `(dim,)`, 0 without parents among the variables."""
        return graph_levels(self.parents()[:, : self.dim])

    @property
    def depth(self) -> int:
        """The number of levels, which is the number of passes that a sample takes."""
        return int(self.levels().max()) + 1

    def sets(self) -> np.ndarray:
        """The distinct nonempty sets of parents, booleans `(n_sets, dim + n_cond)`."""
        distinct = np.unique(self.parents(), axis=0)
        return distinct[distinct.any(axis=1)]


def graph_levels(parents: np.ndarray) -> np.ndarray:
    """Levels of the variables, -1 for those on a cycle or after one."""
    levels = np.full(len(parents), -1)
    level, waiting = 0, parents.copy()
    while True:
        ready = (levels < 0) & ~waiting.any(axis=1)
        if not ready.any():
            return levels
        levels[ready] = level
        waiting[:, ready] = False
        level += 1


def _cycle(parents: np.ndarray) -> list[int]:
    """Variables that depend on each other in a cycle, with the first one repeated at the end; empty without a cycle."""
    stuck = graph_levels(parents) < 0
    if not stuck.any():
        return []
    # Every variable without a level has a parent without a level: following these parents leads into a cycle.
    path = [int(np.flatnonzero(stuck)[0])]
    while path.count(path[-1]) < 2:
        path.append(int(np.flatnonzero(parents[path[-1]] & stuck)[0]))
    return path[path.index(path[-1]) :]


@functools.lru_cache(maxsize=64)
def _masks(graph: Graph, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The masks of the units' inputs, of the units' units, and of the outputs' units and inputs."""
    parents, sets = graph.parents(), graph.sets()
    own = sets[np.arange(width) * len(sets) // max(width, 1)]

    def within(small: np.ndarray, large: np.ndarray) -> np.ndarray:
        """Whether small set `j` is contained in large set `i`, in entry `[i, j]`."""
        return (~large).astype(np.float32) @ small.T.astype(np.float32) == 0

    return own, within(own, own), np.concatenate([within(own, parents), parents], axis=1)


class GraphMADE(eqx.Module):
    r"""A masked network that gives the parameters of each variable as a function of its parents in a graph, exactly.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        adjacency: Array of shape `(dim, dim)`, or `(dim, dim + n_cond)` with a condition: entry `[i, j]` says that
            variable `i` may depend on variable `j`, or on entry `j - dim` of the condition. `(dim, dim)` with a
            condition lets all of it reach every variable. The variables may stand in any order.
        n_params: number of outputs per variable.
        width: Number of units per hidden layer, shared out among the distinct sets of parents; there is one for each at
            least.
        depth: Number of hidden layers, or of residual blocks of two layers if `residual`.
        cond_shape: shape of the condition, None if unconditional.
        residual: Whether hidden layers form residual blocks.
        activation: one of relu, elu, gelu, silu, softplus, tanh.

    Shapes:
        `(dim, n) -> (n_params, dim, n)`, the batch on the last axis

    Cost: one pass for all variables. The weights outside the masks are stored and multiplied by 0.

    Raises:
        ValueError: the graph has a cycle (which is named), a shape or a size does not fit, or the condition is missing.

    Source: flows along a graph: Wehenkel and Louppe, 2021, arXiv 2006.02548; masks from an adjacency: Chen, Shi, Gao,
        Baptista, Krishnan, 2023, arXiv 2311.02221. The choice of the units' sets is this library's own.
    """

    first_weight: Array  # (width, n_inputs + 1): in each layer the last column is the bias
    hidden_weights: tuple[Array, ...]  # (width, width + 1)
    out_weight: Array  # (n_params, dim, width + n_inputs + 1)
    graph: Graph = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    residual: bool = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        adjacency: Any,
        n_params: int,
        *,
        width: int = 64,
        depth: int = 2,
        cond_shape: Shape | None = None,
        residual: bool = False,
        activation: str = "relu",
    ):
        n_cond = size_of(cond_shape)
        self.graph = graph = Graph.of("GraphMADE", adjacency, n_cond)
        self.n_params, width, depth = check_sizes("GraphMADE", n_params=n_params, width=width, depth=depth)
        activation_of(activation)
        self.cond_shape, self.residual, self.activation = cond_shape, bool(residual), activation
        n_sets = len(graph.sets())
        width = max(width, n_sets) if n_sets else 0  # without dependences there are only biases
        own, seen, _ = _masks(graph, width)
        n_hidden, n_inputs = 2 * depth if residual else depth - 1, graph.dim + n_cond
        shapes = [(width, n_inputs + 1), (n_params, graph.dim, width + n_inputs + 1)]
        first, out, *hidden = uniforms(key, shapes + [(width, width + 1)] * n_hidden)
        self.first_weight = hidden_layer(first, own.sum(axis=1, keepdims=True))
        # In a residual block the second layer starts small, so that a deep network starts as its first layer.
        fan_in = seen.sum(axis=1, keepdims=True)
        small = [residual and n % 2 == 1 for n in range(n_hidden)]
        pairs = zip(hidden, small, strict=True)
        self.hidden_weights = tuple(output_layer(w) if s else hidden_layer(w, fan_in) for w, s in pairs)
        self.out_weight = output_layer(out)

    def bind(self, condition: Array | None = None) -> Callable[[Array], Array]:
        """The network at a fixed condition as a function of `x`, with the masks applied once for many passes.

        Args:
            condition: Conditions of the rows, `(*cond_shape, n)`, None if unconditional.
        """
        width = self.first_weight.shape[0]

        def masked(weight: Array, mask: np.ndarray) -> Array:
            # The last column, the bias, belongs to every unit.
            return jnp.where(np.concatenate([mask, np.ones((len(mask), 1), bool)], axis=1), weight, 0)

        sees, units, outputs = _masks(self.graph, width)
        first, out = masked(self.first_weight, sees), masked(self.out_weight, outputs)
        between = [masked(weight, units) for weight in self.hidden_weights]
        out = out.reshape(-1, out.shape[-1])
        known = None
        if self.cond_shape is not None:
            known = limit_input(flat_condition("GraphMADE", condition, self.cond_shape))

        def run(x: Array) -> Array:
            inputs = limit_input(x) if known is None else jnp.concatenate([limit_input(x), known])
            h = through_hidden(
                dense(first, inputs),
                lambda n, h: dense(between[n], h),
                len(between),
                activation=self.activation,
                residual=self.residual,
            )
            params = dense_output(out, jnp.concatenate([h, inputs]))
            return params.reshape(self.n_params, self.graph.dim, -1)

        return run

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """The parameters of all variables, `(n_params, dim, n)`, from all of them, `(dim, n)`."""
        return self.bind(condition)(x)
