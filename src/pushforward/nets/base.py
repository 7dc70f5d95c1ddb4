"""The protocol of autoregressive conditioners, and what all networks share."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, PRNGKeyArray, Shape

# A network sees standardised data; beyond this it sees the bound, so that 1e30 in one coordinate cannot overflow the
# parameters of the others (inf - inf = NaN). Any function of the input is a valid conditioner, a clipped one too.
INPUT_LIMIT = 1e6
# Standard deviation of the last layer's weights at the start, relative to 1 / sqrt(fan in): a new flow is close to the
# identity, yet every parameter has a gradient.
OUTPUT_SCALE = 1e-2

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
}


def activation_of(name: str) -> Callable[[Array], Array]:
    """The activation function of that name.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r}.")
    return ACTIVATIONS[name]


class AbstractConditioner(eqx.Module):
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
            x: `(n_steps, n)`.
            condition: `(*cond_shape, n)`, None if unconditional.
        """

    @abstractmethod
    def init(self, batch: Shape, condition: Array | None = None) -> Any:
        """The state before the first step: a value, to be handed to `step`.

        Args:
            batch: `(n,)`.
            condition: `(*cond_shape, n)`, None if unconditional.
        """

    @abstractmethod
    def step(self, state: Any, i: Array, previous: Array) -> tuple[Array, Any]:
        """The parameters `(n_params, n)` of step `i`, and the next state.

        Args:
            state: from `init` or the step before.
            i: the number of the step, from 0.
            previous: the input of step `i - 1`, `(n,)`; ignored at step 0.
        """


def dense(weight: Array, bias: Array, x: Array) -> Array:
    """`weight @ x + bias` for `x` of `(n_in, n)`, as one product, so that the bias' gradient comes out of one as well.

    XLA's reduction of a wide gradient over the batch took as long as everything else in a spline layer's step.
    """
    one = jnp.ones((1, *x.shape[1:]), x.dtype)
    return jnp.concatenate([weight, bias[:, None]], axis=1) @ jnp.concatenate([x, one])


def limit_input(x: Array) -> Array:
    """The input within `INPUT_LIMIT`."""
    return jnp.clip(x, -INPUT_LIMIT, INPUT_LIMIT)


def uniform_weight(key: PRNGKeyArray, shape: Shape, fan_in: Any) -> Array:
    """He's uniform initialisation for rectifiers, with the fan-in given (per row where a mask makes it differ)."""
    limit = jnp.sqrt(6.0 / jnp.maximum(jnp.asarray(fan_in, jnp.result_type(float)), 1.0))
    return jax.random.uniform(key, shape, minval=-1.0) * limit


def uniform_bias(key: PRNGKeyArray, size: int, fan_in: int) -> Array:
    """Biases of the size of one weight, so that rectifiers have their kinks in different places."""
    return jax.random.uniform(key, (size,), minval=-1.0) / max(fan_in, 1) ** 0.5


def output_weight(key: PRNGKeyArray, shape: Shape, fan_in: int) -> Array:
    """Small weights for a last layer."""
    return jax.random.normal(key, shape) * (OUTPUT_SCALE / max(fan_in, 1) ** 0.5)
