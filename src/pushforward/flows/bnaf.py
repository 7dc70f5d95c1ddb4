"""The block neural autoregressive flow."""

from __future__ import annotations

from pushforward._checks import check_int
from pushforward._types import PRNGKeyArray
from pushforward.bijections import BlockAutoregressive, Invert
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.layers import MAX_DIM, Linear, condition_shape, stack


def bnaf(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 1,
    width: int = 10,
    depth: int = 2,
    base: AbstractDistribution | None = None,
    linear: Linear = "reverse",
    actnorm: bool = False,
) -> Flow:
    r"""Block neural autoregressive flow: $z = (1 - \alpha)\,x + \alpha\,N(x)$, $N$ one masked, monotone network.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers, each a network; they are scanned.
        width: units per hidden layer **and dimension**; the paper takes 10 to 40.
        depth: hidden layers of each network.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each network: `"reverse"`, `"permutation"`, `"lu"`, None, or `(key, dim) ->
            bijection`.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling sequential with a search of a root per step; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        De Cao, Titov, Aziz, 2019, arXiv 1904.04676.
    """
    dim = check_int("bnaf", "dim", dim, 1, MAX_DIM)
    cond_shape = condition_shape("bnaf", condition_dim)

    def make(layer_key: PRNGKeyArray) -> AbstractBijection:
        return Invert(BlockAutoregressive(layer_key, dim, width=width, depth=depth, cond_shape=cond_shape))

    return stack("bnaf", key, make, dim=dim, n_layers=n_layers, base=base, linear=linear, actnorm=actnorm)
