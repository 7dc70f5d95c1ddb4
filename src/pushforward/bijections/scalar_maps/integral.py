"""The integral of a positive network as a scalar map."""

from __future__ import annotations

import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, check_int, message
from pushforward._types import Array, PRNGKeyArray, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.linear_tails import Inside, forward_with_tails, inverse_with_tails
from pushforward.bijections.scalar_maps.sum_of_squares import integrated_squares
from pushforward.nets.base import activation_of, limit_input, uniforms
from pushforward.numerics.bounded import soft_clamp
from pushforward.numerics.product import dense, matrix_product
from pushforward.numerics.quadrature import AbstractRule, ClenshawCurtis, interpolate

# Bound on the log of the network's slope: e^5 is as steep as an affine layer gets.
MAX_LOG_SLOPE = 5.0
# Scales of the initial weights of x and of the output: units bend within about one unit of x, and the log-slope depends
# on the embedding with coefficients about 1. Embeddings start near 0, so that a new map is near the identity anyway.
STEEPNESS = 1.0
OUT_SCALE = 2.0
MAX_SIZE = 4096


class IntegralMap(AbstractScalarMap):
    r"""The integral of a positive network, $f(x) = \theta_0 + \int_0^x g(t; h)\,dt$ with $h = \theta_{1:}$.

    The integral is taken on $[-b, b]$. This is the unconstrained monotonic neural network; outside the interval it goes
    on as its tangents. One network serves all coordinates and is trained with them. The maps of coordinates differ in
    the embedding $h$, which is passed as parameters are. The log-slope is $\log g = a(t; h) - a(t; 0)$, bounded
    smoothly, so that parameters of zero give the identity, up to rounding.

    The network is sampled at the nodes of `rule` on $[-b, b]$, the square root of $g$ is interpolated there by a
    polynomial $p$, and $\epsilon + (1 - \epsilon)\,p^2$ is integrated exactly. So the log-det is that of the map **as
    computed**, and the slope is positive, for any network and any number of nodes; $p^2$ approaches $g$ exponentially
    fast as nodes are added, if the network is smooth. Quadrature at nodes that move with $x$, as in the paper, has
    neither property (the derivative of the sum is not $g(x)$ and may be negative), and runs the network again for each
    $x$ that a search tries; here both directions run it once per node.

    Args:
        key: JAX key for the initial weights.
        embedding: Length of the embedding $h$.
        width: Number of units per hidden layer of the network.
        depth: Number of hidden layers, 1 or more.
        rule: Quadrature rule, `ClenshawCurtis(nodes)` or `GaussLegendre(nodes)`.
        bound: Half-width $b$ of the interval.
        activation: One of relu, elu, gelu, silu, softplus, tanh; a smooth one is integrated best.

    Cost: the network at each node; the inverse searches a root of the polynomial. Log-det exact.

    Raises:
        ValueError: a size is out of bounds, a bound is not positive, or the activation is unknown.
        TypeError: `key` is not a key, or `rule` not a quadrature rule.

    Source: Wehenkel, Louppe, 2019, section 3, arXiv 1908.05164.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> integral = pf.bijections.IntegralMap(jax.random.key(0), embedding=2, width=8, depth=1)
        >>> integral.forward_and_log_det(jnp.array(2.0), jnp.zeros(3))[0].round(4).item()
        2.0
    """

    weights: tuple[Array, ...]  # (width, 1 + embedding + 1), (width, width + 1)...: the last column is the bias
    out_weight: Array  # (1, width); its bias would cancel
    rule: AbstractRule = eqx.field(static=True)
    bound: float = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        embedding: int = 8,
        width: int = 32,
        depth: int = 2,
        *,
        rule: AbstractRule = ClenshawCurtis(16),  # noqa: B008 - immutable
        bound: float = 5.0,
        activation: str = "tanh",
    ):
        name = "IntegralMap"
        sizes = [1 + check_int(name, "embedding", embedding, 1, MAX_SIZE)]
        sizes += [check_int(name, "width", width, 1, MAX_SIZE)] * check_int(name, "depth", depth, 1, MAX_SIZE)
        if not isinstance(rule, AbstractRule):
            raise TypeError(message(name, "a quadrature rule", type(rule).__name__, "Pass ClenshawCurtis(16)."))
        if not 0 < bound < float("inf"):
            raise ValueError(message(name, "bound > 0", repr(bound), "The usual value is 5."))
        activation_of(activation)
        shapes = [(n_out, n_in + 1) for n_in, n_out in itertools.pairwise([*sizes, 1])]
        *hidden, out = uniforms(as_key(name, key), shapes)
        # Weights have variance 1 / fan in; the units of the first layer bend within the inner half of the interval.
        scales = [np.array([STEEPNESS, *[(3 / embedding) ** 0.5] * embedding, 0.5 * bound * STEEPNESS])]
        scales += [np.array([(3 / width) ** 0.5] * width + [1.0])] * (depth - 1)
        self.weights = tuple(draw * scale for draw, scale in zip(hidden, scales, strict=True))
        self.out_weight = OUT_SCALE * width**-0.5 * out[:, :-1]
        self.rule, self.bound, self.activation = rule, float(bound), activation
        self.n_params, self.traits = 1 + embedding, Traits(inverse="iterative")

    def log_integrand(self, t: Array, embedding: Array) -> Array:
        r"""The bounded log-slope $\log g(t; h)$.

        Args:
            t: Array of shape `(n,)`.
            embedding: Embeddings $h$, `(embedding, *S)`.

        Returns:
            `(n, *S)`.
        """
        h = limit_input(embedding.reshape(embedding.shape[0], -1))
        # The value at h = 0 is computed once for the whole batch.
        h = jnp.concatenate([h, jnp.zeros_like(h, shape=(h.shape[0], 1))], axis=1)
        first, *hidden = self.weights
        activation = activation_of(self.activation)
        from_t = first[:, :1] * t + first[:, -1:]
        out = from_t[:, :, None] + matrix_product(first[:, 1:-1], h)[:, None, :]
        out = activation(out).reshape(first.shape[0], -1)
        for weight in hidden:
            out = activation(dense(weight, out))
        out = matrix_product(self.out_weight, out).reshape(len(t), -1)
        return soft_clamp(out[:, :-1] - out[:, -1:], MAX_LOG_SLOPE).reshape(len(t), *embedding.shape[1:])

    def _inside(self, params: Array) -> Inside:
        nodes = jnp.asarray(self.bound * self.rule.points(), params.dtype)
        root = jnp.exp(0.5 * self.log_integrand(nodes, params[1:]))
        return integrated_squares(params[0], interpolate(self.rule, root)[:, None], self.bound)

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        return forward_with_tails(self._inside(params), x, self.bound)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return inverse_with_tails(self._inside(params), y, self.bound)
