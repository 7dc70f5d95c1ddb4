"""A mixture of normals, whose score is known at every time: likelihood, samples of ODE and SDE, learned scores."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import Continuous
from pushforward.dynamics import Adaptive, PredictionField, ReverseSDE, draw
from pushforward.paths import AbstractPath, VarianceExplodingPath, VariancePreservingPath

KEY = jax.random.key(17)
MEANS, SPREAD = np.array([[-1.5, 0.0], [1.0, 1.0], [0.5, -1.5]]), 0.3
WEIGHTS = np.array([0.5, 0.3, 0.2])


def log_density(x: Array, alpha: Any = 1.0, sigma: Any = 0.0) -> Array:
    """Of the mixture with noise: its components stay normal."""
    variance = alpha**2 * SPREAD**2 + sigma**2
    squares = jnp.sum((x - alpha * MEANS) ** 2, axis=1)
    return logsumexp(jnp.log(WEIGHTS) - 0.5 * squares / variance) - jnp.log(2 * jnp.pi * variance)


class Exact(eqx.Module):
    """The noise to be predicted, from the exact score; `off` times it for a broken one."""

    path: AbstractPath
    off: float = eqx.field(static=True, default=1.0)
    dim: int = eqx.field(static=True, default=2)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        def one(t: Array, x: Array) -> Array:
            c = self.path.at(t)
            x = x * jnp.sqrt(c.alpha**2 + c.sigma**2)  # the field scales what a network sees
            return -self.off * c.sigma * jax.grad(log_density)(x, c.alpha, c.sigma)

        if x.ndim == 1:
            return one(t, x)
        return jax.vmap(one, in_axes=(-1 if jnp.ndim(t) else None, -1), out_axes=-1)(t, x)


def mixture(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return MEANS[rng.choice(3, n, p=WEIGHTS)] + SPREAD * rng.standard_normal((n, 2))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "path",
    [VariancePreservingPath(), pytest.param(VarianceExplodingPath(0.01, 40.0), marks=pytest.mark.thorough)],
    ids=lambda p: type(p).__name__,
)
def test_likelihood_of_the_probability_flow(path: AbstractPath) -> None:
    x = mixture(40, 0)
    c = path.at(jnp.asarray(path.end))
    true = np.asarray(jax.vmap(lambda x: log_density(x, c.alpha, c.sigma))(jnp.asarray(x)))
    # At the start there is a little of the data left.
    start = path.at(jnp.asarray(path.start))
    scale = float(jnp.sqrt(start.alpha**2 * SPREAD**2 + start.sigma**2))
    base = pf.Mixture([pf.DiagonalNormal(float(start.alpha) * mean, scale) for mean in MEANS], WEIGHTS)
    gaps = []
    for off in (1.0, 0.9):
        field = PredictionField(Exact(path, off), path, "noise")
        flow = pf.Flow(base, Continuous(field, solver=Adaptive(rtol=1e-7, atol=1e-7)))
        gaps.append(float(np.abs(np.asarray(flow.log_prob(x)) - true).max()))
    assert gaps[0] < 1e-3
    assert gaps[1] > 0.1  # the broken twin: a score that is a tenth too small


@pytest.mark.thorough
def test_samples_of_ode_and_sde() -> None:
    path, n = VariancePreservingPath(), 2000
    truth = mixture(200_000, 1)
    nearest = lambda x: np.argmin(((x[:, None] - MEANS) ** 2).sum(-1), axis=1)  # noqa: E731
    share = np.bincount(nearest(truth), minlength=3) / len(truth)
    spread = np.sqrt(((truth - MEANS[nearest(truth)]) ** 2).mean())
    for off, right in ((1.0, True), (0.8, False)):
        field = PredictionField(Exact(path, off), path, "noise")
        flow = pf.Flow(pf.StandardNormal((2,)), Continuous(field))
        for samples in (flow.sample(KEY, n), draw(field, KEY, n, ReverseSDE(200))):
            x = np.asarray(samples)
            found = np.bincount(nearest(x), minlength=3) / n
            shares_right = np.all(np.abs(found - share) < 4 * np.sqrt(share * (1 - share) / n))
            width = np.sqrt(((x - MEANS[nearest(x)]) ** 2).mean())
            # 2 % for the noise left at the end and 200 steps, and four standard errors.
            narrow = abs(width / spread - 1) < 0.02 + 4 / np.sqrt(4 * n)
            assert bool(shares_right and narrow) is right


@pytest.mark.thorough
def test_a_learned_score_comes_near_the_exact_one() -> None:
    flow = pf.flows.score_sde(KEY, dim=2, width=64, whiten=False)
    result = pf.fit(flow, mixture(20_000, 2), key=KEY, max_epochs=60, progress=False)
    field: Any = result.flow.bijection.field  # type: ignore[attr-defined]
    exact = PredictionField(Exact(field.path), field.path, "noise")
    rows = jnp.asarray(mixture(2000, 3).T)
    for t in (0.3, 0.6, 0.9):
        time = jnp.full(rows.shape[1], t)
        noise = jax.random.normal(KEY, rows.shape)
        x = field.path.between(time, noise, rows)[0]
        error, size = (
            jnp.mean(jnp.sum(value**2, axis=0))
            for value in (field.predict(time, x) - exact.predict(time, x), exact.predict(time, x))
        )
        assert error < 0.03 * size, t  # a score that is 20 % too small is off by 0.04
    nats = float(np.mean(np.asarray(result.flow.log_prob(np.asarray(rows.T)))))
    assert nats > float(jnp.mean(jax.vmap(log_density)(rows.T))) - 0.1
