"""Images through the same call, the pictures of answers, and the worked example in small."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import pushforward as pf
from documents import ROOT
from pushforward.inverse_problems import Downsample, Importance, Mask, solve
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
