"""Neural autoregressive flows: deep and dense sigmoidal maps, autoregressively."""

from __future__ import annotations

from pushforward._types import PRNGKeyArray
from pushforward.bijections import DenseSigmoidalMap, SigmoidalMap
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.autoregressive import autoregressive_flow
from pushforward.flows.layers import Linear


def naf(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 3,
    width: int = 64,
    depth: int = 2,
    components: int = 8,
    compositions: int = 1,
    dense: bool = False,
    base: AbstractDistribution | None = None,
    linear: Linear = "reverse",
    residual: bool = False,
    activation: str = "relu",
    max_log_scale: float = 5.0,
    actnorm: bool = False,
) -> Flow:
    r"""Neural autoregressive flow: $z_i = m(x_i; \theta_i(x_{<i}))$ with $m$ a network of positive weights.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of each MADE.
        depth: hidden layers of each MADE (residual blocks if `residual`).
        components: sigmoids per layer of $m$.
        compositions: layers of $m$.
        dense: dense sigmoidal maps (DDSF), whose layers are `components` wide, instead of deep ones (DSF), whose layers
            take and give one number; the same for one layer.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each MADE: `"reverse"`, `"permutation"`, `"lu"`, None, or `(key, dim) -> bijection`.
        residual: ResMADE as conditioner.
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        max_log_scale: bound on the log-slopes inside the sigmoids.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling sequential, with a safeguarded Newton iteration in each dimension; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Huang, Krueger, Lacoste, Courville, 2018, arXiv 1804.00779.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.naf(jax.random.key(0), dim=2, n_layers=1, width=8, depth=1, components=3)
        >>> flow.log_prob(jax.numpy.zeros((4, 2))).shape
        (4,)
    """
    if dense:
        scalar_map = DenseSigmoidalMap((components,) * compositions, max_log_scale=max_log_scale)
    else:
        scalar_map = SigmoidalMap(components, compositions, max_log_scale=max_log_scale)
    return autoregressive_flow(
        "naf",
        scalar_map,
        key,
        fast="score",
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        base=base,
        linear=linear,
        residual=residual,
        activation=activation,
        actnorm=actnorm,
    )
