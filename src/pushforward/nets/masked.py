r"""MADE: a masked network of layers or residual blocks, evaluated in parallel or one dimension after the other.

Hidden unit $j$ has a degree $m_j$ and sees the inputs $1..m_j$; output $i$ sees the units with $m_j < i$, strictly.
Degrees ascend and are spread evenly, so that the units that become computable with input $i$ are neighbours, and each
step of the sequential evaluation computes one short slice of every layer.

With a condition there are units of degree 0, which see the condition alone, so that the first output is as flexible a
function of it as the others; it also enters every output directly. A layer narrower than the number of degrees cannot
have one unit for each degree. Then the last few inputs before each output enter it directly, through a window of
weights, so that no dependence is lost (other implementations silently drop such inputs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import (
    AbstractConditioner,
    activation_of,
    check_sizes,
    features_of,
    flat_condition,
    hidden_layer,
    limit_input,
    output_layer,
    size_of,
    uniforms,
)
from pushforward.numerics.banded import banded_product
from pushforward.numerics.product import dense, dense_output


class Degrees(NamedTuple):
    """The ascending degrees of the hidden units, and sizes that follow from them."""

    hidden: np.ndarray  # (width,)
    starts: np.ndarray  # (dim,): the first unit that becomes computable at each step
    slice_size: int  # the largest number of units that do so at once
    window: int  # number of inputs right before an output that no unit may cover


def degrees_of(dim: int, width: int, conditional: bool) -> Degrees:
    """Evenly spread degrees from 1 to dim - 1, or from 0 with a condition."""
    count = dim if conditional else max(dim - 1, 1)
    hidden = -(-(np.arange(1, width + 1) * count) // width) - (1 if conditional else 0)
    starts = np.searchsorted(hidden, np.arange(dim))
    return Degrees(hidden, starts, int(np.bincount(hidden).max()), 0 if width >= count else -(-count // width))


def through_hidden(
    first: Array, linear: Callable[[int, Array], Array], n_layers: int, *, activation: str, residual: bool
) -> Array:
    """The last hidden activations from the first pre-activations, in layers or in residual blocks of two.

    Args:
        first: pre-activations of the first layer, `(width, n)`.
        linear: Function that applies the weights of layer `n` to the activations before it.
        n_layers: Number of layers after the first.
        activation: Name of the activation function.
        residual: Whether layers form residual blocks of two.
    """
    apply = activation_of(activation)
    if not residual:
        h = apply(first)
        for n in range(n_layers):
            h = apply(linear(n, h))
        return h
    r = first
    for n in range(0, n_layers, 2):
        r = r + linear(n + 1, apply(linear(n, apply(r))))
    return apply(r)


class State(NamedTuple):
    """The state of the sequential evaluation: constant tables, the running first layer, and all activations.

    The activations of each layer end in a row of ones, those of the last also in the condition's rows.
    """

    tables: tuple
    first: Array
    activations: tuple[Array, ...]
    recent: Array


class MADE(AbstractConditioner):
    r"""A masked autoregressive network with `depth` hidden layers, or residual blocks if `residual`.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        dim: number of inputs and of steps.
        n_params: number of outputs per step.
        width: Number of units per hidden layer; fewer than `dim` is allowed and loses no dependence.
        depth: Number of hidden layers, or of residual blocks of two layers if `residual`.
        cond_shape: shape of the condition, None if unconditional.
        residual: Whether hidden layers form residual blocks (ResMADE).
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        features: Features of each input: `"identity"`, or `"circular"` for the cosine and the sine of an angle, with
            which the parameters are continuous functions on the circle.

    Shapes:
        `(dim, n) -> (n_params, dim, n)`, the batch on the last axis

    Cost: one pass in parallel. All `dim` sequential steps together cost about the arithmetic of that one pass.

    Raises:
        ValueError: a size is out of bounds, the activation unknown, or the condition missing.

    Source: Germain, Gregor, Murray, Larochelle, 2015, eq. 9-11, arXiv 1502.03509; Durkan and Nash, 2019 (residual).
    """

    # (width, n_features * dim + 1), first one feature of all inputs, then the next: in each layer the last column is
    # the bias.
    first_weight: Array
    hidden_weights: tuple[Array, ...]  # (width, width + 1)
    out_weight: Array  # (n_params, dim, width + 1)
    window_weight: Array | None  # (n_params, dim, n_features * window), None where units cover all inputs
    cond_weight: Array | None  # (width, n_cond)
    cond_out_weight: Array | None  # (n_params, dim, n_cond)
    n_steps: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    residual: bool = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    features: str = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        n_params: int,
        *,
        width: int = 64,
        depth: int = 2,
        cond_shape: Shape | None = None,
        residual: bool = False,
        activation: str = "relu",
        features: str = "identity",
    ):
        sizes = check_sizes("MADE", dim=dim, n_params=n_params, width=width, depth=depth)
        self.n_steps, self.n_params, width, depth = sizes
        activation_of(activation)
        self.cond_shape, self.residual, self.activation = cond_shape, bool(residual), activation
        self.features, n_features = features, features_of(features).count
        degrees = degrees_of(dim, width, cond_shape is not None)
        n_cond = size_of(cond_shape)
        n_hidden = 2 * depth if residual else depth - 1
        shapes = [
            (width, n_features * dim + 1),
            (n_params, dim, width + 1),
            (width, n_cond + 1),
            (n_params, dim, n_cond + 1),
        ]
        shapes += [(n_params, dim, n_features * degrees.window + 1)] + [(width, width + 1)] * n_hidden
        first, out, cond, cond_out, window, *hidden = uniforms(key, shapes)
        fan_first = n_features * degrees.hidden[:, None] + n_cond
        fan_hidden = np.searchsorted(degrees.hidden, degrees.hidden, side="right")[:, None]
        self.first_weight = hidden_layer(first, fan_first)
        # In a residual block the second layer starts small, so that a deep network starts as its first layer.
        small = [residual and n % 2 == 1 for n in range(n_hidden)]
        pairs = zip(hidden, small, strict=True)
        self.hidden_weights = tuple(output_layer(w) if s else hidden_layer(w, fan_hidden) for w, s in pairs)
        self.out_weight = output_layer(out)
        self.window_weight = output_layer(window)[..., :-1] if degrees.window else None
        conditional = cond_shape is not None
        self.cond_weight = hidden_layer(cond, fan_first)[:, :-1] if conditional else None
        self.cond_out_weight = output_layer(cond_out)[..., :-1] if conditional else None

    def _degrees(self) -> Degrees:
        return degrees_of(self.n_steps, self.first_weight.shape[0], self.cond_shape is not None)

    def _masked(self) -> tuple[Array, tuple[Array, ...], Array]:
        """The weights of the first layer, of the hidden layers and of the output, with their masks applied."""
        degrees, inputs = self._degrees().hidden, np.arange(1, self.n_steps + 1)
        entering = np.tile(inputs, features_of(self.features).count)
        # The last column, the bias, belongs to every unit.
        hidden, degrees_in = jnp.asarray(degrees), jnp.asarray(np.append(degrees, -1))
        first = jnp.where(hidden[:, None] >= jnp.asarray(np.append(entering, -1)), self.first_weight, 0)
        between = tuple(jnp.where(hidden[:, None] >= degrees_in, w, 0) for w in self.hidden_weights)
        return first, between, jnp.where(jnp.asarray(inputs)[:, None] > degrees_in, self.out_weight, 0)

    def _from_condition(self, condition: Array | None) -> tuple[Array, Array] | None:
        """The condition's terms in the first layer, `(width, n)`, and in the output, `(n_params, dim, n)`."""
        if self.cond_weight is None or self.cond_out_weight is None:
            return None
        c = limit_input(flat_condition("MADE", condition, self.cond_shape))
        out = self.cond_out_weight.reshape(-1, c.shape[0]) @ c
        return self.cond_weight @ c, out.reshape(self.n_params, self.n_steps, -1)

    def _hidden(self, first: Array, linear: Callable[[int, Array], Array]) -> Array:
        """The last hidden activations from the first pre-activations; `linear(n, h)` applies hidden layer n."""
        n_layers = len(self.hidden_weights)
        return through_hidden(first, linear, n_layers, activation=self.activation, residual=self.residual)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        first, between, out = self._masked()
        known, features = self._from_condition(condition), features_of(self.features)
        x = features.of(x)
        pre = dense(first, x)
        h = self._hidden(pre if known is None else pre + known[0], lambda n, h: dense(between[n], h))
        params = dense_output(out.reshape(-1, out.shape[-1]), h).reshape(self.n_params, self.n_steps, -1)
        params = params if known is None else params + known[1]
        if self.window_weight is not None:
            # Each feature has one window; all features are 0 where there is no input yet.
            windows = jnp.split(self.window_weight, features.count, axis=-1)
            parts = jnp.split(x, features.count)
            params = params + sum(banded_product(w, part) for w, part in zip(windows, parts, strict=True))
        return params

    def init(self, batch: Shape, condition: Array | None = None) -> State:
        first, between, out = self._masked()
        pre, ones = jnp.broadcast_to(first[:, -1:], (first.shape[0], *batch)), jnp.ones((1, *batch), first.dtype)
        after = [ones]
        if self.cond_weight is not None and self.cond_out_weight is not None:
            c = limit_input(flat_condition("MADE", condition, self.cond_shape))
            pre, after = pre + self.cond_weight @ c, [ones, jnp.broadcast_to(c, (c.shape[0], *batch))]
            out = jnp.concatenate([out, self.cond_out_weight], axis=-1)
        # Entry i belongs to the input that becomes known before step i: input i - 1.
        by_input = [first[:, k * self.n_steps :][:, : self.n_steps] for k in range(features_of(self.features).count)]
        columns = tuple(jnp.concatenate([jnp.zeros_like(w[:, :1]), w[:, :-1]], axis=1).T for w in by_input)
        tables = (columns, between, jnp.swapaxes(out, 0, 1))
        blank = jnp.zeros((first.shape[0], *batch), first.dtype)
        # The bias and the condition are rows that the products take with them: added later, they would be looked up
        # once more by every loop that XLA makes of the scalar map, which then took twice as long.
        n_hidden = len(self.hidden_weights)
        activations = tuple(
            jnp.concatenate([blank, *(after if n == n_hidden else [ones])]) for n in range(n_hidden + 1)
        )
        n_recent = 0 if self.window_weight is None else self.window_weight.shape[-1]
        recent = jnp.zeros((n_recent, *batch), pre.dtype)
        return State(tables, pre, activations, recent)

    def step(self, state: State, i: Array, previous: Array) -> tuple[Array, State]:
        columns, hidden, out = state.tables
        degrees = self._degrees()
        size = degrees.slice_size
        entering = features_of(self.features).of(previous[None])
        entering = [jnp.where(i == 0, 0, feature) for feature in entering]
        first = state.first
        for column, feature in zip(columns, entering, strict=True):
            first = first + column[i][:, None] * feature
        start = jnp.minimum(jnp.asarray(degrees.starts)[i], first.shape[0] - size)
        activations = list(state.activations)

        def rows(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, start, size)

        def store(n: int, h: Array) -> Array:
            activations[n] = jax.lax.dynamic_update_slice_in_dim(activations[n], h.astype(first.dtype), start, 0)
            return activations[n]

        # The slice may hold units of other degrees: earlier ones do not change, later ones are premature but masked
        # from every output until they are computed again, in their own step.
        h = self._hidden(rows(first), lambda n, h: rows(hidden[n]) @ store(n, h))
        params = out[i] @ store(len(activations) - 1, h)
        recent = state.recent
        if self.window_weight is not None:
            n_window = recent.shape[0] // len(entering)
            parts = [recent[k * n_window :][: n_window - 1] for k in range(len(entering))]
            pairs = zip(entering, parts, strict=True)
            recent = jnp.concatenate([a for new, old in pairs for a in (new[None].astype(recent.dtype), old)])
            params = params + self.window_weight[:, i] @ recent
        return params, State(state.tables, first, tuple(activations), recent)


def reordered(net: MADE, order: Array) -> MADE:
    """The same weights for inputs and outputs that come in another order: what is masked changes, and nothing else.

    Args:
        net: A network whose inputs stand for themselves (`features="identity"`).
        order: The number of the input that stands at each step, a permutation; it may be traced.
    """
    columns = jnp.concatenate([order, jnp.full((1,), net.n_steps, order.dtype)])
    by_step = [net.out_weight, net.window_weight, net.cond_out_weight]
    by_step = [None if weight is None else weight[:, order] for weight in by_step]
    parts = (net.first_weight[:, columns], *by_step)
    return eqx.tree_at(
        lambda n: (n.first_weight, n.out_weight, n.window_weight, n.cond_out_weight),
        net,
        parts,
        is_leaf=lambda leaf: leaf is None,
    )
