"""Samplers of diffusions against a normal whose score is known at every time; Langevin against its target."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marks import split
from pushforward._types import Array
from pushforward.dynamics import (
    AbstractSampler,
    Ancestral,
    AnnealedLangevin,
    PredictionField,
    PredictorCorrector,
    ReverseSDE,
    draw,
    langevin,
)
from pushforward.nets import TimeMLP
from pushforward.paths import AbstractPath, SubVariancePreservingPath, VarianceExplodingPath, VariancePreservingPath

KEY = jax.random.key(8)
MEAN, SD = np.array([0.5, -1.0]), np.array([0.3, 1.5])
N = 4000


class Exact(eqx.Module):
    """The noise in x_t of normal data, in closed form; `error` scales it, for the broken twin."""

    path: AbstractPath
    error: float = eqx.field(static=True, default=1.0)
    dim: int = eqx.field(static=True, default=2)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        c = self.path.at(t)
        x = x * jnp.sqrt(c.alpha**2 + c.sigma**2)  # the field scales what a network sees
        mean, variance = (jnp.asarray(a).reshape(2, *[1] * (x.ndim - 1)) for a in (MEAN, SD**2))
        return self.error * c.sigma * (x - c.alpha * mean) / (c.alpha**2 * variance + c.sigma**2)


def agrees(rows: Any) -> bool:
    """Whether mean and standard deviation are those of the data: within 4 standard errors and 2 % of bias."""
    rows = np.asarray(rows, np.float64)
    of_mean, of_sd = SD / np.sqrt(N), SD / np.sqrt(2 * N)
    means = np.abs(rows.mean(axis=0) - MEAN) < 4 * of_mean + 0.02 * SD
    return bool(np.all(means) and np.all(np.abs(rows.std(axis=0) - SD) < 4 * of_sd + 0.02 * SD))


VP, VE = VariancePreservingPath(), VarianceExplodingPath(0.01, 20.0)
SAMPLERS: dict[str, tuple[AbstractSampler, AbstractPath]] = {
    "Euler-Maruyama": (ReverseSDE(300), VP),
    "Euler-Maruyama, sub-VP": (ReverseSDE(300), SubVariancePreservingPath()),
    "stochastic Runge-Kutta": (ReverseSDE(60, "shark"), VP),
    "ancestral": (Ancestral(300), VP),
    "ancestral, VE": (Ancestral(300), VE),
    "predictor-corrector": (PredictorCorrector(200), VE),
    "annealed Langevin": (AnnealedLangevin(60, 60, 0.1), VE),
}

EVERY_RUN = ("Euler-Maruyama", "ancestral", "ancestral, VE", "predictor-corrector")


@pytest.mark.parametrize("name", split(SAMPLERS, lambda name: name in EVERY_RUN))
def test_samples_of_a_normal(name: str) -> None:
    sampler, path = SAMPLERS[name]
    rows = draw(PredictionField(Exact(path), path), KEY, N, sampler)
    assert rows.shape == (N, 2)
    assert agrees(rows), (rows.mean(axis=0), rows.std(axis=0))


def test_a_wrong_score_is_found() -> None:
    """The broken twin: noise predicted 20 % too large."""
    assert not agrees(draw(PredictionField(Exact(VP, 1.2), VP), KEY, N, Ancestral(300)))


@pytest.mark.thorough
def test_rows_depend_on_their_own_key_alone() -> None:
    for sampler in (Ancestral(5), PredictorCorrector(5, 2), ReverseSDE(5), AnnealedLangevin(3, 2)):
        field = PredictionField(TimeMLP(KEY, 2, width=4, cond_shape=(1,)), VP)
        many, few = (draw(field, KEY, n, sampler, jnp.ones(1)) for n in (6, 3))
        np.testing.assert_allclose(many[:3], few, rtol=1e-9)


def test_langevin_needs_no_normalising_constant() -> None:
    r"""exp(-x^4/4): the variance is 2 Gamma(3/4)/Gamma(1/4), 0.676."""
    ends = langevin(lambda x: -(x**3), KEY, jnp.zeros((N, 1)), step=0.02, n_steps=600)
    assert float(jnp.var(ends)) == pytest.approx(0.676, abs=0.04)


def test_errors() -> None:
    field = PredictionField(TimeMLP(KEY, 2, width=4, cond_shape=(1,)), VP)
    with pytest.raises(ValueError, match="a condition of shape"):
        draw(field, KEY, 3, Ancestral(5))
    with pytest.raises(ValueError, match="method to be euler or shark"):
        ReverseSDE(5, "milstein")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 < step < 2"):
        AnnealedLangevin(step=2.0)
    with pytest.raises(ValueError, match="signal_to_noise > 0"):
        PredictorCorrector(signal_to_noise=0.0)
    with pytest.raises(ValueError, match="a finite step > 0"):
        langevin(lambda x: -x, KEY, jnp.zeros((2, 1)), step=0.0, n_steps=1)
