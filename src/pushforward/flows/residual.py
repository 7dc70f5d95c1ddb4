"""Contractive residual flows: i-ResNet and Residual Flow."""

from __future__ import annotations

from pushforward._checks import check_int
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Invert, Residual
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.layers import MAX_DIM, Linear, condition_shape, stack
from pushforward.nets import LipschitzMLP
from pushforward.numerics.log_det_series import AbstractLogDet, Poisson, RussianRoulette, Truncated
from pushforward.numerics.trace import Hutchinson


def _contractive_flow(
    name: str,
    log_det: AbstractLogDet,
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None,
    n_layers: int,
    width: int,
    depth: int,
    lipschitz: float,
    base: AbstractDistribution | None,
    linear: Linear,
    actnorm: bool,
) -> Flow:
    """A stack of contractive layers whose forward pass takes data to latents."""
    dim = check_int(name, "dim", dim, 1, MAX_DIM)
    cond_shape = condition_shape(name, condition_dim)

    def make(layer_key: PRNGKeyArray) -> AbstractBijection:
        net = LipschitzMLP(layer_key, dim, width=width, depth=depth, cond_shape=cond_shape, lipschitz=lipschitz)
        return Invert(Residual(net, log_det))

    return stack(name, key, make, dim=dim, n_layers=n_layers, base=base, linear=linear, actnorm=actnorm)


def iresnet(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 16,
    width: int = 64,
    depth: int = 2,
    lipschitz: float = 0.97,
    n_terms: int = 10,
    n_probes: int = 1,
    base: AbstractDistribution | None = None,
    linear: Linear = "lu",
    actnorm: bool = False,
) -> Flow:
    r"""Invertible residual network: $z = x + g(x)$ with $\operatorname{Lip}(g) < 1$, trained by a truncated series.

    In training the log-determinant is `Truncated(n_terms, Hutchinson(n_probes))`, biased and random, so that `log_prob`
    needs a key. What `pf.fit` returns, and what is saved, is the flow's `evaluation_form`: the same weights, scored
    exactly (up to 64 dimensions).

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of each network.
        depth: hidden layers of each network.
        lipschitz: bound on the Lipschitz constant of each network in `x`, in (0, 1).
        n_terms: of the series.
        n_probes: of the trace.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each residual: `"reverse"`, `"permutation"`, `"lu"`, None, or
            `(key, dim) -> bijection`. The contraction bounds how far a layer stretches; `"lu"` lets it scale freely.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling iterative.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019, arXiv 1811.00995.
    """
    return _contractive_flow(
        "iresnet",
        Truncated(n_terms, Hutchinson(n_probes)),
        key,
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        lipschitz=lipschitz,
        base=base,
        linear=linear,
        actnorm=actnorm,
    )


def residual_flow(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 16,
    width: int = 64,
    depth: int = 2,
    lipschitz: float = 0.97,
    n_exact: int = 2,
    n_probes: int = 1,
    base: AbstractDistribution | None = None,
    linear: Linear = "lu",
    actnorm: bool = False,
) -> Flow:
    r"""Residual Flow: $z = x + g(x)$ with $\operatorname{Lip}(g) < 1$, trained by an unbiased log-determinant.

    In training the log-determinant is `RussianRoulette(Poisson(2), n_exact)` with the Neumann gradient, whose memory
    does not grow with the number of terms; `log_prob` needs a key. What `pf.fit` returns, and what is saved, is the
    flow's `evaluation_form`: the same weights, scored exactly (up to 64 dimensions).

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of each network.
        depth: hidden layers of each network.
        lipschitz: bound on the Lipschitz constant of each network in `x`, in (0, 1).
        n_exact: terms of the series that are always there.
        n_probes: of the trace.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each residual: `"reverse"`, `"permutation"`, `"lu"`, None, or
            `(key, dim) -> bijection`. The contraction bounds how far a layer stretches; `"lu"` lets it scale freely.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling iterative.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Chen, Behrmann, Duvenaud, Jacobsen, 2019, arXiv 1906.02735.
    """
    return _contractive_flow(
        "residual_flow",
        RussianRoulette(Poisson(2.0), n_exact, Hutchinson(n_probes)),
        key,
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        lipschitz=lipschitz,
        base=base,
        linear=linear,
        actnorm=actnorm,
    )
