"""The conditional flows of simulation-based inference: on a cube for parameters with bounds, else of the zoo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._types import PRNGKeyArray, Shape
from pushforward.bijections import Autoregressive, Chain, EmbedCondition, Invert, Permutation, Scan
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.gaussian_start import GaussianStart, gaussian_of
from pushforward.distributions import Flow, UniformBox
from pushforward.distributions.ensemble import Ensemble, ensemble_like
from pushforward.distributions.scoring_form import evaluation_form
from pushforward.flows import ENTRIES
from pushforward.flows.registry import make
from pushforward.inference.interval_map import HALF_WIDTH, IntervalMap
from pushforward.nets import MADE

# Rounding may carry a number this far beyond the cube, as a share of its width.
ROUNDING = 1e-6
# Sizes of the flow on the cube, and of `nsf` on the line, that held-out simulations of four simulators chose (two
# bounded, two not; none of them is among the tasks of `benchmarks/sbi.py`).
CUBE: Mapping[str, Any] = {"n_layers": 3, "bins": 12, "width": 256, "depth": 1}
LINE: Mapping[str, Mapping[str, Any]] = {"nsf": {"n_layers": 3, "bins": 4, "width": 160}}
# Learning rates on the cube and on the line, likewise.
CUBE_RATE, LINE_RATE = 2e-3, 1e-3
# Builders of flows that are trained by likelihood and cheap enough to be trained several times.
CHEAP = ("coupling", "autoregressive", "arranged")


def on_cube(flow: str) -> bool:
    """Whether a flow of that name lives on a cube where the prior has bounds."""
    return flow == "nsf"


def check_flow(name: str, flow: str) -> str:
    """The name of a flow that can be a posterior.

    Raises:
        ValueError: The zoo has no such flow of a conditional density on the line.
    """
    entries = sorted(key for key, entry in ENTRIES.items() if entry.space == "line")
    if flow not in entries:
        raise ValueError(message(name, f"flow one of {', '.join(entries)}", repr(flow), "The usual is 'nsf'."))
    return flow


def cube_flow(key: PRNGKeyArray, dim: int, condition_dim: int, options: Mapping[str, Any]) -> Flow:
    r"""Autoregressive `IntervalMap`s between random permutations, over a uniform base on $[-\sqrt3, \sqrt3]^d$.

    Args:
        key: JAX key.
        dim: Number of parameters.
        condition_dim: Length of the condition.
        options: Among `n_layers`, `bins`, `width` and `depth`, where they differ from `CUBE`.

    Raises:
        ValueError: An option is of another name.
    """
    unknown = sorted(set(options) - set(CUBE))
    if unknown:
        fix = f"With bounds, nsf takes {', '.join(CUBE)}."
        raise ValueError(message("NPE", "options of the flow on a cube", ", ".join(unknown), fix))
    o = {**CUBE, **options}
    own = IntervalMap(o["bins"])

    def layer(key: PRNGKeyArray) -> AbstractBijection:
        net_key, order_key = jax.random.split(key)
        sizes: dict[str, Any] = {"width": o["width"], "depth": o["depth"], "residual": True, "activation": "silu"}
        net = MADE(net_key, dim, own.n_params, cond_shape=(condition_dim,), **sizes)
        return Chain([Invert(Autoregressive(net, own)), Permutation.random(order_key, dim)])

    edge = HALF_WIDTH * (1 + ROUNDING)
    build = eqx.filter_jit(lambda key: Scan.of(layer, key, n_layers=o["n_layers"]))
    return Flow(UniformBox(-edge, edge, (dim,)), build(key))


class Blueprint:
    """What the members of an ensemble of posteriors are built from.

    Args:
        flow: Name of the flow in the zoo.
        dim: Number of parameters.
        x_shape: Shape of what the network sees of an observation.
        cube: Whether the parameters live on the cube.
        options: Options of the flow that differ from the defaults.
        embedding: Network from one observation to a vector, or None; `x_shape` then has one axis.
    """

    def __init__(
        self, flow: str, dim: int, x_shape: Shape, *, cube: bool, options: Mapping[str, Any], embedding: Any = None
    ):
        self.flow, self.dim, self.x_shape, self.cube, self.options = flow, dim, tuple(x_shape), cube, dict(options)
        self.embedding = embedding
        self.condition_dim = self.x_shape[0] if embedding is None else self._embedded()
        self.learning_rate = CUBE_RATE if cube else LINE_RATE
        # A linear regression is the start where both sides are vectors on the line.
        self.starts = not cube and embedding is None and ENTRIES[flow].builder in CHEAP

    def _embedded(self) -> int:
        if not callable(self.embedding):
            fix = "Pass an Equinox module from one observation to a vector."
            raise TypeError(message("NPE", "embedding a callable", type(self.embedding).__name__, fix))
        one = jax.ShapeDtypeStruct(self.x_shape, jnp.result_type(float))
        found = eqx.filter_eval_shape(self.embedding, one)
        shape = getattr(found, "shape", None)
        if shape is None or len(shape) != 1:
            fix = "Flatten its output."
            got = f"{shape} for observations of shape {self.x_shape}"
            raise ValueError(message("NPE", "embedding with a vector as output", got, fix))
        return int(shape[0])

    def member(self, key: PRNGKeyArray) -> Flow:
        """An untrained member, whose start is not yet set."""
        if self.cube:
            built = cube_flow(key, self.dim, self.condition_dim, self.options)
        else:
            sizes = {"dim": self.dim, "condition_dim": self.condition_dim}
            built = make(self.flow, key, {**sizes, **LINE.get(self.flow, {}), **self.options})
        bijection = built.bijection
        if self.embedding is not None:
            bijection = EmbedCondition(bijection, self.embedding, self.x_shape)
        if self.starts:
            bijection = Chain([bijection, GaussianStart(self.dim, self.condition_dim)])
        return Flow(built.base, bijection)

    def started(self, members: Sequence[Flow], w: np.ndarray, x: np.ndarray) -> list[Flow]:
        """The members that begin as the linear regression of all rows, if they begin so."""
        if not self.starts or len(w) < 2 * (self.dim + self.condition_dim):
            return list(members)
        rows, seen = (jnp.asarray(part.T, float) for part in (w, x))
        start = gaussian_of(GaussianStart(self.dim, self.condition_dim), rows, seen)
        return [eqx.tree_at(lambda flow: flow.bijection.bijections[-1], member, start) for member in members]


def template_of(blueprint: Blueprint, members: Any) -> Ensemble:
    """The shapes of the weights of a trained ensemble, for a folder's weights."""
    member = evaluation_form(eqx.filter_eval_shape(blueprint.member, jax.random.key(0)))
    return ensemble_like(member, int(members))
