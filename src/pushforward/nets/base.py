"""The protocol of autoregressive conditioners, and shared parts of all networks."""

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._module import Module
from pushforward._types import Array, PRNGKeyArray, Shape

# Networks see standardised data, clipped to this bound, so that 1e30 in one coordinate cannot overflow the parameters
# of the others (inf - inf = NaN). Any function of the input is a valid conditioner, also a clipped one.
INPUT_LIMIT = 1e6
# Initial weights of a hidden layer are uniform within this bound, relative to 1 / sqrt(fan in). He's scale (2.4) keeps
# the variance through deep networks; conditioners are shallow, and on real tables flows that start smooth end better
# (docs/explanation/flow_defaults.md).
HIDDEN_SCALE = 0.7
# Standard deviation of the last layer's initial weights, relative to 1 / sqrt(fan in): a new flow is close to the
# identity, yet every parameter has a gradient.
OUTPUT_SCALE = 1e-2


class Features(NamedTuple):
    """The features of each input that a network sees.

    Attributes:
        count: Number of features per input.
        of: Function from inputs `(k, n)` to features `(count * k, n)`, first one of all inputs, then the next.
    """

    count: int
    of: Callable[[Array], Array]


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "sin": jnp.sin,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
}


def activation_of(name: str) -> Callable[[Array], Array]:
    """The activation function with this name.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in ACTIVATIONS:
        raise ValueError(message("activation", f"one of {', '.join(ACTIVATIONS)}", repr(name), "Choose one of them."))
    return ACTIVATIONS[name]


class AbstractConditioner(Module):
    r"""A network whose output for step `i` depends on the inputs of the steps before `i` alone.

    Arrays have the batch on a last axis of length `n`, so that `weight @ x` is one matrix product.

    It is evaluated in two ways that agree: all steps in parallel, when the whole input is known, and one step after
    the other, when step `i` needs the result of step `i - 1`. In the second way each hidden unit is computed once, when
    its last input becomes known, so that all steps together cost about as much arithmetic as one parallel pass.

    Attributes:
        n_steps: number of steps (dimensions).
        n_params: Number of parameters for each step, or for each number of a token.
        cond_shape: shape of the condition, None if unconditional.
        token_shape: Shape of the input of a step: `()` for one number, `(d,)` for a token of `d` numbers.
    """

    n_steps: eqx.AbstractVar[int]
    n_params: eqx.AbstractVar[int]
    cond_shape: eqx.AbstractVar[Shape | None]
    if TYPE_CHECKING:
        token_shape: eqx.AbstractVar[Shape]
    else:
        token_shape = ()  # a class attribute and not a field, so that a subclass may declare fields without defaults

    @abstractmethod
    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """The parameters of all steps, `(n_params, n_steps, *token_shape, n)`, from the whole input.

        Args:
            x: Array of shape `(n_steps, *token_shape, n)`.
            condition: Conditions of the rows, `(*cond_shape, n)`, None if unconditional.
        """

    @abstractmethod
    def init(self, batch: Shape, condition: Array | None = None) -> Any:
        """The state before the first step, which is passed to `step`.

        Args:
            batch: Array of shape `(n,)`.
            condition: Conditions of the rows, `(*cond_shape, n)`, None if unconditional.
        """

    @abstractmethod
    def step(self, state: Any, i: Array, previous: Array) -> tuple[Array, Any]:
        """The parameters `(n_params, *token_shape, n)` of step `i`, and the next state.

        Args:
            state: The state that `init` or the step before gave.
            i: Number of the step, from 0.
            previous: Input of step `i - 1`, `(*token_shape, n)`; ignored at step 0.
        """

    def init_block(self, batch: Shape, condition: Array | None = None) -> Any:
        """The state before the first block, which is passed to `step_block`; arguments as in `init`.

        By default it holds the whole input, of which nothing is known yet, and the condition.
        """
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(eqx.filter(self, eqx.is_inexact_array))]
        return jnp.zeros((self.n_steps + 1, *self.token_shape, *batch), jnp.result_type(*dtypes)), condition

    def step_block(self, state: Any, start: Array, previous: Array) -> tuple[Array, Any]:
        """The parameters `(n_params, k, *token_shape, n)` of `k` steps at once, and the next state.

        A block may be run again with other inputs, given the state before or after it. By default each run costs a
        pass over the whole input; a conditioner with a cache does better.

        Args:
            state: The state that `init_block` or another block gave.
            start: Number of the first of the steps.
            previous: Inputs of the steps from `start - 1` on, `(k, *token_shape, n)`; the one before step 0 is ignored.
        """
        inputs, condition = state
        inputs = jax.lax.dynamic_update_slice_in_dim(inputs, previous.astype(inputs.dtype), start, 0)
        params = jax.lax.dynamic_slice_in_dim(self(inputs[1:], condition), start, previous.shape[0], 1)
        return params, (inputs, condition)


def limit_input(x: Array) -> Array:
    """The input clipped to `INPUT_LIMIT`."""
    return jnp.clip(x, -INPUT_LIMIT, INPUT_LIMIT)


def check_sizes(name: str, **sizes: int) -> tuple[int, ...]:
    """The sizes of a network as integers of 1 or more.

    Raises:
        TypeError: A size is no integer.
        ValueError: A size is out of bounds.
    """
    return tuple(check_int(name, size, value, 1) for size, value in sizes.items())


def size_of(shape: Shape | None) -> int:
    """The number of entries of a condition, 0 without a condition."""
    return 0 if shape is None else math.prod(shape)


def event_shape_of(net: Any) -> Shape:
    """The shape of the events of a network of time and event: its `shape`, or `(dim,)` for a network of vectors."""
    shape = getattr(net, "shape", None)
    return (net.dim,) if shape is None else tuple(shape)


def flat_condition(name: str, condition: Array | None, cond_shape: Shape | None) -> Array:
    """The conditions as vectors, `(size, n)` or `(size,)`.

    Raises:
        ValueError: The condition is missing.
    """
    if condition is None or cond_shape is None:
        raise ValueError(message(name, f"a condition of shape {cond_shape}", "none", "Pass condition=..."))
    condition = jnp.asarray(condition)
    return condition.reshape(math.prod(cond_shape), *condition.shape[len(cond_shape) :])


def join_condition(name: str, x: Array, condition: Array | None, cond_shape: Shape | None) -> Array:
    """Event and condition as one vector, `(dim + size of a condition, n)`.

    Raises:
        ValueError: The condition is missing.
    """
    if cond_shape is None:
        return x
    return jnp.concatenate([x, flat_condition(name, condition, cond_shape).astype(x.dtype)])


FEATURES = {
    "identity": Features(1, limit_input),
    # An angle enters by its point on the circle, so that results are continuous where the angle jumps by a turn.
    "circular": Features(2, lambda x: jnp.concatenate([jnp.cos(x), jnp.sin(x)])),
    # Inputs come as two features each, `(2 * k, n)`, which the caller made; a single step gets `(1, 2, n)`.
    "pairs": Features(2, lambda x: x.reshape(-1, x.shape[-1])),
}


def features_of(name: str) -> Features:
    """The features with this name.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in FEATURES:
        raise ValueError(message("features", f"one of {', '.join(FEATURES)}", repr(name), "Choose one of them."))
    return FEATURES[name]


class WithFeatures(eqx.Module):
    """A network that sees features of its inputs, such as the conditioner of a coupling of angles.

    Args:
        net: A network with `features_of(features).count` times as many inputs, such as an `MLP`.
        features: `"identity"` or `"circular"`.
        out_shape: Shape of the network's output.
    """

    net: Callable[..., Array]
    features: str = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, net: Callable[..., Array], features: str, out_shape: Shape):
        features_of(features)
        self.net, self.features, self.out_shape = net, features, tuple(out_shape)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        return self.net(features_of(self.features).of(x), condition)


def uniforms(key: PRNGKeyArray, shapes: Sequence[Shape]) -> list[Array]:
    """Draw numbers uniform on [-1, 1) in arrays of the given shapes, by **one** random call.

    Each call of a random function adds its own generator to the program: a network built with one call per weight took
    seconds to compile.
    """
    sizes = [math.prod(shape) for shape in shapes]
    flat = jax.random.uniform(key, (sum(sizes),), minval=-1.0)
    pieces = jnp.split(flat, list(itertools.accumulate(sizes))[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def hidden_layer(draw: Array, fan_in: Any) -> Array:
    """Weights and bias of a layer before a rectifier, from uniform numbers `(n_out, n_in + 1)`.

    Both scale with the root of the fan-in, counted per row where a mask makes it differ; the weights start at
    `HIDDEN_SCALE` of it, so that a new network is a smooth function and becomes as rough as the data ask for.
    """
    scale = np.broadcast_to(np.maximum(fan_in, 1) ** -0.5, (draw.shape[0], 1))
    weights = np.broadcast_to(HIDDEN_SCALE * scale, (draw.shape[0], draw.shape[1] - 1))
    return draw * np.concatenate([weights, scale], 1)


def output_layer(draw: Array) -> Array:
    """Weights of a last layer, small, and a bias of 0, from uniform numbers `(..., n_in + 1)`."""
    fan_in = draw.shape[-1] - 1
    scales = np.full(draw.shape[-1], OUTPUT_SCALE * (3.0 / max(fan_in, 1)) ** 0.5)
    scales[-1] = 0.0
    return draw * scales
