"""Markov chains whose proposals are draws of a flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import as_key, check_int, package_of
from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions import Flow
from pushforward.inference.latent_space import check_map, pull_back

START_DRAWS = 64  # draws of the flow from which the start of a chain is chosen by their weights


class Chains(NamedTuple):
    """Draws of Markov chains.

    Attributes:
        draws: Draws `(n_chains, n, *event_shape)` in the data space.
        acceptance: Share of the proposals that each chain accepted, `(n_chains,)`.
    """

    draws: Array
    acceptance: Array


def independent_metropolis(
    flow: Flow, target: Callable[..., Array], n: int, key: PRNGKeyArray, *, n_chains: int = 4
) -> Chains:
    r"""Draw from the target by Metropolis-Hastings steps whose proposals are independent draws of a flow.

    A proposal $x'$ in place of $x$ is accepted with probability $\min(1, w(x') / w(x))$ for the weights
    $w = \tilde p / q$. The chains run in the latent space of the flow, where a proposal is a draw of its base, so that
    a step costs one pass of the flow forward, also for a flow that is dear to invert. Each chain starts at one of 64
    draws of the flow, chosen by their weights. Where the weights have no bound, a chain may stay at a draw for long.

    Args:
        flow: A base and a bijection.
        target: The log-density $\log \tilde p$ of one event in nats, such as a `Target`, as a JAX function.
        n: Number of steps of each chain.
        key: JAX key.
        n_chains: Number of chains, which run side by side.

    Raises:
        ImportError: blackjax is not installed.
        TypeError: An argument is of the wrong kind.
        ValueError: The flow is conditional, or has a random log-density.

    Source: Tierney, 1994, Annals of Statistics 22, sec. 2.3.3; with flows: Albergo, Kanwar, Shanahan, 2019,
        arXiv 1904.12072.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.Affine(loc=0.0, scale=1.2, shape=(2,)))
        >>> target = pf.Target(lambda x: -0.5 * (x @ x), 2)
        >>> pf.inference.independent_metropolis(flow, target, 100, jax.random.key(0)).draws.shape
        (4, 100, 2)
    """
    latent = pull_back(target, check_map("independent_metropolis", flow))
    n, n_chains = (check_int("independent_metropolis", *it, 1) for it in (("n", n), ("n_chains", n_chains)))
    keys = jax.random.split(as_key("independent_metropolis", key), n_chains)
    return _run(flow, latent, keys, n=n)


@eqx.filter_jit
def _run(flow: Flow, latent: Callable[..., Array], keys: PRNGKeyArray, *, n: int) -> Chains:
    blackjax = package_of("independent_metropolis", "blackjax", "inference")
    base = flow.base
    kernel = blackjax.irmh(latent, base.sample, lambda _, to: base.log_prob(to.position))

    def chain(key: PRNGKeyArray) -> tuple[Array, Array]:
        start_key, choose_key, steps_key = jax.random.split(key, 3)
        draws, log_base = base.sample_and_log_prob(start_key, START_DRAWS)
        weights = jax.vmap(latent)(draws) - log_base
        first = draws[jax.random.categorical(choose_key, jnp.where(jnp.isnan(weights), -jnp.inf, weights))]

        def step(state: Any, key: PRNGKeyArray) -> tuple[Any, tuple[Array, Array]]:
            state, info = kernel.step(key, state)
            return state, (state.position, info.is_accepted)

        _, (positions, accepted) = jax.lax.scan(step, kernel.init(first), jax.random.split(steps_key, n))
        return positions, jnp.mean(accepted)

    positions, acceptance = jax.vmap(chain)(keys)
    return Chains(flow.decode(positions), acceptance)
