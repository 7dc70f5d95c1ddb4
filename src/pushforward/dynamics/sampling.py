"""Samplers of diffusions: the reverse SDE, ancestral steps, predictor-corrector, Langevin dynamics."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import as_key, check_int, message
from pushforward._meshes import fori_loop, scan
from pushforward._types import Array, PRNGKeyArray
from pushforward._vectorize import batch_keys
from pushforward.dynamics.bridge_field import BridgeField
from pushforward.dynamics.fields import PredictionField
from pushforward.paths import AbstractPath

# A published setting of predictor-corrector samplers; for other kinds of data it is the first thing to tune.
SIGNAL_TO_NOISE = 0.16


class AbstractSampler(eqx.Module):
    """A sampler that turns noise into data by a diffusion; row `i` depends on its own key alone."""

    @abstractmethod
    def run(self, field: PredictionField, x: Array, keys: PRNGKeyArray, condition: Array | None) -> Array:
        """The data that the sampler makes of noise `x`.

        Args:
            field: The field of the diffusion.
            x: Noise at `field.start`, `(*shape, n)`.
            keys: JAX keys, one per row, `(n,)`.
            condition: Conditions of the rows, `(*cond_shape, n)`, or None.
        """


def draw(
    field: PredictionField | BridgeField,
    key: PRNGKeyArray,
    n: int,
    sampler: AbstractSampler,
    condition: Any = None,
    *,
    start: Any = None,
) -> Array:
    r"""Draw from a diffusion or a bridge by a stochastic sampler.

    Its probability-flow equation, which `Continuous` solves, has the same distribution and a density; stochastic
    samplers correct errors of the score on the way.

    Args:
        field: The field of a diffusion, or of a bridge.
        key: JAX key; row `i` depends on it and `i` alone.
        n: Number of rows.
        sampler: The sampler: `ReverseSDE(...)`, and for diffusions also `Ancestral(...)`, `PredictorCorrector(...)` or
            `AnnealedLangevin(...)`.
        condition: Condition of all rows, `cond_shape`, or one per row, `(n, *cond_shape)`.
        start: Noise `(n, *shape)`, such as draws from a bridge's base. None draws from $N(0, \sigma(\text{start})^2)$
            of a diffusion's path, or $N(0, I)$ for a bridge.

    Shapes:
        `(n, *shape)`

    Raises:
        TypeError: the sampler does not work for a bridge.
        ValueError: a shape does not fit, or the condition is missing or not expected.

    Source: Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, 2021, arXiv 2011.13456.
    """
    n = check_int("draw", "n", n, 0)
    key = as_key("draw", key)
    if isinstance(field, BridgeField) and not isinstance(sampler, ReverseSDE):
        fix = "The other samplers need a Gaussian path."
        raise TypeError(message("draw", "ReverseSDE(...) for a bridge", type(sampler).__name__, fix))
    if (condition is None) != (field.cond_shape is None):
        got, fix = ("none", "Pass condition=...") if condition is None else ("one", "Leave it out.")
        raise ValueError(message("draw", f"a condition of shape {field.cond_shape}", got, fix))
    if condition is not None and field.cond_shape is not None:
        rows = jnp.broadcast_to(jnp.asarray(condition, float), (n, *field.cond_shape))
        condition = jnp.moveaxis(rows, 0, -1)
    if start is not None:
        start = jnp.asarray(start, float)
        if start.shape != (n, *field.shape):
            fix = "Pass one row of noise for each draw, such as flow.base.sample(key, n)."
            raise ValueError(message("draw", f"start of shape {(n, *field.shape)}", f"{start.shape}", fix))
    return _draw(field, key, n, sampler, condition, start)


@eqx.filter_jit
def _draw(field: Any, key: PRNGKeyArray, n: int, sampler: AbstractSampler, condition: Any, start: Any) -> Array:
    first, second = jax.random.split(key)
    if start is None:
        x = _noise_scale(field) * _normal(batch_keys(first, n), 0, field.shape)
    else:
        x = jnp.moveaxis(start, 0, -1)
    return jnp.moveaxis(sampler.run(field, x, batch_keys(second, n), condition), -1, 0)


def _noise_scale(field: PredictionField | BridgeField) -> Any:
    return 1.0 if isinstance(field, BridgeField) else field.path.sigma(jnp.asarray(field.start, float))


def _normal(keys: PRNGKeyArray, step: Any, shape: tuple[int, ...]) -> Array:
    """Draw the noise of a step, `(*shape, n)`, each row from its own key."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, step), shape), out_axes=-1)(keys)


def _times(field: PredictionField | BridgeField, n_steps: int) -> Array:
    return jnp.linspace(field.start, field.end, n_steps + 1)


class ReverseSDE(AbstractSampler):
    r"""The SDE $dx = [v + \frac12 g^2 s]\,dt + g\,dw$ from noise to data, solved by diffrax with equal steps.

    Here $v$ is the probability-flow velocity, $s$ the score and $g$ the diffusion of the path. In the diffusion's own
    time this is Anderson's reverse equation, $dx = [f - g^2 s]\,ds + g\,d\bar w$; for a bridge it is the SDE with the
    drift `BridgeField.sde_drift`.

    Args:
        n_steps: Number of steps.
        method: Method of the solver, `"euler"` (Euler-Maruyama, strong order 1 for this additive noise) or `"shark"`
            (a stochastic Runge-Kutta method of strong order 1.5).

    Raises:
        ValueError: `method` is unknown.

    Source: Anderson, 1982; Song et al., 2021, eq. 6, arXiv 2011.13456; Foster, dos Reis, Strange, 2023, arXiv
        2210.17543 (shark).
    """

    n_steps: int = eqx.field(static=True)
    method: Literal["euler", "shark"] = eqx.field(static=True)

    def __init__(self, n_steps: int = 500, method: Literal["euler", "shark"] = "euler"):
        if method not in ("euler", "shark"):
            raise ValueError(message("ReverseSDE", "method to be euler or shark", repr(method), "Choose one of them."))
        self.n_steps, self.method = check_int("ReverseSDE", "n_steps", n_steps, 1), method

    def run(self, field: PredictionField | BridgeField, x: Array, keys: PRNGKeyArray, condition: Array | None) -> Array:
        import diffrax
        import lineax

        t0, t1 = field.start, field.end
        area = diffrax.SpaceTimeLevyArea if self.method == "shark" else diffrax.BrownianIncrement

        def one(x: Array, key: PRNGKeyArray, condition: Array | None) -> Array:
            def drift(t: Any, x: Any, arguments: Any) -> Array:
                half = 0.5 * field.path.diffusion_squared(t)
                return field(t, x, condition) + half * field.score(t, x, condition)

            def diffusion(t: Any, x: Any, arguments: Any) -> Any:
                size = jnp.sqrt(jnp.maximum(field.path.diffusion_squared(t), 0))
                return lineax.DiagonalLinearOperator(jnp.broadcast_to(size.astype(x.dtype), x.shape))

            # Increments are drawn when they are needed, which is right as long as no step is rejected or repeated.
            noise = diffrax.UnsafeBrownianPath(x.shape, key, levy_area=area)
            found = diffrax.diffeqsolve(
                diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, noise)),
                diffrax.ShARK() if self.method == "shark" else diffrax.Euler(),
                t0=t0,
                t1=t1,
                dt0=None,
                y0=x,
                stepsize_controller=diffrax.StepTo(ts=_times(field, self.n_steps)),
                max_steps=self.n_steps,
                adjoint=diffrax.DirectAdjoint(),
            )
            return found.ys[-1]  # pyright: ignore[reportOptionalSubscript]

        axes = (-1, 0, None if condition is None else -1)
        return jax.vmap(one, in_axes=axes, out_axes=-1)(x, keys, condition)


class Kernel(NamedTuple):
    r"""The kernel $N(k_x x_t + k_1 x_1, \tau^2)$ of the path from a time to a later one, given the data $x_1$.

    Attributes:
        own: Weight $k_x$ of the state.
        data: Weight $k_1$ of the data.
        deviation: Standard deviation $\tau$.
    """

    own: Array
    data: Array
    deviation: Array


def ancestral_kernel(path: AbstractPath, now: Array, then: Array) -> Kernel:
    r"""The kernel $q(x_s \mid x_t, x_1)$ of a Gaussian path, for $s$ after $t$.

    Args:
        path: The path.
        now: Time $t$.
        then: Time $s$.

    Source: Ho, Jain, Abbeel, 2020, eq. 6-7, arXiv 2006.11239; for any path: Kingma, Salimans, Poole, Ho, 2021,
        appendix A, arXiv 2107.00630.
    """
    here, there = path.at(now), path.at(then)
    shrink = here.alpha / there.alpha
    lost = jnp.maximum(here.sigma**2 - (shrink * there.sigma) ** 2, 0)
    own = shrink * (there.sigma / here.sigma) ** 2
    return Kernel(own, there.alpha * lost / here.sigma**2, there.sigma * jnp.sqrt(lost) / here.sigma)


def _ancestral(
    field: PredictionField, x: Array, now: Array, then: Array, condition: Array | None
) -> tuple[Array, Array]:
    r"""Mean and standard deviation of $x_{s}$ given $x_t$ and the predicted data, for $s$ after $t$."""
    kernel = ancestral_kernel(field.path, now, then)
    return kernel.own * x + kernel.data * field.predicted_data(now, x, condition), kernel.deviation


class Ancestral(AbstractSampler):
    r"""Ancestral steps from $q(x_s \mid x_t, \hat x_1)$, the posterior of the path at the predicted data $\hat x_1$.

    For the VP path this is the sampler of DDPM. The last step has no noise.

    Args:
        n_steps: Number of steps.

    Source: Ho, Jain, Abbeel, 2020, eq. 6-7, arXiv 2006.11239; Song et al., 2021, appendix F, arXiv 2011.13456.
    """

    n_steps: int = eqx.field(static=True)

    def __init__(self, n_steps: int = 500):
        self.n_steps = check_int("Ancestral", "n_steps", n_steps, 1)

    def run(self, field: PredictionField, x: Array, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return PredictorCorrector(self.n_steps, 0).run(field, x, keys, condition)


class PredictorCorrector(AbstractSampler):
    r"""Alternating ancestral steps and Langevin steps at the new time.

    A correction is $x + \epsilon s + \sqrt{2 \epsilon}\,z$ with $\epsilon = 2\,(r\,\sigma_t)^2$. The published size is
    $2\,(r\,|z|/|s|)^2$ with norms averaged over the batch. This is about the same, since $|s|$ is about $|z|/\sigma_t$,
    but makes rows depend on one another; with the norms of each row the samples spread too far (standard deviations of
    2.14 instead of 1.5 in two dimensions). The last step has neither noise nor correction.

    Args:
        n_steps: Number of predictions.
        n_corrections: Number of Langevin steps after each prediction.
        signal_to_noise: Ratio $r$ of signal to noise.

    Cost: `n_steps * (1 + n_corrections)` evaluations.

    Source: Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, 2021, algorithms 1-5, arXiv 2011.13456.
    """

    n_steps: int = eqx.field(static=True)
    n_corrections: int = eqx.field(static=True)
    signal_to_noise: float = eqx.field(static=True)

    def __init__(self, n_steps: int = 500, n_corrections: int = 1, signal_to_noise: float = SIGNAL_TO_NOISE):
        if not signal_to_noise > 0:
            expected = "signal_to_noise > 0"
            raise ValueError(message("PredictorCorrector", expected, repr(signal_to_noise), "0.16 is usual."))
        self.n_steps = check_int("PredictorCorrector", "n_steps", n_steps, 1)
        self.n_corrections = check_int("PredictorCorrector", "n_corrections", n_corrections, 0)
        self.signal_to_noise = float(signal_to_noise)

    def run(self, field: PredictionField, x: Array, keys: PRNGKeyArray, condition: Array | None) -> Array:
        times, each = _times(field, self.n_steps), 1 + self.n_corrections

        def step(x: Array, i: Array) -> tuple[Array, None]:
            mean, deviation = _ancestral(field, x, times[i], times[i + 1], condition)
            x = mean + deviation * _normal(keys, each * i, field.shape)
            size = 2 * (self.signal_to_noise * field.path.sigma(times[i + 1])) ** 2

            def correct(j: Array, x: Array) -> Array:
                z = _normal(keys, each * i + j, field.shape)
                score = field.score(times[i + 1], x, condition)
                return x + size * score + jnp.sqrt(2 * size) * z

            return fori_loop(1, each, correct, x), None

        x, _ = scan(step, x, jnp.arange(self.n_steps - 1))
        return _ancestral(field, x, times[-2], times[-1], condition)[0]


class AnnealedLangevin(AbstractSampler):
    r"""Langevin steps $x + \frac12 a_i s + \sqrt{a_i}\,z$ at one noise level after another, $a_i = a\,\sigma_i^2$.

    Levels are equally spaced in the path's time, including its start and end. On a `VarianceExplodingPath` this is the
    geometric sequence that `objectives.LevelTimes(n_levels)` trains.

    Args:
        n_levels: Number of noise levels.
        n_steps: Number of steps at each level.
        step: Step size $a$, relative to the square of the level's noise.

    Source: Song, Ermon, 2019, algorithm 1, arXiv 1907.05600.
    """

    n_levels: int = eqx.field(static=True)
    n_steps: int = eqx.field(static=True)
    step: float = eqx.field(static=True)

    def __init__(self, n_levels: int = 50, n_steps: int = 50, step: float = 0.2):
        self.n_levels = check_int("AnnealedLangevin", "n_levels", n_levels, 1)
        self.n_steps = check_int("AnnealedLangevin", "n_steps", n_steps, 1)
        if not 0 < step < 2:
            raise ValueError(message("AnnealedLangevin", "0 < step < 2", repr(step), "Larger steps are unstable."))
        self.step = float(step)

    def run(self, field: PredictionField, x: Array, keys: PRNGKeyArray, condition: Array | None) -> Array:
        times = jnp.linspace(field.start, field.end, self.n_levels) if self.n_levels > 1 else jnp.array([field.end])

        def level(x: Array, i: Array) -> tuple[Array, None]:
            size = self.step * field.path.sigma(times[i]) ** 2
            numbers = i * self.n_steps + jnp.arange(self.n_steps)
            noise = functools.partial(_normal, keys, shape=field.shape)
            return _langevin(lambda x: field.score(times[i], x, condition), x, size, numbers, noise), None

        return scan(level, x, jnp.arange(self.n_levels))[0]


def _langevin(
    score: Callable[[Array], Array], x: Array, size: Array, numbers: Array, noise: Callable[[Array], Array]
) -> Array:
    def step(x: Array, number: Array) -> tuple[Array, None]:
        return x + 0.5 * size * score(x) + jnp.sqrt(size) * noise(number), None

    return scan(step, x, numbers)[0]


def langevin(score: Callable[[Array], Array], key: PRNGKeyArray, start: Array, *, step: float, n_steps: int) -> Array:
    r"""Run unadjusted Langevin dynamics, $x \leftarrow x + \frac{a}{2} s(x) + \sqrt{a}\,z$, for any score.

    A score $\nabla \log p$ needs no normalising constant, so that `jax.grad` of an unnormalised log-density will do.
    The distribution of the samples is $p$ up to an error of the order of the step.

    Args:
        score: The score of one event, as a function of it.
        key: JAX key; chain `i` depends on it and `i` alone.
        start: Array of shape `(n, *shape)`, where `n` chains begin.
        step: Step size $a > 0$.
        n_steps: Number of steps.

    Shapes:
        `(n, *shape)`, the final states of the chains

    Source: Roberts, Tweedie, 1996; Welling, Teh, 2011.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.dynamics import langevin
        >>> log_density = lambda x: -jnp.sum(x**4)  # not normalised
        >>> ends = langevin(jax.grad(log_density), jax.random.key(0), jnp.zeros((8, 2)), step=0.01, n_steps=50)
        >>> ends.shape
        (8, 2)
    """
    if not step > 0 or not math.isfinite(step):
        raise ValueError(message("langevin", "a finite step > 0", repr(step), "0.01 of the variance is a start."))
    n_steps, key = check_int("langevin", "n_steps", n_steps, 0), as_key("langevin", key)
    start = jnp.asarray(start)

    def chain(x: Array, key: PRNGKeyArray) -> Array:
        def noise(number: Array) -> Array:
            return jax.random.normal(jax.random.fold_in(key, number), x.shape, x.dtype)

        return _langevin(score, x, jnp.asarray(step, x.dtype), jnp.arange(n_steps), noise)

    return jax.jit(jax.vmap(chain))(start, batch_keys(key, len(start)))
