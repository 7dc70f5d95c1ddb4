"""Training against mode collapse: the alpha-divergence 2, by annealed importance sampling and a replay buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pushforward._checks import as_key, check_int, package_of
from pushforward._types import Array, PRNGKeyArray, combine, trainable
from pushforward.distributions import Flow
from pushforward.inference.latent_space import check_map, pull_back
from pushforward.objectives import MaximumLikelihood
from pushforward.training import make_step

LEARNING_RATE = 2e-3
CLIP_NORM = 5.0  # largest norm of a gradient: few draws may have most of the weight at the start
LEAPFROG_STEPS = 5
FIRST_STEP_SIZE, ACCEPTANCE, STEP_FACTOR = 0.2, 0.65, 1.05  # of the Hamiltonian moves, whose step size adapts
BUFFER_ROUNDS = 40  # rounds whose draws the buffer holds
MAX_CORRECTION = 10.0  # largest factor by which a draw counts more because the flow has moved since


class Bootstrapped(NamedTuple):
    """A flow that `annealed_bootstrap` has trained, and how the training went.

    Attributes:
        flow: The trained flow.
        efficiency: Share of the draws of the flow that its importance weights are worth, before each round.
        acceptance: Share of the Hamiltonian moves that were accepted, in each round.
    """

    flow: Flow
    efficiency: np.ndarray
    acceptance: np.ndarray


class _State(NamedTuple):
    """What changes from round to round; the buffer has its rows first."""

    params: Any
    moments: Any
    x: Array
    log_w: Array
    log_q: Array
    step_size: Array


def annealed_bootstrap(
    flow: Flow,
    target: Callable[..., Array],
    *,
    key: PRNGKeyArray,
    n_rounds: int = 200,
    n_draws: int = 256,
    n_stages: int = 4,
    n_updates: int = 4,
    optimizer: optax.GradientTransformation | None = None,
) -> Bootstrapped:
    r"""Train a flow $q$ on a target $p$ by the alpha-divergence $\int p^2 / q$ (FAB), which leaves no mode out.

    Each round draws from the flow and anneals the draws towards $p^2 / q$, where the flow is too low: stages
    $q^{1 - 2 \beta} p^{2 \beta}$ with $\beta$ from 0 to 1, a Hamiltonian move at each, in the latent space of the flow,
    and importance weights along the way. The weighted draws go into a replay buffer. From it batches are chosen by
    weight, and the flow is trained to their likelihood, corrected for how the flow has moved since they were weighted.
    Where the target's log-density is NaN, a draw has no weight.

    Args:
        flow: The flow to start from, a base and a bijection; it is not changed.
        target: The log-density $\log \tilde p$ of one event in nats, such as a `Target`, as a JAX function.
        key: JAX key.
        n_rounds: Number of rounds.
        n_draws: Number of draws per round, and of rows per update.
        n_stages: Number of stages of the annealing.
        n_updates: Number of updates of the flow per round.
        optimizer: An optax transformation; None is Adam at 2e-3 with clipped gradients.

    Cost: per round `6 n_stages n_draws` gradients of the target, and as many passes of the flow forward.

    Raises:
        ImportError: blackjax is not installed.
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range, the flow is conditional, or it has a random log-density.

    Source: Midgley, Stimper, Simm, Schoelkopf, Hernandez-Lobato, 2023, algorithm 1, arXiv 2208.01893.

    Example:
        >>> import jax, pushforward as pf
        >>> target = pf.Target(lambda x: -0.5 * ((x - 1.0) @ (x - 1.0)), 2)
        >>> flow = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=2, width=8)
        >>> found = pf.inference.annealed_bootstrap(flow, target, key=jax.random.key(1), n_rounds=3, n_draws=32)
        >>> found.efficiency.shape
        (3,)
    """
    name, flow, key = "annealed_bootstrap", check_map("annealed_bootstrap", flow), as_key("annealed_bootstrap", key)
    sizes = {"n_rounds": n_rounds, "n_draws": n_draws, "n_stages": n_stages, "n_updates": n_updates}
    n_rounds, n_draws, n_stages, n_updates = (check_int(name, what, size, 1) for what, size in sizes.items())
    pull_back(target, flow)  # for its checks
    optimizer = optimizer or optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE))
    params: Any
    params, rest = trainable(flow)
    x, log_q = flow.sample_and_log_prob(key, n_draws)
    room = min(BUFFER_ROUNDS, n_rounds) * n_draws
    state = _State(
        params,
        optimizer.init(params),
        jnp.zeros((room, *flow.event_shape), x.dtype),
        jnp.full(room, -jnp.inf, log_q.dtype),
        jnp.zeros(room, log_q.dtype),
        jnp.asarray(FIRST_STEP_SIZE, x.dtype),
    )
    run = eqx.filter_jit(_round)
    rows = []
    for i in range(n_rounds):
        state, row = run(
            state, rest, target, optimizer, jax.random.fold_in(key, i), jnp.asarray(i), (n_draws, n_stages, n_updates)
        )
        rows.append(row)
    efficiency, acceptance = (np.asarray(jnp.stack(column)) for column in zip(*rows, strict=True))
    return Bootstrapped(combine(state.params, rest), efficiency, acceptance)


def _round(
    state: _State, rest: Any, target: Any, optimizer: Any, key: PRNGKeyArray, i: Any, sizes: tuple[int, int, int]
) -> tuple[_State, tuple[Array, Array]]:
    """Anneal new draws into the buffer, and train on batches of it."""
    n_draws, n_stages, n_updates = sizes
    flow = combine(state.params, rest)
    anneal_key, update_key = jax.random.split(key)
    update_keys = jax.random.split(update_key, n_updates)
    z, log_w, first, accepted = _anneal(flow, target, anneal_key, n_draws, n_stages, state.step_size)
    x, log_det = jax.vmap(flow.bijection.forward_and_log_det)(z)
    log_q = flow.base.log_prob(z) - log_det
    sound = jnp.isfinite(log_w) & jnp.all(jnp.isfinite(x), axis=tuple(range(1, x.ndim)))
    log_w = jnp.where(sound, log_w, -jnp.inf)
    places = (i * n_draws + jnp.arange(n_draws)) % len(state.log_w)
    x, log_w, log_q = (
        old.at[places].set(new.astype(old.dtype)) for old, new in zip(state[2:5], (x, log_w, log_q), strict=True)
    )
    step = make_step(MaximumLikelihood(), optimizer)

    def update(carry: tuple[Any, Any, Array, Array], key: PRNGKeyArray) -> tuple[tuple[Any, Any, Array, Array], None]:
        params, moments, log_w, log_q = carry
        # The largest of Gumbel-perturbed weights are draws without replacement.
        chosen = jax.lax.top_k(log_w + jax.random.gumbel(key, log_w.shape, log_w.dtype), n_draws)[1]
        now = combine(params, rest).log_prob(x[chosen]).astype(log_q.dtype)
        moved = jnp.where(jnp.isfinite(log_w[chosen]), log_q[chosen] - now, -jnp.inf)
        log_w, log_q = log_w.at[chosen].add(jnp.where(jnp.isfinite(moved), moved, 0)), log_q.at[chosen].set(now)
        weights = jnp.minimum(jnp.exp(moved), MAX_CORRECTION)
        params, moments, _ = step(params, rest, moments, x[chosen], weights=weights)
        return (params, moments, log_w, log_q), None

    start = (state.params, state.moments, log_w, log_q)
    (params, moments, log_w, log_q), _ = jax.lax.scan(update, start, update_keys)
    grown = jnp.where(accepted > ACCEPTANCE, STEP_FACTOR, 1 / STEP_FACTOR)
    share = jnp.exp(2 * jax.nn.logsumexp(first) - jax.nn.logsumexp(2 * first)) / n_draws
    return _State(params, moments, x, log_w, log_q, state.step_size * grown), (share, accepted)


def _anneal(
    flow: Flow, target: Any, key: PRNGKeyArray, n_draws: int, n_stages: int, step_size: Array
) -> tuple[Array, Array, Array, Array]:
    """Latents annealed from the base to the square of the target over the flow, with log-weights.

    Further the importance log-weights of the draws before, and the share of moves that were accepted.
    """
    hmc = package_of("annealed_bootstrap", "blackjax.mcmc.hmc", "inference")
    kernel, base, latent = hmc.build_kernel(), flow.base, pull_back(target, flow)
    draw_key, move_key = jax.random.split(key)
    z, log_base = base.sample_and_log_prob(draw_key, n_draws)
    mass = jnp.ones(z[0].size, z.dtype)

    def log_ratio(z: Array) -> Array:
        ratio = latent(z) - base.log_prob(z)
        return jnp.where(jnp.isnan(ratio), -jnp.inf, ratio)

    first = jax.vmap(log_ratio)(z)

    def stage(carry: tuple[Array, Array], inputs: tuple[Array, PRNGKeyArray]) -> tuple[tuple[Array, Array], Array]:
        (z, log_w), (beta, key) = carry, inputs
        log_w = log_w + 2 / n_stages * jax.vmap(log_ratio)(z)

        def density(z: Array) -> Array:
            return base.log_prob(z) + 2 * beta * log_ratio(z)

        def move(z: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
            state, info = kernel(key, hmc.init(z, density), density, step_size, mass, LEAPFROG_STEPS)
            return state.position, info.acceptance_rate

        z, rate = jax.vmap(move)(z, jax.random.split(key, n_draws))
        return (z, log_w), jnp.mean(jnp.where(jnp.isnan(rate), 0, rate))

    betas = jnp.arange(1, n_stages + 1) / n_stages
    start = (z, jnp.zeros_like(log_base))
    (z, log_w), rates = jax.lax.scan(stage, start, (betas, jax.random.split(move_key, n_stages)))
    return z, log_w, first, jnp.mean(rates)
