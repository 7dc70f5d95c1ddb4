r"""Networks whose Lipschitz constant is bounded below 1 by construction, for contractive residual layers.

Each linear map is divided by $\max(1, \sigma/c)$, a soft constraint that leaves small weights unchanged. For dense
layers, and by default for convolutions, $\sigma$ is a smooth upper bound of the norm
(`pushforward.numerics.spectral`), so that the constraint holds for any weights from an optimiser, a file or an average,
and needs no state.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._parts import unstacked
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import check_sizes, flat_condition, hidden_layer, limit_input, size_of, uniforms
from pushforward.numerics.product import matrix_product
from pushforward.numerics.spectral import exact_norm, spectral_bound

Tree = TypeVar("Tree")

# The slope of x sigmoid(x) is 1.0998 at most.
SWISH_SLOPE = 1.1
# The softplus of this number is 1, with which a new activation is the usual swish.
BETA_START = 0.5413
# Scale of the last layer's initial weights, relative to a hidden layer: a new residual layer is near the identity.
LAST_SCALE = 0.1
# Relative error of a norm by rounding in single precision.
ROUNDING = 1e-5


def lip_swish(x: Array, beta: Array) -> Array:
    r"""LipSwish, $x\,\sigma(\operatorname{softplus}(\beta)\,x) / 1.1$, which is 1-Lipschitz and curved everywhere.

    Source: Chen, Behrmann, Duvenaud, Jacobsen, 2019, section 3.3, arXiv 1906.02735.
    """
    return x * jax.nn.sigmoid(jax.nn.softplus(beta) * x) / SWISH_SLOPE


class AbstractContraction(eqx.Module):
    r"""A function $g$ of an event and of a condition, with a Lipschitz constant below 1 in the event.

    Attributes:
        shape: Shape of the event, and of the value.
        cond_shape: Shape of the condition, None if there is none.
        lipschitz: Bound on the Lipschitz constant that holds for any weights.
    """

    shape: eqx.AbstractVar[Shape]
    cond_shape: eqx.AbstractVar[Shape | None]
    lipschitz: eqx.AbstractVar[float]

    @abstractmethod
    def at(self, condition: Array | None) -> Callable[[Array], Array]:
        """The function of events `(*shape, n)` alone, as a module in which norms and conditions are applied once.

        Args:
            condition: Conditions of the rows, `(*cond_shape, n)`; None if and only if there is none.
        """

    @abstractmethod
    def count(self) -> int:
        """The number of networks that this one stands for, more than one if a `Scan` stacks their arrays."""

    @abstractmethod
    def certified(self) -> float:
        """The Lipschitz bound of the present weights, in float64 on the host; for stacked networks the largest one."""

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        """The values `(*shape, n)` of events and conditions with the batch on the last axis."""
        return self.at(condition)(x)


class _Dense(eqx.Module):
    """Dense layers with LipSwish between them and fixed weights; biases may have an axis of rows."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    betas: Array

    def __call__(self, x: Array) -> Array:
        h = limit_input(x)
        for n, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = h if n == 0 else lip_swish(h, self.betas[n - 1])
            h = matrix_product(weight, h) + bias
        return h


class LipschitzMLP(AbstractContraction):
    r"""$h_1 = W_0 x + V c + b_0,\; h_{l+1} = W_l \operatorname{LipSwish}(h_l) + b_l$, with $\prod_l \|W_l\|_2 \le L$.

    Each weight matrix is divided by $\max(1, \sigma/c)$ with $c = L^{1/n}$. Only the dependence on `x` is contractive;
    the dependence on the condition is free.

    Args:
        key: JAX key for the initial weights.
        dim: length of `x`, and of the value.
        width: Number of units per hidden layer.
        depth: number of hidden layers, 1 or more.
        cond_shape: shape of the condition, flattened; None if unconditional.
        lipschitz: Bound $L$ on the Lipschitz constant, in (0, 1).

    Cost: the products with a batch, and some products of `width` by `width` matrices for the norms.

    Raises:
        ValueError: a size is out of bounds, `lipschitz` is not in (0, 1), or the condition is missing.

    Source: Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019, section 2.1, arXiv 1811.00995; Gouk, Frank, Pfahringer,
        Cree, 2021, section 4, arXiv 1804.04368 (soft constraint).
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    betas: Array
    from_condition: Array | None
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    lipschitz: float = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        *,
        width: int = 64,
        depth: int = 2,
        cond_shape: Shape | None = None,
        lipschitz: float = 0.97,
    ):
        dim, width, depth = check_sizes("LipschitzMLP", dim=dim, width=width, depth=depth)
        self.lipschitz = check_lipschitz("LipschitzMLP", lipschitz)
        self.shape, self.cond_shape = (dim,), cond_shape
        sizes = [dim] + [width] * depth + [dim]
        n_condition = size_of(cond_shape)
        shapes = [(after, before + 1) for before, after in itertools.pairwise(sizes)]
        *draws, of_condition = uniforms(key, [*shapes, (width, n_condition + 1)])
        layers = [hidden_layer(draw, size) for draw, size in zip(draws, sizes, strict=False)]
        layers[-1] = LAST_SCALE * layers[-1]
        self.weights = tuple(layer[:, :-1] for layer in layers)
        self.biases = tuple(layer[:, -1] for layer in layers)
        self.betas = jnp.full((depth,), BETA_START)
        self.from_condition = None if cond_shape is None else hidden_layer(of_condition, n_condition)[:, :-1]

    @property
    def share(self) -> float:
        """The bound of each layer's norm."""
        return self.lipschitz ** (1 / len(self.weights))

    def at(self, condition: Array | None) -> Callable[[Array], Array]:
        weights = tuple(soft_constraint(w, spectral_bound(w), self.share) for w in self.weights)
        biases = [bias[:, None] for bias in self.biases]
        if self.from_condition is not None:
            flat = limit_input(flat_condition("LipschitzMLP", condition, self.cond_shape))
            biases[0] = biases[0] + matrix_product(self.from_condition, flat)
        return _Dense(weights, tuple(biases), self.betas)

    def count(self) -> int:
        return math.prod(self.betas.shape[:-1])

    def certified(self) -> float:
        if self.betas.ndim > 1:
            return max(net.certified() for net in unstacked(self, len(self.betas)))
        constrained = [soft_constraint(w, spectral_bound(w), self.share) for w in self.weights]
        return math.prod(exact_norm(np.asarray(w)) for w in constrained)


def check_lipschitz(name: str, lipschitz: float) -> float:
    """The bound on a Lipschitz constant, if it is one of a contraction.

    Raises:
        ValueError: It is not in (0, 1).
    """
    if isinstance(lipschitz, bool) or not 0 < lipschitz < 1:
        fix = "Only a contraction makes x + g(x) invertible; 0.9 to 0.98 are common."
        raise ValueError(message(name, "lipschitz in (0, 1)", repr(lipschitz), fix))
    return float(lipschitz)


def soft_constraint(weight: Array, sigma: Array, most: float) -> Array:
    r"""The constrained weights $W / \max(1, \sigma/c)$."""
    return weight / jnp.maximum(1, sigma / (most * (1 - ROUNDING)))
