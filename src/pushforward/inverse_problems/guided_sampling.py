"""Sampling along a path with a guide towards an observation: DPS, pseudo-inverse guidance, twisted particles."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import package_of
from pushforward._module import Module
from pushforward._types import Array, Fixed, PRNGKeyArray
from pushforward.dynamics.sampling import ancestral_kernel
from pushforward.inverse_problems.field_prior import FieldPrior, Moments, guided_times
from pushforward.inverse_problems.islands import LEAST_SHARE, chosen, ess_share, log_mean, taken
from pushforward.inverse_problems.methods import DPS, TDS, PiGDM
from pushforward.inverse_problems.operators import constant
from pushforward.inverse_problems.problem import NAME, Problem, held

# The covariance of the guide's normal gets this share of its mean variance, so that it has an inverse without noise.
RIDGE = 1e-6


class Guide(Module):
    r"""The likelihood of a state, as guides take it: $p(y \mid x_t) \approx N(A \hat x_1(x_t), \Sigma + B R_t B^T)$.

    $B$ is the operator's Jacobian at the prior's mean, in a basis in which the prior's covariance is diagonal with
    entries $c$, and $R_t = c\,\sigma^2 / (\alpha^2 c + \sigma^2)$ what a normal prior leaves open at the time $t$.

    Attributes:
        noise: $\Sigma$, `(m, m)`.
        jacobian: $B$, `(m, d)`.
        variances: $c$, `(d,)`; zeros for a guide that takes the estimate for certain.
        overshoots: Whether the guide's step is cut where it would overshoot the observation.
    """

    noise: Fixed
    jacobian: Fixed
    variances: Fixed
    overshoots: bool = eqx.field(static=True)


def guide_of(problem: Problem, prior: FieldPrior, moments: Moments, method: DPS | PiGDM | TDS) -> Guide:
    """The guide of a method.

    Args:
        problem: The problem.
        prior: The prior's field.
        moments: Mean and covariance of the field's vectors.
        method: The method.
    """

    def observed(x: Array) -> Array:
        return problem.operator.apply(prior.event(x)).reshape(-1)

    mean, vectors, variances = moments.arrays()
    columns = jax.vmap(lambda v: jax.jvp(observed, (jnp.asarray(mean),), (v,))[1])(jnp.asarray(vectors.T))
    noise = problem.noise.covariance(np.asarray(problem.y.value))
    # PiGDM has one variance for all numbers, DPS none.
    if isinstance(method, PiGDM):
        variances = np.full_like(variances, variances.mean())
    if isinstance(method, DPS):
        variances = np.zeros_like(variances)
    return Guide(constant(noise), constant(np.asarray(columns.T)), constant(variances), isinstance(method, DPS))


class Guided(NamedTuple):
    """What guided sampling gave.

    Attributes:
        x: The field's vectors at the end `(islands, particles, d)`.
        log_weights: Log-weights since the last resampling `(islands, particles)`, in nats.
        log_evidence: Log-evidence `(islands,)` of each island, the last weights among it.
        ess: Effective share of the particles at each step, the mean over islands, `(n_steps,)`.
    """

    x: Array
    log_weights: Array
    log_evidence: Array
    ess: Array


def run_guided(
    problem: Problem,
    prior: FieldPrior,
    moments: Moments,
    method: DPS | PiGDM | TDS,
    shape: tuple[int, int],
    key: PRNGKeyArray,
) -> Guided:
    r"""Particles from noise to data along the path, guided by the observation, with their weights.

    The unguided kernel is $N(\mu, T)$ with the mean of the ancestral sampler, $\mu = k_x x_t + k_1 \hat x_1$, and the
    covariance $T = \tau^2 I + k_1^2 C_t$, in which $C_t$ is what a normal prior of the same covariance leaves open of
    $x_1$: exact for normals whatever the steps, where the usual $\tau^2$ is too narrow. The guide moves its mean by
    $k_1 \frac{\sigma^2}{\alpha} \nabla_{x_t} \log \hat p(y \mid x_t)$. The weight of a path is the ratio of the
    unguided kernels and the likelihood at the end to the guided kernels. Twisted particles are resampled on the way,
    with $\hat p(y \mid x_t)$ as what they look ahead by.

    Args:
        problem: The problem.
        prior: The prior's field.
        moments: Mean and covariance of the field's vectors.
        method: The method.
        shape: Numbers of islands and of particles in each.
        key: JAX key.

    Source: Chung, Kim, McCann, Klasky, Ye, 2023, arXiv 2209.14687 (DPS); Song, Vahdat, Mardani, Kautz, 2023, ICLR
        (pseudo-inverse guidance); Wu, Trippe, Naesseth, Blei, Cunningham, 2023, arXiv 2306.17775 (TDS); Bao, Li, Zhu,
        Zhang, 2022, arXiv 2201.06503 (the kernel's covariance).
    """
    if isinstance(method, TDS):
        package_of(NAME, "blackjax", "inference")
    guide = guide_of(problem, prior, moments, method)
    times = jnp.asarray(guided_times(prior.field.path, method.n_steps))
    step = jnp.asarray(method.step if isinstance(method, DPS) else 1.0)
    return _run(problem, prior, moments, guide, times, step, key, shape=shape, resample=isinstance(method, TDS))


def _left_open(variances: Array, alpha: Array, sigma: Array) -> Array:
    """What a normal prior with these variances leaves open at a time: its variances given the state."""
    return variances * sigma**2 / (alpha**2 * variances + sigma**2)


@eqx.filter_jit
def _run(
    problem: Problem,
    prior: FieldPrior,
    moments: Moments,
    guide: Guide,
    times: Array,
    step: Any,
    key: PRNGKeyArray,
    *,
    shape: tuple[int, int],
    resample: bool,
) -> Guided:
    dtype = times.dtype
    mean, vectors, variances, noise, jacobian, open_variances, y = (
        jnp.asarray(value.value, dtype)
        for value in (
            moments.mean,
            moments.vectors,
            moments.variances,
            guide.noise,
            guide.jacobian,
            guide.variances,
            problem.y,
        )
    )
    size, y = len(mean), y.reshape(-1)
    path = prior.field.path
    each: Any = lambda function: jax.vmap(jax.vmap(function))  # noqa: E731

    def factor_at(t: Array) -> Array:
        here = path.at(t)
        total = noise + (jacobian * _left_open(open_variances, here.alpha, here.sigma)) @ jacobian.T
        return jnp.linalg.cholesky(total + RIDGE * jnp.mean(jnp.diagonal(total)) * jnp.eye(len(y)))

    def white_residual(t: Array, factor: Array, x: Array) -> tuple[Array, Array]:
        data = prior.denoised(t, x)
        gap = y - problem.operator.apply(prior.event(data)).reshape(-1)
        return jax.scipy.linalg.solve_triangular(factor, gap, lower=True), data

    def looked_ahead(t: Array, factor: Array, x: Array) -> tuple[Array, Array, Array, Array]:
        """The guide's log-likelihood, its gradient, the denoised vector, and the share of the step that is taken."""
        white, pull, data = jax.vjp(lambda x: white_residual(t, factor, x), x, has_aux=True)
        gradient = -pull(white)[0]
        log_det = jnp.sum(jnp.log(jnp.diagonal(factor)))
        value = -0.5 * jnp.sum(white**2) - log_det - 0.5 * len(y) * math.log(2 * math.pi)
        if not guide.overshoots:
            return value, gradient, data, jnp.ones((), dtype)
        # Along the guide the whitened residual changes by `slope` for a step of one: the best step is known.
        slope = jax.jvp(lambda x: white_residual(t, factor, x)[0], (x,), (gradient,))[1]
        best = -jnp.sum(white * slope) / jnp.maximum(jnp.sum(slope**2), 1e-30)
        return value, gradient, data, jnp.maximum(best, 0)

    def advance(carry: Any, i: Array) -> tuple[Any, Array]:
        x, log_weights, log_evidence, before = carry
        own = jax.random.fold_in(key, i)
        now, then = times[i], times[i + 1]
        factor = factor_at(now)
        value, gradient, data, best = each(lambda x: looked_ahead(now, factor, x))(x)
        log_weights = log_weights + value - before
        share = ess_share(log_weights)
        if resample:
            low = share < LEAST_SHARE
            places = chosen(jax.random.fold_in(own, 0), log_weights)
            places = jnp.where(low[:, None], places, jnp.arange(shape[1]))
            log_evidence = log_evidence + jnp.where(low, log_mean(log_weights), 0)
            log_weights = jnp.where(low[:, None], 0, log_weights)
            x, value, gradient, data = taken(places, (x, value, gradient, data))
        here, kernel = path.at(now), ancestral_kernel(path, now, then)
        length = step * kernel.data * here.sigma**2 / here.alpha
        if guide.overshoots:
            length = jnp.minimum(length, best)[..., None]
        # The last kernel may be as narrow as the data, so that a guide in it would leave the prior: weights do it.
        shift = jnp.where(i == len(times) - 2, 0, length * gradient)
        open_now = _left_open(variances, here.alpha, here.sigma)
        deviations = jnp.sqrt(kernel.deviation**2 + kernel.data**2 * open_now)
        noise_now = jax.random.normal(jax.random.fold_in(own, 1), x.shape, dtype)
        x = kernel.own * x + kernel.data * data + shift + (noise_now * deviations) @ vectors.T
        away = (shift @ vectors) / deviations
        log_weights = log_weights - jnp.sum(noise_now * away + 0.5 * away**2, axis=-1)
        return (x, log_weights, log_evidence, value), jnp.mean(share)

    here = path.at(times[0])
    first = jax.random.normal(jax.random.fold_in(key, len(times)), (*shape, size), dtype)
    spread = jnp.sqrt(here.alpha**2 * variances + here.sigma**2)
    x = here.alpha * mean + (first * spread) @ vectors.T
    zeros = jnp.zeros(shape, dtype)
    carry = (x, zeros, jnp.zeros(shape[0], dtype), zeros)
    (x, log_weights, log_evidence, before), shares = jax.lax.scan(advance, carry, jnp.arange(len(times) - 1))
    log_weights = log_weights + each(lambda x: problem.log_likelihood(prior.event(x)))(x) - before
    log_weights = jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)
    return Guided(x, log_weights, log_evidence + log_mean(log_weights), shares)


def events_of(problem: Problem, prior: FieldPrior, x: Array) -> np.ndarray:
    """The events `(n, *shape)` of vectors `(islands, particles, d)`; an observation without noise is held exactly.

    For that an event is moved by as little as makes it hold.
    """
    events = np.asarray(_tails(prior, x.reshape(-1, x.shape[-1])), np.float64)
    return held(problem, events) if problem.noiseless else events


@eqx.filter_jit
def _tails(prior: FieldPrior, x: Array) -> Array:
    return jax.vmap(prior.event)(x)
