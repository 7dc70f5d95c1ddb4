"""The toys: their densities integrate to one, their entropies are right, their draws follow their densities."""

from __future__ import annotations

import numpy as np
import pytest

from marks import split
from pushforward.data import TOYS

# Population entropies in nats, by Monte Carlo over FFJORD's own generators, and their standard errors.
PUBLISHED = {
    "8gaussians": (2.831, 0.002),
    "moons": (2.397, 0.006),
    "checkerboard": (3.4657, 0.0001),
    "circles": (3.267, 0.006),
    "rings": (2.626, 0.01),
    "swissroll": (2.663, 0.006),
}
# Half a noise width or less: the midpoint rule over a smooth density on the plane then converges geometrically.
STEP = {"8gaussians": 0.1, "moons": 0.08, "checkerboard": 0.1, "circles": 0.1, "rings": 0.04, "swissroll": 0.08}


def _entropy_and_mass(name: str) -> tuple[float, float]:
    step = STEP[name]
    axis = np.arange(-60, 60) * 0.1 + 0.05 if step == 0.1 else np.arange(-6, 6, step) + step / 2
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_prob = TOYS[name].log_prob(grid)
    mass = np.exp(log_prob) * step**2
    return -float(np.sum(mass * np.where(mass > 0, log_prob, 0))), float(mass.sum())


@pytest.mark.parametrize("name", split(TOYS, lambda name: name != "moons"))
def test_density_integrates_to_one_and_gives_the_entropy(name: str) -> None:
    entropy, mass = _entropy_and_mass(name)
    assert abs(mass - 1) < 1e-6
    assert abs(entropy - TOYS[name].entropy) < 1e-4
    floor, error = PUBLISHED[name]
    assert abs(entropy - floor) < 2 * error


@pytest.mark.parametrize("name", TOYS)
def test_draws_follow_the_density(name: str) -> None:
    toy = TOYS[name]
    log_prob = toy.log_prob(toy.sample(4000, seed=1))
    error = max(log_prob.std() / np.sqrt(4000), 1e-9)
    assert abs(log_prob.mean() + toy.entropy) < 4 * error
    if name == "checkerboard":
        broken = toy.log_prob(toy.sample(4000, seed=1) + 0.02)
        assert np.isinf(broken).any()
    else:  # the broken twin: noise a tenth too wide
        rng = np.random.default_rng(0)
        broken = toy.log_prob(toy.sample(4000, seed=1) + 0.15 * rng.standard_normal((4000, 2)))
        assert abs(broken.mean() + toy.entropy) > 4 * broken.std() / np.sqrt(4000)


@pytest.mark.parametrize("name", TOYS)
def test_seeds(name: str) -> None:
    toy = TOYS[name]
    np.testing.assert_array_equal(toy.sample(10, seed=3), toy.sample(10, seed=3))
    assert not np.array_equal(toy.sample(10, seed=3), toy.sample(10, seed=4))
    assert toy.sample(10).shape == (10, 2)
    assert toy.dim == 2


def test_outside_and_wrong_shapes() -> None:
    assert TOYS["checkerboard"].log_prob(np.array([[1.0, -1.0], [9.0, 9.0]])).tolist() == [-np.inf, -np.inf]
    with pytest.raises(ValueError, match=r"\(n, 2\)"):
        TOYS["moons"].log_prob(np.zeros((3, 3)))
