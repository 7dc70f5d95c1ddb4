"""Denoising score matching: the score of data with noise, at one level, at many, or at all times of a diffusion."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import as_key, message
from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.dynamics import PredictionField
from pushforward.objectives.base import AbstractObjective, Rows
from pushforward.objectives.drawn_times import AbstractTimes, ImportanceTimes, UniformTimes, stratified
from pushforward.objectives.field_view import view
from pushforward.objectives.regression import prediction_error
from pushforward.paths.base import SMALLEST, AbstractPath, Prediction


class AbstractWeighting(eqx.Module):
    r"""The weight $\lambda(t)$ of the error of a score at each time."""

    @abstractmethod
    def __call__(self, path: AbstractPath, t: Array) -> Array:
        r"""The weight $\lambda(t)/\sigma(t)^2$ of the error of the noise, finite also where that of a score is not.

        Args:
            path: Path of the model.
            t: Times `(n,)`.
        """


class NoiseWeighting(AbstractWeighting):
    r"""$\lambda = \sigma^2$: the error of the noise, of the same size at every time.

    Source: Song, Ermon, 2019, section 4.2, arXiv 1907.05600; Ho, Jain, Abbeel, 2020, eq. 14, arXiv 2006.11239.
    """

    def __call__(self, path: AbstractPath, t: Array) -> Array:
        return jnp.ones_like(t)


class LikelihoodWeighting(AbstractWeighting):
    r"""$\lambda = g^2$: half the integral over time bounds the Kullback-Leibler divergence from the data.

    Its weight on the noise's error, $g^2/\sigma^2$, is large near the data, and so is the variance of the loss;
    `ImportanceTimes` has the same minimum with a small variance. On a path whose noise or data vanishes at an end that
    is not cut (`LinearPath()`) the integral is infinite.

    Source: Song, Durkan, Murray, Ermon, 2021, theorem 1, arXiv 2101.09258.
    """

    def __call__(self, path: AbstractPath, t: Array) -> Array:
        return path.diffusion_squared(t) / jnp.maximum(path.sigma(t), SMALLEST) ** 2


class DenoisingScoreMatching(AbstractObjective):
    r"""$\mathbb{E}\,\lambda(t)\,|s_\theta(t, x_t) + x_0/\sigma(t)|^2$ with $x_t = \alpha(t) x_1 + \sigma(t) x_0$.

    Here $x_1$ are rows of data and $x_0$ normal noise. The minimum is the score of the data with noise,
    $\nabla \log p_t$, at each of the times drawn. Whatever the field predicts (noise, score, data, velocity), the loss
    is the same: the error in its own terms, times the factor that makes it one of the noise.

    The times of a batch are stratified: one uniform number decides them all, so that each stretch of time has its rows.

    Args:
        weighting: Weight of the error at each time, `NoiseWeighting()` or `LikelihoodWeighting()`.
        times: Law of the times: `UniformTimes()`; `ImportanceTimes(path)` for the likelihood's minimum by the noise's
            error; `LevelTimes(10)` for the noise levels of NCSN on a `VarianceExplodingPath`; `LevelTimes([t])` for one
            level.

    Raises:
        TypeError: The flow is not a `Continuous` one of a `PredictionField`, with nothing else to train.
        ValueError: The times are made for another path.

    Source: Vincent, 2011, eq. 9, A connection between score matching and denoising autoencoders; Song, Ermon, 2019,
        eq. 6, arXiv 1907.05600; Song et al., 2021, eq. 7, arXiv 2011.13456.

    Example:
        >>> import jax, pushforward as pf
        >>> path = pf.paths.VariancePreservingPath()
        >>> field = pf.dynamics.PredictionField(pf.nets.TimeMLP(jax.random.key(0), 2, width=8), path)
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.bijections.Continuous(field))
        >>> objective = pf.objectives.DenoisingScoreMatching(times=pf.objectives.ImportanceTimes(path))
        >>> objective(flow, jax.numpy.zeros((4, 2)), None, None, jax.random.key(1)).shape
        ()
    """

    weighting: AbstractWeighting
    times: AbstractTimes
    in_nats: ClassVar[bool] = False
    is_regression: ClassVar[bool] = True
    trains: ClassVar = "path"
    names: ClassVar = {
        "denoising": lambda field: DenoisingScoreMatching(),
        "likelihood_weighted": lambda field: DenoisingScoreMatching(times=ImportanceTimes(field.path)),
    }

    def __init__(self, weighting: AbstractWeighting | None = None, times: AbstractTimes | None = None):
        self.weighting = NoiseWeighting() if weighting is None else weighting
        self.times = UniformTimes() if times is None else times

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The weighted squared error of each row at one time, with one draw of noise, `(n,)`."""
        name = "DenoisingScoreMatching"
        seen = view(name, flow, x, condition, as_key(name, key))
        rows, field = seen.x, seen.layer.field
        if not isinstance(field, PredictionField):
            fix = "Wrap the network in PredictionField(net, path), or train by FlowMatching."
            raise TypeError(message(name, "a field with a score (PredictionField)", type(field).__name__, fix))
        path = field.path
        if isinstance(self.times, ImportanceTimes) and jax.tree.structure(self.times.path) != jax.tree.structure(path):
            fix = "Give ImportanceTimes the path of the model's field."
            raise ValueError(message(name, f"times for {path}", f"times for {self.times.path}", fix))
        time_key, noise_key = jax.random.split(seen.key)
        t = path.start + (path.end - path.start) * self.times(stratified(time_key, rows.shape[-1], rows.dtype))
        noise = jax.random.normal(noise_key, rows.shape, rows.dtype)
        where, velocity = path.between(t, noise, rows)
        square = prediction_error(field, t, where, velocity, noise, rows, seen.condition)
        return self.weighting(path, t) * _to_noise(path, t, field.predicts) ** 2 * square - seen.log_prob


def _to_noise(path: AbstractPath, t: Array, predicts: Prediction) -> Array:
    """The factor that turns an error of the prediction into one of the noise, up to its sign, by the table."""
    if predicts in ("noise", "score"):
        return jnp.ones_like(t)
    c = path.at(t)
    if predicts == "data":
        return c.alpha / jnp.maximum(c.sigma, SMALLEST)
    return c.alpha / jnp.maximum(c.alpha_dot * c.sigma - c.alpha * c.sigma_dot, SMALLEST)
