"""Networks and densities along graphs: what may depend on what, exactly; how many passes a sample takes."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from cases.graph import CHAIN, COLLIDER, DIAMOND, EMPTY, FORK, edges
from pushforward._types import Array
from pushforward.bijections import AbstractScalarMap, GraphAutoregressive, RepeatedMap
from pushforward.nets import GraphMADE
from pushforward.nets.graph_made import Graph
from pushforward.testing import cast, randomise

KEY = jax.random.key(17)
RNG = np.random.default_rng(17)
ROOTED = edges(4, [(1, 0), (2, 0), (3, 1), (3, 2), (0, 4), (2, 5)], 2)  # the condition reaches a root and a child
GRAPHS = {"chain": CHAIN, "fork": FORK, "collider": COLLIDER, "empty": EMPTY, "rooted": ROOTED, "diamond": DIAMOND}
N = 24


def build(adjacency: np.ndarray, scalar_map: AbstractScalarMap, **options: Any) -> GraphAutoregressive:
    n_cond = adjacency.shape[1] - len(adjacency)
    options = {"activation": "softplus", "width": 8, "cond_shape": (n_cond,) if n_cond else None, **options}
    return randomise(GraphAutoregressive(GraphMADE(KEY, adjacency, scalar_map.n_params, **options), scalar_map), KEY)


def rows(adjacency: np.ndarray) -> tuple[Array, Array | None]:
    x, c = RNG.standard_normal((len(adjacency), N)), RNG.standard_normal((adjacency.shape[1] - len(adjacency), N))
    return jnp.asarray(x), jnp.asarray(c) if len(c) else None


@eqx.filter_jit
def dependences(layer: GraphAutoregressive, x: Array, condition: Array | None) -> tuple[Array, Array]:
    """Which terms of the log-density, and which parameters, depend on which variables and entries of the condition."""
    dim = x.shape[0]

    def split(both: Array) -> tuple[Array, Array | None]:
        return both[:dim], both[dim:] if condition is not None else None

    def terms(both: Array) -> Array:
        x, c = split(both)
        z, log_slope = layer.scalar_map.forward_and_log_det(x, layer.conditioner(x, c))
        return -0.5 * z**2 + log_slope

    def parameters(both: Array) -> Array:
        return jnp.moveaxis(layer.conditioner(*split(both)), 1, 0)

    both = x if condition is None else jnp.concatenate([x, condition])
    out = []
    for function in (terms, parameters):
        # All rows at once: rows do not mix, which the laws prove.
        by_input = jax.jacrev(lambda b, function=function: function(b).reshape(dim, -1, N).sum(axis=2))(both)
        out.append(jnp.any(by_input != 0, axis=(1, 3)))
    return out[0], out[1]


# Every graph once; each kind of network on graphs with and without a condition.
KINDS: list[tuple[str, dict]] = [
    ("chain", {"width": 1, "residual": True, "depth": 1}),
    ("fork", {"width": 16}),
    ("collider", {"width": 1}),
    ("empty", {}),
    ("rooted", {"width": 2, "residual": True, "depth": 1}),
    ("diamond", {"width": 16}),
]


@pytest.mark.parametrize(("name", "options"), KINDS, ids=[name for name, _ in KINDS])
def test_each_term_of_the_density_depends_on_its_variable_and_its_parents(name: str, options: dict) -> None:
    adjacency = GRAPHS[name]
    terms, parameters = dependences(build(adjacency, pf.AffineMap(), **options), *rows(adjacency))
    np.testing.assert_array_equal(parameters, adjacency)
    np.testing.assert_array_equal(terms, adjacency | np.eye(*adjacency.shape, dtype=bool))


def test_one_more_edge_is_found() -> None:
    """The broken twin: the same network with one edge more does not have the chain's pattern."""
    more = CHAIN.copy()
    more[3, 2] = True  # a grandparent
    terms, parameters = dependences(build(more, pf.AffineMap()), *rows(more))
    assert np.argwhere(parameters != CHAIN).tolist() == [[3, 2]]
    assert np.argwhere(terms != CHAIN | np.eye(4, dtype=bool)).tolist() == [[3, 2]]


@eqx.filter_jit
def mixed_derivatives(flow: pf.Flow, x: Array) -> Array:
    return jax.vmap(jax.hessian(flow.log_prob))(x)


def moral(adjacency: np.ndarray) -> np.ndarray:
    """Pairs that stand together in a term of the density: families."""
    families = (adjacency | np.eye(len(adjacency), dtype=bool)).astype(int)
    return (families.T @ families) > 0


def test_a_stack_of_layers_reaches_ancestors_and_repeated_maps_do_not() -> None:
    """Independences of the whole density, exactly, from its mixed second derivatives."""
    x = jnp.asarray(RNG.standard_normal((3, 4)))
    repeated = pf.Invert(build(CHAIN, RepeatedMap(pf.AffineMap(), 3), depth=1))
    one, two = (pf.Invert(randomise(build(CHAIN, pf.AffineMap(), depth=1), key)) for key in jax.random.split(KEY))
    for bijection, exact in ((repeated, True), (pf.Chain([one, two]), False)):
        hessians = np.asarray(mixed_derivatives(pf.Flow(pf.StandardNormal((4,)), bijection), x))
        apart = ~moral(CHAIN)
        assert np.all(np.any(hessians != 0, axis=0)[moral(CHAIN)])
        assert np.all(hessians[:, apart] == 0) == exact


def test_linear_gaussian_network_by_its_closed_form() -> None:
    """A collider with known coefficients, whose joint density is a normal's."""
    layer = build(COLLIDER, pf.AdditiveMap(), width=1)
    out = np.zeros(layer.conditioner.out_weight.shape)
    out[0, 1, -4:-1] = [-0.7, 0.0, 1.3]  # the direct weights: x1 = 0.7 x0 - 1.3 x2 + noise
    layer = eqx.tree_at(lambda layer: layer.conditioner.out_weight, layer, jnp.asarray(out))
    flow = pf.Flow(pf.StandardNormal((3,)), pf.Invert(layer))
    mix = np.array([[1.0, 0, 0], [0.7, 1, -1.3], [0, 0, 1]])
    x = RNG.standard_normal((20, 3))
    expected = stats.multivariate_normal.logpdf(x, None, mix @ mix.T)  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("adjacency", "passes"),
    [(CHAIN, 4), (EMPTY, 1), (np.kron(np.eye(5), edges(2, [(0, 1)])) > 0, 2)],
    ids=["chain", "empty", "five pairs"],
)
def test_a_sample_takes_as_many_passes_as_the_graph_is_deep(adjacency: np.ndarray, passes: int) -> None:
    calls = []

    class Counting(AbstractScalarMap):
        n_params: int = 1
        traits: pf.Traits = pf.Traits()

        def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
            return x + params[0], jnp.zeros_like(x)

        def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
            jax.debug.callback(lambda: calls.append(1))
            return y - params[0], jnp.zeros_like(y)

    layer = build(adjacency, Counting())
    assert layer.n_passes == passes
    assert layer.traits.inverse == ("parallel" if passes == 1 else "sequential")
    x, condition = rows(adjacency)
    condition = None if condition is None else condition[:, 0]
    y = layer.forward(x[:, 0], condition)
    back = layer.inverse(y, condition)
    jax.effects_barrier()
    assert len(calls) == passes
    np.testing.assert_allclose(back, x[:, 0], rtol=1e-12, atol=1e-12)


def test_infinite_variables_leave_others_alone() -> None:
    """An unbounded value at a child, of the wrong parameters of an early pass, must not reach what is right already."""
    layer = build(CHAIN, pf.AffineMap())
    y = jnp.array([1e300, 1e300, 0.5, -1e300])  # the root is variable 2
    x = layer.inverse(y)
    assert np.isfinite(x[2])
    assert not np.isnan(x).any()


def test_graph_of_a_full_order_and_its_levels() -> None:
    order = np.tril(np.ones((5, 5), bool), -1)
    graph = Graph.of("test", order.astype(int))
    np.testing.assert_array_equal(graph.parents(), order)
    assert graph.levels().tolist() == [0, 1, 2, 3, 4]
    assert graph.depth == 5
    assert len(graph.sets()) == 4
    assert Graph.of("test", order, 2).parents()[:, 5:].all()  # a condition without columns reaches all
    assert Graph.of("test", CHAIN).levels().tolist() == [1, 3, 0, 2]
    assert [Graph.of("test", g).depth for g in (FORK, COLLIDER, EMPTY)] == [2, 2, 1]
    assert Graph.of("test", ROOTED, 2).depth == 3


def test_float32_stays_float32() -> None:
    layer = cast(build(CHAIN, pf.AffineMap()), jnp.float32)
    x = jnp.ones(4, jnp.float32)
    assert jax.eval_shape(layer.forward, x).dtype == jax.eval_shape(layer.inverse, x).dtype == jnp.float32


@pytest.mark.parametrize(
    ("adjacency", "options", "match"),
    [
        (edges(4, [(1, 3), (3, 2), (2, 1), (0, 1)]), {}, r"without cycles, got 1 <- 3 <- 2 <- 1"),
        ([[1]], {}, "without cycles, got 0 <- 0"),
        (np.zeros((2, 3)), {}, r"adjacency \(dim, dim\), got shape \(2, 3\)"),
        (np.zeros((2, 3), bool), {"cond_shape": (2,)}, r"\(dim, dim \+ 2\), got shape \(2, 3\)"),
        (np.zeros(3, bool), {}, "shape"),
        ([[0], [0, 1]], {}, "shape"),
        ([[0, 0], [2, 0]], {}, "booleans, or 0 and 1"),
        (np.zeros((2, 2)), {}, "booleans, or 0 and 1, got float64"),
        (EMPTY, {"width": 0}, "GraphMADE: expected width"),
        (EMPTY, {"depth": 0}, "GraphMADE: expected depth"),
        (EMPTY, {"activation": "swoosh"}, "expected one of relu"),
    ],
)
def test_errors(adjacency: Any, options: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        GraphMADE(KEY, adjacency, 2, **options)


def test_missing_condition_and_wrong_number_of_parameters() -> None:
    net = GraphMADE(KEY, EMPTY, 2, cond_shape=(2,))
    with pytest.raises(ValueError, match="expected a condition"):
        net(jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match="n_params=1"):
        GraphAutoregressive(net, pf.AdditiveMap())
