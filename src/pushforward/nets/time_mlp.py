"""Networks of time and state: the velocity of a flow, the score of a diffusion."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import (
    activation_of,
    check_sizes,
    hidden_layer,
    join_condition,
    limit_input,
    output_layer,
    size_of,
    uniforms,
)
from pushforward.numerics.product import dense, matrix_product

Mixing = Literal["concat", "concatsquash", "film"]
MIXINGS: tuple[Mixing, ...] = get_args(Mixing)
# Numbers of hidden layers for which the trace of the Jacobian has a closed form that costs one more product.
CLOSED_DEPTHS = (1, 2)


def embed_time(t: Array, n_frequencies: int) -> Array:
    r"""The embedding $(t, \cos \pi k t, \sin \pi k t)$ for $k = 1, \dots$, `(1 + 2 n_frequencies, *t.shape)`."""
    angles = jnp.pi * jnp.arange(1, n_frequencies + 1, dtype=t.dtype).reshape(-1, *[1] * t.ndim) * t
    return jnp.concatenate([t[None], jnp.cos(angles), jnp.sin(angles)])


@dataclass(frozen=True)
class Timed:
    r"""The inputs of a network of time and state, and how time enters its layers, by $e(t)$ of `embed_time`.

    Args:
        name: Name of the network, for messages.
        dim: Length of the state.
        cond_shape: Shape of the condition, None if there is none.
        mixing: How time enters, `"concat"`, `"concatsquash"` or `"film"`.
        n_frequencies: Number of frequencies in the time embedding.
        activation: Name of the activation.

    Raises:
        ValueError: A size is out of bounds, or a name unknown.
    """

    name: str
    dim: int
    cond_shape: Shape | None
    mixing: Mixing
    n_frequencies: int
    activation: str

    def __post_init__(self):
        check_sizes(self.name, dim=self.dim)
        check_int(self.name, "n_frequencies", self.n_frequencies, 0)
        if self.mixing not in MIXINGS:
            expected = f"mixing to be one of {', '.join(MIXINGS)}"
            raise ValueError(message(self.name, expected, repr(self.mixing), "Choose one of them."))
        activation_of(self.activation)

    @property
    def n_in(self) -> int:
        """The length of state and condition."""
        return self.dim + size_of(self.cond_shape)

    @property
    def n_time(self) -> int:
        """The length of the embedding of time."""
        return 1 + 2 * self.n_frequencies

    def inputs(self, t: Array, x: Array, condition: Array | None) -> tuple[Array, Array]:
        """The embedding of time, `(n_time,)` or with rows, and event and condition as one vector.

        The condition is clipped. The event is not, because the trace in closed form does not account for a clip.

        Raises:
            ValueError: The condition is missing.
        """
        t = jnp.asarray(t, x.dtype)
        embedded = embed_time(t, self.n_frequencies)
        embedded = embedded[:, None] if t.ndim == 0 and x.ndim == 2 else embedded
        limited = None if condition is None else limit_input(jnp.asarray(condition))
        return embedded, join_condition(self.name, x, limited, self.cond_shape)

    def weights(self, shifts: Sequence[Array], gates: Sequence[Array]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The first weights of shifts, of which the last is that of the output, and of gates, from uniform numbers."""
        scale = self.n_time**-0.5
        scaled = () if self.mixing == "concat" else tuple(w * scale for w in gates)
        return (*(w * scale for w in shifts[:-1]), output_layer(shifts[-1])), scaled

    def gate(self, gates: Sequence[Array], layer: int, embedded: Array) -> Array | None:
        """The gate of a layer, None if there are no gates."""
        if not gates:
            return None
        gate = gates[layer] @ embedded
        return jax.nn.sigmoid(gate) if self.mixing == "concatsquash" else 1 + gate


class TimeMLP(eqx.Module):
    r"""A network of time and state, $h_{l+1} = \sigma(g_l(t) \odot (W_l h_l + b_l) + s_l(t))$ from $h_0 = [x, c]$.

    Time enters every layer: with $e(t)$ a vector of sines and cosines, the shifts are $s_l = S_l e(t)$ and the gates 1
    (`"concat"`: time as one more input), $\operatorname{sigmoid}(G_l e(t))$ (`"concatsquash"`, of FFJORD) or
    $1 + G_l e(t)$ (`"film"`). The output has a shift and no gate.

    The output is linear in $h$. Networks with smooth activations learn coarse structure first, and fine structure
    hardly at all. Sines in the first layer (`frequency`) are features whose scale is set at the start.

    With one or two hidden layers the trace of the Jacobian has a closed form: with $d_l = g_l \sigma'(\cdot)$,
    $\operatorname{tr} W_3 D_2 W_2 D_1 W_1 = d_2^T [W_2 \odot (W_1 W_3)^T] d_1$, where the matrix in brackets belongs to
    the weights and not to the point.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        dim: length of `x` and of the output.
        width: Number of units per hidden layer.
        depth: number of hidden layers, 1 or more.
        cond_shape: shape of the condition, flattened and joined to `x`; None if unconditional.
        mixing: how time enters, `"concat"`, `"concatsquash"` or `"film"`.
        n_frequencies: Number of frequencies in the time embedding.
        activation: Name of a smooth activation: `"tanh"`, `"softplus"`, `"silu"`, `"gelu"`, `"elu"`.
        frequency: Highest frequency of the sines in the first layer of a new network, in radians per unit of `x`; 0 has
            units like those of the other layers.

    Cost: $O(\text{width}^2)$ per hidden layer; the trace in closed form one more product of that size.

    Shapes:
        time `()` or `(n,)`, `x` of `(dim, n)`, condition `(*cond_shape, n)`; the result is `(dim, n)`.

    Raises:
        ValueError: a size is out of bounds, a name unknown, or the condition missing.

    Source: Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud, 2019, section 4, arXiv 1810.01367 (gates); Perez, Strub,
        de Vries, Dumoulin, Courville, 2018, arXiv 1709.07871 (FiLM); Sitzmann, Martel, Bergman, Lindell, Wetzstein,
        2020, arXiv 2006.09661 (sines).

    Example:
        >>> import jax, pushforward as pf
        >>> net = pf.nets.TimeMLP(jax.random.key(0), 2, width=8)
        >>> net(jax.numpy.array(0.5), jax.numpy.ones((2, 3))).shape
        (2, 3)
    """

    weights: tuple[Array, ...]
    shifts: tuple[Array, ...]
    gates: tuple[Array, ...]
    dim: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    timed: Timed = eqx.field(static=True)
    frequency: float = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        *,
        width: int = 64,
        depth: int = 2,
        cond_shape: Shape | None = None,
        mixing: Mixing = "concat",
        n_frequencies: int = 3,
        activation: str = "silu",
        frequency: float = 0.0,
    ):
        width, depth = check_sizes("TimeMLP", width=width, depth=depth)
        if not frequency >= 0:
            raise ValueError(message("TimeMLP", "frequency >= 0", repr(frequency), "0 is a layer like the others."))
        self.timed = Timed("TimeMLP", dim, cond_shape, mixing, n_frequencies, activation)
        self.dim, self.cond_shape, self.frequency = dim, cond_shape, float(frequency)
        size, sizes = self.timed.n_time, [self.timed.n_in] + [width] * depth
        hidden = [(width, before + 1) for before in sizes[:-1]]
        timed = [(width, size)] * depth
        draws = uniforms(key, [*hidden, (dim, width + 1), *timed, (dim, size), *timed])
        layers, out = draws[:depth], draws[depth]
        hidden = [hidden_layer(w, n) for w, n in zip(layers, sizes, strict=False)]
        if frequency > 0:  # the last column is the bias: any phase
            hidden[0] = layers[0] * jnp.array([self.frequency] * sizes[0] + [math.pi])
        self.weights = (*hidden, output_layer(out))
        self.shifts, self.gates = self.timed.weights(draws[depth + 1 : 2 * depth + 2], draws[2 * depth + 2 :])

    def _activation(self, layer: int) -> Callable[[Array], Array]:
        return jnp.sin if layer == 0 and self.frequency > 0 else activation_of(self.timed.activation)

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        embedded, h = self.timed.inputs(t, x, condition)
        for layer, (weight, shift) in enumerate(zip(self.weights[:-1], self.shifts[:-1], strict=True)):
            pre, gate = dense(weight, h), self.timed.gate(self.gates, layer, embedded)
            h = self._activation(layer)((pre if gate is None else gate * pre) + shift @ embedded)
        return dense(self.weights[-1], h) + self.shifts[-1] @ embedded

    @property
    def has_trace(self) -> bool:
        """Whether the network has `value_and_trace`."""
        return len(self.weights) - 1 in CLOSED_DEPTHS

    def coupling(self) -> Array:
        r"""The matrix of the trace, $W_2 \odot (W_1 W_3)^T$ or $\operatorname{diag}(W_1 W_2)$, made once per solve."""
        first, last = self.weights[0][:, : self.dim], self.weights[-1][:, :-1]
        if len(self.weights) == 2:
            return jnp.sum(first * last.T, axis=1)[None]
        return self.weights[1][:, :-1] * (first @ last).T

    def value_and_trace(self, t: Array, x: Array, condition: Array | None, coupling: Array) -> tuple[Array, Array]:
        """The output, and the trace of its Jacobian in `x`, `(n,)`; arguments as in the call, and `coupling()`."""
        embedded, h = self.timed.inputs(t, x, condition)
        slopes = []
        for layer, (weight, shift) in enumerate(zip(self.weights[:-1], self.shifts[:-1], strict=True)):
            pre, gate = dense(weight, h), self.timed.gate(self.gates, layer, embedded)
            h, slope = jax.jvp(
                self._activation(layer),
                ((pre if gate is None else gate * pre) + shift @ embedded,),
                (jnp.ones_like(pre),),
            )
            slopes.append(slope if gate is None else slope * gate)
        value = dense(self.weights[-1], h) + self.shifts[-1] @ embedded
        moved = matrix_product(coupling.astype(h.dtype), slopes[0])
        return value, jnp.sum(moved if len(slopes) == 1 else slopes[1] * moved, axis=0)
