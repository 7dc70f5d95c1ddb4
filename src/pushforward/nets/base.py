"""The protocol of autoregressive conditioners, and what all networks share."""

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._module import Module
from pushforward._types import Array, PRNGKeyArray, Shape

# A network sees standardised data; beyond this it sees the bound, so that 1e30 in one coordinate cannot overflow the
# parameters of the others (inf - inf = NaN). Any function of the input is a valid conditioner, a clipped one too.
INPUT_LIMIT = 1e6
# Weights of a hidden layer at the start: uniform within this, relative to 1 / sqrt(fan in). He's scale (2.4) keeps the
# variance through deep networks; conditioners are shallow, and on real tables flows that start smooth end better
# (docs/explanation/flow_defaults.md).
HIDDEN_SCALE = 0.7
# Standard deviation of the last layer's weights at the start, relative to 1 / sqrt(fan in): a new flow is close to the
# identity, yet every parameter has a gradient.
OUTPUT_SCALE = 1e-2


class Features(NamedTuple):
    """The features of each input that a network sees.

    Attributes:
        count: features per input.
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
    """The activation function of that name.

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
    the other, when step `i` needs what came out of step `i - 1`. In the second way each hidden unit is computed once,
    when its last input becomes known, so that all steps together cost about as much arithmetic as one parallel pass.

    Attributes:
        n_steps: number of steps (dimensions).
        n_params: number of parameters for each.
        cond_shape: shape of the condition, None if unconditional.
    """

    n_steps: eqx.AbstractVar[int]
    n_params: eqx.AbstractVar[int]
    cond_shape: eqx.AbstractVar[Shape | None]

    @abstractmethod
    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """The parameters of all steps, `(n_params, n_steps, n)`, from the whole input `(n_steps, n)`.

        Args:
            x: Array of shape `(n_steps, n)`.
            condition: Conditions of the rows, `(*cond_shape, n)`, None if unconditional.
        """

    @abstractmethod
    def init(self, batch: Shape, condition: Array | None = None) -> Any:
        """The state before the first step: a value, to be handed to `step`.

        Args:
            batch: Array of shape `(n,)`.
            condition: Conditions of the rows, `(*cond_shape, n)`, None if unconditional.
        """

    @abstractmethod
    def step(self, state: Any, i: Array, previous: Array) -> tuple[Array, Any]:
        """The parameters `(n_params, n)` of step `i`, and the next state.

        Args:
            state: The state that `init` or the step before gave.
            i: the number of the step, from 0.
            previous: the input of step `i - 1`, `(n,)`; ignored at step 0.
        """


def limit_input(x: Array) -> Array:
    """The input within `INPUT_LIMIT`."""
    return jnp.clip(x, -INPUT_LIMIT, INPUT_LIMIT)


FEATURES = {
    "identity": Features(1, limit_input),
    # An angle by its place on the circle: what is computed from it is continuous where the angle jumps by a turn.
    "circular": Features(2, lambda x: jnp.concatenate([jnp.cos(x), jnp.sin(x)])),
}


def features_of(name: str) -> Features:
    """The features of that name.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in FEATURES:
        raise ValueError(message("features", f"one of {', '.join(FEATURES)}", repr(name), "Choose one of them."))
    return FEATURES[name]


class WithFeatures(eqx.Module):
    """A network that sees features of its inputs: the conditioner of a coupling of angles.

    Args:
        net: a network with `features_of(features).count` times as many inputs, such as an `MLP`.
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
    """Numbers uniform on [-1, 1) in arrays of the given shapes, from **one** draw.

    Each call of a random function adds its own generator to the program; a network built with one call per weight took
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
