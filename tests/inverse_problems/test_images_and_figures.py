"""Images through the same call, the pictures of answers, and the worked example in small."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import pushforward as pf
from documents import ROOT
from pushforward._types import Array
from pushforward.dynamics import PredictionField
from pushforward.inverse_problems import Downsample, Importance, Mask, PiGDM, solve
from pushforward.paths import AbstractPath, VariancePreservingPath
from pushforward.plotting import plot_restoration

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_super_resolution_of_an_image() -> None:
    """Each block of independent numbers is given its mean: the posterior is known block by block."""
    shape = (1, 2, 4)
    prior = pf.Flow(pf.StandardNormal(shape), pf.Affine(loc=1.0, scale=2.0, shape=shape))
    y = np.array([[[0.0, 3.0]]])
    answer = solve(prior, y, Downsample(2, shape), 0.5, method=Importance(n_proposals=2048), key=KEY, n_draws=1000)
    assert answer.draws.shape == (1000, *shape)
    assert answer.trustworthy
    # The mean of four numbers has the variance 1; given y it moves by 1 / (1 + 0.25) of the distance.
    gain = 1 / 1.25
    mean = np.repeat(1 + gain * (y[0, 0] - 1), 2)
    assert np.all(np.abs(answer.mean - mean) < 3.5 * answer.standard_error())
    np.testing.assert_allclose(answer.sd, np.sqrt(4 - gain), rtol=0.12)
    figure, axes = plot_restoration(answer, truth=np.zeros(shape))
    assert [axis.get_title() for axis in axes][:4] == ["truth", "observed", "mean", "standard deviation"]
    figure.canvas.draw()
    assert type(answer.to_arviz()).__name__ in ("InferenceData", "DataTree")


class IsotropicNoise(eqx.Module):
    """The noise to be predicted where images are normal with variance 4."""

    path: AbstractPath
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: None = eqx.field(static=True, default=None)

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        c = self.path.at(t)
        return c.sigma * x * jnp.sqrt(c.alpha**2 + c.sigma**2) / (4 * c.alpha**2 + c.sigma**2)


def test_a_guided_field_of_images() -> None:
    """Guides see vectors, fields see images, and what comes after the field is an image too."""
    shape, path = (1, 2, 4), VariancePreservingPath()
    field = PredictionField(IsotropicNoise(path, shape), path, "noise")
    tail = pf.Affine(loc=1.0, scale=0.5, shape=shape)
    prior = pf.Flow(pf.StandardNormal(shape), pf.Chain([pf.bijections.Continuous(field), tail]))
    y = np.array([[[0.0, 3.0]]])
    answer = solve(prior, y, Downsample(2, shape), 0.5, method=PiGDM(n_steps=60), key=KEY, n_draws=500)
    assert answer.draws.shape == (500, *shape)
    assert answer.bias is not None
    # Pixels have mean 1 and variance 1, means of four of them 1/4: given y they move by 1/4 / (1/4 + 1/4) of the way.
    np.testing.assert_allclose(answer.mean, np.broadcast_to(np.repeat(1 + 0.5 * (y[0, 0] - 1), 2), shape), atol=0.2)
    np.testing.assert_allclose(answer.sd, np.sqrt(1 - 0.5 / 4), rtol=0.1)
    # Mean and covariance may come from events, and the answer needs no draws of its own.
    events = 1 + np.random.default_rng(0).normal(size=(400, *shape))
    given: dict[str, Any] = {"method": PiGDM(n_steps=60), "key": KEY, "n_draws": 500, "prior_draws": events}
    other = solve(prior, y, Downsample(2, shape), 0.5, **given)
    np.testing.assert_allclose(other.mean, answer.mean, atol=0.15)
    assert other.n_evaluations < answer.n_evaluations - 1e5
    given["prior_draws"] = events[:, 0]
    with pytest.raises(ValueError, match="prior_draws of shape"):
        solve(prior, y, Downsample(2, shape), 0.5, **given)


def test_a_signal_as_a_figure() -> None:
    prior = pf.StandardNormal((6,))
    answer = solve(prior, np.ones(3), Mask(np.arange(6) < 3), 0.2, key=KEY, n_draws=50)
    figure, axes = plot_restoration(answer, truth=np.ones(6))
    assert len(axes) == 2
    figure.canvas.draw()
    with pytest.raises(ValueError, match="truth of shape"):
        plot_restoration(answer, truth=np.ones(5))


@pytest.mark.thorough
def test_the_worked_example_in_small(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples"), *sys.path])
    import signals  # type: ignore[import-not-found]

    monkeypatch.setattr(signals, "OUT", tmp_path)
    answers = signals.main(length=8, n=600, n_draws=100, max_epochs=3, progress=False)
    assert set(answers) == {"hmc", "tds", "pigdm"}
    for method, answer in answers.items():
        assert answer.draws.shape == (100, 8)
        assert (tmp_path / f"signals_{method}.png").read_bytes().startswith(b"\x89PNG")
