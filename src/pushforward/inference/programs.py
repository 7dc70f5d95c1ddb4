"""The compiled programs of the ladder: weights, moves in latent space, training. Temperatures and steps are traced."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pushforward._checks import package_of
from pushforward._types import Array, PRNGKeyArray, combine, trainable
from pushforward._vectorize import batch_keys
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow, StandardNormal
from pushforward.inference.target import Target
from pushforward.inference.transport import DTYPE, Transport
from pushforward.objectives import MaximumLikelihood, ReverseKL
from pushforward.training import make_step

# The start of the ladder is a mixture of normals around 0 of many scales. The near ones share most of the mass; the
# far ones reach posteriors in large units, such as a salary. The tails are so heavy that the path to a far target is
# short.
NEAR = np.geomspace(0.5, 32.0, 12)
FAR = np.geomspace(100.0, 1e5, 4)
FAR_MASS = 0.04
SCALES = np.concatenate([NEAR, FAR])
LOG_WEIGHTS = np.log(np.concatenate([np.full(12, (1 - FAR_MASS) / 12), np.full(4, FAR_MASS / 4)]))
# One call of `move` makes so many trajectories of HMC, and then as many independent proposals of the flow.
ITERATIONS, LEAPFROGS = 4, 4
# Acceptance of HMC to which the step adapts, and how fast.
ACCEPTANCE, RATE = 0.8, 0.5
# The log of the step is uniform over an interval of this length, so that no trajectory resonates.
JITTER = 0.4
# One call of `train` makes so many steps, each on so many rows.
STEPS, BATCH = 100, 256
CLIP = 5.0
# Evaluations of the density by one call, for each particle or in all.
MOVE_COST = ITERATIONS * (1 + LEAPFROGS) + 2
FINISH_BATCH = 512  # draws of a step of the reverse divergence
FINISH_COST = STEPS * FINISH_BATCH


class Moved(NamedTuple):
    """What a call of `move` gives: vectors, their log-densities, the step, and the shares of accepted proposals."""

    u: Array
    log_p: Array
    log_step: Array
    hmc: Array
    independent: Array
    divergent: Array


def log_start(u: Array) -> Array:
    """The log-density of the start of the ladder, of one vector `(d,)`."""
    (d,) = u.shape
    scales = jnp.asarray(SCALES)
    each = -0.5 * jnp.sum(u * u) / scales**2 - d * jnp.log(scales) + jnp.asarray(LOG_WEIGHTS)
    return jax.nn.logsumexp(each) - 0.5 * d * math.log(2 * math.pi)


def draw_start(key: PRNGKeyArray, n: int, dim: int) -> Array:
    """Vectors `(n, dim)` of the start: as many of each scale as its share says, up to one."""
    scale_key, own_key = jax.random.split(key)
    at = (jnp.arange(n) + jax.random.uniform(scale_key)) / n
    place = jnp.searchsorted(jnp.cumsum(jnp.exp(jnp.asarray(LOG_WEIGHTS))), at)
    scale = jnp.asarray(SCALES)[jnp.minimum(place, len(SCALES) - 1)]
    return scale[:, None] * jax.random.normal(own_key, (n, dim))


@eqx.filter_jit
def evaluate(target: Target, u: Array) -> tuple[Array, Array]:
    """The log-densities of vectors `(n, d)`, and which of them are not a number."""
    return jax.vmap(target.value_and_fault)(u)


@jax.jit
def start_rows(u: Array) -> Array:
    """The log-densities `(n,)` of the start."""
    return jax.vmap(log_start)(u)


@jax.jit
def resampled(key: PRNGKeyArray, weights: Array) -> Array:
    """The numbers `(n,)` of the particles that stay, drawn systematically in proportion to weights with the sum 1."""
    package_of("infer", "blackjax", "inference")
    from blackjax.smc.resampling import systematic

    return systematic(key, weights, weights.shape[0])


@eqx.filter_jit
def score(transport: Transport, u: Array) -> Array:
    """The log-densities `(n,)` of the transport."""
    return transport.log_prob(u)


@eqx.filter_jit
def draw(transport: Transport, target: Target, key: PRNGKeyArray, n: int) -> tuple[Array, Array, Array, Array]:
    """Draws `(n, d)` of the transport, their log-densities, those of the target, and which are not a number."""
    y, log_q = transport.base.sample_and_log_prob_rows(batch_keys(key, n), None)
    u, log_det = transport.forward(y.T.astype(DTYPE))
    value, fault = jax.vmap(target.value_and_fault)(u)
    return u, log_q.astype(float) - log_det, value, fault


@eqx.filter_jit
def move(
    transport: Transport, target: Target, u: Array, temperature: Array, log_step: Array, key: PRNGKeyArray
) -> Moved:
    r"""Move particles `(n, d)` in the latent space of the transport, by blackjax's kernels.

    The stationary density is $\tilde p^\beta\, p_0^{1 - \beta}$ with the temperature $\beta$ and the start $p_0$. The
    independent proposals of the flow carry particles between modes; HMC moves them within.

    Args:
        transport: The flow.
        target: The target.
        u: Particles.
        temperature: The power $\beta > 0$ of the target.
        log_step: Logarithm of the step of HMC, a number.
        key: JAX key.
    """
    blackjax = package_of("infer", "blackjax", "inference")
    from blackjax.mcmc.random_walk import RWState, build_irmh

    n, d = u.shape
    hmc, independent, mass = blackjax.hmc.build_kernel(), build_irmh(), jnp.ones(d, DTYPE)

    def unpack(y: Array) -> tuple[Array, Array]:
        rows, log_det = transport.forward(y[None])
        return rows[0], log_det[0]

    def log_density(y: Array) -> Array:
        x, log_det = unpack(y)
        value = temperature * target(x) + (1 - temperature) * log_start(x) + log_det
        return jnp.where(value < jnp.inf, value, -jnp.inf)  # a latent so far out that the flow overflows

    def propose(key: PRNGKeyArray) -> Array:
        return transport.base.sample_rows(key[None], None)[:, 0].astype(DTYPE)

    def proposed(_: Any, to: Any) -> Array:
        return transport.base.log_prob_rows(to.position[:, None], None, None)[0].astype(float)

    def trajectory(carry: tuple[Any, Array], key: PRNGKeyArray) -> tuple[Any, tuple[Array, Array]]:
        states, log_step = carry
        jitter_key, own_key = jax.random.split(key)
        length = jnp.exp(log_step + JITTER * (jax.random.uniform(jitter_key, dtype=DTYPE) - 0.5))
        states, info = jax.vmap(lambda key, state: hmc(key, state, log_density, length, mass, LEAPFROGS))(
            jax.random.split(own_key, n), states
        )
        accepted = jnp.mean(jnp.where(info.acceptance_rate >= 0, info.acceptance_rate, 0))
        log_step = log_step + (RATE * (accepted - ACCEPTANCE)).astype(DTYPE)
        return (states, log_step), (accepted, jnp.mean(info.is_divergent.astype(float)))

    def jump(states: Any, key: PRNGKeyArray) -> tuple[Any, Array]:
        states, info = jax.vmap(lambda key, state: independent(key, state, log_density, propose, proposed))(
            jax.random.split(key, n), states
        )
        return states, jnp.mean(info.is_accepted.astype(float))

    first_key, second_key = jax.random.split(key)
    states = jax.vmap(lambda y: blackjax.hmc.init(y, log_density))(transport.latent(u))
    (states, log_step), (accepted, divergent) = jax.lax.scan(
        trajectory, (states, log_step), jax.random.split(first_key, ITERATIONS)
    )
    start = RWState(states.position, states.logdensity)
    states, jumped = jax.lax.scan(jump, start, jax.random.split(second_key, ITERATIONS))
    moved = transport.forward(states.position)[0]
    shares = (jnp.mean(accepted), jnp.mean(jumped), jnp.mean(divergent))
    return Moved(moved, target.rows(moved), log_step, *shares)


def optimizer() -> optax.GradientTransformation:
    """Adam with clipped gradients; its rate is given with each call."""
    return optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(1.0))


class Training(NamedTuple):
    """A bijection in training, and the moments of the optimiser."""

    bijection: AbstractBijection
    moments: Any

    @staticmethod
    def start(bijection: AbstractBijection) -> Training:
        """The bijection before its first step."""
        return Training(bijection, optimizer().init(cast(Any, trainable(bijection)[0])))


@eqx.filter_jit
def train(state: Training, pool: Array, count: Array, rates: Array, key: PRNGKeyArray) -> Training:
    """Maximum likelihood on whitened rows, `STEPS` steps with the rate going from one to another.

    Args:
        state: The bijection in training.
        pool: Rows `(m, d)` in float32, of which the first `count` are used.
        count: Number of rows, a number.
        rates: Rates `(2,)` at the first and the last step.
        key: JAX key.
    """
    params, rest = trainable(state.bijection)
    step = make_step(MaximumLikelihood(), optimizer(), _standard_flow)

    def body(carry: Any, at: tuple[Array, PRNGKeyArray]) -> tuple[Any, None]:
        rate, key = at
        rows = pool[jax.random.randint(key, (BATCH,), 0, count)]
        params, moments, _ = step(carry[0], rest, carry[1], rows, rate=rate)
        return (params, moments), None

    steps = jnp.linspace(rates[0], rates[1], STEPS).astype(DTYPE), jax.random.split(key, STEPS)
    (params, moments), _ = jax.lax.scan(body, (params, state.moments), steps)
    return Training(combine(params, rest), moments)


@eqx.filter_jit
def finish(state: Training, transport: Transport, target: Target, rates: Array, key: PRNGKeyArray) -> Training:
    """Reverse KL with the path gradient, `STEPS` steps; whitening and base of the transport stay.

    Args:
        state: The bijection in training.
        transport: The transport whose whitening is taken.
        target: The target.
        rates: Rates `(2,)` at the first and the last step.
        key: JAX key.
    """

    def log_density(x: Array) -> Array:
        u, log_det = transport.unwhitened(x)
        return (target.rows(u) + log_det).astype(DTYPE)

    params, rest = trainable(state.bijection)
    step = make_step(ReverseKL(log_density, FINISH_BATCH, batched=True), optimizer(), _standard_flow)

    def body(carry: Any, at: tuple[Array, PRNGKeyArray]) -> tuple[Any, None]:
        rate, key = at
        params, moments, _ = step(carry[0], rest, carry[1], None, key=key, rate=rate)
        return (params, moments), None

    steps = jnp.linspace(rates[0], rates[1], STEPS).astype(DTYPE), jax.random.split(key, STEPS)
    (params, moments), _ = jax.lax.scan(body, (params, state.moments), steps)
    return Training(combine(params, rest), moments)


def _standard_flow(params: Any, rest: Any) -> Flow:
    bijection = combine(params, rest)
    return Flow(StandardNormal(bijection.in_shape), bijection)
