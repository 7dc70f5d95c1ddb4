"""Contractive residual layers (i-ResNets and Residual Flows), their certificates, and the form used for scoring."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._parts import parts
from pushforward._types import Array, PRNGKeyArray, PyTree, Shape, Traits, is_array
from pushforward.bijections.base import AbstractSolvedBijection, SolvedRows
from pushforward.nets.lipschitz import AbstractContraction
from pushforward.numerics.fixed_point import AbstractFixedPoint, PlainIteration, solve_contraction
from pushforward.numerics.log_det_series import AbstractLogDet, ExactLogDet, Truncated
from pushforward.numerics.trace_estimators import Hutchinson

# Up to this many dimensions scoring takes whole Jacobians: 64 x 64 numbers for each row of a chunk.
MAX_EXACT_DIM = 64
# Beyond that, scoring takes series of this many terms, and this many fixed probes.
EVALUATION_TERMS, EVALUATION_PROBES = 40, 16


class Residual(AbstractSolvedBijection):
    r"""$y = x + g(x; c)$ for a contraction $g$, $\operatorname{Lip}(g) \le L < 1$.

    The inverse is the fixed point of $x \mapsto y - g(x)$, found row by row to a bound on its error; a row whose search
    fails is NaN. Derivatives of the inverse are implicit, of every order.

    Args:
        net: The contraction $g$, such as `LipschitzMLP` or `LipschitzConvNet`.
        log_det: How the log-determinant is computed: `ExactLogDet()` (the whole Jacobian), `Truncated(n_terms, trace)`
            (i-ResNet; biased), or `RussianRoulette(...)` (Residual Flow; unbiased, random).
        solver: The iteration that computes the inverse, `PlainIteration()` or `Anderson()`.

    Cost: forward one evaluation of $g$ and the cost of `log_det`; the inverse more evaluations the less $g$ contracts.

    Log-det: as exact as `log_det` says.

    Raises:
        TypeError: `net` is not a contraction.

    Source: Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019, theorem 1, arXiv 1811.00995; Chen, Behrmann, Duvenaud,
        Jacobsen, 2019, arXiv 1906.02735.

    Example:
        >>> import jax, pushforward as pf
        >>> layer = pf.bijections.Residual(pf.nets.LipschitzMLP(jax.random.key(0), 2, width=8))
        >>> y = layer.forward(jax.numpy.array([1.0, -2.0]))
        >>> layer.inverse(y).round(4).tolist()
        [1.0, -2.0]
    """

    net: AbstractContraction
    log_det: AbstractLogDet
    solver: AbstractFixedPoint
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self, net: AbstractContraction, log_det: AbstractLogDet | None = None, solver: AbstractFixedPoint | None = None
    ):
        if not isinstance(net, AbstractContraction):
            fix = "Use LipschitzMLP or LipschitzConvNet: for other functions x + g(x) need not be invertible."
            raise TypeError(message("Residual", "a contraction", type(net).__name__, fix))
        self.net, self.solver = net, PlainIteration() if solver is None else solver
        self.log_det = ExactLogDet() if log_det is None else log_det
        self.in_shape = self.out_shape = net.shape
        self.cond_shape = net.cond_shape
        self.traits = Traits(
            forward="iterative" if self.log_det.loops else "parallel",
            inverse="iterative",
            log_det=self.log_det.exactness,
            needs_key=self.log_det.needs_key,
        )

    def _function(self, x: Array, condition: Array | None) -> tuple[Callable[[Array, PyTree], Array], PyTree, Array]:
        """The function $g$ of the event and of the arrays that implicit rules differentiate by, with its arguments.

        These arrays and the event are in one floating type, because a loop must end with the types it started with.
        """
        arrays, static = eqx.partition(self.net.at(condition), is_array)
        real, others = eqx.partition(arrays, lambda leaf: jnp.issubdtype(leaf.dtype, jnp.inexact))
        dtype = jnp.result_type(x, *jax.tree.leaves(real))
        arrays = eqx.combine(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), real), others)
        return lambda x, arguments: eqx.combine(arguments, static)(x), arrays, x.astype(dtype)

    def report(self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool) -> SolvedRows:
        """Run rows on the last axis in one direction; the inverse reports the evaluations that the slowest row took.

        Args:
            value: Events, rows on the last axis, `(*shape, n)`.
            condition: Conditions of the rows, `(*cond_shape, n)`; None if and only if the layer is unconditional.
            keys: JAX keys, one per row, `(n,)`; None iff the log-determinant is not random.
            forward: Whether to compute $x + g(x)$, which takes no solve, or its inverse.
        """
        function, arguments, value = self._function(value, condition)
        none = jnp.zeros(value.shape[-1:], int)
        if forward:
            moved, log_det = self.log_det(function, value, arguments, keys)
            return SolvedRows(value + moved, log_det, none, none > 0)
        found = solve_contraction(function, value, arguments, self.net.lipschitz, self.solver)
        log_det = self.log_det(function, found.x, arguments, keys)[1]
        # The Jacobian of a linear g does not depend on x, and would be finite where no x was found.
        return SolvedRows(found.x, jnp.where(found.converged, -log_det, jnp.nan), none + found.steps, ~found.converged)


def residual_layers(model: Any) -> list[Residual]:
    """The contractive layers of a bijection or distribution; those of a `Scan` are one layer with stacked arrays."""
    return [part for part in parts(model) if isinstance(part, Residual)]


@dataclass(frozen=True)
class Certificate:
    """Bounds on the contractions in a model, as plain numbers that are stored with it.

    Args:
        lipschitz_bound: The largest bound of all layers, computed from the weights in float64; 0 without layers.
        promised: The largest bound that the networks promise whatever their weights; the inverse relies on it.
        holds: Whether no bound exceeds what its layer promises, and all are below 1.
    """

    lipschitz_bound: float
    promised: float
    holds: bool


def certificate(model: Any) -> Certificate:
    """The certificate of all contractive layers of a bijection or distribution, computed from their weights.

    Dense layers are certified by the singular values of their weights, convolutions by those of their Fourier
    transform on a torus that holds them; power iterations are not relied on.
    """
    layers = [(layer.net.certified(), layer.net.lipschitz) for layer in residual_layers(model)]
    bound = max((found for found, _ in layers), default=0.0)
    promised = max((promise for _, promise in layers), default=0.0)
    return Certificate(bound, promised, all(found <= promise < 1 for found, promise in layers))


def evaluation_log_det(layer: Residual) -> AbstractLogDet:
    """The log-determinant for scoring: the layer's own if deterministic, else exact or a series of fixed probes."""
    if not layer.traits.needs_key:
        return layer.log_det
    if math.prod(layer.in_shape) <= MAX_EXACT_DIM:
        return ExactLogDet()
    return Truncated(EVALUATION_TERMS, Hutchinson(EVALUATION_PROBES, seed=0))
