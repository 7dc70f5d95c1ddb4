"""The neural circular spline flow on the torus: its seam, its integral, its rotations, and what it can fit."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import vonmises

import pushforward as pf
from cases import autoregressive
from pushforward.bijections import CircularSplineMap, Elementwise
from pushforward.flows.stack import LINEAR
from pushforward.numerics.angles import wrap
from pushforward.testing import randomise

KEY = jax.random.key(6)
SMALL: dict[str, Any] = {"n_layers": 2, "width": 8, "depth": 1, "bins": 4}
log_prob = eqx.filter_jit(lambda flow, x, condition=None: flow.log_prob(x, condition))


def noisy(dim: int, **options: Any) -> pf.Flow:
    return randomise(pf.flows.ncsf(KEY, dim=dim, **{**SMALL, **options}), KEY, 0.3)


def torus(dim: int, n: int) -> np.ndarray:
    """A regular grid, on which the mean of a periodic function is its integral but for what the grid cannot see."""
    points = -np.pi + 2 * np.pi * (np.arange(n) + 0.5) / n
    return np.stack(np.meshgrid(*[points] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


@pytest.mark.parametrize(("dim", "autoregressive"), [(1, False), (2, False), (2, True)])
def test_integrates_to_one_over_the_torus(dim: int, autoregressive: bool) -> None:
    density = np.exp(log_prob(noisy(dim, autoregressive=autoregressive), torus(dim, {1: 4000, 2: 300}[dim])))
    assert density.max() > 1.5 * density.min()
    np.testing.assert_allclose(density.mean() * (2 * np.pi) ** dim, 1, atol=1e-3)


@pytest.mark.parametrize("autoregressive", [False, True])
def test_no_seam(autoregressive: bool) -> None:
    """On either side of the cut of each coordinate the density is the same, and one turn on."""
    flow, rng = noisy(3, autoregressive=autoregressive), np.random.default_rng(0)
    low = rng.uniform(-np.pi, np.pi, (30, 3))
    low[np.arange(30), np.arange(30) % 3] = -np.pi + 1e-9
    high = low.copy()
    high[np.arange(30), np.arange(30) % 3] = np.pi - 1e-9
    here = log_prob(flow, low)
    np.testing.assert_allclose(log_prob(flow, high), here, atol=1e-6)
    np.testing.assert_allclose(log_prob(flow, low + 2 * np.pi * rng.integers(-2, 3, low.shape)), here, atol=1e-6)


def test_a_network_of_raw_angles_has_a_seam() -> None:
    """The broken twin: the same layer, whose network sees the angle instead of its cosine and sine."""
    layer = randomise(pf.Invert(autoregressive(KEY, 2, CircularSplineMap(4))), KEY, 0.3)
    flow = pf.Flow(pf.UniformBox([-np.pi] * 2, [np.pi] * 2), layer)
    sides = np.array([[-np.pi + 1e-9, 0.5], [np.pi - 1e-9, 0.5]])
    one, other = log_prob(flow, sides)
    assert abs(one - other) > 1e-2


def test_rotated_data_have_the_density_of_the_flow_with_a_phase() -> None:
    """The density of rotated angles is the rotated density: of a flow with one more layer that rotates."""
    flow, phase = noisy(2), np.array([2.5, -1.0])
    spline = CircularSplineMap(3)
    rotation = Elementwise(spline, (2,), jnp.zeros((spline.n_params, 2)).at[-1].set(phase))
    rotated = pf.Flow(flow.base, pf.Chain([flow.bijection, rotation]))
    x = np.random.default_rng(1).uniform(-np.pi, np.pi, (200, 2))
    np.testing.assert_allclose(log_prob(rotated, wrap(jnp.asarray(x + phase))), log_prob(flow, x), atol=1e-9)
    assert not np.allclose(log_prob(rotated, x), log_prob(flow, x), atol=0.1)  # the broken twin: rotated back


def test_samples_are_angles() -> None:
    flow = noisy(2, condition_dim=1, autoregressive=True)
    condition = np.linspace(-1, 1, 50)[:, None]
    x, density = flow.sample_and_log_prob(KEY, (), condition)
    assert np.all(np.abs(x) <= np.pi)
    np.testing.assert_allclose(log_prob(flow, x, condition), density, atol=1e-9)
    single = pf.flows.ncsf(KEY, dim=2, **SMALL)
    assert single.sample(KEY, 5).shape == (5, 2)
    # A new flow is close to uniform.
    np.testing.assert_allclose(log_prob(single, np.zeros((1, 2))), -2 * math.log(2 * np.pi), atol=0.1)


def mixture(x: np.ndarray) -> np.ndarray:
    """The log-density of two lumps on the torus, each of which the cut of one coordinate divides."""
    first = vonmises.logpdf(x[:, 0], 4.0, loc=np.pi) + vonmises.logpdf(x[:, 1], 4.0)
    second = vonmises.logpdf(x[:, 0], 4.0) + vonmises.logpdf(x[:, 1], 2.0, loc=np.pi)
    return np.logaddexp(first, second) - math.log(2)


@pytest.mark.thorough
def test_fits_a_mixture_of_von_mises() -> None:
    """To 0.05 nats of its entropy, by quadrature; the broken twin, the flow before the fit, is far from it."""
    rng = np.random.default_rng(2)
    lumps = rng.integers(2, size=4000)
    centres, widths = np.array([[np.pi, 0.0], [0.0, np.pi]]), np.array([[4.0, 4.0], [4.0, 2.0]])
    x = rng.vonmises(centres[lumps], widths[lumps])
    grid = torus(2, 80)
    target = mixture(grid)

    def divergence(flow: pf.Flow) -> float:
        return float(np.mean(np.exp(target) * (target - np.asarray(log_prob(flow, grid)))) * (2 * np.pi) ** 2)

    start = pf.flows.ncsf(KEY, dim=2, n_layers=2, width=24, depth=1, bins=6, autoregressive=True)
    fitted = pf.fit(start, x, key=KEY, max_epochs=30, progress=False).flow
    assert divergence(fitted) < 0.05
    assert divergence(start) > 0.5


NO = sorted(set(LINEAR) - {"reverse", "permutation"})


def shifted(key: Any, dim: int) -> pf.AbstractBijection:
    return pf.Chain([pf.Reverse(dim), pf.LULinear(key, dim)])


def test_what_maps_angles_to_angles_is_allowed() -> None:
    """By a list of what is: reorderings and rotations, inverted or not, and bases of the torus."""
    spline = CircularSplineMap(3)

    def rotated(key: Any, dim: int) -> pf.AbstractBijection:
        rotation = Elementwise(spline, (dim,), jnp.zeros((spline.n_params, dim)))
        return pf.Invert(pf.Chain([pf.Permutation.random(key, dim), rotation]))

    arc = pf.Mixture([pf.UniformBox([-3.0, -3.0], [0.0, 0.0]), pf.UniformBox([0.0, 0.0], [3.0, 3.0])])
    base = pf.Flow(arc, pf.flows.ncsf(KEY, dim=2, **SMALL).bijection)
    own: dict[str, Any] = {"linear": rotated, "base": base}
    flow = pf.flows.ncsf(KEY, dim=2, **SMALL, **own)
    assert flow.event_shape == (2,)
    with pytest.raises(ValueError, match="maf: expected scalar_map to be one of additive, affine, bernstein, cubic"):
        pf.flows.maf(KEY, dim=2, scalar_map="moebius")
    with pytest.raises(ValueError, match="a scalar map of the line: additive, affine"):
        pf.flows.maf(KEY, dim=2, scalar_map=pf.bijections.RepeatedMap(spline, 2))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        *(
            ({"linear": name}, "ncsf: expected linear to be one of reverse, permutation or an object or None")
            for name in NO
        ),
        ({"linear": pf.LULinear}, "or to give Permutation, Reverse, or layers of circular scalar maps, got LULinear"),
        ({"linear": shifted}, "does not map angles to angles"),
        ({"scalar_map": "rational_quadratic"}, "ncsf: expected scalar_map to be one of circular_spline, moebius"),
        (
            {"scalar_map": pf.RationalQuadraticMap(4), "bins": None},
            "a scalar map of the circle: circular_spline, moebius",
        ),
        ({"base": pf.StandardNormal((2,))}, "a UniformBox there, a Mixture of such, or a Flow of angles over one"),
        ({"base": pf.UniformBox([-4.0, 0.0], [0.0, 1.0])}, "Mass beyond one turn would be lost"),
        ({"linear": None}, "the same coordinates would pass unchanged"),
        ({"autoregressive": True, "split": "half"}, "split has no effect with autoregressive=True"),
        ({"bins": 1}, "ncsf: expected bins to be an integer >= 2"),
        ({"dim": 0}, "ncsf: expected dim"),
        ({"base": pf.StandardNormal((3,))}, "ncsf: expected a base"),
    ],
)
def test_errors(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        pf.flows.ZOO["ncsf"](KEY, **{"dim": 2, **SMALL, **options})
