"""Flows of the zoo along a graph: their independences, their errors, and the option on its way through files."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from cases.graph import CHAIN, edges
from pushforward._types import Array
from pushforward.cli.flags import _plain
from pushforward.io.fit_options import FitOptions, options_of
from pushforward.tables.modelling.build import make_recipe
from pushforward.tables.modelling.records import FlowArguments
from pushforward.testing import randomise

KEY = jax.random.key(3)
SMALL: dict[str, Any] = {"n_layers": 2, "width": 8, "depth": 1, "linear": None}
# 0 -> 1 <- 2 -> 3, and the condition reaches 3 alone.
NETWORK = edges(4, [(1, 0), (1, 2), (3, 2), (3, 4)], 1)


@eqx.filter_jit
def tour(flow: pf.Flow, condition: Array) -> tuple:
    x, log_prob = flow.sample_and_log_prob(KEY, (5,), condition)

    def latents(both: Array) -> Array:
        return flow.encode(both[:4], both[4:])

    by_input = jax.vmap(jax.jacrev(latents))(jnp.concatenate([x, jnp.broadcast_to(condition, (5, 1))], axis=1))
    return log_prob, flow.log_prob(x, condition), jnp.any(by_input != 0, axis=0)


@pytest.mark.parametrize("name", ["maf", "nsf"])
def test_a_flow_along_a_graph(name: str) -> None:
    own: dict[str, Any] = {"activation": "softplus", "actnorm": True, "adjacency": NETWORK}
    own |= {"autoregressive": True, "bins": 3} if name == "nsf" else {}
    flow = randomise(pf.flows.ZOO[name](KEY, dim=4, condition_dim=1, **SMALL, **own), KEY)
    log_prob, again, pattern = tour(flow, jnp.array([0.3]))
    np.testing.assert_allclose(again, log_prob, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(pattern, NETWORK | np.eye(4, 5, dtype=bool))


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("maf", {"linear": "reverse"}, "maf: expected linear=None together with an adjacency, got 'reverse'"),
        ("maf", {"dim": 3}, "maf: expected an adjacency of 3 rows"),
        ("maf", {"adjacency": np.ones((4, 4), int)}, "without cycles"),
        ("maf", {"n_layers": 0}, "maf: expected n_layers"),
        ("nsf", {"autoregressive": False, "linear": "lu"}, "nsf: adjacency has no effect with autoregressive=False"),
        (
            "maf",
            {"base": pf.Mixture([pf.StandardNormal((4,))] * 2)},
            "independent coordinates: DiagonalNormal, Standard",
        ),
        ("nsf", {"autoregressive": True, "linear": "lu"}, "linear=None"),
    ],
)
def test_errors(name: str, options: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        pf.flows.ZOO[name](KEY, **{"dim": 4, "adjacency": CHAIN, **SMALL, **options})


def test_the_option_in_flags_settings_and_files() -> None:
    rows = [[0, 0], [1, 0]]
    info = next(info for _, key, info in options_of() if key == "adjacency")
    assert _plain("[[0, 0], [1, 0]]", info) == rows
    assert FitOptions.gather(settings=["flow.adjacency=[[0, 0], [1, 0]]"]).flow.adjacency == rows
    assert FlowArguments.model_validate({"adjacency": rows}).given() == {"adjacency": rows}
    with pytest.raises(ValueError, match="adjacency"):
        FlowArguments.model_validate({"adjacency": [[0, 2]]})


def test_the_estimator_mixes_nothing_along_a_graph() -> None:
    recipe = make_recipe("maf", "normal", {"adjacency": np.eye(2, k=-1, dtype=bool)}, 100)
    assert recipe.arguments["linear"] is None
    assert recipe.arguments["adjacency"] == [[False, False], [True, False]]
    assert make_recipe("maf", "normal", {}, 100).arguments["linear"] == "lu"
    assert pf.flows.ENTRIES["nsf"].arguments({"adjacency": CHAIN})["linear"] is None
