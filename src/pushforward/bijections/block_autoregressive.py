r"""The block neural autoregressive layer: one masked network is the map, monotone in each coordinate."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, check_int
from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.nets.base import limit_input, uniforms
from pushforward.numerics.bounded import soft_clamp
from pushforward.numerics.product import dense, matrix_product
from pushforward.numerics.root import solve_increasing

# Bound on the logs of the positive weights, before their rows are normalised, and of the gains of the rows: products
# of a few layers then stay within float32.
MAX_LOG_WEIGHT = 8.0
MAX_LOG_GAIN = 4.0
# Bound on the residual's logit. The residual's share of the slope, the only one left in the tails, stays above 1 / 150.
MAX_GATE = 5.0
# New units bend at different places: their biases are uniform within this many standard deviations of an input.
BIAS_SCALE = 2.0
MAX_SIZE = 4096


class _Layer(NamedTuple):
    """The weights of a layer, in which a coordinate's `out` units see its own `n_in` units and all earlier ones."""

    log_positive: Array  # (dim, out, n_in)
    free: Array  # (dim, out, (dim - 1) * n_in), masked
    bias: Array  # (dim, out)


def _log_tanh_slope(u: Array) -> Array:
    r"""$\log(1 - \tanh^2 u)$, for any `u`."""
    size = jnp.abs(u)
    return 2 * (math.log(2) - size - jnp.log1p(jnp.exp(-2 * size)))


def _log_product(log_weights: Array, log_slopes: Array) -> Array:
    """The log of a product of positive matrices, `(..., o, i)` by `(..., i, n)`: a sum of exponentials, shifted."""
    top = jax.lax.stop_gradient(jnp.max(log_slopes, axis=-2, keepdims=True))
    return top + jnp.log(jnp.exp(log_weights) @ jnp.exp(log_slopes - top))


class BlockAutoregressive(AbstractBatchedBijection):
    r"""$y_i = (1 - \alpha_i)\,x_i + \alpha_i\,N_i(x_{\le i}; c)$ with a network $N$ of `depth` hidden layers of tanh.

    Each coordinate has `width` units in each layer. Weights between units of the same coordinate are positive, weights
    to units of earlier coordinates are 0, and all others are free: so $N_i$ increases in $x_i$, and the Jacobian is
    triangular. Rows of weights are normalised and given a gain. The diagonal of the Jacobian is a product of positive
    blocks, whose logs are accumulated. A network of tanh alone is bounded; the residual term makes the map onto R, and
    keeps its slope positive even where the network saturates.

    A condition passes through one hidden layer and shifts the units of every layer.

    Args:
        key: JAX key for the initial weights.
        dim: length of an event.
        width: Number of units per hidden layer and coordinate.
        depth: number of hidden layers, 1 or more.
        cond_shape: shape of the condition, None if unconditional.
        cond_width: Number of units of the condition's hidden layer.

    Cost:
        forward one pass, $O(\text{depth} \cdot (\text{dim} \cdot \text{width})^2)$ per event. The inverse
        searches one coordinate after the other, in one `lax.scan`. Units of earlier coordinates are computed once, so
        that all steps together cost one pass; each of the six to ten evaluations of a search costs only the blocks of
        its coordinate, $O(\text{depth} \cdot \text{width}^2)$. Log-det exact.

    Raises:
        ValueError: a size is out of bounds.

    Source: De Cao, Titov, Aziz, 2019, eq. 8-16, arXiv 1904.04676.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> layer = pf.bijections.BlockAutoregressive(jax.random.key(0), 2)
        >>> x = jnp.array([0.3, -1.0])
        >>> bool(jnp.allclose(layer.inverse(layer.forward(x)), x, atol=1e-5))
        True
    """

    log_positive: tuple[Array, ...]  # (dim, out, n_in) by layer, unbounded and not normalised
    free: tuple[Array, ...]  # (dim - 1, out, dim - 1, n_in) by layer: to all but the first from all but the last
    log_gain: tuple[Array, ...]  # (dim, out)
    bias: tuple[Array, ...]  # (dim, out)
    gate: Array  # (dim,): the logit of alpha
    cond_weight: Array | None  # (cond_width, n_cond + 1)
    cond_out_weights: tuple[Array, ...]  # (dim, out, cond_width) by layer, () if unconditional
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        *,
        width: int = 8,
        depth: int = 2,
        cond_shape: Shape | None = None,
        cond_width: int = 32,
    ):
        name = "BlockAutoregressive"
        dim = check_int(name, "dim", dim, 1)
        width = check_int(name, "width", width, 1, MAX_SIZE)
        depth = check_int(name, "depth", depth, 1, MAX_SIZE)
        cond_width = check_int(name, "cond_width", cond_width, 1, MAX_SIZE)
        sizes = [1, *[width] * depth, 1]
        pairs = list(itertools.pairwise(sizes))
        n_layers, n_cond = len(pairs), 0 if cond_shape is None else math.prod(cond_shape)
        shapes: list[Shape] = [(dim, out, n_in) for n_in, out in pairs]
        shapes += [(dim - 1, out, dim - 1, n_in) for n_in, out in pairs]
        shapes += [(dim, out) for _, out in pairs]
        shapes += [(cond_width, n_cond + 1)] + [(dim, out, cond_width) for _, out in pairs]
        draws = uniforms(as_key(name, key), shapes)
        self.log_positive = tuple(draws[:n_layers])
        fans = [math.sqrt(max(dim - 1, 1) * n_in) for n_in, _ in pairs]
        self.free = tuple(draw / fan for draw, fan in zip(draws[n_layers : 2 * n_layers], fans, strict=True))
        *hidden, last = draws[2 * n_layers : 3 * n_layers]
        self.bias = (*[BIAS_SCALE * draw for draw in hidden], jnp.zeros_like(last))
        self.log_gain = tuple(jnp.zeros((dim, out)) for _, out in pairs)
        self.gate = jnp.zeros(dim)
        conditional = cond_shape is not None
        self.cond_weight = draws[3 * n_layers] / math.sqrt(n_cond + 1) if conditional else None
        rest = draws[3 * n_layers + 1 :] if conditional else []
        self.cond_out_weights = tuple(draw / math.sqrt(cond_width) for draw in rest)
        self.in_shape = self.out_shape = (dim,)
        self.cond_shape, self.traits = cond_shape, Traits(inverse="iterative")

    def _layers(self) -> list[_Layer]:
        """The weights of each layer, masked, bounded and normalised."""
        dim = self.in_shape[0]
        # Row 0 of `free` belongs to coordinate 1, which sees coordinate 0: the triangle holds its diagonal.
        mask = np.tril(np.ones((dim - 1, dim - 1), bool))[:, None, :, None]
        layers = []
        for raw, free, gain, bias in zip(self.log_positive, self.free, self.log_gain, self.bias, strict=True):
            raw = soft_clamp(raw, MAX_LOG_WEIGHT)
            free = jnp.where(mask, free, 0).reshape(dim - 1, free.shape[1], (dim - 1) * free.shape[3])
            free = jnp.concatenate([jnp.zeros((1, *free.shape[1:]), free.dtype), free])
            square = jnp.sum(jnp.exp(2 * raw), axis=-1) + jnp.sum(free**2, axis=-1)
            log_scale = soft_clamp(gain, MAX_LOG_GAIN) - 0.5 * jnp.log(square)
            layers.append(_Layer(raw + log_scale[..., None], free * jnp.exp(log_scale)[..., None], bias))
        return layers

    def _from_condition(self, condition: Array | None, n: int) -> list[Array]:
        """What the condition adds to the units of each layer, `(dim, out, n)`."""
        if self.cond_weight is None or condition is None:
            return [jnp.zeros((*bias.shape, 1), bias.dtype) for bias in self.bias]
        features = jnp.tanh(dense(self.cond_weight, limit_input(condition.reshape(self.cond_weight.shape[1] - 1, n))))
        return [_mix(weight, features) for weight in self.cond_out_weights]

    def _gates(self) -> tuple[Array, Array]:
        r"""$\log(1 - \alpha)$ and $\log \alpha$."""
        gate = soft_clamp(self.gate, MAX_GATE)
        return jax.nn.log_sigmoid(-gate), jax.nn.log_sigmoid(gate)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dim, n = x.shape
        layers, shifts = self._layers(), self._from_condition(condition, n)
        # Any function of the earlier coordinates is valid, also a clipped one: 1e30 in one must not drown the others.
        others, units, log_slope = limit_input(x)[:, None, :], x[:, None, :], jnp.zeros((dim, 1, n), x.dtype)
        for number, (layer, shift) in enumerate(zip(layers, shifts, strict=True)):
            shift = shift + layer.bias[..., None] + _mix(layer.free, others[:-1])
            units, log_slope = _apply(layer.log_positive, shift, units, log_slope, number == len(layers) - 1)
            others = units
        y, log_slope = _with_residual(x, units[:, 0], log_slope[:, 0], *(log[:, None] for log in self._gates()))
        return y, jnp.sum(log_slope, axis=0)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dim, n = y.shape
        layers, shifts = self._layers(), self._from_condition(condition, n)
        dtype = jnp.result_type(y, self.gate)
        # Units of the coordinates found so far, by layer; the weights to the others are 0.
        known = [jnp.zeros((dim, layer.log_positive.shape[-1], n), dtype) for layer in layers]

        def step(carry: tuple, inputs: tuple) -> tuple[tuple, Array]:
            known, total = carry
            i, y_i, own, own_shifts, gates = inputs
            fixed = [
                shift + layer.bias[:, None] + _mix(layer.free, units[:-1])
                for layer, shift, units in zip(own, own_shifts, known, strict=True)
            ]

            def run(x: Array) -> tuple[Array, Array, list[Array]]:
                units, log_slope, kept = x[None], jnp.zeros((1, n), dtype), [limit_input(x)[None]]
                for number, (layer, shift) in enumerate(zip(own, fixed, strict=True)):
                    units, log_slope = _apply(layer.log_positive, shift, units, log_slope, number == len(own) - 1)
                    kept.append(units)
                return *_with_residual(x, units[0], log_slope[0], *gates), kept[:-1]

            # In the tails the slope is the residual's.
            guess = (y_i - run(jnp.zeros_like(y_i))[0]) * jnp.exp(-gates[0])
            x = solve_increasing(lambda x: run(x)[:2], y_i, guess).x
            _, log_slope, kept = run(x)
            known = [
                jax.lax.dynamic_update_index_in_dim(all_, new, i, 0) for all_, new in zip(known, kept, strict=True)
            ]
            return (known, total - log_slope), x

        inputs = (jnp.arange(dim), y.astype(dtype), layers, shifts, self._gates())
        (_, log_det), x = scan(step, (known, jnp.zeros(n, dtype)), inputs)
        return x, log_det


def _mix(weights: Array, x: Array) -> Array:
    """The product of weights `(..., out, k)` and `x`, whose axes but the last hold k numbers, as one matrix product."""
    # The sizes are written in full because there may be no earlier coordinate, and no row.
    *outs, k = weights.shape
    return matrix_product(weights.reshape(math.prod(outs), k), x.reshape(k, x.shape[-1])).reshape(*outs, x.shape[-1])


def _apply(log_positive: Array, shift: Array, units: Array, log_slope: Array, last: bool) -> tuple[Array, Array]:
    """A layer's units `(..., out, n)`, and the log of their derivatives by the coordinate they belong to."""
    units = jnp.exp(log_positive) @ units + shift
    log_slope = _log_product(log_positive, log_slope)
    return (units, log_slope) if last else (jnp.tanh(units), log_slope + _log_tanh_slope(units))


def _with_residual(x: Array, net: Array, log_slope: Array, log_rest: Array, log_share: Array) -> tuple[Array, Array]:
    y = jnp.exp(log_rest) * x + jnp.exp(log_share) * net
    return y, jnp.logaddexp(log_rest, log_share + log_slope)
