r"""Convolutions whose Lipschitz constant is bounded below 1, for contractive residual layers of images.

The norm is bounded as that of dense layers is (`lipschitz.py`). Power iteration, the usual choice in the literature, is
available for convolutions with so many channels that the bound costs more than the layer; its vectors are state, which
`update_spectral` advances.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._meshes import fori_loop
from pushforward._parts import unstacked
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape
from pushforward.nets.base import flat_condition, hidden_layer, limit_input, size_of, uniforms
from pushforward.nets.lipschitz import (
    BETA_START,
    LAST_SCALE,
    AbstractContraction,
    Tree,
    check_lipschitz,
    lip_swish,
    soft_constraint,
)
from pushforward.numerics.convolution import convolve
from pushforward.numerics.spectral import conv_bound, exact_conv_bound, power_iteration, power_step

Norm = Literal["bound", "power"]

# Power iteration bounds the norm from below, and weights move between updates, so that a layer aims this much lower.
POWER_MARGIN = 0.02
POWER_STEPS = 5  # per update of the vectors, as in i-ResNets


class LipschitzConv(eqx.Module):
    r"""A convolution with zero padding whose norm, as an operator on `(channels, h, w)` vectors, is at most $c$.

    Args:
        key: JAX key for the initial weights.
        n_in: Number of channels of the input.
        n_out: Number of channels of the output.
        size: Height and width `(h, w)` of input and output.
        kernel: Side of the kernel, odd.
        most: Bound $c$ on the norm.
        norm: How the norm is bounded. `"bound"` divides by `conv_bound`, an upper bound in Fourier space that holds for
            any weights. `"power"` divides by the estimate of power iteration from the stored vector, plus 2 %: this is
            cheaper with many channels and tighter at the borders, but holds only while the vector is up to date.

    Raises:
        ValueError: a size is out of bounds, or the norm unknown.

    Source: Gouk, Frank, Pfahringer, Cree, 2021, section 4.2, arXiv 1804.04368.
    """

    weight: Array
    bias: Array
    vector: Fixed
    size: Shape = eqx.field(static=True)
    most: float = eqx.field(static=True)
    norm: Norm = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        n_in: int,
        n_out: int,
        size: Shape,
        *,
        kernel: int = 3,
        most: float = 0.97,
        norm: Norm = "bound",
    ):
        if norm not in ("bound", "power"):
            raise ValueError(message("LipschitzConv", "norm 'bound' or 'power'", repr(norm), "Choose one of them."))
        if check_int("LipschitzConv", "kernel", kernel, 1) % 2 == 0:
            raise ValueError(message("LipschitzConv", "an odd kernel", repr(kernel), "An even one shifts the image."))
        self.size, self.most, self.norm = tuple(size), check_lipschitz("LipschitzConv", most), norm
        layer, start = uniforms(key, [(n_out, n_in * kernel**2 + 1), (n_in, *self.size)])
        layer = hidden_layer(layer, n_in * kernel**2)
        self.weight, self.bias = layer[:, :-1].reshape(n_out, n_in, kernel, kernel), layer[:, -1]
        self.vector = Fixed(start / jnp.sqrt(jnp.sum(start**2)))

    def operator(self, x: Array) -> Array:
        """The convolution of one image `(n_in, h, w)` with the unconstrained weights, without the bias."""
        return convolve(self.weight, x[..., None])[..., 0]

    def sigma(self) -> Array:
        """The norm, or bound on it, that sets the constraint."""
        if self.norm == "bound":
            return conv_bound(self.weight, self.size)
        # With a constant vector, sigma = |A v| has the gradient u^T (dA) v of a singular value.
        image = self.operator(self.vector.value.astype(self.weight.dtype))
        return (1 + POWER_MARGIN) * jnp.sqrt(jnp.sum(image**2) + jnp.finfo(image.dtype).tiny)

    def constrained(self) -> Array:
        """The constrained kernel."""
        return soft_constraint(self.weight, self.sigma(), self.most)

    def updated(self, n_steps: int) -> LipschitzConv:
        """The layer with its vector some power iterations further; its weights do not change."""
        vector = fori_loop(0, n_steps, lambda _, v: power_step(self.operator, v)[1], self.vector.value)
        return eqx.tree_at(lambda layer: layer.vector.value, self, vector)

    def converged(self, tolerance: float) -> LipschitzConv:
        """The layer with its vector iterated until the relative change of the estimate is below the tolerance."""
        found = power_iteration(self.operator, self.vector.value, tolerance=tolerance)
        return eqx.tree_at(lambda layer: layer.vector.value, self, found.vector)


class _Convolutions(eqx.Module):
    """Convolutions with LipSwish between them and fixed kernels; biases have an axis of rows."""

    kernels: tuple[Array, ...]
    biases: tuple[Array, ...]
    betas: Array

    def __call__(self, x: Array) -> Array:
        h = limit_input(x)
        for n, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            h = h if n == 0 else lip_swish(h, self.betas[n - 1])
            h = convolve(kernel, h) + bias[:, None, None]
        return h


class LipschitzConvNet(AbstractContraction):
    r"""A network of convolutions with LipSwish between them, the product of whose norms is at most $L$.

    Args:
        key: JAX key for the initial weights.
        shape: Shape of an event, `(channels, h, w)`.
        width: Number of channels of the hidden layers.
        kernels: Sides of the kernels, one more than there are hidden layers; Residual Flows use 3, 1, 3.
        cond_shape: shape of the condition, flattened, added to the first layer's channels; None if unconditional.
        lipschitz: Bound $L$ on the Lipschitz constant, in (0, 1).
        norm: How the norm of each `LipschitzConv` is bounded, `"bound"` or `"power"`.

    Shapes:
        `(channels, h, w, n) -> (channels, h, w, n)`

    Raises:
        ValueError: a size is out of bounds, `lipschitz` is not in (0, 1), or the condition is missing.

    Source: Chen, Behrmann, Duvenaud, Jacobsen, 2019, appendix E, arXiv 1906.02735.
    """

    layers: tuple[LipschitzConv, ...]
    betas: Array
    from_condition: Array | None
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    lipschitz: float = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        shape: Shape,
        *,
        width: int = 32,
        kernels: Sequence[int] = (3, 1, 3),
        cond_shape: Shape | None = None,
        lipschitz: float = 0.97,
        norm: Norm = "bound",
    ):
        if len(shape) != 3 or len(kernels) < 2:
            got = f"{tuple(shape)} and {tuple(kernels)}"
            fix = "Give the shape of an image as (channels, height, width)."
            raise ValueError(message("LipschitzConvNet", "a shape (c, h, w) and two kernels or more", got, fix))
        width = check_int("LipschitzConvNet", "width", width, 1)
        self.lipschitz = check_lipschitz("LipschitzConvNet", lipschitz)
        self.shape, self.cond_shape = tuple(shape), cond_shape
        channels = [shape[0]] + [width] * (len(kernels) - 1) + [shape[0]]
        most = self.lipschitz ** (1 / len(kernels))
        *keys, last = jax.random.split(key, len(kernels) + 1)
        layers = [
            LipschitzConv(k, before, after, self.shape[1:], kernel=kernel, most=most, norm=norm)
            for k, before, after, kernel in zip(keys, channels[:-1], channels[1:], kernels, strict=True)
        ]
        small = (LAST_SCALE * layers[-1].weight, LAST_SCALE * layers[-1].bias)
        layers[-1] = eqx.tree_at(lambda layer: (layer.weight, layer.bias), layers[-1], small)
        self.layers, self.betas = tuple(layers), jnp.full((len(kernels) - 1,), BETA_START)
        self.from_condition = None
        if cond_shape is not None:
            n_condition = size_of(cond_shape)
            self.from_condition = hidden_layer(uniforms(last, [(width, n_condition + 1)])[0], n_condition)[:, :-1]

    def at(self, condition: Array | None) -> Callable[[Array], Array]:
        biases = [layer.bias[:, None] for layer in self.layers]
        if self.from_condition is not None:
            flat = limit_input(flat_condition("LipschitzConvNet", condition, self.cond_shape))
            biases[0] = biases[0] + self.from_condition @ flat
        return _Convolutions(tuple(layer.constrained() for layer in self.layers), tuple(biases), self.betas)

    def count(self) -> int:
        return math.prod(self.betas.shape[:-1])

    def certified(self) -> float:
        if self.betas.ndim > 1:
            return max(net.certified() for net in unstacked(self, len(self.betas)))
        kernels = ((layer.constrained(), layer.size) for layer in self.layers)
        return math.prod(exact_conv_bound(np.asarray(kernel), size) for kernel, size in kernels)


def update_spectral(model: Tree, n_steps: int = POWER_STEPS) -> Tree:
    """The model with every stored vector of a power iteration some iterations further.

    Run it after each optimiser step, within the same compiled function, if convolutions have `norm="power"`. Networks
    with `norm="bound"`, and all dense networks, have no such state and are returned unchanged.

    Args:
        model: A network, bijection or flow, also with stacked layers of a `Scan`.
        n_steps: Number of iterations of each vector.
    """
    return _of_each_conv(model, lambda layer: layer.updated(n_steps))


def converge_spectral(model: Tree, tolerance: float = 1e-6) -> Tree:
    """The model with every power iteration converged; run it before a model is frozen, saved or certified.

    Args:
        model: A network, bijection or flow, also with stacked layers of a `Scan`.
        tolerance: Relative change of an estimate below which its iteration ends.
    """
    return _of_each_conv(model, lambda layer: layer.converged(tolerance))


def _of_each_conv(model: Tree, change: Callable[[LipschitzConv], LipschitzConv]) -> Tree:
    def is_conv(node: Any) -> bool:
        return isinstance(node, LipschitzConv) and node.norm == "power"

    def run(node: Any) -> Any:
        if not is_conv(node):
            return node
        if node.weight.ndim == 4:
            return change(node)
        return eqx.filter_vmap(run)(node)  # stacked along a first axis

    return jax.tree.map(run, model, is_leaf=is_conv)
