"""Autoregressions along graphs: a chain, a fork, a collider, no edges, and a condition that reaches some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import pushforward as pf
from cases.case import COND, Case, eye
from cases.core import KNOTS, SPLINE
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Elementwise, GraphAutoregressive, RepeatedMap
from pushforward.nets import GraphMADE


def edges(dim: int, pairs: Sequence[tuple[int, int]], n_cond: int = 0) -> np.ndarray:
    """The adjacency `(dim, dim + n_cond)` of pairs (child, parent)."""
    adjacency = np.zeros((dim, dim + n_cond), bool)
    for child, parent in pairs:
        adjacency[child, parent] = True
    return adjacency


# In orders that are not topological: the chain is 2 -> 0 -> 3 -> 1.
CHAIN = edges(4, [(0, 2), (3, 0), (1, 3)])
PAIR = edges(2, [(0, 1)])
FORK = edges(3, [(0, 1), (2, 1)])
COLLIDER = edges(3, [(1, 0), (1, 2)])
EMPTY = edges(3, [])
# A diamond, where the condition reaches its last variable alone: others would pass it on, one way but not the other.
DIAMOND = edges(4, [(1, 0), (2, 0), (3, 1), (3, 2), (3, 4), (3, 5)], 2)


def along_graph(
    key: PRNGKeyArray,
    adjacency: np.ndarray,
    scalar_map: pf.AbstractScalarMap,
    *,
    conditional: bool = False,
    width: int = 8,
    residual: bool = False,
) -> GraphAutoregressive:
    cond_shape = COND if conditional else None
    net = GraphMADE(key, adjacency, scalar_map.n_params, width=width, cond_shape=cond_shape, residual=residual)
    return GraphAutoregressive(net, scalar_map)


CASES: dict[str, Case] = {
    "GraphAutoregressive, chain": Case(
        lambda key: along_graph(key, CHAIN, pf.AffineMap(), width=1), reach=CHAIN | eye(4)
    ),
    "GraphAutoregressive, pair, spline": Case(
        lambda key: along_graph(key, PAIR, SPLINE),
        special_x=KNOTS,
        special_y=KNOTS,
        reach=PAIR | eye(2),
    ),
    "GraphAutoregressive, collider, residual": Case(
        lambda key: along_graph(key, COLLIDER, pf.AffineMap(), residual=True), reach=COLLIDER | eye(3)
    ),
    "GraphAutoregressive, empty, conditional": Case(
        lambda key: along_graph(key, EMPTY, pf.AffineMap(), conditional=True), reach=eye(3)
    ),
    "GraphAutoregressive, diamond, conditional": Case(
        lambda key: along_graph(key, DIAMOND, pf.AffineMap(), conditional=True),
        reach=DIAMOND[:, :4] | eye(4),
        condition_reach=np.arange(4) == 3,
    ),
    "Elementwise, repeated": Case(
        lambda key: Elementwise(RepeatedMap(SPLINE, 2), (2,)), special_x=KNOTS, special_y=KNOTS, reach=eye(2)
    ),
}
